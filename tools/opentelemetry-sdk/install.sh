#!/usr/bin/env bash
# Installs OpenTelemetry's SDK for Python, pinned by requirements.txt, from the package index that pip is configured for, and
# keeps it in a cache folder outside the checkout.
#
# Prints one line on stdout: the folder for PYTHONPATH. Progress goes to stderr.
# Needs: python3 with pip, flock, sha256sum. The first run takes some seconds.
#
#   SIGHTLINE_CACHE  where to keep it (default: $XDG_CACHE_HOME/sightline, ~/.cache/sightline)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}

say() { echo "opentelemetry-sdk: $*" >&2; }

need() {
    command -v "$1" >/dev/null || { say "'$1' is not installed; it is needed to install the SDK"; exit 1; }
}

main() {
    need sha256sum
    need python3
    local key target
    # Some of the packages are built for one version of Python.
    key=$( (cd "$here" && cat requirements.txt install.sh; python3 --version) | sha256sum | cut -c1-16)
    target=$cache/opentelemetry-sdk-$key
    if [[ ! -d $target ]]; then
        need flock
        mkdir -p "$cache"
        exec 9>"$cache/opentelemetry-sdk-$key.lock"
        flock --nonblock 9 || { say "another run is installing; waiting for it"; flock 9; }
        # The other run may have finished meanwhile.
        [[ -d $target ]] || install_all "$target"
    fi
    echo "$target"
}

install_all() { # as the whole cache folder $1; it appears only when it is complete
    local partial=$1.partial
    rm -rf "$partial"
    say "installing into $1"
    # No word on root: a folder of our own is no system's.
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary :all: --target "$partial" --requirement "$here/requirements.txt" >&2 9>&-
    mv -T "$partial" "$1"
}

main "$@"

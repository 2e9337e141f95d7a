#!/usr/bin/env bash
# Fetches Debian's package prometheus by apt, unpacks it without installing it, and keeps prometheus and promtool in a cache
# folder outside the checkout, keyed by version. Needs no root: where there are no package lists, it gets lists of its own.
#
# Prints one line on stdout: the folder with prometheus and promtool. Progress goes to stderr.
# Needs: apt-get, dpkg, flock, a Debian or Ubuntu. The first run takes some seconds.
#
#   SIGHTLINE_CACHE  where to keep them (default: $XDG_CACHE_HOME/sightline, ~/.cache/sightline)
set -euo pipefail

cache=${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}
own_lists=()

say() { echo "prometheus: $*" >&2; }

need() {
    command -v "$1" >/dev/null || { say "'$1' is not installed; it is needed to fetch Prometheus"; exit 1; }
}

candidate() {
    apt-cache "${own_lists[@]}" policy prometheus | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

main() {
    need apt-get
    need dpkg
    need flock
    mkdir -p "$cache"
    exec 9>"$cache/prometheus.lock"
    flock --nonblock 9 || { say "another run is installing; waiting for it"; flock 9; }
    local version target
    version=$(candidate)
    if [[ -z $version ]]; then
        local apt=$cache/prometheus-apt
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
        own_lists=(-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
        say "getting package lists of its own"
        apt-get "${own_lists[@]}" update >&2 9>&-
        version=$(candidate)
        [[ -n $version ]] || { say "apt knows no package prometheus; add a Debian archive to its sources"; exit 1; }
    fi
    target=$cache/prometheus-${version//[^A-Za-z0-9.+-]/_}
    [[ -d $target ]] || install_it "$version" "$target"
    echo "$target"
}

install_it() { # of version $1 as the whole cache folder $2; it appears only when it is complete
    local partial=$2.partial
    rm -rf "$partial"
    mkdir -p "$partial/package"
    say "fetching Prometheus $1 into $2"
    # apt checks the package by the signed lists.
    (cd "$partial" && apt-get "${own_lists[@]}" download "prometheus=$1" >&2 9>&-)
    dpkg -x "$partial"/prometheus_*.deb "$partial/package"
    mv "$partial/package/usr/bin/prometheus" "$partial/package/usr/bin/promtool" "$partial/"
    rm -r "$partial/package" "$partial"/prometheus_*.deb
    mv -T "$partial" "$2"
}

main "$@"

#!/usr/bin/env bash
# Builds two real OpenTelemetry Collectors from Go modules, by the project's own builder, and keeps them in a cache folder
# outside the checkout: otelcol-receivers (see receivers.yaml) and otelcol-elasticsearch (see elasticsearch.yaml).
#
# Prints one line on stdout: the folder with the binaries. Progress goes to stderr.
# Needs: go (1.26 or later), flock, sha256sum. The first run takes some minutes.
#
#   SIGHTLINE_CACHE  where to keep it (default: $XDG_CACHE_HOME/sightline, ~/.cache/sightline)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}

say() { echo "collector: $*" >&2; }

need() {
    command -v "$1" >/dev/null || { say "'$1' is not installed; it is needed to build the collectors"; exit 1; }
}

main() {
    need sha256sum
    local key target
    key=$(cd "$here" && cat receivers.yaml elasticsearch.yaml build.sh | sha256sum | cut -c1-16)
    target=$cache/collector-$key
    if [[ ! -d $target ]]; then
        need go
        need flock
        mkdir -p "$cache"
        exec 9>"$cache/collector-$key.lock"
        flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }
        # The other run may have finished meanwhile.
        [[ -d $target ]] || build "$target"
    fi
    echo "$target"
}

build() { # the whole cache folder $1; it appears only when it is complete
    local partial=$1.partial
    rm -rf "$partial"
    mkdir -p "$partial/source"
    say "building into $1; this takes some minutes the first time"
    (
        export CGO_ENABLED=0 GOWORK=off
        cd "$partial"
        for collector in receivers elasticsearch; do
            local version
            version=$(sed -n 's/^  version: //p' "$here/$collector.yaml")
            say "building otelcol-$collector $version"
            # A builder writes code for collectors of its own version.
            GOBIN=$partial go install -trimpath "go.opentelemetry.io/collector/cmd/builder@v$version"
            mkdir "source/$collector"
            # The builder has no flag for where it writes.
            sed "s|^dist:\$|dist:\n  output_path: source/$collector|" "$here/$collector.yaml" >"source/$collector.yaml"
            ./builder --config "source/$collector.yaml" --skip-get-modules --skip-compilation
            # Not by the builder, whose `go mod tidy` wants the modules of everybody's tests too, which not all are to be had.
            # The checksum database verifies what is fetched.
            (
                cd "source/$collector"
                rm -f go.mod # older builders write one
                go mod init "sightline.dev/tools/collector/$collector"
                sed -n 's/^- gomod: \(.*\) \(v.*\)$/-require=\1@\2/p' "$here/$collector.yaml" \
                    | xargs go mod edit "-require=go.opentelemetry.io/collector/otelcol@v$version"
                go get .
                go build -trimpath -ldflags "-s -w" -o "$partial/otelcol-$collector" .
            )
        done
        rm -rf source builder
    ) >&2 9>&- # go may leave a process behind that would hold the lock
    mv -T "$partial" "$1"
    say "done"
}

main "$@"

#!/usr/bin/env bash
# Builds a real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok)
# and helm from Go modules and keeps them in a cache folder outside the checkout, so that a fresh clone does not build
# them again.
#
# Prints one line on stdout: the folder with the binaries. Progress goes to stderr. CRDs of others are put beside it:
# ../crds/istio.yaml (all of Istio) and ../crds/gateway.yaml (Gateway of the Gateway API). So is what tests compare with:
# ../facts/istio-accesslog.go (the source that holds Istio's default formats of access logs).
# Needs: go (1.26 or later), flock, sha256sum. The first run takes some minutes.
#
#   SIGHTLINE_CACHE  where to keep it (default: $XDG_CACHE_HOME/sightline, ~/.cache/sightline)
set -euo pipefail

# The Kubernetes and etcd versions are those of go.mod. The rest has dependencies of its own and stands here.
readonly KWOK_VERSION=v0.8.0
readonly HELM_VERSION=v4.3.1
# Istio publishes no semantic version tags as a Go module: the newest that `go list -m istio.io/istio@latest` gives.
readonly ISTIO_VERSION=v0.0.0-20260827124520-eed52ebb66ad
readonly ISTIO_CRDS=manifests/charts/base/files/crd-all.gen.yaml
readonly ISTIO_ACCESS_LOG=pilot/pkg/model/telemetry_logging.go
# What that Istio is built with.
readonly GATEWAY_API_VERSION=v1.6.0
readonly GATEWAY_CRD=config/crd/standard/gateway.networking.k8s.io_gateways.yaml

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cache=${SIGHTLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sightline}

say() { echo "control-plane: $*" >&2; }

need() {
    command -v "$1" >/dev/null || { say "'$1' is not installed; it is needed to build the control plane"; exit 1; }
}

build_kubernetes() { # into folder $1
    local version
    version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    local minor=${version#v1.}
    minor=${minor%%.*}
    local package=k8s.io/component-base/version
    say "building Kubernetes $version"
    # Without these the servers call themselves v0.0.0-master, and clients decide by the version.
    go build -trimpath -o "$1/" -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor" \
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
}

build_etcd() { # into folder $1
    say "building etcd"
    go build -trimpath -o "$1/etcd" -ldflags "-s -w" go.etcd.io/etcd/server/v3
}

build_kwok() { # into folder $1
    say "building kwok $KWOK_VERSION"
    # `go install PATH@VERSION` takes kwok's own dependency versions, which do not fit those of Kubernetes here.
    GOBIN=$1 go install -trimpath -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/kwok@$KWOK_VERSION"
}

build_helm() { # into folder $1
    say "building helm $HELM_VERSION"
    # As for kwok. A release is told its version: without, it calls itself by the minor one only.
    GOBIN=$1 go install -trimpath -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$HELM_VERSION" \
        "helm.sh/helm/v4/cmd/helm@$HELM_VERSION"
}

fetch_file() { # from module $1, its file $2, as file $3
    say "fetching $2 of $1"
    local module
    # Outside any module, so that nothing of it enters go.mod; the checksum database verifies it.
    module=$(cd "$(dirname "$3")" && GOFLAGS= go mod download -json "$1" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
    install -m 0644 "$module/$2" "$3"
}

main() {
    need sha256sum
    local key target
    key=$(cd "$here" && cat go.mod go.sum build.sh | sha256sum | cut -c1-16)
    target=$cache/control-plane-$key
    if [[ ! -d $target ]]; then
        need go
        need flock
        mkdir -p "$cache"
        exec 9>"$cache/control-plane-$key.lock"
        flock --nonblock 9 || { say "another run is building; waiting for it"; flock 9; }
        # The other run may have finished meanwhile.
        [[ -d $target ]] || build "$target"
    fi
    echo "$target/bin"
}

build() { # the whole cache folder $1; it appears only when it is complete
    local partial=$1.partial
    rm -rf "$partial"
    mkdir -p "$partial/bin" "$partial/crds" "$partial/facts"
    say "building into $1; this takes some minutes the first time"
    (
        cd "$here"
        export CGO_ENABLED=0 GOWORK=off
        fetch_file "istio.io/istio@$ISTIO_VERSION" "$ISTIO_CRDS" "$partial/crds/istio.yaml"
        fetch_file "istio.io/istio@$ISTIO_VERSION" "$ISTIO_ACCESS_LOG" "$partial/facts/istio-accesslog.go"
        fetch_file "sigs.k8s.io/gateway-api@$GATEWAY_API_VERSION" "$GATEWAY_CRD" "$partial/crds/gateway.yaml"
        build_kubernetes "$partial/bin"
        build_etcd "$partial/bin"
        build_kwok "$partial/bin"
        build_helm "$partial/bin"
    ) >&2 9>&- # go may leave a process behind that would hold the lock
    mv -T "$partial" "$1"
    say "done"
}

main "$@"

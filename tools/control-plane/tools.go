//go:build tools

// Package tools pins the control plane that the end-to-end tests and `make cluster` run.
// Nothing here is part of the product: build.sh builds each of these commands into a cache folder.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
)

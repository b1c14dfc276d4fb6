//go:build tools

// Package binaries names the programs, so that `go mod tidy` keeps what they need and nothing else.
package binaries

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)

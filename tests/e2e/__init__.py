"""Headgate against a real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager on loopback."""

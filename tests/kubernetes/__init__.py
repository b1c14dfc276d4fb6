"""The Kubernetes adapter against scripted and embedded API servers."""

"""A real control plane for tests. `python -m tests.e2e.controlplane` brings one up by hand."""

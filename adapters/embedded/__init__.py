"""A small Kubernetes in one process: an API server over real HTTP on loopback, and the controllers it needs.

It serves the demo, the rehearsal of a release (`headgate run --cluster embedded`) and every fast test. Nothing in
this folder knows of rollouts, releases or strategies: it must behave as a real control plane would, also towards us.
"""

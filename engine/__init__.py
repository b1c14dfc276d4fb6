"""The pure heart of Headgate and its runtime.

Nothing in this package knows Kubernetes, SQL or HTTP: it meets them as the protocols of `engine.ports`.
"""

"""Kubernetes behind the engine's ports: login, requests, shared caches, actions and observations of a rollout."""

"""Whole rollouts: the real engine, strategy, store and Kubernetes adapter on the embedded cluster, over real HTTP."""

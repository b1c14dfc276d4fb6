"""Where measurements come from: Prometheus servers, and metric pages that are read without any server in between.

Each provider answers a rendered query with an `Outcome` and never judges it; limits and policies are the engine's.
"""

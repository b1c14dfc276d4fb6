"""Routers: each expresses a weight in one kind of traffic object, behind the port of `adapters.kubernetes.routing`."""

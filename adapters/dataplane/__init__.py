"""A real data plane on loopback, for the demo and for traffic tests: Envoy, small HTTP pods, load, a live view.

It knows neither Kubernetes' API nor the engine: services are names with endpoints, splits are names with weights.
"""

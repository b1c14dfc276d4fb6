"""Tests of the data plane: a real Envoy, real pods, real requests, all on loopback."""

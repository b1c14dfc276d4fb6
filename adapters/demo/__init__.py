"""The demo: a real rollout with a real data plane, on one machine and gone without a trace when it ends."""

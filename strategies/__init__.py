"""What to do, as data: deploy files become plans, and plans become the procedures of a rollout's states. Pure; no I/O."""

"""What to do, as data: deploy files become plans, and plans become the procedures of a rollout's states.

Pure but for two modules that read files where a command asks them to: `deploy_reader` and `manifest_sources`.
"""

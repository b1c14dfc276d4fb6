"""The examination of clusters before a rollout."""

"""The embedded cluster: what it does as the real one does."""

"""Numbered SQL files; each takes the schema from the version before it to its own number, in one transaction."""

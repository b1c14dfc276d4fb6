"""The engine alone, in a small model of the world and virtual time."""

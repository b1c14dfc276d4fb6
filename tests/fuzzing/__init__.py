"""Bytes at random, for all that reads what strangers write. `python -m tests.fuzzing` does it for as long as it is told."""

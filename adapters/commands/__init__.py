"""Tests that are programs on the management host."""

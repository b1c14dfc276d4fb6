"""Keeps releases, rollouts and their journal in SQLite. The only package that speaks SQL."""

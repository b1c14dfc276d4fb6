"""A PostgreSQL server for tests, and what can be done to it."""

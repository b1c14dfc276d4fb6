"""One suite for two control planes: what Headgate relies on, shown on a real one, and the embedded one shown to do the same."""

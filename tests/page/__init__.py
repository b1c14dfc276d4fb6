"""The page for browsers: as it is served, what the API says for it, and stories in a real browser."""

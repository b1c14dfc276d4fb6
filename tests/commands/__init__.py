"""Programs on this host, run as tests."""

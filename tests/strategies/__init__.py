"""What strategies order, and how deploy files are read."""

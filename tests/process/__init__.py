"""Daemons as processes of their own, and what kills them."""

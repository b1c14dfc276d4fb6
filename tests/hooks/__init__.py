"""Webhooks and templates, against a real HTTP server."""

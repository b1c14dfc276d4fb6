"""The daemon's API over HTTP, and its client. Both speak the bodies of `adapters.http.bodies`."""

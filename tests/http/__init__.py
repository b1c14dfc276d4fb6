"""The daemon's API, on a real daemon in this process: real socket, real store, a model of the world."""

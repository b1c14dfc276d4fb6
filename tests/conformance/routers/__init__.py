"""One set of stories that every router has to tell, on the embedded cluster and on a real API server."""

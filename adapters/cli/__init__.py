"""The command line, and the one function that puts all parts of Headgate together."""

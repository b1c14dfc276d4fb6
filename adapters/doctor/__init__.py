"""Looks at clusters, and at what a deploy file needs of them, before anything is rolled out. It changes nothing."""

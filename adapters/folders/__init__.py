"""Deploy files that are taken from folders: what lies there is rolled out, and nothing of it twice."""

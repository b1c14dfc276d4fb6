"""Deploy folders: files on a real disk, a real daemon, and a model in the place of the clusters."""

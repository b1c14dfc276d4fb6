"""Rollouts of Argo and Canaries of Flagger -> deploy files. Pure: text in, text and remarks out; `importing` is the
door. Knows nothing of disks, clusters or the command line."""

"""The command line, mostly in this process and against a real daemon; a few times as a process of its own."""

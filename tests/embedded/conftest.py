"""What the tests of the embedded cluster share."""

from __future__ import annotations

import asyncio

# On Python 3.11, asking for the current loop where none was ever set makes one, and pytest-asyncio asks and forgets it: its
# sockets are then found unclosed in whichever test the garbage collector runs. Once "none" has been set, none is made.
asyncio.set_event_loop(None)

from __future__ import annotations

import asyncio

# pytest-asyncio asks for the current loop to put it back later. Where none was ever set, asyncio makes one for that question,
# which nobody closes; it is then complained about in whichever test the collector runs.
asyncio.set_event_loop(None)

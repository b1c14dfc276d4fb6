"""Waiting for a condition in place of sleeping for a guess."""

import time
from collections.abc import Callable

import anyio

POLL_INTERVAL_S = 0.005


async def until(condition: Callable[[], object], limit: float = 5.0) -> None:
    """Return once the condition is true; fail the test after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s: {condition}"
        await anyio.sleep(POLL_INTERVAL_S)

"""What may hang for ever, because it asks a file system that may be gone: done in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def run_blocking(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """What it returns, or raises. Whoever is cancelled leaves the thread behind as it is, and so does the process when it ends:
    the threads of pools, anyio's among them, are waited for there."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # So that it is not taken back from the thread, which could not be told.

    def work() -> None:
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, name="blocking", daemon=True).start()
    return await asyncio.wrap_future(outcome)

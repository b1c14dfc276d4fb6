"""Time for tests: a loop whose sleeps take no time, and a clock that reads it."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")

START = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
"""Three o'clock in the morning."""


class _InstantSelector(selectors.SelectSelector):
    """Instead of waiting for a timer, moves the loop's time to it."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready if ready or timeout is not None else super().select(None)
        self.skipped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code without threads and sockets only: with nothing to do, time jumps to the next timer."""

    def __init__(self) -> None:
        self._virtual = _InstantSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.skipped


def run_in_virtual_time(story: Callable[[], Coroutine[Any, Any, T]], *, limit_seconds: float = 86_400.0) -> T:
    """Run the story to its end; more than `limit_seconds` of virtual time is a rollout that never ends."""

    async def bounded() -> T:
        async with asyncio.timeout(limit_seconds):
            return await story()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())


class LoopClock:
    """Wall time that goes with the loop's time, and that can be set to jump."""

    def __init__(self, start: datetime = START) -> None:
        self.start = start

    def now(self) -> datetime:
        return self.start + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(seconds, 0.0))

    def jump(self, seconds: float) -> None:
        """The wall clock is set forward (or back) while nothing else happens."""
        self.start += timedelta(seconds=seconds)


class SkippingClock:
    """The machine's time, and whatever was skipped of it: for stories in which quarters of an hour pass."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._moved = anyio.Event()

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._skipped)

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + max(seconds, 0.0)
        await anyio.lowlevel.checkpoint()
        while (left := end - self.monotonic()) > 0:
            with anyio.move_on_after(left):
                await self._moved.wait()

    def skip(self, seconds: float) -> None:
        """Everybody who sleeps is nearer to their end, or past it."""
        self._skipped += seconds
        self._moved.set()
        self._moved = anyio.Event()

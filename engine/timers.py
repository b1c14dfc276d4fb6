"""All deadlines of all rollouts: one heap, one sleeping task.

A deadline is an absolute instant in UTC that is stored with the rollout, so a restart re-arms it where it was. The heap only
wakes; whether a deadline has passed is decided by comparing it with the time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime

import anyio

from engine.clock import Clock

LONGEST_SLEEP_SECONDS = 30.0
"""A jump of the wall clock (NTP, a suspended host) is noticed within this time."""

SET_BACK_SECONDS = 5.0
"""By how much the wall clock has to go back to be noticed: less is what clocks are corrected by all day."""

Fire = Callable[[str, str, datetime], None]


class Timers:
    def __init__(self, clock: Clock, fire: Fire, *, set_back: Callable[[], None]) -> None:
        """`set_back` is called when the wall clock was set back: what waits for an instant would wait for much longer."""
        self._clock = clock
        self._fire = fire
        self._set_back = set_back
        self._seen = (clock.now(), clock.monotonic())
        self._heap: list[tuple[datetime, str, str]] = []
        self._armed: set[tuple[datetime, str, str]] = set()
        self._changed = anyio.Event()

    def arm(self, rollout: str, name: str, due_at: datetime) -> None:
        """Fire once at `due_at`, at once if that has passed. Arming the same deadline again changes nothing."""
        entry = (due_at, rollout, name)
        if entry in self._armed:
            return
        self._armed.add(entry)
        heapq.heappush(self._heap, entry)
        if self._heap[0] == entry:
            self._changed.set()

    def __len__(self) -> int:
        return len(self._heap)

    async def run(self) -> None:
        while True:
            self._compare_clocks()
            self._fire_due()
            self._changed = anyio.Event()
            with anyio.CancelScope() as nap:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._nap, nap)
                    await self._changed.wait()
                    nap.cancel()

    async def _nap(self, scope: anyio.CancelScope) -> None:
        """Sleep until the next deadline, then wake the loop; sleep for ever while there is none."""
        if not self._heap:
            return
        wait = (self._heap[0][0] - self._clock.now()).total_seconds()
        await self._clock.sleep(min(max(wait, 0.0), LONGEST_SLEEP_SECONDS))
        scope.cancel()

    def _compare_clocks(self) -> None:
        (wall, monotonic), self._seen = self._seen, (self._clock.now(), self._clock.monotonic())
        passed = self._seen[1] - monotonic
        if passed - (self._seen[0] - wall).total_seconds() > SET_BACK_SECONDS:
            self._set_back()

    def _fire_due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            self._armed.discard(entry)
            due_at, rollout, name = entry
            self._fire(rollout, name, due_at)

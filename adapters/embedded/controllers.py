"""The controllers' engine: a queue of what has to be looked at again, one task that looks, and one that waits.

Level-triggered: a change only puts a key on the queue, once, however often it changes; the reconciler reads what is there now. An
error in one key is tried again with growing waits and never stops the others. It must not know what any controller does.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel
import structlog

from adapters.embedded.errors import Conflict, Forbidden
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import name_of
from engine.clock import Clock

log = structlog.get_logger()

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 5.0
KEYS_PER_TURN = 50
"""Between two turns everybody else on the event loop gets a chance."""

Key: TypeAlias = tuple[str, str]
"""(namespace, name)."""
Work: TypeAlias = tuple[str, Key]
"""(name of a reconciler, key)."""


class Reconciler(Protocol):
    name: str

    def keys_for(self, event: StorageEvent) -> list[Key]:
        """What has to be looked at after this change."""

    def reconcile(self, key: Key) -> float | None:
        """Bring the world one step nearer to what is asked for. Seconds after which to look again, or None."""


@dataclass(slots=True)
class WorkQueue:
    """Work in the order of its arrival, each at most once."""

    waiting: dict[Work, None] = field(default_factory=dict)
    arrived: anyio.Event = field(default_factory=anyio.Event)

    def add(self, work: Work) -> None:
        self.waiting[work] = None
        self.arrived.set()

    async def take(self) -> Work:
        while not self.waiting:
            self.arrived = anyio.Event()
            await self.arrived.wait()
        first = next(iter(self.waiting))
        del self.waiting[first]
        return first


@dataclass(slots=True)
class Deadlines:
    """When what has to be looked at again: at most one time for each, the earliest that was asked for."""

    _times: dict[Work, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, Work]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def next(self) -> float:
        """The earliest time; infinity when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def set(self, work: Work, time: float) -> None:
        if time < self._times.get(work, math.inf):
            self._times[work] = time
            heapq.heappush(self._heap, (time, next(self._order), work))

    def take_due(self, time: float) -> list[Work]:
        due = []
        while self._heap and self._heap[0][0] <= time:
            set_for, _, work = heapq.heappop(self._heap)
            if self._times.get(work) == set_for:  # Otherwise an earlier time has taken its place, and is over.
                del self._times[work]
                due.append(work)
        return due


class ControllerLoop:
    """Runs reconcilers. `run` is its task; `notice` is subscribed to the storage."""

    def __init__(self, reconcilers: list[Reconciler], clock: Clock) -> None:
        self._reconcilers = {reconciler.name: reconciler for reconciler in reconcilers}
        self._clock = clock
        self._queue = WorkQueue()
        self._deadlines = Deadlines()
        self._waiting = anyio.CancelScope()
        self._failures: dict[Work, int] = {}

    def notice(self, event: StorageEvent) -> None:
        for reconciler in self._reconcilers.values():
            for key in self._keys_for(reconciler, event):
                self._queue.add((reconciler.name, key))

    def _keys_for(self, reconciler: Reconciler, event: StorageEvent) -> list[Key]:
        """Nothing, where it fails: whoever wrote the object must not be told that the write failed."""
        try:
            return reconciler.keys_for(event)
        except Exception:
            log.exception("embedded.controller_failed", controller=reconciler.name, object=name_of(event.object))
            return []

    @property
    def is_idle(self) -> bool:
        return not self._queue.waiting

    @property
    def deadlines(self) -> int:
        """How many keys are to be looked at again at a certain time."""
        return len(self._deadlines)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ring, name="deadlines of the controllers")
            turns = 0
            while True:
                work = await self._queue.take()
                again = self._reconcile(work)
                if again is not None:
                    self._look_again(work, again)
                turns += 1
                if turns % KEYS_PER_TURN == 0:
                    await anyio.lowlevel.checkpoint()

    def _reconcile(self, work: Work) -> float | None:
        name, key = work
        try:
            again = self._reconcilers[name].reconcile(key)
        except Conflict:
            return 0.0
        except Forbidden:
            return None  # The namespace is on its way out and takes nothing new.
        except Exception:
            failures = self._failures[work] = self._failures.get(work, 0) + 1
            log.exception("embedded.controller_failed", controller=name, key=key, failures=failures)
            return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures, 10))
        self._failures.pop(work, None)
        return again

    def _look_again(self, work: Work, seconds: float) -> None:
        former = self._deadlines.next
        self._deadlines.set(work, self._clock.monotonic() + seconds)
        if self._deadlines.next < former:
            self._waiting.cancel()

    async def _ring(self) -> None:
        while True:
            with anyio.CancelScope() as self._waiting:
                await self._wait_until(self._deadlines.next)
            for work in self._deadlines.take_due(self._clock.monotonic()):
                self._queue.add(work)

    async def _wait_until(self, time: float) -> None:
        if time == math.inf:
            await anyio.sleep_forever()
        await self._clock.sleep(time - self._clock.monotonic())

"""The controllers' engine: a queue of what has to be looked at again, and one task that looks.

Level-triggered: a change only puts a key on the queue, once, however often it changes; the reconciler reads what is there now. An
error in one key is tried again with growing waits and never stops the others. It must not know what any controller does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel
import structlog

from adapters.embedded.errors import Conflict
from adapters.embedded.history import StorageEvent
from engine.clock import Clock

log = structlog.get_logger()

FIRST_WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 5.0
KEYS_PER_TURN = 50
"""Between two turns everybody else on the event loop gets a chance."""

Key: TypeAlias = tuple[str, str]
"""(namespace, name)."""


class Reconciler(Protocol):
    name: str

    def keys_for(self, event: StorageEvent) -> list[Key]:
        """What has to be looked at after this change."""

    def reconcile(self, key: Key) -> float | None:
        """Bring the world one step nearer to what is asked for. Seconds after which to look again, or None."""


@dataclass(slots=True)
class WorkQueue:
    """Keys in the order of their arrival, each at most once."""

    waiting: dict[tuple[str, Key], None] = field(default_factory=dict)
    arrived: anyio.Event = field(default_factory=anyio.Event)

    def add(self, reconciler: str, key: Key) -> None:
        self.waiting[reconciler, key] = None
        self.arrived.set()

    async def take(self) -> tuple[str, Key]:
        while not self.waiting:
            self.arrived = anyio.Event()
            await self.arrived.wait()
        first = next(iter(self.waiting))
        del self.waiting[first]
        return first


class ControllerLoop:
    """Runs reconcilers. `run` is its task; `notice` is subscribed to the storage."""

    def __init__(self, reconcilers: list[Reconciler], clock: Clock) -> None:
        self._reconcilers = {reconciler.name: reconciler for reconciler in reconcilers}
        self._clock = clock
        self._queue = WorkQueue()
        self._failures: dict[tuple[str, Key], int] = {}

    def notice(self, event: StorageEvent) -> None:
        for reconciler in self._reconcilers.values():
            for key in reconciler.keys_for(event):
                self._queue.add(reconciler.name, key)

    @property
    def is_idle(self) -> bool:
        return not self._queue.waiting

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            turns = 0
            while True:
                name, key = await self._queue.take()
                again = self._reconcile(name, key)
                if again is not None:
                    tasks.start_soon(self._later, again, name, key)
                turns += 1
                if turns % KEYS_PER_TURN == 0:
                    await anyio.lowlevel.checkpoint()

    def _reconcile(self, name: str, key: Key) -> float | None:
        try:
            again = self._reconcilers[name].reconcile(key)
        except Conflict:
            return 0.0
        except Exception:
            failures = self._failures[name, key] = self._failures.get((name, key), 0) + 1
            log.exception("embedded.controller_failed", controller=name, key=key, failures=failures)
            return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**failures)
        self._failures.pop((name, key), None)
        return again

    async def _later(self, seconds: float, name: str, key: Key) -> None:
        await self._clock.sleep(seconds)
        self._queue.add(name, key)



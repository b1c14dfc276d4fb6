"""An event loop in which nothing comes from outside and no time passes while somebody works: the same seed, the same story.

With nothing left to do, time jumps to the next timer. The tasks are numbered and sets of them are walked through in that order,
because an order that follows from addresses in memory is another one in each run.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

import anyio
from anyio._backends import _asyncio as backend

T = TypeVar("T")


class NothingLeft(RuntimeError):
    """Everybody waits, and nobody for a time: the story would never go on."""


class _NothingFromOutside:
    """In the place of a selector."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingLeft("all tasks wait for something that no timer and no task will bring")
        self.now += max(timeout, 0.0)
        return []


class SimulationLoop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._selector = _NothingFromOutside()
        self._clock_resolution = 1e-9
        self.set_task_factory(_numbered)

    def time(self) -> float:
        return self._selector.now

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        """Somebody else's thread wants to be heard; there is none."""


_numbers = itertools.count(1)


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(_numbers)
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


def _numbered(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    *,
    name: str | None = None,
    context: Context | None = None,
) -> _NumberedTask:
    return _NumberedTask(coroutine, loop=loop, name=name, context=context)


class _NumberedScope(backend.CancelScope):
    """anyio keeps scopes in sets, and cancels their tasks in the order of these."""

    def __init__(self, **options: Any) -> None:
        self._number = next(_numbers)
        super().__init__(**options)

    def __hash__(self) -> int:
        return self._number


@contextmanager
def numbered_scopes() -> Generator[None]:
    """Within the block the scopes of anyio are numbered too."""
    former = backend.CancelScope
    backend.CancelScope = _NumberedScope  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        backend.CancelScope = former  # type: ignore[misc]


def simulate(story: Callable[[], Coroutine[Any, Any, T]], *, limit_seconds: float) -> T:
    """Run the story to its end; more than `limit_seconds` of virtual time is `TimeoutError`."""
    global _numbers
    _numbers = itertools.count(1)

    async def bounded() -> T:
        with anyio.fail_after(limit_seconds):
            return await story()

    with numbered_scopes(), asyncio.Runner(loop_factory=SimulationLoop) as runner:
        return runner.run(bounded())


class Digest:
    """What has happened, in one short text: two runs of a seed have the same."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, *parts: object) -> None:
        self._hash.update("\x1f".join(map(str, parts)).encode("utf-8", "replace") + b"\x1e")

    def __str__(self) -> str:
        return self._hash.hexdigest()

"""An HTTP server on loopback whose pages are scripted, a clock that moves when told, and waiting for a condition."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
from aiohttp import web
from aiohttp.test_utils import TestServer

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class SteppedClock:
    """Time stands still until `advance`; whoever sleeps is woken when it is due."""

    seconds: float = 0.0
    _sleepers: list[tuple[float, anyio.Event]] = field(default_factory=list)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        sleeper = (self.seconds + seconds, anyio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            with suppress(ValueError):
                self._sleepers.remove(sleeper)

    @property
    def sleepers(self) -> int:
        return len(self._sleepers)

    @property
    def next_due(self) -> float:
        return min(due for due, _ in self._sleepers)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        woken = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.seconds]
        for sleeper in woken:
            # From now on it is not asleep, even if it did not get a turn yet.
            self._sleepers.remove(sleeper)
            sleeper[1].set()


@dataclass
class HurriedClock(SteppedClock):
    """Sleeping takes no time, but the clock says it did; every pause is noted."""

    pauses: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


@dataclass
class Pages:
    """What the server answers to GET: the page of each path. A path without a page is a 404, an int is a status."""

    by_path: dict[str, str | int | Handler] = field(default_factory=dict)
    visits: int = 0
    seen: list[web.Request] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.visits += 1
        self.seen.append(request)
        page = self.by_path.get(request.path, 404)
        if isinstance(page, int):
            return web.Response(status=page)
        if isinstance(page, str):
            return web.Response(text=page)
        return await page(request)


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve every request with one handler; gives the root address, without a slash at its end."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server(ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def until(condition: Callable[[], object], limit_s: float = 5.0) -> None:
    """Return once the condition is true; fail the test after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {condition}"
        await anyio.sleep(0.002)

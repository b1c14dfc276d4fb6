"""The users: keep-alive connections that ask again as soon as they are answered. Every answer is counted, and every failure kept.

Nothing is tried twice, so nothing is hidden. It must know no data plane: it has an address and a Host header.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

ANSWER_LIMIT = 5.0
"""Seconds after which a request without an answer has failed."""
AGAIN_SECONDS = 0.05
VERSION, ROUTE = "x-version", "x-route"
MOST_FAILURES_KEPT = 1_000
SAME_SECONDS = 1.0
"""Failures of one kind that are no further apart are told as one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Times are the loop's, in seconds."""

    opened: float
    """When its connection was begun."""
    begun: float
    ended: float
    status: int = 0
    """0: there was none."""
    version: str = ""
    route: str = ""
    """What the data plane says of the route that it took."""
    failure: str = ""


@dataclass(slots=True)
class Window:
    """What became of the requests that were begun in it."""

    opened: float
    closed: float = float("inf")
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[Answer] = field(default_factory=list)
    failed: int = 0

    @property
    def answers(self) -> int:
        return sum(self.versions.values())

    @property
    def requests(self) -> int:
        return self.answers + self.failed

    def share(self, version: str) -> float:
        return self.versions[version] / self.answers if self.answers else 0.0

    def take(self, answer: Answer) -> None:
        if not answer.failure:
            self.versions[answer.version] += 1
        else:
            self.failed += 1
            if len(self.failures) < MOST_FAILURES_KEPT:
                self.failures.append(answer)


class Load:
    """Asks `address` for `host` over so many connections for the length of an `async with` block.

    `pause`, in seconds, lies between an answer and the next request of the same connection; it may be changed meanwhile.
    `requests_each`: a connection is closed after so many, and another one opened; 0 is never.
    `by_connection`: where a connection leads is decided when it is opened, so what it asks belongs to the windows of that time.
    """

    def __init__(
        self,
        address: tuple[str, int],
        host: str,
        *,
        connections: int = 8,
        pause: float = 0.01,
        requests_each: int = 0,
        by_connection: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.pause = pause
        self.requests_each = requests_each
        self.address = address
        lines = [f"GET / HTTP/1.1\r\nHost: {host}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        self.request = "\r\n".join([*lines, "", ""]).encode("ascii")
        self.all = Window(0.0)
        self.is_over = False
        self._count = connections
        self._by_connection = by_connection
        self._windows: list[Window] = []
        self._waiting: list[tuple[Callable[[Answer], bool], asyncio.Future[Answer]]] = []
        self._connections: set[Connection] = set()
        self._openings: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._watchdog: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for _ in range(self._count):
            self.open()
        self._watchdog = self._loop.create_task(self._give_up())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.is_over = True
        self._watchdog.cancel()
        for opening in self._openings:
            opening.cancel()
        for connection in list(self._connections):
            connection.transport.abort()
        await asyncio.gather(self._watchdog, *self._openings, return_exceptions=True)

    def open_window(self) -> Window:
        """Counts whatever is begun from now on, until it is closed."""
        window = Window(self._loop.time())
        self._windows.append(window)
        return window

    def close_window(self, window: Window) -> Window:
        """Requests that are on their way count no more."""
        window.closed = self._loop.time()
        self._windows.remove(window)
        return window

    def expect(self, holds: Callable[[Answer], bool]) -> asyncio.Future[Answer]:
        """The first answer from now on that is so."""
        future = self._loop.create_future()
        self._waiting.append((holds, future))
        return future

    def record(self, answer: Answer) -> None:
        if self.is_over:
            return
        self.all.take(answer)
        for window in self._windows:
            if (answer.opened if self._by_connection else answer.begun) >= window.opened:
                window.take(answer)
        for entry in list(self._waiting):
            holds, future = entry
            if future.done():
                self._waiting.remove(entry)
            elif holds(answer):
                self._waiting.remove(entry)
                future.set_result(answer)

    def open(self) -> None:
        if not self.is_over:
            opening = self._loop.create_task(self._open())
            self._openings.add(opening)
            opening.add_done_callback(self._openings.discard)

    async def _open(self) -> None:
        begun = self._loop.time()
        try:
            await self._loop.create_connection(lambda: Connection(self, begun), *self.address)
        except OSError as error:
            self.record(Answer(begun, begun, self._loop.time(), failure=f"cannot connect: {error}"))
            await asyncio.sleep(AGAIN_SECONDS)
            self._loop.call_soon(self.open)

    async def _give_up(self) -> None:
        while True:
            await asyncio.sleep(ANSWER_LIMIT / 10)
            for connection in list(self._connections):
                if connection.is_waiting and self._loop.time() - connection.begun > ANSWER_LIMIT:
                    connection.fail(f"no answer within {ANSWER_LIMIT:g} s")

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.open()


class Connection(asyncio.Protocol):
    """One request after the other, each after the answer to the one before."""

    transport: asyncio.Transport

    def __init__(self, load: Load, opened: float) -> None:
        self._load = load
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._sent = 0
        self._later: asyncio.TimerHandle | None = None
        self.begun = 0.0
        self.is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._load.joined(self)
        self._send()

    def _send(self) -> None:
        if self._load.is_over or self.transport.is_closing():
            return
        self.begun, self.is_waiting = self._loop.time(), True
        self._sent += 1
        self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        status, headers = read_head(head)
        if len(body) < int(headers["content-length"]):
            return
        self._received, self.is_waiting = b"", False
        failure = "" if status == 200 else f"status {status}: {body[:200].decode('utf-8', 'replace')}"
        now = self._loop.time()
        told = headers.get(VERSION, ""), headers.get(ROUTE, "")
        self._load.record(Answer(self._opened, self.begun, now, status, *told, failure))
        if headers.get("connection", "").lower() == "close" or 0 < self._load.requests_each <= self._sent:
            self.transport.close()
        elif self._load.pause:
            self._later = self._loop.call_later(self._load.pause, self._send)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._later is not None:
            self._later.cancel()
        if self.is_waiting:
            self.fail(f"the connection ended before the answer: {error}")
        self._load.left(self)

    def fail(self, why: str) -> None:
        self.is_waiting = False
        self._load.record(Answer(self._opened, self.begun, self._loop.time(), failure=why))
        self.transport.abort()


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers by their lower-case names, of an answer with a length."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    headers.setdefault("content-length", "0")
    return int(first.split(" ")[1]), headers


def describe_failures(failures: Sequence[Answer], began: float) -> list[str]:
    """What failed in which way, how often and when, in words. `began`: the wall's clock, in seconds, when the loop's showed 0."""
    spans: list[list[Answer]] = []
    current: dict[tuple[str, str], list[Answer]] = {}
    for one in sorted(failures, key=lambda failed: failed.ended):
        span = current.get((one.failure, one.route))
        if span is None or one.ended - span[-1].ended > SAME_SECONDS:
            span = current[one.failure, one.route] = []
            spans.append(span)
        span.append(one)
    return [
        f"{len(span)} times from {_clock(began + span[0].ended)} to {_clock(began + span[-1].ended)}: "
        f"{' '.join(span[0].failure.split())} ({span[0].route})"
        for span in spans
    ]


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S.%f}"[:-3]

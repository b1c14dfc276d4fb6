"""The users of the demo: requests at a constant rate, whether the answers come or not.

An open loop: a slow answer does not make the next request wait, so a bad version cannot hide by being slow. It must not
know Envoy; it sends to a URL with a Host header and counts.
"""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import aiohttp

from adapters.dataplane.applications import VERSION_HEADER
from adapters.dataplane.traffic import MESH_ITSELF, Traffic, TrafficCounter

# Several requests per wake-up cost less than one each; 2 ms is far below what a latency here is judged by.
SHORTEST_PAUSE_S = 0.002


class BrokenConnectionError(aiohttp.ClientError):
    """The connection ended before the answer."""


async def refuse_to_repeat(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let a broken connection be an error: the client library would send a GET a second time and hide the loss."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(str(error)) from error


class LoadGenerator:
    """Sends `rate` GET requests per second to `url` for the length of an `async with` block.

    `host` is the service that is meant, as Host header. At most `concurrency` requests are on their way at once; what is
    due beyond that is counted as shed. A request without an answer after `answer_limit` seconds is a connection error.
    Leaving the block waits for the answers on their way, at most `drain_limit` seconds, and abandons the rest.
    """

    def __init__(
        self,
        url: str,
        host: str,
        *,
        rate: float = 200.0,
        concurrency: int = 100,
        answer_limit: float = 5.0,
        drain_limit: float = 1.0,
    ) -> None:
        if rate <= 0 or concurrency < 1:
            raise ValueError(f"rate is {rate} and concurrency is {concurrency}; both must be above 0")
        self._url = url
        self._headers = {"Host": host}
        self._rate = rate
        self._concurrency = concurrency
        self._answer_limit = answer_limit
        self._drain_limit = drain_limit
        self._counter = TrafficCounter()
        self._window_start = Traffic()
        self._requests: set[asyncio.Task[None]] = set()
        self._tasks = asyncio.TaskGroup()
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession
        self._pacer: asyncio.Task[None]
        self._started_at: float
        self._ended_at: float | None = None

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._answer_limit),
                middlewares=[refuse_to_repeat],
            )
        )
        await self._tasks.__aenter__()
        self._started_at = asyncio.get_running_loop().time()
        self._pacer = self._tasks.create_task(self._send_on_time(), name="load")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._stack:
            self._pacer.cancel()
            try:
                if self._requests and kind is None:
                    await asyncio.wait(self._requests, timeout=self._drain_limit)
            finally:
                self._ended_at = asyncio.get_running_loop().time()
                for request in self._requests:
                    request.cancel()
                # Not told of the block's own exception, which it would wrap in a group of one.
                await self._tasks.__aexit__(None, None, None)

    def totals(self) -> Traffic:
        """Everything since the start; it stays readable after the end."""
        ended_at = self._ended_at if self._ended_at is not None else asyncio.get_running_loop().time()
        return self._counter.read(ended_at - self._started_at)

    def window(self) -> Traffic:
        """What happened since the last call of this method, or since the start. For one caller, such as a display."""
        totals = self.totals()
        window, self._window_start = totals.since(self._window_start), totals
        return window

    async def _send_on_time(self) -> None:
        loop = asyncio.get_running_loop()
        handled = 0
        while True:
            due = int((loop.time() - self._started_at) * self._rate)
            for _ in range(handled, due):
                self._send()
            handled = due
            next_due_at = self._started_at + (handled + 1) / self._rate
            await asyncio.sleep(max(next_due_at - loop.time(), SHORTEST_PAUSE_S))

    def _send(self) -> None:
        if len(self._requests) >= self._concurrency:
            self._counter.shed += 1
            return
        self._counter.sent += 1
        request = self._tasks.create_task(self._request())
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _request(self) -> None:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        try:
            async with self._session.get(self._url, headers=self._headers, allow_redirects=False) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._counter.connection_errors += 1
            return
        version = response.headers.get(VERSION_HEADER, MESH_ITSELF)
        self._counter.record_answer(version, response.status, loop.time() - sent_at)

"""The pods of the demo: tiny HTTP servers on loopback that answer with their version, as well or as badly as they are told.

They live on this process's event loop and are real to everything that talks to them. They must not know who sends the
requests, nor Kubernetes: whoever removes a pod takes it out of the endpoints first and then stops it here.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

import anyio
from aiohttp import web

from adapters.dataplane.envoy_configuration import LOOPBACK, Endpoint

VERSION_HEADER = "X-Version"
HEALTH_PATH = "/healthz"
# A client that chose this pod just before it left the endpoints may still be on its way to connect.
SETTLE_S = 0.1
# What is left after the grace period is cut; 0 would mean "wait for ever" to the server.
CUT_LIMIT_S = 0.01


class ConnectionCountingServer(web.Server):
    """An HTTP server that knows when its last client has hung up."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler, access_log=None)
        self._connected = 0
        self.nobody_connected = asyncio.Event()
        self.nobody_connected.set()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._connected += 1
        self.nobody_connected.clear()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._connected -= 1
        if self._connected == 0:
            self.nobody_connected.set()


class Application:
    """One pod of a version: answers `GET /` with the version's name in the body and in the X-Version header.

    `error_ratio`, 0 to 1, is the share of answers that are 500, drawn from a generator seeded with `seed`, so that the
    n-th answer of a pod is the same in every run; `latency`, in seconds, is how long an answer takes. Both may be
    changed while it runs. `GET /healthz` is 200 from the start and 503 once the pod is stopping. It listens on `endpoint`,
    a free loopback port by default. It must be made where an event loop runs.
    """

    def __init__(
        self,
        version: str,
        *,
        error_ratio: float = 0.0,
        latency: float = 0.0,
        seed: int = 0,
        endpoint: Endpoint = (LOOPBACK, 0),
    ) -> None:
        if not 0.0 <= error_ratio <= 1.0:
            raise ValueError(f"error_ratio is {error_ratio}; it must be between 0 and 1")
        if latency < 0.0:
            raise ValueError(f"latency is {latency} s; it must be 0 or more")
        self.version = version
        self.error_ratio = error_ratio
        self.latency = latency
        self._endpoint = endpoint
        self.requests = 0
        """Answers to `GET /` so far, errors included."""
        self.errors = 0
        """Answers with status 500 so far."""
        self.in_flight = 0
        """Requests for `GET /` that it is working on."""
        self._randomness = random.Random(seed)
        self._stopping = False
        self._server = ConnectionCountingServer(self._answer)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CUT_LIMIT_S)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop(grace=0.0)

    async def start(self) -> None:
        """Listen; `address` is known when this returns. Raises OSError if the endpoint cannot be listened on."""
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._endpoint).start()

    @property
    def address(self) -> Endpoint:
        """Where this pod listens. Raises RuntimeError while it does not."""
        if not self._runner.addresses:
            raise RuntimeError(f"a pod of {self.version} has no address: it was not started, or it was stopped")
        host, port = self._runner.addresses[0]
        return (host, port)

    async def stop(self, grace: float = 5.0) -> None:
        """End gracefully: serve what comes until every client has hung up, for at most `grace` seconds, then close.

        While stopping, the pod is unready and every answer closes its connection, so nobody who stops opening new ones
        loses a request. Takes 0.1 s at least; with a grace of 0 it cuts at once. Stopping twice is harmless.
        """
        self._stopping = True
        try:
            with anyio.move_on_after(grace):
                await anyio.sleep(SETTLE_S)
                await self._server.nobody_connected.wait()
        finally:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == HEALTH_PATH:
            response = web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE if self._stopping else HTTPStatus.OK)
        elif request.path == "/":
            response = await self._serve()
        else:
            response = web.Response(status=HTTPStatus.NOT_FOUND)
        response.headers[VERSION_HEADER] = self.version
        if self._stopping:
            response.force_close()
        return response

    async def _serve(self) -> web.Response:
        self.in_flight += 1
        try:
            if self.latency:
                await anyio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        fails = self._randomness.random() < self.error_ratio
        self.requests += 1
        self.errors += fails
        status = HTTPStatus.INTERNAL_SERVER_ERROR if fails else HTTPStatus.OK
        return web.Response(status=status, text=f"{self.version}\n")

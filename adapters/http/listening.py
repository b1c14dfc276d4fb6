"""The TCP address: takes connections, as many as are good for the daemon, and speaks TLS on them where the settings say so.

Everybody who reaches the address can open connections. Those who do nothing with them, or everything slowly, must not keep
others out, and none of them may use up the files that the daemon needs for its clusters and its store. Knows no request but that
there is one (`Connections.note`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

log = structlog.get_logger()

MOST_CONNECTIONS = 512
HANDSHAKE_SECONDS = 10.0
FIRST_REQUEST_SECONDS = 20.0
"""How long the first request's head may take, from the connection on. For later ones it is the server's idle time."""
STALLED_MILLISECONDS = 30_000
"""How long a reader may take nothing of what was sent; then the system ends the connection."""
_LOOK_SECONDS = 2.0
_TELL_SECONDS = 60.0
_BACKLOG = 128


@dataclass(slots=True, eq=False)
class _Visitor:
    transport: asyncio.Transport
    since: float
    has_asked: bool = False
    under_way: int = 0
    """Requests that are being answered; 0 is idle, or only sending what is left of an answer."""


class Connections:
    """The connections over TCP, and what each of them is doing."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._visitors: dict[object, _Visitor] = {}
        self._opening = 0
        self._told_at = float("-inf")

    def note(self) -> Middleware:
        """The outermost middleware: who is being answered is not idle."""

        @web.middleware
        async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
            visitor = self._visitors.get(request.protocol)
            if visitor is None:  # Over the Unix socket.
                return await handler(request)
            visitor.has_asked = True
            visitor.under_way += 1
            try:
                return await handler(request)
            finally:
                visitor.under_way -= 1
                visitor.since = anyio.current_time()

        return noted

    def make_room(self) -> bool:
        """Whether one more can be taken; the one that has been idle for the longest makes room for it."""
        self._forget_closed()
        if len(self._visitors) + self._opening < self._most:
            return True
        idle = min((one for one in self._visitors.values() if not one.under_way), key=lambda one: one.since, default=None)
        self._tell()
        if idle is None:
            return False
        idle.transport.abort()
        return True

    def open(self) -> None:
        self._opening += 1

    def opened(self, protocol: object | None, transport: asyncio.BaseTransport | None) -> None:
        """What `open` announced has come to be, or not (None)."""
        self._opening -= 1
        if protocol is not None and isinstance(transport, asyncio.Transport):
            self._visitors[protocol] = _Visitor(transport, anyio.current_time())

    def end_silent(self) -> None:
        """Those who have not finished the head of their first request in time."""
        self._forget_closed()
        due = anyio.current_time() - FIRST_REQUEST_SECONDS
        for visitor in self._visitors.values():
            if not visitor.has_asked and visitor.since <= due:
                visitor.transport.abort()

    def _forget_closed(self) -> None:
        self._visitors = {name: one for name, one in self._visitors.items() if not one.transport.is_closing()}

    def _tell(self) -> None:
        now = anyio.current_time()
        if now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            log.warning("listen.full", connections=self._most, advice="somebody opens very many connections to listen")


CONNECTIONS = web.AppKey("connections", Connections)


class TcpListener:
    """Takes connections to bound sockets until its block ends. `context` is asked for each: a renewed certificate needs no
    restart."""

    def __init__(
        self,
        server: web.Server,
        sockets: Iterable[socket.socket],
        connections: Connections,
        context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self._server = server
        self._sockets = tuple(sockets)
        self._connections = connections
        self._context = context
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        for listening in self._sockets:
            self._tasks.start_soon(self._accept, listening, name="listen")
        self._tasks.start_soon(self._look, name="silent connections")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        try:
            # The block's own error is not handed over, or it would come out wrapped in a group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            for listening in self._sockets:
                listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                # No more files, most probably; whoever waits in the system's queue is taken as soon as there is one.
                log.warning("listen.failed", error=error.strerror or str(error))
                await anyio.sleep(1.0)
                continue
            connection.setblocking(False)
            if self._connections.make_room():
                self._connections.open()
                self._tasks.start_soon(self._take, connection, name="connection")
            else:
                connection.close()

    async def _take(self, connection: socket.socket) -> None:
        loop, context = asyncio.get_running_loop(), self._context()
        protocol, transport = None, None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MILLISECONDS)
            patience = HANDSHAKE_SECONDS if context is not None else None
            transport, protocol = await loop.connect_accepted_socket(
                self._server, connection, ssl=context, ssl_handshake_timeout=patience
            )
        except (OSError, TimeoutError) as error:  # Also ssl.SSLError: no TLS, no certificate, or none of ours.
            log.debug("listen.no_connection", error=type(error).__name__, reason=getattr(error, "reason", None))
            connection.close()
        finally:
            self._connections.opened(protocol, transport)

    async def _look(self) -> None:
        while True:
            await anyio.sleep(_LOOK_SECONDS)
            self._connections.end_silent()


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of the host's name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            bound.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
    except BaseException:
        for listening in bound:
            listening.close()
        raise
    return bound

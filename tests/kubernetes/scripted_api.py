"""An API server that says what it is told to say, for what a well-behaved one would rarely do."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import anyio
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.kubernetes.credentials import Login
from tests.clocks import START

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedApi:
    """Lists and watches answer from their queues; the last answer of a queue is repeated."""

    def __init__(self) -> None:
        self.lists: deque[Answer] = deque()
        self.watches: deque[Answer] = deque()
        self.others: deque[Answer] = deque()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.headers: list[Mapping[str, str]] = []
        self.server = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.method, request.path, query))
        self.headers.append(request.headers)
        if request.method == "GET" and "watch" in query:
            queue = self.watches
        elif request.method == "GET" and "limit" in query:
            queue = self.lists
        else:
            queue = self.others
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        return await answer(request)

    @property
    def listed(self) -> int:
        return sum("limit" in query for _, _, query in self.requests)

    @property
    def watched_from(self) -> list[str]:
        return [query["resourceVersion"] for _, _, query in self.requests if "watch" in query]


@asynccontextmanager
async def scripted_api(tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedApi]:
    api = ScriptedApi()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    server = TestServer(application)
    await server.start_server(ssl=tls)
    api.server = str(server.make_url("")).rstrip("/")
    try:
        yield api
    finally:
        await server.close()


class ScriptedCredentials:
    """Credentials for a scripted server: another token with every login."""

    server_name: str | None = None

    def __init__(self, server: str, proxy: str | None = None) -> None:
        self.server = server
        self.proxy = proxy
        self.renewed = 0
        self.login = self._log_in()

    async def renew(self, refused: Login) -> bool:
        if refused is self.login:
            self.renewed += 1
            self.login = self._log_in()
        return True

    def _log_in(self) -> Login:
        return Login((("Authorization", f"Bearer token-{self.renewed}"),), None)


class ImpatientClock:
    """Sleeps take no time, and are remembered; monotonic time goes on by them."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._skipped = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._skipped)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self._skipped

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.skip(seconds)
        await anyio.sleep(0.001)

    def skip(self, seconds: float) -> None:
        """Time passes while somebody waits for something else."""
        self._skipped += seconds


def answer(status: int, body: object, *, headers: dict[str, str] | None = None) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return respond


def status(code: int, reason: str, message: str = "said so", **headers: str) -> Answer:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return answer(code, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def text(code: int, content: str, *, content_type: str = "text/plain") -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, text=content, content_type=content_type)

    return respond


def html(code: int = 502) -> Answer:
    return text(code, "<html>secret of a proxy</html>", content_type="text/html")


def redirect(to: str) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to})

    return respond


def hang() -> Answer:
    """The request arrives, and nothing comes back."""

    async def respond(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    return respond


def cut() -> Answer:
    """The request arrives, and the connection breaks."""

    async def respond(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return respond


def listing(version: str, *items: dict[str, Any], token: str = "") -> Answer:
    return answer(
        200, {"kind": "List", "metadata": {"resourceVersion": version, "continue": token}, "items": list(items)}
    )


def stream(*lines: object, then: str = "end") -> Answer:
    """A watch that sends the lines and then ends, stays open, or breaks off in the middle of a line."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        for line in lines:
            text = line if isinstance(line, str) else json.dumps(line)
            await response.write(text.encode() + b"\n")
            # One by one: what is sent at once arrives at once.
            await asyncio.sleep(0)
        if then == "stay":
            await asyncio.sleep(3600)
        if then == "break":
            await response.write(b'{"type": "ADDED", "obj')
            assert request.transport is not None
            request.transport.abort()
        return response

    return respond


class LiveWatch:
    """A watch that sends what the story says, when it says so."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[object] = asyncio.Queue()
        self._is_cut = False

    def send(self, kind: str, item: dict[str, Any]) -> None:
        self._lines.put_nowait(event(kind, item))

    def cut(self) -> None:
        """The connection breaks."""
        self._is_cut = True
        self.end()

    def end(self) -> None:
        """In good order."""
        self._lines.put_nowait(None)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while (line := await self._lines.get()) is not None:
            await response.write(json.dumps(line).encode() + b"\n")
        if self._is_cut:
            assert request.transport is not None
            request.transport.abort()
        return response


def event(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": item}


def replica_set(name: str, version: str, *, replicas: int = 1, uid: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": uid or f"uid-{name}", "resourceVersion": version},
        "spec": {"replicas": replicas, "template": {}},
        "status": {"replicas": replicas, "availableReplicas": replicas},
    }

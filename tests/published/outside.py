"""What a daemon calls: the systems behind webhooks, whatever they are called, and the metric providers. On loopback only."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import anyio
import anyio.abc
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.hooks.destinations import Destinations

HTTP_PORT, HTTPS_PORT = 80, 443
_CALLBACK = re.compile(r"http://[^\"\s]+/v1/callbacks/[^\"\s]+/callback")


@dataclass(frozen=True)
class Call:
    method: str
    url: str
    headers: dict[str, str]
    body: str


@dataclass
class Outside:
    """Takes every call, and reports success wherever it finds an address to report to."""

    tasks: anyio.abc.TaskGroup
    authority: ssl.SSLContext
    ports: dict[int, int] = field(default_factory=dict)
    """Where the ports are that the called sides are thought to have."""
    calls: list[Call] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    """Every query that a metric provider was asked."""
    value: float = 0.005
    """What they all answer."""

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[HTTP_PORT]}/metrics-of-the-world"

    def called(self, url: str) -> list[Call]:
        return [call for call in self.calls if call.url == url]

    def open_session(self, _destinations: Destinations) -> aiohttp.ClientSession:
        """Whose every host name leads here."""
        connector = aiohttp.TCPConnector(resolver=_Here(self.ports), ssl=self.authority, use_dns_cache=False)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.calls.append(Call(request.method, str(request.url), dict(request.headers), body))
        for address in _CALLBACK.findall(body):
            self.tasks.start_soon(self._report, address)
        return web.Response(status=202)

    async def _report(self, address: str) -> None:
        async with aiohttp.ClientSession() as session, session.post(address, json={"success": True}) as answer:
            assert answer.status == 200, await answer.text()

    async def answer_prometheus(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(str((await request.post())["query"]))
        return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [0, str(self.value)]}})

    async def answer_new_relic(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.text())
        self.queries.append(str(asked["variables"]["nrql"]))
        found = {"results": [{"percentage": self.value}], "metadata": {"facets": None, "messages": []}}
        return web.json_response({"data": {"actor": {"account": {"nrql": found}}}})


class _Here(AbstractResolver):
    def __init__(self, ports: dict[int, int]) -> None:
        self._ports = ports

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        place = ResolveResult(
            hostname=host, host="127.0.0.1", port=self._ports[port], family=socket.AF_INET, proto=0, flags=0
        )
        return [place]

    async def close(self) -> None: ...


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """By TLS with a certificate for the hosts of example.com, and without."""
    authority = trustme.CA()
    trusting, serving = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(trusting)
    authority.issue_cert("*.example.com").configure_cert(serving)
    async with anyio.create_task_group() as tasks:
        world = Outside(tasks, trusting)
        application = web.Application()
        application.router.add_post("/metrics-of-the-world/api/v1/query", world.answer_prometheus)
        application.router.add_post("/metrics-of-the-world/graphql", world.answer_new_relic)
        application.router.add_route("*", "/{tail:.*}", world.take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        for port, context in ((HTTP_PORT, None), (HTTPS_PORT, serving)):
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            world.ports[port] = runner.addresses[-1][1]
        try:
            yield world
        finally:
            await runner.cleanup()

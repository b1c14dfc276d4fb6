"""Daemons for the page: on a TCP address, with the tokens of people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from adapters.access import Access, Scope, Token, Verb
from adapters.cli.composition import EMBEDDED_PROVIDER, EmbeddedOptions, compose
from adapters.cli.connecting import connect
from adapters.http.bodies import SubmitBody
from adapters.http.client import DaemonClient
from adapters.http.identity import Caller
from adapters.http.known_names import KnownNames
from adapters.http.server import serve_api
from adapters.http.submission import compile_submission
from adapters.settings import Address
from tests.http.stage import Daemon, Stage, token

OLGA, CI, BOARD, NIGHT = "the-olga-token", "the-ci-token", "the-board-token", "the-night-token"

PEOPLE = (
    token("olga", roles=("release-managers",)),
    token("ci"),
    token("board", access=Access.READ),
    token("night", scopes=(Scope(applications=("shop",), verbs=(Verb.PAUSE, Verb.ABORT)),)),
)


def open_stage(folder: Path, *, tokens: tuple[Token, ...] = PEOPLE, listen: Address | None = None) -> Stage:
    address = listen or Address("127.0.0.1", 0)
    return Stage(folder, tokens=tokens, listen=address, public_url="https://headgate.example/delivery")


@asynccontextmanager
async def embedded_daemon(stage: Stage, rehearsed: SubmitBody) -> AsyncIterator[Daemon]:
    """A daemon on the embedded cluster, on which what is going to be submitted is live already, in its old version."""
    known = KnownNames(frozenset({"embedded"}), frozenset({EMBEDDED_PROVIDER}))
    plan = await compile_submission(rehearsed, Caller("olga", None), known)
    settings = stage.settings.model_copy(update={"accounts": {}, "metric_providers": {}})
    async with (
        compose(settings, connect=connect, embedded=EmbeddedOptions(plan)) as running,
        serve_api(running.application, settings.socket, settings.listen) as address,
        DaemonClient(stage.place) as client,
    ):
        yield Daemon(running, client, address)


@asynccontextmanager
async def serve_under_a_path(path: str, daemon: Daemon) -> AsyncIterator[str]:
    """A proxy that takes the path off and passes everything on as it comes. Yields its origin."""

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name in ("Authorization", "Content-Type")}
        where, body = f"/{request.match_info['rest']}", await request.read()
        async with session.request(request.method, where, headers=headers, data=body, allow_redirects=False) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in ("Content-Length", "Transfer-Encoding")}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except ConnectionError:
                pass  # The reader has gone on.
            return response

    application = web.Application()
    application.router.add_route("*", f"{path}/{{rest:.*}}", forward)
    runner = web.AppRunner(application, shutdown_timeout=1)
    async with aiohttp.ClientSession(f"http://{daemon.address}", timeout=aiohttp.ClientTimeout(total=None)) as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

"""A daemon whose turn comes, as the clients of its standby see it; and one whose turn is over before it has begun."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest

from adapters.cli.composition import Connected, EmbeddedOptions, compose
from adapters.cli.serving import StandIn
from adapters.settings import Address, Settings
from engine.clock import Clock
from engine.errors import Deposed
from tests.http.stage import Stage, token
from tests.http.test_standby import Waiting


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", port))


@asynccontextmanager
async def standing_in(stage: Stage) -> AsyncIterator[StandIn]:
    stand_in = StandIn(stage.settings, None, Waiting())
    async with anyio.create_task_group() as tasks:
        await tasks.start(stand_in.serve)
        yield stand_in
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["socket", "address"])
async def test_who_keeps_a_connection_reaches_the_daemon_when_its_turn_has_come(stage: Stage, way: str) -> None:
    connector = aiohttp.UnixConnector(str(stage.settings.socket)) if way == "socket" else aiohttp.TCPConnector()
    async with (
        standing_in(stage) as stand_in,
        aiohttp.ClientSession(f"http://{stage.listen}", connector=connector) as http,
    ):
        async with http.get("/readyz") as answer:
            assert (answer.status, (await answer.json())["message"]) == (503, "this daemon is a standby: a leads")
        await stand_in.leave()
        async with stage.daemon(), http.get("/readyz") as answer:
            assert (answer.status, (await answer.json())["message"]) == (200, "ready")


async def test_who_never_ends_a_request_keeps_no_daemon_from_taking_over(stage: Stage) -> None:
    async with standing_in(stage) as stand_in, await anyio.connect_unix(stage.settings.socket) as caller:
        await caller.send(b"POST /v1/releases HTTP/1.1\r\nHost: headgate\r\nContent-Length: 100\r\n\r\n")
        assert (await caller.receive()).startswith(b"HTTP/1.1 503")
        with anyio.fail_after(4):
            await stand_in.leave()


async def test_who_loses_the_lease_while_it_opens_the_store_goes_no_further(stage: Stage) -> None:
    @asynccontextmanager
    async def connect(settings: Settings, embedded: EmbeddedOptions | None, clock: Clock) -> AsyncIterator[Connected]:
        pytest.fail("it has connected to the clusters")
        yield

    with pytest.raises(Deposed):
        async with compose(stage.settings, connect=connect, turn=Brief()):
            pass


class Brief(Waiting):
    """It has come, and is over after one question."""

    _asked = False

    def require(self) -> None:
        if self._asked:
            raise Deposed
        self._asked = True

"""Those who reach the TCP address without a token: they may open connections, and that is all that they can do."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
import pytest

from adapters.http import listening, requests, watches
from adapters.http.bodies import MOST_BODY_BYTES
from adapters.http.client_errors import DaemonRefused
from adapters.http.listening import CONNECTIONS, Connections
from adapters.settings import Address
from tests.http.stage import APPROVAL, Daemon, Stage, over_tcp, token

TOKEN = "Authorization: Bearer the-ci-token\r\n"
HEAD = "Host: 127.0.0.1\r\n"
SUBMIT = f"POST /v1/releases HTTP/1.1\r\n{HEAD}{TOKEN}Content-Type: application/json\r\n"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", 0))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Line:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, daemon: Daemon, stack: AsyncExitStack) -> Line:
        assert daemon.address is not None
        reader, writer = await asyncio.open_connection(*daemon.address)
        stack.callback(writer.close)
        return cls(reader, writer)

    async def say(self, text: str | bytes) -> None:
        self._writer.write(text if isinstance(text, bytes) else text.encode())
        await self._writer.drain()

    async def status(self) -> int:
        """Of the next answer; 0 where there is none, because the connection was ended."""
        with anyio.fail_after(10):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0
            return int(head.split()[1])

    async def end(self) -> None:
        """Until the other side ends it."""
        with anyio.fail_after(10):
            with suppress(ConnectionError):
                while await self._reader.read(65_536):
                    pass


def fast(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.2) -> None:
    monkeypatch.setattr(listening, "FIRST_REQUEST_SECONDS", seconds)
    monkeypatch.setattr(listening, "_LOOK_SECONDS", seconds / 4)


def cap(daemon: Daemon, most: int) -> Connections:
    connections = daemon.running.application[CONNECTIONS]
    connections._most = most
    return connections


# --- time --------------------------------------------------------------------------------------------------------------


async def test_a_head_that_trickles_is_not_waited_for(
    stage: Stage, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    async with stage.daemon() as daemon:
        silent, slow = await Line.to(daemon, stack), await Line.to(daemon, stack)
        await slow.say("GET /livez HTTP/1.1\r\n")

        async def trickle() -> None:
            with suppress(ConnectionError):
                while True:
                    await slow.say("X-A: b\r\n")
                    await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trickle)
            await slow.end()
            await silent.end()
            tasks.cancel_scope.cancel()
        assert (await daemon.client.releases()).releases == ()


async def test_who_has_asked_once_may_rest(stage: Stage, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch)
    async with stage.daemon() as daemon:
        early, silent = await Line.to(daemon, stack), await Line.to(daemon, stack)
        await early.say(f"GET /livez HTTP/1.1\r\n{HEAD}\r\n")
        assert await early.status() == 200
        await silent.end()
        await early.say(f"GET /livez HTTP/1.1\r\n{HEAD}\r\n")
        assert await early.status() in (200, 0)


async def test_a_body_that_trickles_is_not_waited_for(
    stage: Stage, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.2)
    async with stage.daemon() as daemon:
        line = await Line.to(daemon, stack)
        await line.say(f"{SUBMIT}Content-Length: 90\r\n\r\n{{")
        assert await line.status() == 408


async def test_a_reader_that_takes_nothing_is_ended_by_the_system(stage: Stage, stack: AsyncExitStack) -> None:
    async with stage.daemon() as daemon:
        line = await Line.to(daemon, stack)
        await line.say(f"GET /livez HTTP/1.1\r\n{HEAD}\r\n")
        assert await line.status() == 200
        [visitor] = daemon.running.application[CONNECTIONS]._visitors.values()
        taken: socket.socket = visitor.transport.get_extra_info("socket")
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == listening.STALLED_MILLISECONDS


# --- number ------------------------------------------------------------------------------------------------------------


async def test_the_longest_idle_makes_room_for_who_comes(stage: Stage, stack: AsyncExitStack) -> None:
    """So that nobody is kept out by many who do nothing, and the socket of the host's own people never is."""
    async with stage.daemon() as daemon:
        cap(daemon, 8)
        crowd = [await Line.to(daemon, stack) for _ in range(30)]
        async with over_tcp(daemon, "ci") as client:
            assert (await client.releases()).releases == ()
        for line in crowd[:20]:
            await line.end()
        assert (await daemon.client.releases()).releases == ()


async def test_who_is_being_answered_is_not_ended_for_somebody_else(stage: Stage, stack: AsyncExitStack) -> None:
    async with stage.daemon() as daemon:
        release = (await daemon.submit(APPROVAL)).release.id
        watching = [await Line.to(daemon, stack) for _ in range(3)]
        for line in watching:
            await line.say(f"GET /v1/releases/{release}/watch HTTP/1.1\r\n{HEAD}{TOKEN}\r\n")
            assert await line.status() == 200
        cap(daemon, 3)
        late = await Line.to(daemon, stack)
        await late.end()
        assert len(daemon.running.application[CONNECTIONS]._visitors) == 3


async def test_watches_leave_room_for_orders(stage: Stage, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MOST_AT_ONCE", 1)
    async with stage.daemon() as daemon:
        release = (await daemon.submit(APPROVAL)).release.id
        first = await Line.to(daemon, stack)
        await first.say(f"GET /v1/releases/{release}/watch HTTP/1.1\r\n{HEAD}{TOKEN}\r\n")
        assert await first.status() == 200
        with pytest.raises(DaemonRefused, match="1 watches are open") as caught:
            await anext(daemon.client.watch(release))
        assert caught.value.status == 503


# --- size --------------------------------------------------------------------------------------------------------------

HEADS = {
    "a long path": f"GET /{'a' * 9_000} HTTP/1.1\r\n{HEAD}\r\n",
    "a long header": f"GET /livez HTTP/1.1\r\n{HEAD}X-A: {'a' * 9_000}\r\n\r\n",
    "a long name of a header": f"GET /livez HTTP/1.1\r\n{HEAD}{'a' * 9_000}: a\r\n\r\n",
    "many headers": f"GET /livez HTTP/1.1\r\n{HEAD}{''.join(f'X-{n}: a{chr(13)}{chr(10)}' for n in range(200))}\r\n",
    "two lengths": f"POST /v1/releases HTTP/1.1\r\n{HEAD}{TOKEN}Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a length and chunks": (
        f"POST /v1/releases HTTP/1.1\r\n{HEAD}{TOKEN}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "a line folded": f"GET /livez HTTP/1.1\r\n{HEAD}X-A: a\r\n b\r\n\r\n",
    "a null byte": f"GET /livez HTTP/1.1\r\n{HEAD}X-A: a\0b\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_heads_that_no_client_sends(head: str, stage: Stage, stack: AsyncExitStack) -> None:
    async with stage.daemon() as daemon:
        line = await Line.to(daemon, stack)
        await line.say(head)
        assert await line.status() in (400, 0)
        assert (await daemon.client.releases()).releases == ()


async def test_bodies_that_are_too_large(stage: Stage, stack: AsyncExitStack) -> None:
    """Said to be, sent in pieces without saying so, and packed: what counts is what comes out."""
    async with stage.daemon() as daemon:
        packed = gzip.compress(b'{"name": "' + b" " * (MOST_BODY_BYTES * 4))
        chunk = f"{1 << 20:x}\r\n".encode() + b" " * (1 << 20) + b"\r\n"
        for text in (
            f"{SUBMIT}Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n".encode() + b" " * (1 << 16),
            f"{SUBMIT}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 9,
            f"{SUBMIT}Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode() + packed,
        ):
            line = await Line.to(daemon, stack)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_say_as_far_as_possible, line, text)
                assert await line.status() == 413
                tasks.cancel_scope.cancel()


async def _say_as_far_as_possible(line: Line, text: bytes) -> None:
    with suppress(ConnectionError):
        await line.say(text)


@pytest.mark.parametrize("nested", ("[" * 500_000, '{"a":' * 500_000, '{"manifests": ' + "[" * 500_000))
async def test_bodies_that_are_nested_too_deeply(nested: str, stage: Stage, stack: AsyncExitStack) -> None:
    async with stage.daemon() as daemon:
        line = await Line.to(daemon, stack)
        await line.say(f"{SUBMIT}Content-Length: {len(nested)}\r\n\r\n{nested}")
        assert await line.status() == 400

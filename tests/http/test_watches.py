"""A release as a stream of lines, for readers who keep up and for those who do not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from aiohttp import web

from adapters.http.bodies import (
    AliveLine,
    CommandBody,
    EndLine,
    EntryLine,
    ReleaseLine,
    SnapshotLine,
    WatchLine,
)
from adapters.http.client_errors import DaemonRefused
from adapters.http.identity import identify_callers
from adapters.http.server import serve_api
from adapters.http.watches import Watches
from engine.clock import SystemClock
from engine.events import CommandKind
from engine.feed import EntryNews
from engine.model import JournalEntry, ReleaseStatus, State
from tests.clocks import START
from tests.http.stage import APPROVAL, Daemon, Stage, percent


async def lines_of(daemon: Daemon, release: str) -> list[WatchLine]:
    with anyio.fail_after(20):
        return [line async for line in daemon.client.watch(release)]


async def test_a_watch_begins_with_how_things_stand_and_ends_with_the_release(daemon: Daemon) -> None:
    release = (await daemon.submit(percent(50))).release.id
    lines = await lines_of(daemon, release)
    assert isinstance(lines[0], SnapshotLine)
    assert lines[0].detail.release.id == release
    entries = [line.entry for line in lines if isinstance(line, EntryLine)]
    journal = (await daemon.client.journal(release)).entries
    assert [entry.seq for entry in entries] == [entry.seq for entry in journal[-len(entries) :]]
    assert entries[0].seq == lines[0].detail.rollouts[0].seq + 1
    rollouts = [line.rollout for line in lines if isinstance(line, EntryLine)]
    assert rollouts[-1].state is State.SUCCEEDED
    assert isinstance(lines[-2], ReleaseLine)
    assert lines[-2].release.status is ReleaseStatus.SUCCEEDED
    assert lines[-1] == EndLine(final=True, message="the release has ended: SUCCEEDED")


async def test_the_watch_of_a_release_that_has_ended_is_two_lines(daemon: Daemon) -> None:
    release = (await daemon.submit(percent(50))).release.id
    await lines_of(daemon, release)
    assert [type(line) for line in await lines_of(daemon, release)] == [SnapshotLine, EndLine]


async def test_a_watch_shows_its_own_release_only(daemon: Daemon) -> None:
    watched = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(watched, State.APPROVING)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(lines_of(daemon, watched))
        other = (await daemon.submit(percent(50), application="stall")).release.id
        await lines_of(daemon, other)
        await daemon.client.command(watched, CommandBody(CommandKind.REJECT))
    entries = [line for line in watching.result() if isinstance(line, EntryLine)]
    assert entries
    assert all(line.entry.rollout.startswith(watched) for line in entries)


async def test_the_watch_of_nothing_is_not_found(daemon: Daemon) -> None:
    with pytest.raises(DaemonRefused, match="there is no release"):
        await lines_of(daemon, "nothing")


async def test_a_daemon_that_stops_ends_its_watches_at_once_and_says_so(stage: Stage) -> None:
    started = asyncio.Event()

    async def watch(daemon: Daemon, release: str) -> list[WatchLine]:
        lines: list[WatchLine] = []
        async for line in daemon.client.watch(release):
            lines.append(line)
            started.set()
        return lines

    async with asyncio.TaskGroup() as tasks, stage.daemon() as daemon:
        release = (await daemon.submit(APPROVAL)).release.id
        await daemon.until_state(release, State.APPROVING)
        watching = tasks.create_task(watch(daemon, release))
        with anyio.fail_after(5):
            await started.wait()
            runner_stopped_at = asyncio.get_running_loop().time()
            daemon.running.application.freeze()
            await daemon.running.application.shutdown()
            lines = await watching
        assert asyncio.get_running_loop().time() - runner_stopped_at < 2
    assert lines[-1] == EndLine(final=False, message="the daemon is stopping")


@pytest.fixture
async def impatient(stage: Stage, daemon: Daemon) -> AsyncIterator[str]:
    """A second API on the same engine, whose watches wait for nobody; the path of its socket."""
    application = web.Application(middlewares=[identify_callers(tuple, SystemClock())])
    watches = Watches(daemon.running.service, alive_seconds=0.05, write_seconds=0.2)
    application.add_routes(watches.routes())
    path = stage.folder / "impatient.sock"
    async with serve_api(application, path):
        yield str(path)


async def open_watch(path: str, release: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, path)
    reader, writer = await asyncio.open_unix_connection(sock=raw, limit=4_096)
    writer.write(f"GET /v1/releases/{release}/watch HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def test_a_quiet_watch_says_that_it_is_alive_whatever_else_goes_on(daemon: Daemon, impatient: str) -> None:
    release = (await daemon.submit(APPROVAL)).release
    rollout = await daemon.until_state(release.id, State.APPROVING)
    reader, writer = await open_watch(impatient, release.id)
    entry = JournalEntry("other.production", 1, START, "noise", State.APPROVING, State.APPROVING, 0, "noise")

    async def chatter() -> None:
        while True:
            daemon.running.engine.feed.publish(EntryNews("other", rollout.target, entry))
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chatter)
        with anyio.fail_after(5):
            while not (line := await reader.readline()).startswith(b'{"type":"alive"'):
                assert b"noise" not in line
        tasks.cancel_scope.cancel()
    assert isinstance(msgspec.json.decode(line, type=WatchLine), AliveLine)
    writer.close()


async def test_a_reader_that_takes_nothing_is_cut_off_and_holds_up_nobody(daemon: Daemon, impatient: str) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    rollout = await daemon.until_state(release, State.APPROVING)
    reader, writer = await open_watch(impatient, release)
    feed = daemon.running.engine.feed
    with anyio.fail_after(10):
        await reader.readline()
        # Until the reader's buffers are full, the server's too, and its patience is over.
        while feed._readers:
            for number in range(100):
                entry = JournalEntry(
                    rollout.id, 1_000 + number, START, "noise", State.APPROVING, State.APPROVING, 0, "x" * 5_000
                )
                feed.publish(EntryNews(release, "production", entry))
            await anyio.sleep(0.01)
    await daemon.client.command(release, CommandBody(CommandKind.REJECT))
    await daemon.until_state(release, State.ROLLED_BACK)
    with anyio.fail_after(5):
        received = await reader.read(-1)
    assert b'"type":"end"' not in received[-200:] or b'"final":false' in received[-200:]
    writer.close()

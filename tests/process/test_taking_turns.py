"""Two daemons that take turns, as processes: one is stopped, killed, cut off or sent home in the middle of a rollout, and the
other one ends it. What the first one does when it comes to itself again is read off its wire and off the store."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from anyio import to_thread

from adapters.cli.exit_codes import ExitCode
from adapters.embedded.resources import DEPLOYMENTS, PODS
from adapters.http.client import DaemonClient, SocketPlace
from adapters.http.client_errors import DaemonRefused
from engine.errors import StoreBusy
from engine.model import ReleaseStatus
from store.postgres import open_postgres
from tests.clocks import START
from tests.postgres.server import PASSWORD, PostgresServer
from tests.process.crew import NAMESPACE, TIMES, Crew, gather_crew
from tests.process.watchman import Watchman
from tests.store.stand import whenever

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


Gather: TypeAlias = Callable[[], AbstractAsyncContextManager[Crew]]


@pytest.fixture
def gather(tmp_path: Path, postgres_server: PostgresServer) -> Gather:
    database = postgres_server.make_database()
    return lambda: gather_crew(tmp_path, postgres_server, database)


async def start(crew: Crew) -> None:
    """The first one leads, the second one stands by."""
    crew.first.start()
    await crew.first.until_leading()
    crew.second.start()
    await crew.second.until_standing_by(crew.lease["holderIdentity"])


async def check_the_end(crew: Crew) -> None:
    """The new version serves, whole and alone, and the story has no gap and no doubled line."""
    pods = [pod for pod in crew.cluster.storage.list(PODS, NAMESPACE) if not pod["metadata"].get("deletionTimestamp")]
    assert sorted(pod["spec"]["containers"][0]["image"] for pod in pods) == ["web:2"] * 3
    found = crew.cluster.storage.peek(DEPLOYMENTS, NAMESPACE, "web")
    assert found is not None and not found["spec"].get("paused")
    numbers = [seq for _, seq, _ in await crew.journal()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_standby_is_alive_carries_out_nothing_and_says_who_leads(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        leader = crew.lease["holderIdentity"]
        status, text = await crew.second.ask("/readyz")
        assert (status, json.loads(text)) == (503, {"ready": False, "message": f"this daemon is a standby: {leader} leads"})
        assert (await crew.second.ask("/livez"))[0] == 200
        async with DaemonClient(SocketPlace(crew.second.socket)) as client:
            with pytest.raises(DaemonRefused, match=f"{leader} leads; ask there") as refusal:
                await client.releases()
            assert refusal.value.status == 503
        assert "headgate_leader 0.0" in (await crew.second.ask("/metrics"))[1]
        figures = (await crew.first.ask("/metrics"))[1]
        assert "headgate_leader 1.0" in figures
        assert "headgate_leader_transitions 0.0" in figures
        assert (await crew.writer())[1] == leader
        crew.second.send(signal.SIGTERM)
        assert await crew.second.end() == ExitCode.SUCCESS
        assert crew.second.wire.writes == []
        assert crew.lease["holderIdentity"] == leader


async def test_who_is_stopped_for_longer_than_the_lease_writes_nothing_when_it_goes_on_and_ends(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=12)
        await crew.until_entries(12)
        crew.first.send(signal.SIGSTOP)
        await anyio.sleep(0.2)  # What had left it by then has arrived.
        written, decided = list(crew.first.wire.writes), len(await crew.journal())
        await crew.second.until_leading()
        await crew.until_entries(decided + 6)  # The second one is in the middle of it.
        crew.first.send(signal.SIGCONT)
        assert await crew.first.end() == ExitCode.DEPOSED
        assert crew.first.wire.writes == written
        assert "daemon.deposed" in crew.first.log
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)
        assert len(crew.first.wire.writes_to_the_world) > 5
        assert len(crew.second.wire.writes_to_the_world) > 5
        assert (crew.lease["leaseTransitions"], await crew.writer()) == (1, (2, crew.lease["holderIdentity"]))
        crew.first.start()  # As systemd does.
        await crew.first.until_standing_by(crew.lease["holderIdentity"])


async def test_who_is_stopped_while_the_other_ends_everything_finds_nothing_to_spoil(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=4)
        await crew.until_entries(10)
        crew.first.send(signal.SIGSTOP)
        await anyio.sleep(0.2)
        written = list(crew.first.wire.writes)
        await crew.second.until_leading()
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)
        told = await crew.journal()
        crew.first.send(signal.SIGCONT)
        assert await crew.first.end() == ExitCode.DEPOSED
        assert crew.first.wire.writes == written
        assert await crew.journal() == told


async def test_who_is_stopped_between_a_look_and_the_write_that_follows_does_not_write(gather: Gather) -> None:
    """The decision is in the store, the object was looked at, and the answer to that is what the process wakes up to."""
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=12)
        await crew.until_entries(12)
        crew.first.wire.hold()
        await crew.until(lambda: bool(crew.first.wire.held))
        crew.first.send(signal.SIGSTOP)
        await anyio.sleep(0.2)
        written, decided = list(crew.first.wire.writes), len(await crew.journal())
        crew.first.wire.let_go()
        await crew.second.until_leading()
        await crew.until_entries(decided + 4)
        crew.first.send(signal.SIGCONT)
        assert await crew.first.end() == ExitCode.DEPOSED
        assert crew.first.wire.writes == written
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)


async def test_who_is_killed_is_followed_when_the_lease_has_run_out(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=4)
        await crew.until_entries(10)
        crew.first.send(signal.SIGKILL)
        await crew.first.end()
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)


async def test_who_is_sent_home_hands_over_at_once(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=4)
        await crew.until_entries(10)
        crew.first.send(signal.SIGTERM)
        assert await crew.first.end() == ExitCode.SUCCESS
        began = time.monotonic()
        await crew.second.until_leading()
        assert time.monotonic() - began < TIMES["leaseDuration"]
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)


async def test_who_cannot_renew_ends_by_itself_before_the_other_begins(gather: Gather) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=8)
        await crew.until_entries(10)
        crew.first.wire.cut()
        assert await crew.first.end() == ExitCode.DEPOSED
        assert "was last renewed" in crew.first.log
        assert await crew.until_ended(crew.second, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)


async def test_a_restart_of_the_database_and_a_killed_backend_under_a_leader_change_nothing(
    gather: Gather, postgres_server: PostgresServer
) -> None:
    async with gather() as crew:
        await start(crew)
        release = await crew.deploy(crew.first, image="web:2", steps=6)
        for entries, how in ((8, signal.SIGINT), (20, signal.SIGQUIT)):
            await crew.until_entries(entries)
            await to_thread.run_sync(postgres_server.stop, how)
            await to_thread.run_sync(postgres_server.start)
        assert await crew.until_ended(crew.first, release) is ReleaseStatus.SUCCEEDED
        await check_the_end(crew)
        assert (await crew.writer())[0] == 1
        assert crew.lease["leaseTransitions"] == 0


async def test_who_loses_the_store_alone_ends_as_well(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Without a lease it is the store that says so, at the next thing that is written there."""
    place = postgres_server.place(await to_thread.run_sync(postgres_server.make_database))
    (tmp_path / "password").write_text(PASSWORD)
    settings = {
        "store": place.url,
        "storePassword": {"file": str(tmp_path / "password")},
        "socket": str(tmp_path / "headgate.sock"),
    }
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))
    daemon = Watchman(tmp_path)
    try:
        daemon.start()
        await daemon.until_leading()
        with pytest.raises(StoreBusy, match="two daemons on one store"):
            async with open_postgres(place, "another", START):
                pass
        async with open_postgres(place, "another", START, take_over=whenever):
            await daemon.ask("/readyz")
            assert await daemon.end() == ExitCode.DEPOSED
        assert "was taken over by another" in daemon.log
        assert PASSWORD not in daemon.log
    finally:
        daemon.clean_up()

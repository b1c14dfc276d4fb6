"""Stores that earlier code has written, with rollouts in the middle of everything: today's code goes on from there.

Each is one of `tests/store/golden`, made by `tests.store.make_golden`, together with the cluster as it was when the daemon died.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from adapters.embedded.cluster import EmbeddedCluster
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import PODS
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import FINAL_STATES, UNDOING_STATES, ReleaseStatus, State
from engine.ports import Store, StoredRollout
from store.schema import current_version
from store.sqlite import open_store
from strategies.canary import CanaryStrategy
from tests.invariants import Journal
from tests.rollouts.stage import Stage, stage

GOLDEN = Path(__file__).with_name("golden")
STORES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
"""By the day and the commit of the code that wrote them."""
STOPPED = {
    "preparing": State.PREPARING,
    "scaling": State.SCALING,
    "shifting": State.SHIFTING,
    "ratio": State.SHIFTING,
    "promoting": State.PROMOTING,
    "handing-over": State.PROMOTING,
    "finalising": State.FINALISING,
    "aborting": State.ABORTING,
    "restoring": State.RESTORING,
    "ratio-aborting": State.ABORTING,
    "analysing": State.ANALYSING,
    "approving": State.APPROVING,
    "pausing": State.PAUSING,
    "succeeded": State.SUCCEEDED,
    "rolled-back": State.ROLLED_BACK,
    "parked": State.PARKED,
}
"""Where each of its applications is, by name."""
FAILED = ("aborting", "restoring", "ratio-aborting", "rolled-back")
LONG_ENOUGH = 60.0


def unpack(name: str, folder: Path) -> Path:
    path = folder / "headgate.db"
    path.write_bytes(gzip.decompress((GOLDEN / name / "headgate.db.gz").read_bytes()))
    return path


@asynccontextmanager
async def taken_up(name: str, folder: Path) -> AsyncIterator[Stage]:
    """Today's daemon on that store and that cluster."""
    unpack(name, folder)
    objects = json.loads(gzip.decompress((GOLDEN / name / "cluster.json.gz").read_bytes()))

    async def find(embedded: EmbeddedCluster, store: Store, journal: Journal) -> None:
        for one in sorted(objects, key=lambda one: one["kind"] != "Namespace"):
            resource = embedded.storage.registry.find_kind(one["apiVersion"], one["kind"])
            assert resource is not None, one["kind"]
            embedded.storage.restore(resource, one)
        with anyio.fail_after(LONG_ENOUGH):
            while not all(map(is_ready, embedded.storage.iterate(PODS))):
                await anyio.sleep(0.02)
        await anyio.sleep(0.5)  # They are started anew, and controllers tell of it a moment later.
        for release in await store.releases():
            for stored in await store.rollouts(release.id):
                journal.snapshots[stored.spec.id] = stored.snapshot
                journal.ordered[stored.spec.id] = {action.number for action in stored.snapshot.pending}

    async with stage(folder, found=find) as told:
        yield told


def is_ready(pod: JsonObject) -> bool:
    return {"type": "Ready", "status": "True"}.items() <= {
        key: value for one in pod["status"].get("conditions", ()) if one["type"] == "Ready" for key, value in one.items()
    }.items()


@pytest.mark.parametrize("name", STORES)
async def test_what_earlier_code_has_written_is_read_to_the_letter(name: str, tmp_path: Path) -> None:
    path = unpack(name, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        (before,) = connection.execute("PRAGMA user_version").fetchone()
        raw = dict(connection.execute("SELECT id, snapshot FROM rollout"))
        lines = dict(connection.execute("SELECT rollout, COUNT(*) FROM journal GROUP BY rollout"))
    assert before <= current_version()
    seen: dict[str, State] = {}
    async with open_store(path) as store:
        for release in await store.releases():
            for stored in await store.rollouts(release.id):
                snapshot, written = stored.snapshot, json.loads(raw[stored.spec.id])
                assert (snapshot.seq, snapshot.weight) == (written["seq"], written.get("weight", 0))
                assert snapshot.facts == written.get("facts", {})
                if stored.spec.plan.target == "production":
                    seen[release.application] = snapshot.state
            entries = await store.journal(release.id)
            assert len(entries) == sum(lines.get(rollout, 0) for rollout in release.rollouts)
    assert seen == STOPPED


@pytest.mark.parametrize("name", STORES)
async def test_every_state_of_its_plans_can_be_expanded(name: str, tmp_path: Path) -> None:
    strategy = CanaryStrategy()
    async with open_store(unpack(name, tmp_path)) as store:
        for spec, snapshot in [(one.spec, one.snapshot) for one in await all_rollouts(store)]:
            for state in _ahead(snapshot.state):
                strategy.expand(spec, replace(snapshot, state=state), state)


def _ahead(state: State) -> Iterator[State]:
    order = [State.PREPARING, State.SCALING, State.SHIFTING, State.PROMOTING, State.FINALISING]
    if state not in FINAL_STATES and state not in UNDOING_STATES and state in order:
        yield from order[order.index(state) :]
    if state not in FINAL_STATES:
        yield from (State.ABORTING, State.RESTORING)


async def all_rollouts(store: Store) -> list[StoredRollout]:
    return [stored for release in await store.releases() for stored in await store.rollouts(release.id)]


@pytest.mark.parametrize("name", STORES)
async def test_todays_daemon_ends_every_rollout_as_the_earlier_one_would_have(name: str, tmp_path: Path) -> None:
    async with taken_up(name, tmp_path) as told:
        releases = {one.application: one.id for one in await told.store.releases()}
        assert releases.keys() == STOPPED.keys()
        with suppress(CommandRefused):  # A day after it was written, its pause is over.
            await told.engine.command(releases["pausing"], Command(CommandKind.SKIP, by="ada"))
        await told.engine.command(releases["approving"], Command(CommandKind.APPROVE, by="ada"))
        await told.engine.command(releases["parked"], Command(CommandKind.RESUME, by="ada"))
        for application, release in releases.items():
            ended = await told.until_ended(release, within=LONG_ENOUGH)
            expected = ReleaseStatus.FAILED if application in FAILED else ReleaseStatus.SUCCEEDED
            assert ended.status is expected, f"{application}: {await told.tell(release)}"
            image = "web:1" if application in FAILED else "web:2"
            (container,) = told.deployment(application)["spec"]["template"]["spec"]["containers"]
            assert container["image"] == image
            entries = await told.store.journal(release)
            assert not [entry for entry in entries[-50:] if entry.event == "defect"], await told.tell(release)

"""A store that is moved from a file into a database goes on there as if nothing had been."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engine.errors import MoveRefused, StoreBusy
from engine.model import Action, ActionKind, Origin, State, TimerName
from engine.ports import StoredRollout
from store.moving import move_store
from store.relational import SqlStore
from store.sqlite import open_store
from tests.clocks import START
from tests.store.stand import PostgresStand, decision, release, stored


async def everything(store: SqlStore) -> list[object]:
    found: list[object] = [await store.origins(), await store.unfinished_releases()]
    for one in await store.releases():
        found += [one, await store.rollouts(one.id), await store.journal(one.id)]
    return found


async def fill(store: SqlStore) -> StoredRollout:
    """Two releases, one of them with a rollout in flight: the rollout as it stands."""
    one = stored()
    action = Action(1, "record:web", ActionKind.RECORD, {"workload": "web"})
    first = decision(one, "began", state=State.PREPARING, action=action, timers={TimerName.WAIT: START + timedelta(seconds=60)})
    await store.add_release(release(), [one, stored(target="staging")], START, Origin("/deploy.d", "shop.yaml", "one"))
    await store.commit(first)
    await store.add_release(release("r0"), [stored("r0")], START)
    return StoredRollout(one.spec, first.snapshot)


async def test_everything_is_there_and_goes_on(tmp_path: Path, postgres_stand: PostgresStand) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        under_way, before = await fill(store), await everything(store)
    moved = await move_store(path, postgres_stand.place, "mover", START)
    assert await postgres_stand.ask("SELECT name, pending FROM action") == [("record:web", 1)]
    assert await postgres_stand.ask("SELECT name FROM timer") == [("wait",)]
    assert (moved.contents.releases, moved.contents.unfinished) == (2, 2)
    assert (path.exists(), moved.former.name) == (False, "headgate.db.moved-20260105T030000Z")
    async with postgres_stand.open() as store:
        assert await everything(store) == before
        await store.commit(decision(under_way, "went on"))
        assert [entry.text for entry in await store.journal("r1")] == ["began", "went on"]


async def test_nothing_is_moved_from_under_a_daemon_or_into_what_is_not_empty(
    tmp_path: Path, postgres_stand: PostgresStand
) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await fill(store)
        with pytest.raises(StoreBusy):
            await move_store(path, postgres_stand.place, "mover", START)
    async with postgres_stand.open() as target:
        with pytest.raises(StoreBusy):
            await move_store(path, postgres_stand.place, "mover", START)
        await target.add_release(release("r7"), [stored("r7")], START)
    with pytest.raises(MoveRefused, match="holds a store already"):
        await move_store(path, postgres_stand.place, "mover", START)
    async with open_store(path) as store, postgres_stand.open() as target:
        assert [one.id for one in await store.releases()] == ["r0", "r1"]
        assert [one.id for one in await target.releases()] == ["r7"]

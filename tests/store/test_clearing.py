"""What goes from the store when the past is kept no longer, and that nobody has to wait for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from engine.model import Action, ActionKind, JournalEntry, Origin, Release, ReleaseStatus, State, TimerName
from engine.ports import Commit, NotedOrigin, StoredRollout
from engine.retention import EndedRelease
from store.clearing import LINES
from store.relational import SqlStore
from store.sqlite import open_store
from tests.builders import percent, rollout_spec, target_plan, waiting
from tests.clocks import START
from tests.store.stand import Stand

DAY = timedelta(days=1)
_LINE = "INSERT INTO journal (rollout, seq, at, body) VALUES (?, ?, ?, ?)"
_ACTION = "INSERT INTO action (rollout, number, name, args, pending, attempt) VALUES (?, ?, ?, ?, 0, 1)"


class Died(Exception):
    """What a test ends a removal with."""


async def keep(
    store: SqlStore,
    name: str,
    status: ReleaseStatus,
    *states: State,
    lines: int = 3,
    origin: Origin | None = None,
    note: str = "",
) -> list[StoredRollout]:
    """A release with a target for each of the states, at which it has come to in so many decisions, one a day."""
    release = Release(name, "shop", "", ReleaseStatus.RUNNING, START, "ada", "shop.yaml")
    plans = [target_plan([percent(25)], target=f"t{number}") for number, _ in enumerate(states)]
    begun = [StoredRollout(rollout_spec(one, rollout=f"{name}.{one.target}", release=name), waiting()) for one in plans]
    await store.add_release(release, begun, START, origin)
    there = [await _decide(store, one, state, lines, note) for one, state in zip(begun, states, strict=True)]
    await store.update_release(replace(release, status=status))
    return there


async def _decide(store: SqlStore, one: StoredRollout, state: State, lines: int, note: str) -> StoredRollout:
    """All but the last of the decisions in one change: nobody has to wait for so many."""
    rollout = one.spec.id
    earlier = [_entry(one, seq, state, note) for seq in range(1, lines)]
    journal = [(_LINE, (rollout, line.seq, line.at.isoformat(), msgspec.json.encode(line))) for line in earlier]
    actions = [(_ACTION, (rollout, line.seq, f"set-weight:{line.seq}", b"{}")) for line in earlier]
    await store.writer.submit(plain=[*journal, *actions])
    action = Action(lines, f"set-weight:{lines}", ActionKind.SET_WEIGHT)
    after = replace(one.snapshot, seq=lines, state=state, action=action, actions=lines, timers={TimerName.WAIT: START})
    await store.commit(Commit(one.spec, after, _entry(one, lines, state, note), one.snapshot.seq))
    return StoredRollout(one.spec, after)


def _entry(one: StoredRollout, seq: int, state: State, note: str) -> JournalEntry:
    return JournalEntry(one.spec.id, seq, START + seq * DAY, "test", one.snapshot.state, state, -1, f"line {seq}{note}")


async def rows(stand: Stand, release: str) -> dict[str, int]:
    """How many rows of each table belong to it."""
    owned = {"journal": "rollout", "action": "rollout", "timer": "rollout", "release": "id", "rollout": "release"}
    counts = {}
    for table, column in owned.items():
        ((counts[table],),) = await stand.ask(f"SELECT COUNT(*) FROM {table} WHERE {column} || '.' LIKE '{release}.%'")
    return counts


NOTHING = {"journal": 0, "action": 0, "timer": 0, "release": 0, "rollout": 0}


async def test_what_has_ended_is_told_with_its_end_and_whether_it_brought_a_version(stand: Stand) -> None:
    async with stand.open() as store:
        await keep(store, "good", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=5)
        await keep(store, "half", ReleaseStatus.FAILED, State.ROLLED_BACK, State.SUCCEEDED, lines=2)
        await keep(store, "bad", ReleaseStatus.FAILED, State.ROLLED_BACK)
        await keep(store, "going", ReleaseStatus.RUNNING, State.SHIFTING)
        await keep(store, "never", ReleaseStatus.CANCELLED)
        assert await store.ended_releases() == [
            EndedRelease("good", "shop", START + 5 * DAY, completed=True),
            EndedRelease("half", "shop", START + 2 * DAY, completed=True),
            EndedRelease("bad", "shop", START + 3 * DAY, completed=False),
            EndedRelease("never", "shop", START, completed=False),
        ]


async def test_a_release_goes_with_all_that_is_its_own_and_nothing_of_anybody_else(stand: Stand) -> None:
    async with stand.open() as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, State.SUCCEEDED, lines=2 * LINES + 7)
        await keep(store, "new", ReleaseStatus.SUCCEEDED, State.SUCCEEDED)
        before = await rows(stand, "new")
        await store.remove_release("old")
        assert await rows(stand, "old") == NOTHING
        assert await rows(stand, "new") == before
        assert await store.release("old") is None
        assert await store.journal("old") == []
        await store.remove_release("old")


async def test_what_has_not_ended_stays_whoever_asks(stand: Stand) -> None:
    async with stand.open() as store:
        await keep(store, "going", ReleaseStatus.RUNNING, State.SHIFTING, lines=LINES + 1)
        before = await rows(stand, "going")
        await store.remove_release("going")
        assert await rows(stand, "going") == before


async def test_a_file_whose_release_is_gone_is_still_not_new(stand: Stand) -> None:
    origin = Origin("/deploy.d", "shop.yaml", "digest")
    async with stand.open() as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, origin=origin)
        await store.remove_release("old")
        assert await store.origins() == [NotedOrigin(origin, "old")]


async def test_a_commit_never_waits_for_more_than_a_part_of_a_journal(stand: Stand) -> None:
    """Each part is a change of its own, so whoever comes meanwhile comes next."""
    async with stand.open() as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=20 * LINES)
        (going,) = await keep(store, "going", ReleaseStatus.RUNNING, State.SHIFTING)
        removal_ended = anyio.Event()
        waits: list[bool] = []

        async def commit_again_and_again() -> None:
            at = going.snapshot
            while not removal_ended.is_set():
                after = replace(at, seq=at.seq + 1)
                entry = JournalEntry(going.spec.id, after.seq, START, "test", at.state, at.state, -1, "noted")
                await store.commit(Commit(going.spec, after, entry, at.seq))
                waits.append(removal_ended.is_set())
                at = after

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit_again_and_again)
            await store.remove_release("old")
            removal_ended.set()
        assert waits.count(False) >= 20


async def test_a_daemon_that_dies_in_the_middle_leaves_the_rest_for_the_next_one(stand: Stand) -> None:
    async with stand.open() as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=5 * LINES)
        submitted = 0

        async def submit(**change: object) -> None:
            nonlocal submitted
            submitted += 1
            if submitted > 2:
                raise Died
            await actual(**change)  # type: ignore[arg-type]

        actual = store.writer.submit
        store.writer.submit = submit  # type: ignore[method-assign]
        with pytest.raises(Died):
            await store.remove_release("old")
    left = await rows(stand, "old")
    assert (left["release"], left["rollout"], left["journal"]) == (1, 1, 3 * LINES)
    async with stand.open() as store:
        (told,) = await store.ended_releases()
        assert (told.id, told.ended_at) == ("old", START + 5 * LINES * DAY)
        await store.remove_release("old")
    assert await rows(stand, "old") == NOTHING


async def test_space_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=LINES, note="x" * 4_000)
        await keep(store, "new", ReleaseStatus.SUCCEEDED, State.SUCCEEDED)
        await store.remove_release("old")
        await store.give_space_back()
        assert [entry.text for entry in await store.journal("new")] == ["line 1", "line 2", "line 3"]
    assert path.stat().st_size < 200_000


async def test_a_store_that_was_not_made_for_it_keeps_its_size_and_uses_the_space_again(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await keep(store, "old", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=LINES, note="x" * 4_000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    before = path.stat().st_size
    async with open_store(path) as store:
        await store.remove_release("old")
        await store.give_space_back()
        await keep(store, "new", ReleaseStatus.SUCCEEDED, State.SUCCEEDED, lines=LINES, note="x" * 4_000)
    assert path.stat().st_size <= before * 1.05

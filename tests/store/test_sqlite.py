"""The SQLite store: what it keeps, what it refuses, and how it groups commits."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from engine.errors import StoreBusy, StoreDamaged, StoreError, StoreTooNew
from engine.model import (
    Action,
    ActionKind,
    JournalEntry,
    Origin,
    Release,
    ReleaseStatus,
    Snapshot,
    State,
    TimerName,
)
from engine.ports import Commit, NotedOrigin, StoredRollout
from store.schema import current_version, migrations
from store.sqlite import SqliteStore, open_store
from store.writer import FenceLost
from tests.builders import error_rate, percent, rollout_spec, target_plan, waiting
from tests.clocks import START


def release(name: str = "r1", status: ReleaseStatus = ReleaseStatus.RUNNING) -> Release:
    return Release(name, "shop", "", status, START, "ada", "shop.yaml")


def stored(name: str = "r1", target: str = "production") -> StoredRollout:
    plan = target_plan([percent(25), error_rate()], target=target)
    return StoredRollout(rollout_spec(plan, rollout=f"{name}.{target}", release=name), waiting())


def decision(before: StoredRollout, text: str = "noted", **changes: object) -> Commit:
    snapshot = replace(before.snapshot, seq=before.snapshot.seq + 1, **changes)
    entry = JournalEntry(before.spec.id, snapshot.seq, START, "test", before.snapshot.state, snapshot.state, -1, text)
    return Commit(before.spec, snapshot, entry, before.snapshot.seq)


async def test_what_is_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    path, one = tmp_path / "headgate.db", stored()
    action = Action(1, "record:web", ActionKind.RECORD, {"workload": "web"})
    timers = {TimerName.WAIT: START + timedelta(seconds=60)}
    async with open_store(path) as store:
        await store.add_release(release(), [one], START)
        await store.commit(decision(one, "began", state=State.PREPARING, action=action, timers=timers))
    async with open_store(path) as store:
        assert [found.id for found in await store.unfinished_releases()] == ["r1"]
        (found,) = await store.rollouts("r1")
        assert found.spec == one.spec
        assert (found.snapshot.state, found.snapshot.action, found.snapshot.timers) == (State.PREPARING, action, timers)
        assert [entry.text for entry in await store.journal("r1")] == ["began"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name, due_at FROM timer").fetchall() == [("wait", "2026-01-05T03:01:00.000000+00:00")]
        assert connection.execute("SELECT number, name, pending FROM action").fetchall() == [(1, "record:web", 1)]


async def test_a_decision_on_an_old_stand_is_thrown_away_and_harms_nobody_in_its_group(tmp_path: Path) -> None:
    one, other = stored(), stored(target="staging")
    async with open_store(tmp_path / "headgate.db") as store:
        await store.add_release(release(), [one, other], START)
        await store.commit(decision(one, "first"))
        outcomes: list[str] = []

        async def try_to_commit(commit: Commit) -> None:
            try:
                await store.commit(commit)
                outcomes.append("written")
            except FenceLost:
                outcomes.append("thrown away")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(try_to_commit, decision(one, "first again"))
            tasks.start_soon(try_to_commit, decision(other, "other"))
        assert sorted(outcomes) == ["thrown away", "written"]
        assert [entry.text for entry in await store.journal("r1")] == ["first", "other"]


async def test_many_rollouts_share_a_commit(tmp_path: Path) -> None:
    many = [stored(target=f"t{number}") for number in range(200)]
    async with open_store(tmp_path / "headgate.db") as store:
        await store.add_release(release(), many, START)
        before = store.writer.commits
        async with anyio.create_task_group() as tasks:
            for one in many:
                tasks.start_soon(store.commit, decision(one))
        assert store.writer.changes >= 200
        assert store.writer.commits - before < 20


async def test_a_second_daemon_on_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path):
        with pytest.raises(StoreBusy, match="two daemons on one store"):
            async with open_store(path):
                pass
    async with open_store(path):
        pass


async def test_a_store_of_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await store.add_release(release(), [stored()], START)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(f"PRAGMA user_version = {current_version() + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match="written by a newer version"):
        async with open_store(path):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is not a database", b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_a_file_that_is_no_store_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "headgate.db"
    path.write_bytes(content)
    with pytest.raises(StoreDamaged):
        async with open_store(path):
            pass
    assert path.read_bytes() == content


async def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="another program"):
        async with open_store(path):
            pass
    assert path.read_bytes() == before


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with open_store(tmp_path / "headgate.db") as store:
        kept: SqliteStore = store
    with pytest.raises(StoreError, match="closed"):
        await kept.update_release(release())


_WRITER = """
import asyncio, sys
from pathlib import Path
from store.sqlite import open_store
from tests.store.test_sqlite import decision, release, stored
from engine.ports import StoredRollout
from tests.clocks import START

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        one = stored()
        await store.add_release(release(), [one], START)
        while True:
            commit = decision(one)
            await store.commit(commit)
            one = StoredRollout(one.spec, commit.snapshot)
            print(one.snapshot.seq, flush=True)

asyncio.run(main())
"""


@pytest.mark.process
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 100:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    process.wait()
    process.stdout.close()

    async def read() -> tuple[Snapshot, int]:
        async with open_store(path) as store:
            (found,) = await store.rollouts("r1")
            return found.snapshot, len(await store.journal("r1"))

    snapshot, entries = anyio.run(read)
    assert acknowledged <= snapshot.seq <= acknowledged + 1
    assert entries == snapshot.seq


async def test_a_text_that_is_none_is_kept_with_question_marks_and_harms_nobody(tmp_path: Path) -> None:
    """Half of a surrogate pair stands for a byte that could not be read, such as one in a called side's answer."""
    first = stored()
    async with open_store(tmp_path / "headgate.db") as store:
        await store.add_release(release(), [first], START)
        await store.commit(decision(first, text="answered 500 Erreur intern\udce9", failure="intern\udce9"))
        (entry,) = await store.journal("r1")
        assert entry.text == "answered 500 Erreur intern?"
        (kept,) = await store.rollouts("r1")
        assert kept.snapshot.failure == "intern?"


# --- where releases come from ------------------------------------------------------------------------------------------


async def test_a_release_and_the_file_that_it_came_from_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    first, second = Origin("/deploy.d", "shop.yaml", "one"), Origin("/deploy.d", "shop.yaml", "two")
    async with open_store(tmp_path / "headgate.db") as store:
        await store.add_release(release(), [stored()], START, first)
        with pytest.raises(StoreError):
            await store.add_release(release(), [stored()], START, second)
        assert await store.origins() == [NotedOrigin(first, "r1")]
        await store.add_release(release("r2"), [stored("r2")], START, second)
        await store.note_origin(NotedOrigin(Origin("/deploy.d", "copy.yaml", "two"), "r2"))
    async with open_store(tmp_path / "headgate.db") as store:
        assert [(noted.origin.file, noted.origin.digest, noted.release) for noted in await store.origins()] == [
            ("copy.yaml", "two", "r2"),
            ("shop.yaml", "two", "r2"),
        ]


async def test_a_store_of_the_first_schema_is_brought_up_to_this_one_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await store.add_release(release(), [stored()], START)
    with closing(sqlite3.connect(path)) as connection:
        number, text = migrations()[0]
        schema = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name <> 'origin' ORDER BY name"
        with closing(sqlite3.connect(":memory:")) as fresh:
            fresh.executescript(text)
            assert connection.execute(schema).fetchall() == fresh.execute(schema).fetchall()
        connection.execute("DROP TABLE origin")
        connection.execute(f"PRAGMA user_version = {number}")
        connection.commit()
    async with open_store(path) as store:
        assert [one.id for one in await store.unfinished_releases()] == ["r1"]
        assert await store.origins() == []
        await store.note_origin(NotedOrigin(Origin("/deploy.d", "shop.yaml", "one"), "r1"))
        assert len(await store.origins()) == 1


async def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path) -> None:
    """Of two releases of an application, the one that came first is carried out first, also by the next daemon; and a rollout's
    story is told as it went."""
    one, earlier = stored(), START - timedelta(minutes=1)
    async with open_store(tmp_path / "headgate.db") as store:
        await store.add_release(release(), [one], START)
        await store.add_release(replace(release("r2"), created_at=earlier), [stored("r2")], earlier)
        assert [found.id for found in await store.unfinished_releases()] == ["r1", "r2"]
        assert [found.id for found in await store.releases()] == ["r2", "r1"]
        first = decision(one, "first")
        await store.commit(first)
        later = decision(StoredRollout(one.spec, first.snapshot), "second")
        await store.commit(Commit(later.spec, later.snapshot, replace(later.entry, at=earlier), later.previous_seq))
        assert [entry.text for entry in await store.journal("r1")] == ["first", "second"]

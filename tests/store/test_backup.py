"""Copies of the store: taken while somebody writes, checked, and put back without anything being overwritten."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from engine.errors import BackupRefused, StoreBusy, StoreDamaged, StoreTooNew
from engine.model import ReleaseStatus
from engine.ports import StoredRollout
from store.backup import back_up, check, restore
from store.schema import current_version
from store.sqlite import open_store
from tests.clocks import START
from tests.store.stand import decision, release, stored


async def fill(path: Path, name: str = "r1") -> None:
    async with open_store(path) as store:
        await store.add_release(release(name), [stored(name)], START)
        await store.commit(decision(stored(name), "began"))


async def names_in(path: Path) -> list[str]:
    async with open_store(path) as store:
        return [one.id for one in await store.unfinished_releases()]


def leftovers(folder: Path, part: str) -> list[str]:
    return [one.name for one in folder.iterdir() if part in one.name]


async def test_a_backup_is_taken_while_a_daemon_writes(tmp_path: Path) -> None:
    path, taken = tmp_path / "headgate.db", 0
    async with open_store(path) as store:
        one = stored()
        await store.add_release(release(), [one], START)
        async with anyio.create_task_group() as tasks:

            async def go_on_writing(one: StoredRollout) -> None:
                while True:
                    made = decision(one)
                    await store.commit(made)
                    one = StoredRollout(one.spec, made.snapshot)

            tasks.start_soon(go_on_writing, one)
            for number in range(5):
                contents = await anyio.to_thread.run_sync(back_up, path, tmp_path / f"{number}.backup")
                taken += contents.releases
            tasks.cancel_scope.cancel()
    assert taken == 5
    for number in range(5):
        copy = tmp_path / f"{number}.backup"
        with closing(sqlite3.connect(copy)) as connection:
            (seq,) = connection.execute("SELECT seq FROM rollout").fetchone()
            assert connection.execute("SELECT COUNT(*) FROM journal").fetchone() == (seq,), "a moment in between"
    assert leftovers(tmp_path, "partial") == []


async def test_a_backup_has_everything_and_is_its_owners_alone(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    contents = back_up(path, copy)
    assert (contents.schema, contents.releases, contents.unfinished) == (current_version(), 1, 1)
    assert contents.latest.startswith("2026-01-05T03:00")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert await names_in(copy) == ["r1"]


async def test_nothing_is_overwritten_by_a_backup(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    copy.write_text("dear diary")
    with pytest.raises(BackupRefused, match="is there already, and nothing is overwritten"):
        back_up(path, copy)
    assert copy.read_text() == "dear diary"


async def test_what_is_missing_or_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="there is no store"):
        back_up(tmp_path / "headgate.db", tmp_path / "monday")
    await fill(tmp_path / "headgate.db")
    with pytest.raises(BackupRefused, match="cannot be written: no such file or directory"):
        back_up(tmp_path / "headgate.db", tmp_path / "nowhere" / "monday")
    with pytest.raises(BackupRefused, match="there is no backup"):
        restore(tmp_path / "monday", tmp_path / "headgate.db", START)


async def test_a_backup_takes_the_place_of_the_store_and_the_store_is_kept(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    async with open_store(path) as store:
        await store.update_release(release(status=ReleaseStatus.SUCCEEDED))
        await store.add_release(release("r2"), [stored("r2")], START)
    first = restore(copy, path, START)
    assert await names_in(path) == ["r1"]
    assert first.former is not None
    assert first.former.name == "headgate.db.before-restore-20260105T030000Z"
    assert await names_in(first.former) == ["r2"]
    again = restore(first.former, path, START)
    assert again.former is not None
    assert again.former.name == "headgate.db.before-restore-20260105T030000Z-2"
    assert await names_in(path) == ["r2"]


async def test_a_backup_becomes_the_store_of_a_new_host(tmp_path: Path) -> None:
    await fill(tmp_path / "headgate.db")
    back_up(tmp_path / "headgate.db", tmp_path / "monday")
    restored = restore(tmp_path / "monday", tmp_path / "new" / "host" / "headgate.db", START)
    assert restored.former is None
    assert await names_in(tmp_path / "new" / "host" / "headgate.db") == ["r1"]


async def test_a_log_that_a_killed_daemon_has_left_goes_with_its_store(tmp_path: Path) -> None:
    """It would be read into the restored one."""
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    with closing(sqlite3.connect(path, isolation_level=None)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("UPDATE release SET application = 'mail'")
        os.link(path.with_name("headgate.db-wal"), tmp_path / "kept")
    os.link(tmp_path / "kept", path.with_name("headgate.db-wal"))
    restored = restore(copy, path, START)
    assert restored.former is not None
    assert restored.former.with_name(restored.former.name + "-wal").exists()
    async with open_store(path) as store:
        assert [one.application for one in await store.unfinished_releases()] == ["shop"]


async def test_a_running_daemon_keeps_its_store(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    async with open_store(path):
        with pytest.raises(StoreBusy, match="Stop that daemon"):
            restore(copy, path, START)
    assert leftovers(tmp_path, "before-restore") == []


async def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    """Any page of it: what is in none of them is not needed."""
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    content, before = copy.read_bytes(), path.read_bytes()
    for page in range(1, len(content) // 4096):
        copy.write_bytes(content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :])
        with pytest.raises(StoreDamaged, match="was left untouched"):
            restore(copy, path, START)
    for length in (0, 10, 4096, len(content) - 4096):
        copy.write_bytes(content[:length])
        with pytest.raises(StoreDamaged):
            restore(copy, path, START)
    assert path.read_bytes() == before
    assert leftovers(tmp_path, "before-restore") == []


async def test_a_backup_of_a_newer_headgate_is_refused(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(f"PRAGMA user_version = {current_version() + 1}")
    with pytest.raises(StoreTooNew):
        restore(copy, path, START)


async def test_the_store_itself_is_no_backup_of_it(tmp_path: Path) -> None:
    await fill(tmp_path / "headgate.db")
    assert check(tmp_path / "headgate.db").releases == 1
    with pytest.raises(BackupRefused, match="is the store itself"):
        restore(tmp_path / "headgate.db", tmp_path / "headgate.db", START)

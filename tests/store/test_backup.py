"""Copies of the store: taken while somebody writes, checked, and put back without anything being overwritten."""

from __future__ import annotations

import errno
import os
import re
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


def kill_a_daemon_that_renames(path: Path, application: str) -> None:
    """Its last decision is in the log only."""
    log = path.with_name(path.name + "-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("UPDATE release SET body = CAST(replace(body, 'shop', ?) AS BLOB)", (application,))
        left = [(one, one.read_bytes()) for one in (path, log)]
    for one, content in left:  # As it was before the last one who closes it brings the log into it.
        one.write_bytes(content)


async def applications_in(path: Path) -> list[str]:
    async with open_store(path) as store:
        return [one.application for one in await store.unfinished_releases()]


async def test_a_log_that_a_killed_daemon_has_left_goes_with_its_store(tmp_path: Path) -> None:
    """It would be read into the restored one."""
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    kill_a_daemon_that_renames(path, "mail")
    restored = restore(copy, path, START)
    assert restored.former is not None
    assert restored.former.with_name(restored.former.name + "-wal").stat().st_size > 0
    assert await applications_in(path) == ["shop"]
    assert await applications_in(restored.former) == ["mail"]


async def test_a_store_whose_newest_decisions_are_in_its_log_comes_back_with_them(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    kill_a_daemon_that_renames(path, "mail")
    first = restore(copy, path, START)
    assert await applications_in(path) == ["shop"]
    assert first.former is not None
    restore(first.former, path, START)
    assert await applications_in(path) == ["mail"]


async def test_a_log_without_its_store_is_not_read_into_the_restored_one(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    kill_a_daemon_that_renames(path, "mail")
    path.unlink()
    restored = restore(copy, path, START)
    assert restored.former == tmp_path / "headgate.db.before-restore-20260105T030000Z-wal"
    assert restored.former.stat().st_size > 0
    assert await applications_in(path) == ["shop"]


async def test_the_names_of_files_are_not_addresses(tmp_path: Path) -> None:
    path = tmp_path / "what? 100%41 #1.db"
    await fill(path)
    back_up(path, tmp_path / "a copy?")
    restore(tmp_path / "a copy?", path, START)
    assert await names_in(path) == ["r1"]


async def test_a_file_system_without_links_has_backups_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)

    def refuse(*given: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    back_up(path, copy)
    assert await names_in(copy) == ["r1"]
    assert leftovers(tmp_path, "partial") == []
    with pytest.raises(BackupRefused, match="is there already"):
        back_up(path, copy)


async def test_a_store_that_cannot_be_read_is_named_and_not_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8192)
    with pytest.raises(StoreDamaged, match=re.escape(f"{path} cannot be read")):
        back_up(path, copy)
    path.write_bytes(b"")
    with pytest.raises(BackupRefused, match=re.escape(f"{path} is empty")):
        back_up(path, copy)
    assert leftovers(tmp_path, "monday") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may do it for somebody else")
async def test_root_restores_it_for_the_user_whose_store_it_is(tmp_path: Path) -> None:
    path, copy = tmp_path / "headgate.db", tmp_path / "monday"
    await fill(path)
    back_up(path, copy)
    path.with_name("headgate.db.lock").unlink()
    os.chown(path, 1000, 1000)
    restore(copy, path, START)
    assert [one.stat().st_uid for one in (path, path.with_name("headgate.db.lock"))] == [1000, 1000]
    assert path.stat().st_mode & 0o777 == 0o600
    os.chown(tmp_path, 1001, 1001)
    path.unlink()
    restore(copy, path, START)
    assert path.stat().st_uid == 1001


async def test_two_names_of_one_store_are_one_store(tmp_path: Path) -> None:
    path, other = tmp_path / "headgate.db", tmp_path / "link.db"
    await fill(path)
    other.symlink_to(path)
    async with open_store(path):
        with pytest.raises(StoreBusy):
            async with open_store(other):
                pass


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

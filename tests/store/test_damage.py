"""What becomes of a store that something has happened to: either what SQLite guarantees is there, or it is refused with what to
do, and then no byte of it was changed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from engine.errors import StoreDamaged, StoreError
from engine.ports import StoredRollout
from store.sqlite import open_store
from tests.clocks import START
from tests.store.stand import decision, release, stored

FIRST, SECOND = 30, 40
"""Decisions that are in the database itself, and after them in its log alone."""
NOBODY = 65_534
FRAME = 24 + 4_096
"""Of a log: a header, and a page."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """As a daemon leaves it that was killed: the newest decisions are in the log alone."""
    made, path = tmp_path / "made.db", tmp_path / "headgate.db"

    async def write() -> None:
        async with open_store(made) as store:
            one = stored()
            await store.add_release(release(), [one], START)
            for number in range(1, FIRST + SECOND + 1):
                commit = decision(one, f"decision {number}")
                await store.commit(commit)
                one = StoredRollout(one.spec, commit.snapshot)
                if number == FIRST:
                    with closing(sqlite3.connect(made)) as connection:
                        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for suffix in ("", "-wal", "-shm"):
                shutil.copyfile(f"{made}{suffix}", f"{path}{suffix}")

    asyncio.run(write())
    assert log_of(path).stat().st_size > SECOND * FRAME
    return path


def log_of(store: Path) -> Path:
    return store.with_name(store.name + "-wal")


def contents(store: Path) -> dict[str, bytes]:
    """The database and its log; the index of the log is SQLite's to make anew."""
    paths = (store, log_of(store))
    return {path.name: path.read_bytes() for path in paths if path.exists()}


async def newest(path: Path) -> int:
    """The number of the newest decision, by the snapshot and by the journal. Raises `StoreError`."""
    async with open_store(path) as store:
        (one,) = await store.rollouts("r1")
        entries = await store.journal("r1")
    numbers = [int(entry.text.removeprefix("decision ")) for entry in entries]
    assert numbers == list(range(1, one.snapshot.seq + 1))
    return one.snapshot.seq


async def refusal(path: Path) -> str:
    """Why it is refused. Nothing of it is changed by that."""
    before = contents(path)
    with pytest.raises(StoreError) as caught:
        await newest(path)
    assert contents(path) == before
    return str(caught.value)


# --- the log -----------------------------------------------------------------------------------------------------------


async def test_what_a_killed_daemon_has_committed_is_there(store: Path) -> None:
    assert await newest(store) == FIRST + SECOND


@pytest.mark.parametrize("missing", [1, 24, 2_000, FRAME, 3 * FRAME + 100])
async def test_a_log_whose_end_was_never_written_loses_what_was_in_that_end(store: Path, missing: int) -> None:
    """Cut in any byte: what is there is whole decisions, and all of them up to the first that is not."""
    cut(log_of(store), -missing)
    left = await newest(store)
    assert FIRST + SECOND - 3 <= left < FIRST + SECOND
    assert await newest(store) == left


async def test_a_page_of_the_log_that_was_torn_ends_it_there(store: Path) -> None:
    overwrite(log_of(store), len(contents(store)["headgate.db-wal"]) - 2_048, b"\xaa" * 2_048)
    assert await newest(store) == FIRST + SECOND - 1


async def test_a_log_that_is_no_log_leaves_what_is_in_the_database(store: Path) -> None:
    log_of(store).write_bytes(b"\xff" * 100_000)
    assert await newest(store) == FIRST


async def test_a_log_that_is_gone_leaves_what_is_in_the_database(store: Path) -> None:
    log_of(store).unlink()
    assert await newest(store) == FIRST


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 32_768])
async def test_the_index_of_the_log_is_made_anew(store: Path, content: bytes | None) -> None:
    index = store.with_name(store.name + "-shm")
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    assert await newest(store) == FIRST + SECOND


async def test_a_log_without_its_database_is_refused_because_sqlite_would_remove_it(store: Path) -> None:
    await anyio.Path(store).unlink()
    assert "headgate.db is not there, but there is its log" in await refusal(store)
    assert "Put the database back beside it, or restore a backup; to begin anew, move the log away" in await refusal(store)
    assert contents(store).keys() == {"headgate.db-wal"}


async def test_an_emptied_database_with_a_log_is_refused_too(store: Path) -> None:
    os.truncate(store, 0)
    assert "headgate.db is empty, but there is its log" in await refusal(store)


async def test_an_empty_file_without_a_log_is_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    path.touch()
    async with open_store(path) as made:
        assert await made.releases() == []


# --- the database ------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(store: Path) -> Path:
    """All in the database, and no log."""
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return store


def cut(path: Path, size: float) -> None:
    """To this share of what it is; or by so many bytes, if that is negative."""
    there = path.stat().st_size
    os.truncate(path, int(there * size) if size > 0 else there + int(size))


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def find(path: Path, what: bytes, *, kind: int) -> int:
    """Where it is, on a page of this kind: 13 is a table's leaf, and 10 an index's."""
    content = path.read_bytes()
    pages = (at for at in range(4_096, len(content), 4_096) if content[at] == kind)
    return next(content.rindex(what, at, at + 4_096) for at in pages if what in content[at : at + 4_096])


TABLE, INDEX = 13, 10
ADVICE = "Restore it from a backup; it was left untouched"


@pytest.mark.parametrize("size", [0.5, -1_000])
async def test_a_database_that_was_cut_is_refused(alone: Path, size: float) -> None:
    cut(alone, size)
    assert ADVICE in await refusal(alone)


async def test_a_database_that_was_cut_is_refused_with_its_log_beside_it(store: Path) -> None:
    """The log has the newest pages, and none of those that were not changed."""
    cut(store, 0.1)
    assert ADVICE in await refusal(store)


@pytest.mark.parametrize("kind", [TABLE, INDEX])
async def test_a_page_whose_order_is_broken_is_found(alone: Path, kind: int) -> None:
    page = find(alone, b"r1", kind=kind) // 4_096 * 4_096
    overwrite(alone, page + 3, b"\x7f\xff\x7f\xff")  # How many cells are on it, and where they begin.
    assert ADVICE in await refusal(alone)


async def test_an_entry_of_an_index_that_differs_from_its_row_is_found(alone: Path) -> None:
    """Only a whole check finds it: every page is well formed."""
    overwrite(alone, find(alone, b"r1.production", kind=INDEX), b"r2")
    with closing(sqlite3.connect(alone)) as connection:
        assert connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    assert ADVICE in await refusal(alone)


async def test_a_value_that_is_no_value_any_more_is_refused_when_it_is_read(alone: Path) -> None:
    """SQLite knows no checksum of what is in a row."""
    overwrite(alone, find(alone, b'"state":"waiting"', kind=TABLE), b'"state":"walking"')
    async with open_store(alone) as opened:
        with pytest.raises(StoreError, match=r"Snapshot is not readable: .*restore a backup \(headgate restore\)"):
            await opened.rollouts("r1")


# --- rights and room ---------------------------------------------------------------------------------------------------


def told_to(act: Callable[[], None], path: Path) -> str:
    """What a process is told that may do as `act` leaves it, and opens the store; empty when it is told nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "the process ended otherwise"
        try:
            act()
            asyncio.run(newest(path))
            text = ""
        except StoreError as error:
            text = str(error)
        finally:
            os.write(writing, text.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)


@pytest.fixture
def shown(store: Path) -> Iterator[Path]:
    """The store in a folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="headgate-damage-"))
    folder.chmod(0o755)
    try:
        for path in (store, log_of(store)):
            shutil.copyfile(path, folder / path.name)
        yield folder / store.name
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def unchanged_by(path: Path, told: Callable[[], str]) -> str:
    before = contents(path)
    text = told()
    assert contents(path) == before
    return text


def test_a_folder_that_may_not_be_written_is_named_with_whom_it_belongs_to(shown: Path) -> None:
    shown.chmod(0o666)
    log_of(shown).chmod(0o666)
    shown.parent.chmod(0o555)
    said = unchanged_by(shown, lambda: told_to(become_nobody, shown))
    assert f"may not write into {shown.parent}, where SQLite keeps its log beside the file" in said
    assert "Restore" not in said


def test_a_file_that_may_not_be_written_is_named(shown: Path) -> None:
    shown.chmod(0o444)
    shown.parent.chmod(0o777)
    said = unchanged_by(shown, lambda: told_to(become_nobody, shown))
    assert f"may not write {shown}, which belongs to" in said


def test_a_file_of_somebody_else_is_named_with_its_owner(shown: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(shown, 1, 1)
    shown.chmod(0o600)
    shown.parent.chmod(0o777)
    said = unchanged_by(shown, lambda: told_to(become_nobody, shown))
    assert f"may not write {shown}, which belongs to daemon; run the daemon as that user" in said


def test_a_log_of_somebody_else_is_named_too(shown: Path) -> None:
    """As when root has looked into the store with sqlite3."""
    shown.chmod(0o666)
    log_of(shown).chmod(0o400)
    shown.parent.chmod(0o777)
    said = unchanged_by(shown, lambda: told_to(become_nobody, shown))
    assert f"may not write {log_of(shown)}, which belongs to" in said


def no_more_room() -> None:
    """No file of this process may grow beyond what nearly every file is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))


def test_no_room_for_a_new_store_is_said_and_once_there_is_some_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    said = told_to(no_more_room, path)
    assert f"{path} cannot be " in said
    assert "Restore" not in said

    async def open_it() -> int:
        async with open_store(path) as made:
            return len(await made.releases())

    assert asyncio.run(open_it()) == 0


def test_no_room_for_the_log_of_a_store_is_said_and_nothing_of_it_is_lost(store: Path) -> None:
    store.with_name(store.name + "-shm").unlink()
    said = unchanged_by(store, lambda: told_to(no_more_room, store))
    assert f"{store} cannot be " in said
    assert "Restore" not in said
    assert asyncio.run(newest(store)) == FIRST + SECOND


def test_damage_is_told_from_what_only_hinders(tmp_path: Path) -> None:
    """Whoever reads 'damaged' looks for a backup."""
    assert issubclass(StoreDamaged, StoreError)
    path = tmp_path / "headgate.db"
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        asyncio.run(newest(path))
    assert not isinstance(caught.value, StoreDamaged)

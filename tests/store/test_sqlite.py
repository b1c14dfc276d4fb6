"""What only a store in a file can go through: damage, other programs' files, and the schemas of before."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engine.errors import StoreDamaged, StoreError, StoreTooNew
from engine.model import Origin
from engine.ports import NotedOrigin
from store.schema import current_version, migrations
from store.sqlite import open_store
from tests.clocks import START
from tests.store.stand import release, stored


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


async def test_a_check_finds_that_there_is_no_room_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    async with open_store(path) as store:
        await store.check()
        with no_file_longer_than(path.with_name("headgate.db-wal").stat().st_size), pytest.raises(StoreError, match="written"):
            await store.check()
        await store.check()
        assert await store.origins() == []


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """As a disk that is full, for what this process writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

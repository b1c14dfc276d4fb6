"""The store on SQLite: one file on this host. Reads use a connection of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import anyio.to_thread

from engine.errors import StoreError, StoreHindered
from store.group_commit import Row, Statement
from store.hindrances import describe_hindrance
from store.lock import StoreLock
from store.relational import SqlStore
from store.schema import migrate
from store.writer import Writer

PAGES = 200
"""Of the file that are given back in one transaction."""
_INCREMENTAL = 2
_WRITE_A_PAGE: tuple[Statement, ...] = (
    ("INSERT OR REPLACE INTO origin (folder, file, digest, release) VALUES (?, ?, ?, ?)", ("", "", "", "")),
    ("DELETE FROM origin WHERE folder = ? AND file = ?", ("", "")),
)
"""It is there for nobody, and the page goes to the disk all the same. No folder and no file is called so."""


class SqliteStore(SqlStore):
    def __init__(self, writer: Writer, reading: aiosqlite.Connection) -> None:
        super().__init__(writer, _Reader(reading))
        self._file = writer

    async def check(self) -> None:
        """A transaction that changes nothing writes nothing here, and would succeed on a disk that is full."""
        await self.writer.submit(plain=_WRITE_A_PAGE)

    async def give_space_back(self) -> None:
        """A few pages at a time, between two groups of changes. Nothing, in a file that was not made for it."""
        ((kind,),) = await self._reading.fetch("PRAGMA auto_vacuum")
        while kind == _INCREMENTAL and await self._file.give_back(PAGES):
            pass


class _Reader:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, parameters: Row = ()) -> Sequence[Sequence[Any]]:
        try:
            return list(await self._connection.execute_fetchall(sql, parameters))
        except sqlite3.Error as error:
            raise StoreError(f"the store could not be read: {error}") from error


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[SqliteStore]:
    """Lock, check and upgrade the file, and serve it until the block ends.

    Raises `StoreBusy`, `StoreTooNew`, `StoreDamaged` or `StoreHindered`; the file is then as it was.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(StoreLock(path))
            await anyio.to_thread.run_sync(migrate, path)
            writing = await _connect(path, "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000")
        except (sqlite3.Error, OSError) as error:
            raise StoreHindered(describe_hindrance(path, error)) from error
        reading: aiosqlite.Connection | None = None
        try:
            reading = await _connect(path, "query_only = ON")
            writer = Writer(writing)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writer.run)
                try:
                    yield SqliteStore(writer, reading)
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            # The connections' threads must end before the loop does, whatever ends the block.
            with anyio.CancelScope(shield=True):
                for connection in (writing, reading):
                    if connection is not None:
                        await connection.close()


async def _connect(path: Path, *pragmas: str) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    for pragma in pragmas:
        await connection.execute(f"PRAGMA {pragma}")
    return connection

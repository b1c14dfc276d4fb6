"""The one writer of an SQLite store: what `store.group_commit` needs of an aiosqlite connection."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiosqlite
import anyio

from engine.errors import StoreError
from store.group_commit import GroupCommit, Row, Transaction


class Writer(GroupCommit):
    def __init__(self, connection: aiosqlite.Connection, *, largest_group: int = 500) -> None:
        self._sqlite = _SqliteDatabase(connection)
        super().__init__(self._sqlite, largest_group=largest_group)

    async def give_back(self, pages: int) -> int:
        """So many of the file's free pages to the file system, between two groups of changes. How many are free still.

        Raises `StoreError`."""
        return await self._sqlite.give_back(pages)


class _SqliteDatabase:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._turn = anyio.Lock()
        """Whose turn the connection is: a transaction's, or what is done between two."""

    async def give_back(self, pages: int) -> int:
        try:
            async with self._turn:
                await self._connection.execute_fetchall(f"PRAGMA incremental_vacuum({pages})")
                ((free,),) = await self._connection.execute_fetchall("PRAGMA freelist_count")
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"the space of what was removed could not be given back: {error}") from error
        return int(free)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._turn, self._begun() as transaction:
            yield transaction

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[Transaction]:
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._connection)
                await self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    await self._connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"the store could not be written: {error}") from error


class _SqliteTransaction:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def change(self, sql: str, rows: Sequence[Row]) -> int:
        return (await self._connection.executemany(sql, rows)).rowcount

    async def execute(self, sql: str, rows: Sequence[Row]) -> None:
        await self._connection.executemany(sql, rows)

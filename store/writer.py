"""The one writer of an SQLite store: what `store.group_commit` needs of an aiosqlite connection."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiosqlite

from engine.errors import StoreError
from store.group_commit import GroupCommit, Row, Transaction


class Writer(GroupCommit):
    def __init__(self, connection: aiosqlite.Connection, *, largest_group: int = 500) -> None:
        super().__init__(_SqliteDatabase(connection), largest_group=largest_group)


class _SqliteDatabase:
    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
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

"""The store on PostgreSQL, for those who outgrow one host. Reads use connections of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import asyncpg

from engine.errors import StoreError
from store.group_commit import GroupCommit, Row
from store.postgres_place import CONNECT_SECONDS, FAILURES, PostgresPlace, connection_options, said, session_name
from store.postgres_session import HANG_UP_SECONDS, TakeOver, open_session
from store.relational import SqlStore, numbered

MOST_READING = 4
"""Connections that read at a time; further reads wait for one."""


class PostgresStore(SqlStore):
    def __init__(self, writer: GroupCommit, reading: _Reader, epoch: int) -> None:
        super().__init__(writer, reading)
        self.epoch = epoch
        """How many daemons have opened this store until now, this one among them."""


@asynccontextmanager
async def open_postgres(
    place: PostgresPlace, holder: str, now: datetime, *, take_over: TakeOver | None = None
) -> AsyncIterator[PostgresStore]:
    """Become the store's only writer, bring it to the current schema, and serve it until the block ends.

    `holder`: what others are told of this daemon; no two may be called the same. `take_over`: in the place of a daemon that is
    there, as long as this allows it. Raises `StoreBusy`, `StoreTooNew`, `StoreDamaged` and `StoreError`, and
    `Deposed` out of the block as soon as another daemon has opened the store in its turn.
    """
    session = await open_session(place, holder, now, take_over=take_over)
    try:
        async with _open_pool(place, f"{holder}, reading") as pool:
            writer = GroupCommit(session)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writer.run)
                try:
                    yield PostgresStore(writer, _Reader(pool), session.epoch)
                finally:
                    session.end_soon()
                    tasks.cancel_scope.cancel()
    finally:
        await session.close()


@asynccontextmanager
async def _open_pool(place: PostgresPlace, name: str) -> AsyncIterator[asyncpg.Pool]:
    options = connection_options(place, session_name(name))
    pool = await asyncpg.create_pool(place.url, min_size=0, max_size=MOST_READING, **options)
    try:
        yield pool
    finally:
        # In peace where the server answers; it may be gone without a word.
        with anyio.move_on_after(HANG_UP_SECONDS, shield=True):
            await pool.close()
        pool.terminate()


class _Reader:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def fetch(self, sql: str, parameters: Row = ()) -> Sequence[Sequence[Any]]:
        try:
            return await self._once(sql, parameters)
        except FAILURES:
            # The connection may have been lost long ago, and nobody have noticed; the next one is made anew.
            try:
                return await self._once(sql, parameters)
            except FAILURES as error:
                raise StoreError(f"the store could not be read: {said(error)}") from error

    async def _once(self, sql: str, parameters: Row) -> Sequence[Sequence[Any]]:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            found: Sequence[Sequence[Any]] = await connection.fetch(numbered(sql), *parameters)
            return found

"""One writer that groups the commits of all rollouts: many decisions per fsync. Knows no database.

A database's connection has one transaction at a time, so exactly one task owns the writing one; everybody else hands in a
`Change` and waits until it is on disk. What is handed in while a commit is under way goes into the next one together. A change
whose guard fails (somebody else moved the rollout on) fails alone: its group is done again one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import anyio

from engine.errors import Deposed, StoreError

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Value, ...]
Statement: TypeAlias = tuple[str, Row]


class Reader(Protocol):
    """A connection that only reads."""

    async def fetch(self, sql: str, parameters: Row = ()) -> Sequence[Sequence[Any]]:
        """Raises `StoreError`."""


class FenceLost(StoreError):
    """The rollout's row has moved on since it was read: another writer, or a decision made twice. Nothing was written."""


class Transaction(Protocol):
    """One of a database, while it is open."""

    async def change(self, sql: str, rows: Sequence[Row]) -> int:
        """Run it once for each row of parameters; how many rows of the database were changed altogether."""

    async def execute(self, sql: str, rows: Sequence[Row]) -> None:
        """Run it once for each row of parameters."""


class Database(Protocol):
    """What the writer needs of a database."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Committed at the end of the block; what is raised in the block rolls it back.

        Raises `StoreError` when nothing was written, and `Deposed` when nothing ever will be again.
        """


@dataclass(slots=True)
class Change:
    """Statements that take effect together or not at all. Each `guarded` one must change exactly one row."""

    guarded: Sequence[Statement] = ()
    plain: Sequence[Statement] = ()
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupCommit:
    """Owns the writing connection. `run` is its task; `submit` may be called by any number of others."""

    def __init__(self, database: Database, *, largest_group: int = 500) -> None:
        self._database = database
        self._largest_group = largest_group
        self._waiting: list[Change] = []
        self._arrived = anyio.Event()
        self._closed = False
        self.commits = 0
        self.changes = 0

    async def submit(self, *, guarded: Sequence[Statement] = (), plain: Sequence[Statement] = ()) -> None:
        """Returns when the change is on disk. Raises `FenceLost` or `StoreError`; then nothing of it was written."""
        if self._closed:
            raise StoreError("the store is closed")
        change = Change(guarded, plain)
        self._waiting.append(change)
        self._arrived.set()
        # A caller that is cancelled stops waiting; the change itself is not torn in two.
        await asyncio.shield(change.done)

    async def run(self) -> None:
        """Until it is cancelled. Raises `Deposed`: whoever runs this must stop then."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                while self._waiting:
                    group, self._waiting = self._waiting[: self._largest_group], self._waiting[self._largest_group :]
                    with anyio.CancelScope(shield=True):
                        await self._write(group)
        finally:
            self._closed = True
            for change in self._waiting:
                _fail(change, StoreError("the store was closed before this was written"))

    async def _write(self, group: list[Change]) -> None:
        try:
            await self._commit(group)
        except FenceLost as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            for change in group:
                await self._write([change])
            return
        except StoreError as error:
            for change in group:
                _fail(change, error)
            if isinstance(error, Deposed):
                raise
            return
        for change in group:
            if not change.done.done():
                change.done.set_result(None)

    async def _commit(self, group: list[Change]) -> None:
        async with self._database.transaction() as transaction:
            for sql, rows in _by_statement([statement for change in group for statement in change.guarded]):
                if await transaction.change(sql, rows) != len(rows):
                    raise FenceLost("the rollout was moved on by somebody else; this decision was thrown away")
            for sql, rows in _by_statement([statement for change in group for statement in change.plain]):
                await transaction.execute(sql, rows)
        self.commits += 1
        self.changes += len(group)


def _by_statement(statements: Sequence[Statement]) -> list[tuple[str, list[Row]]]:
    """Rows grouped by SQL text, texts in the order of their first use: one way to the database and back per text."""
    grouped: dict[str, list[Row]] = {}
    for sql, row in statements:
        grouped.setdefault(sql, []).append(row)
    return list(grouped.items())


def _fail(change: Change, error: StoreError) -> None:
    if not change.done.done():
        change.done.set_exception(error)
        change.done.exception()  # Retrieved here, so that a caller who has gone away leaves no warning behind.

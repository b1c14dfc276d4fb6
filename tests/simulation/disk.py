"""The store's file, without a file: real SQLite in memory behind the two connections that `store.sqlite` asks for.

A commit may fail in the ways in which disks fail. One whose fsync has failed is undone for whoever is running, and may all the
same be there for whoever comes after a crash, as long as nothing was written over it: that is how a write-ahead log is.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import anyio

from store.schema import migrations
from store.sqlite import SqliteStore
from store.writer import Writer
from tests.simulation.dice import Dice, Trouble
from tests.simulation.process import Process

Statement = tuple[str, list[tuple[Any, ...]]]


class Disk:
    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.file = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.file.deserialize(_empty_store())
        self.epoch = 0
        """How many daemons have opened it: only the last of them may write."""
        self.full_until = 0.0
        self.calm = False
        self.ghost: list[Statement] = []
        """A commit that failed, and that may have come to the disk all the same."""
        self.faults: Counter[str] = Counter()

    def close(self) -> None:
        self.file.close()

    @asynccontextmanager
    async def open(self, process: Process) -> AsyncIterator[SqliteStore]:
        self._recover()
        self.epoch += 1
        process.epoch = self.epoch
        writer = Writer(_Connection(self, process))  # type: ignore[arg-type]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run, name="writer")
            try:
                yield SqliteStore(writer, _Connection(self, process))  # type: ignore[arg-type]
            finally:
                tasks.cancel_scope.cancel()

    def _recover(self) -> None:
        """As SQLite does at the first opening after a crash."""
        ghost, self.ghost = self.ghost, []
        if ghost and self._dice.of("ghost").random() < 0.5:
            self.file.execute("BEGIN IMMEDIATE")
            for sql, rows in ghost:
                self.file.executemany(sql, rows)
            self.file.execute("COMMIT")
            self.faults["a failed commit is there after the crash"] += 1

    def delay(self) -> float:
        return self._dice.of("disk's delays").uniform(0.0005, 0.004)

    def draw_fault(self) -> str:
        """What goes wrong with this commit; empty for nothing."""
        if self.calm:
            return ""
        if anyio.current_time() < self.full_until:
            return "database or disk is full"
        if not self._dice.happens(Trouble.DISK, 0.02):
            return ""
        random = self._dice.of(Trouble.DISK)
        kind = random.choice(["database or disk is full", "database is locked", "disk I/O error"])
        if kind == "database or disk is full":
            self.full_until = anyio.current_time() + random.choice([1.0, 30.0, 200.0])
        self.faults[kind] += 1
        return kind


class _Cursor:
    def __init__(self, rowcount: int) -> None:
        self.rowcount = rowcount


class _Connection:
    """What `store.writer` and `store.sqlite` use of an aiosqlite connection."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process
        self._written: list[Statement] = []

    @property
    def in_transaction(self) -> bool:
        return self._disk.file.in_transaction

    async def execute(self, sql: str) -> None:
        """Nobody else comes in between a BEGIN and its COMMIT, as the file has one connection only."""
        if sql.startswith("BEGIN"):
            await anyio.sleep(self._disk.delay())
            await self._process.wait_while_stopped()
            self._require_life("before a commit")
            if self._process.epoch != self._disk.epoch:
                raise sqlite3.OperationalError("another daemon has taken the store over")
            self._written = []
            self._disk.file.execute(sql)
        elif sql == "COMMIT":
            self._commit()
            await anyio.sleep(self._disk.delay())
        else:
            self._disk.file.execute(sql)

    async def executemany(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> _Cursor:
        self._written.append((sql, list(rows)))
        return _Cursor(self._disk.file.executemany(sql, rows).rowcount)

    def _commit(self) -> None:
        fault = self._disk.draw_fault()
        if fault:
            self._disk.ghost = self._written if fault == "disk I/O error" else []
            raise sqlite3.OperationalError(fault)
        self._disk.file.execute("COMMIT")
        self._disk.ghost = []
        self._require_life("after a commit")

    def _require_life(self, point: str) -> None:
        if not self._process.survives(point):
            raise sqlite3.OperationalError("the process is gone")

    async def execute_fetchall(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        await anyio.sleep(self._disk.delay())
        return self._disk.file.execute(sql, tuple(parameters)).fetchall()


@cache
def _empty_store() -> bytes:
    with sqlite3.connect(":memory:", isolation_level=None) as made:
        for number, text in migrations():
            made.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")
        return made.serialize()

"""One store of each kind, for stories that must come to the same on all of them; and what is written into one."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import anyio
from msgspec.structs import replace

from engine.model import JournalEntry, Release, ReleaseStatus
from engine.ports import Commit, StoredRollout
from store.postgres import PostgresStore, open_postgres
from store.postgres_place import PostgresPlace
from store.postgres_session import TakeOver
from store.relational import SqlStore
from store.sqlite import open_store
from tests.builders import error_rate, percent, rollout_spec, target_plan, waiting
from tests.clocks import START
from tests.postgres.server import PASSWORD, PostgresServer

_DAEMONS = count(1)


def whenever() -> None:
    """A daemon that may take over at any moment."""


class Stand(Protocol):
    def open(self) -> AbstractAsyncContextManager[SqlStore]:
        """As one more daemon."""

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What is in the database, beside the store."""

    def writing_process(self) -> tuple[list[str], dict[str, str]]:
        """The command and environment of a process that writes one decision after the other, and says each number."""


@dataclass(frozen=True)
class SqliteStand:
    path: Path

    def open(self) -> AbstractAsyncContextManager[SqlStore]:
        return open_store(self.path)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def writing_process(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-m", "tests.store.stand", str(self.path)], dict(os.environ)


@dataclass(frozen=True)
class PostgresStand:
    server: PostgresServer
    place: PostgresPlace

    @asynccontextmanager
    async def open(self, *, port: int | None = None, take_over: TakeOver | None = None) -> AsyncIterator[PostgresStore]:
        """`port`: by the way of a wire that can be cut."""
        place = self.place if port is None else self.server.place(self.database, port=port)
        try:
            async with open_postgres(place, f"daemon {next(_DAEMONS)} of {os.getpid()}", START, take_over=take_over) as store:
                yield store
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    @property
    def database(self) -> str:
        return self.place.url.rpartition("/")[2]

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return await self.server.ask(self.database, sql)

    def writing_process(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-m", "tests.store.stand", self.place.url], {**os.environ, "PGPASSWORD": PASSWORD}


def release(name: str = "r1", status: ReleaseStatus = ReleaseStatus.RUNNING) -> Release:
    return Release(name, "shop", "", status, START, "ada", "shop.yaml")


def stored(name: str = "r1", target: str = "production") -> StoredRollout:
    plan = target_plan([percent(25), error_rate()], target=target)
    return StoredRollout(rollout_spec(plan, rollout=f"{name}.{target}", release=name), waiting())


def decision(before: StoredRollout, text: str = "noted", **changes: object) -> Commit:
    snapshot = replace(before.snapshot, seq=before.snapshot.seq + 1, **changes)
    entry = JournalEntry(before.spec.id, snapshot.seq, START, "test", before.snapshot.state, snapshot.state, -1, text)
    return Commit(before.spec, snapshot, entry, before.snapshot.seq)


async def _write_for_ever(place: str) -> None:
    opening: AbstractAsyncContextManager[SqlStore] = open_store(Path(place))
    if place.startswith("postgresql:"):
        opening = open_postgres(PostgresPlace(place), f"process {os.getpid()}", START)
    async with opening as store:
        one = stored()
        await store.add_release(release(), [one], START)
        while True:
            commit = decision(one)
            await store.commit(commit)
            one = StoredRollout(one.spec, commit.snapshot)
            sys.stdout.write(f"{one.snapshot.seq}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(_write_for_ever, sys.argv[1])

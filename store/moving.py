"""A store's way from SQLite to PostgreSQL, while no daemon runs on either: rollouts that are under way go on there.

The file is read as it is and kept under another name, so that no daemon takes up by mistake what goes on elsewhere.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from engine.errors import MoveRefused
from store.backup import Contents, check, moment_of, set_aside
from store.group_commit import Row
from store.lock import StoreLock
from store.postgres_place import PostgresPlace
from store.postgres_session import open_session
from store.schema import migrate

ROWS_AT_A_TIME = 2_000
_TABLES = (
    ("release", "id, application, status, created_at, body", "rowid"),
    ("rollout", "id, release, target, state, final, seq, spec, snapshot", "rowid"),
    ("journal", "rollout, seq, at, body", "rollout, seq"),
    ("action", "rollout, number, name, args, pending, attempt", "rollout, number"),
    ("timer", "rollout, name, due_at", "rollout, name"),
    ("origin", "folder, file, digest, release", "folder, file"),
)
"""Each with its columns, and the order in which its rows are written."""


@dataclass(frozen=True, slots=True)
class Moved:
    contents: Contents
    former: Path
    """Where the file is now."""


async def move_store(source: Path, target: PostgresPlace, holder: str, now: datetime) -> Moved:
    """Write everything that is in the file into an empty database, in one transaction.

    Raises `MoveRefused` where there is no such file or the database holds something already, `StoreBusy` while a daemon runs on
    one of them, and `StoreDamaged`, `StoreTooNew` and `StoreError`: then the file is where it was, and nothing was written.
    """
    if not await anyio.Path(source).exists():
        raise MoveRefused(f"there is no store {source}")
    with StoreLock(source):
        await anyio.to_thread.run_sync(migrate, source)
        contents = await anyio.to_thread.run_sync(check, source)
        tables = await anyio.to_thread.run_sync(_read, source)
        session = await open_session(target, holder, now)
        try:
            async with session.transaction() as transaction:
                if any([await transaction.has_rows(table) for table, _, _ in _TABLES]):
                    raise MoveRefused(f"{target} holds a store already; name an empty database. Nothing was changed.")
                for sql, rows in tables:
                    for begin in range(0, len(rows), ROWS_AT_A_TIME):
                        await transaction.execute(sql, rows[begin : begin + ROWS_AT_A_TIME])
        finally:
            await session.close()
        return Moved(contents, set_aside(source, f"moved-{moment_of(now)}"))


def _read(source: Path) -> list[tuple[str, list[Row]]]:
    """Each table's statement, and its rows."""
    with closing(sqlite3.connect(source)) as connection:
        return [_read_table(connection, *table) for table in _TABLES]


def _read_table(connection: sqlite3.Connection, table: str, columns: str, order: str) -> tuple[str, list[Row]]:
    marks = ", ".join("?" for _ in columns.split(", "))
    rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows

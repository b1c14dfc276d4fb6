"""The store port on SQLite. Every write is one `Change` of the single writer; reads use a connection of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import aiosqlite
import anyio
import anyio.to_thread
import msgspec

from engine.errors import StoreError
from engine.model import FINAL_STATES, FINAL_STATUSES, JournalEntry, Origin, Release, RolloutSpec, Snapshot
from engine.ports import Commit, NotedOrigin, StoredRollout
from store.lock import StoreLock
from store.schema import migrate
from store.writer import Statement, Writer

T = TypeVar("T")

_INSERT_RELEASE = "INSERT INTO release (id, application, status, created_at, body) VALUES (?, ?, ?, ?, ?)"
_NOTE_ORIGIN = (
    "INSERT INTO origin (folder, file, digest, release) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (folder, file) DO UPDATE SET digest = excluded.digest, release = excluded.release"
)
_UPDATE_RELEASE = "UPDATE release SET status = ?, body = ? WHERE id = ?"
_INSERT_ROLLOUT = (
    "INSERT INTO rollout (id, release, target, state, final, seq, spec, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_ROLLOUT = "UPDATE rollout SET state = ?, final = ?, seq = ?, snapshot = ? WHERE id = ? AND seq = ?"
_INSERT_JOURNAL = "INSERT INTO journal (rollout, seq, at, body) VALUES (?, ?, ?, ?)"
_END_ACTIONS = "UPDATE action SET pending = 0 WHERE rollout = ? AND pending = 1"
_INSERT_ACTION = (
    "INSERT INTO action (rollout, number, name, args, pending, attempt) VALUES (?, ?, ?, ?, 1, ?) "
    "ON CONFLICT (rollout, number) DO UPDATE SET pending = 1, attempt = excluded.attempt"
)
_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
_DELETE_TIMERS = "DELETE FROM timer WHERE rollout = ?"
_INSERT_TIMER = "INSERT INTO timer (rollout, name, due_at) VALUES (?, ?, ?)"


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[SqliteStore]:
    """Lock, check and upgrade the file, and serve it until the block ends.

    Raises `StoreBusy`, `StoreTooNew` or `StoreDamaged`; the file is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with StoreLock(path):
        try:
            await anyio.to_thread.run_sync(migrate, path)
            writing = await _connect(path, "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000")
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened: {error}") from error
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


class SqliteStore:
    def __init__(self, writer: Writer, reading: aiosqlite.Connection) -> None:
        self.writer = writer
        self._reading = reading

    async def add_release(
        self, release: Release, rollouts: Sequence[StoredRollout], now: datetime, origin: Origin | None = None
    ) -> None:
        statements: list[Statement] = [
            (
                _INSERT_RELEASE,
                (release.id, release.application, release.status, _text(release.created_at), _encode(release)),
            )
        ]
        for stored in rollouts:
            spec, snapshot = stored.spec, stored.snapshot
            row = (
                spec.id,
                spec.release,
                spec.plan.target,
                snapshot.state,
                int(snapshot.state in FINAL_STATES),
                snapshot.seq,
                _encode(spec),
                _encode(snapshot),
            )
            statements.append((_INSERT_ROLLOUT, row))
        if origin is not None:
            statements.append(_note(NotedOrigin(origin, release.id)))
        await self.writer.submit(plain=statements)

    async def note_origin(self, noted: NotedOrigin) -> None:
        await self.writer.submit(plain=[_note(noted)])

    async def update_release(self, release: Release) -> None:
        await self.writer.submit(plain=[(_UPDATE_RELEASE, (release.status, _encode(release), release.id))])

    async def commit(self, commit: Commit) -> None:
        spec, snapshot, entry = commit.spec, commit.snapshot, commit.entry
        final = int(snapshot.state in FINAL_STATES)
        guarded: list[Statement] = [
            (_UPDATE_ROLLOUT, (snapshot.state, final, snapshot.seq, _encode(snapshot), spec.id, commit.previous_seq))
        ]
        plain: list[Statement] = [
            (_INSERT_JOURNAL, (spec.id, entry.seq, _text(entry.at), _encode(entry))),
            (_END_ACTIONS, (spec.id,)),
            (_DELETE_TIMERS, (spec.id,)),
        ]
        plain.extend(
            (_INSERT_ACTION, (spec.id, action.number, action.name, _encode(action.args), action.attempt))
            for action in snapshot.pending
        )
        plain.extend((_INSERT_TIMER, (spec.id, name, _text(at))) for name, at in snapshot.deadlines.items())
        await self.writer.submit(guarded=guarded, plain=plain)

    async def origins(self) -> list[NotedOrigin]:
        query = "SELECT folder, file, digest, release FROM origin ORDER BY folder, file"
        rows = await self._reading.execute_fetchall(query)
        return [NotedOrigin(Origin(row[0], row[1], row[2]), row[3]) for row in rows]

    async def unfinished_releases(self) -> list[Release]:
        """In the order of their arrival, which no clock that is set back can change."""
        rows = await self._reading.execute_fetchall(
            f"SELECT body FROM release WHERE status NOT IN ({_FINAL}) ORDER BY rowid"
        )
        return [_decode(row[0], Release) for row in rows]

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        query = "SELECT spec, snapshot FROM rollout WHERE release = ? ORDER BY rowid"
        rows = await self._reading.execute_fetchall(query, (release_id,))
        return [StoredRollout(_decode(row[0], RolloutSpec), _decode(row[1], Snapshot)) for row in rows]

    async def releases(self, *, application: str | None = None, limit: int = 100) -> list[Release]:
        query = (
            "SELECT body FROM release WHERE ? IS NULL OR application = ? ORDER BY rowid DESC LIMIT ?"
        )
        rows = await self._reading.execute_fetchall(query, (application, application, limit))
        return [_decode(row[0], Release) for row in rows]

    async def release(self, release_id: str) -> Release | None:
        rows = list(await self._reading.execute_fetchall("SELECT body FROM release WHERE id = ?", (release_id,)))
        return _decode(rows[0][0], Release) if rows else None

    async def journal(self, release_id: str) -> list[JournalEntry]:
        """In the order of time; and each rollout's in the order in which they were written, also where the clock was set back."""
        query = (
            "SELECT body FROM (SELECT journal.body, journal.rollout, journal.seq, "
            "MAX(journal.at) OVER (PARTITION BY journal.rollout ORDER BY journal.seq) AS reached "
            "FROM journal JOIN rollout ON rollout.id = journal.rollout WHERE rollout.release = ?) "
            "ORDER BY reached, rollout, seq"
        )
        rows = await self._reading.execute_fetchall(query, (release_id,))
        return [_decode(row[0], JournalEntry) for row in rows]


def _note(noted: NotedOrigin) -> Statement:
    return _NOTE_ORIGIN, (noted.origin.folder, noted.origin.file, noted.origin.digest, noted.release)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _encode(value: object) -> bytes:
    """Texts come from everywhere, and some hold what is no character (half of a surrogate pair, for a byte that was not read):
    it becomes a question mark, because no text may keep a rollout from being written down."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_readable(msgspec.to_builtins(value)))


def _readable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_readable(key): _readable(one) for key, one in value.items()}
        case list() | tuple():
            return [_readable(one) for one in value]
    return value


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(f"a stored {kind.__name__} is not readable: {error}") from error

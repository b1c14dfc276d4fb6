"""The store port in SQL that every database of ours understands: what is written for each change, and how it is read again.

Parameters are question marks, and every table of which the order of arrival matters has a `rowid` that grows. Which database it
is, only the writer and the reader know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import count

from engine.model import FINAL_STATES, FINAL_STATUSES, JournalEntry, Origin, Release, RolloutSpec, Snapshot
from engine.ports import Commit, NotedOrigin, StoredRollout
from engine.retention import EndedRelease
from store.clearing import find_ended, remove
from store.encoding import decode, encode, text_of
from store.former_formats import snapshot_as_today, spec_as_today
from store.group_commit import GroupCommit, Reader, Statement

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


@cache
def numbered(sql: str) -> str:
    """The same statement for a database whose parameters are `$1`, `$2` and so on."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


class SqlStore:
    """Implements `engine.ports.Store` and `engine.ports.Archive`."""

    def __init__(self, writer: GroupCommit, reading: Reader) -> None:
        self.writer = writer
        self._reading = reading

    async def check(self) -> None:
        """Returns when something was written, though nothing has changed by it. Raises `StoreError`."""
        await self.writer.submit()  # The row by which a daemon proves its epoch.

    async def add_release(
        self, release: Release, rollouts: Sequence[StoredRollout], now: datetime, origin: Origin | None = None
    ) -> None:
        statements: list[Statement] = [
            (
                _INSERT_RELEASE,
                (release.id, release.application, release.status, text_of(release.created_at), encode(release)),
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
                encode(spec),
                encode(snapshot),
            )
            statements.append((_INSERT_ROLLOUT, row))
        if origin is not None:
            statements.append(_note(NotedOrigin(origin, release.id)))
        await self.writer.submit(plain=statements)

    async def note_origin(self, noted: NotedOrigin) -> None:
        await self.writer.submit(plain=[_note(noted)])

    async def update_release(self, release: Release) -> None:
        await self.writer.submit(plain=[(_UPDATE_RELEASE, (release.status, encode(release), release.id))])

    async def commit(self, commit: Commit) -> None:
        spec, snapshot, entry = commit.spec, commit.snapshot, commit.entry
        final = int(snapshot.state in FINAL_STATES)
        guarded: list[Statement] = [
            (_UPDATE_ROLLOUT, (snapshot.state, final, snapshot.seq, encode(snapshot), spec.id, commit.previous_seq))
        ]
        plain: list[Statement] = [
            (_INSERT_JOURNAL, (spec.id, entry.seq, text_of(entry.at), encode(entry))),
            (_END_ACTIONS, (spec.id,)),
            (_DELETE_TIMERS, (spec.id,)),
        ]
        plain.extend(
            (_INSERT_ACTION, (spec.id, action.number, action.name, encode(action.args), action.attempt))
            for action in snapshot.pending
        )
        plain.extend((_INSERT_TIMER, (spec.id, name, text_of(at))) for name, at in snapshot.deadlines.items())
        await self.writer.submit(guarded=guarded, plain=plain)

    async def origins(self) -> list[NotedOrigin]:
        query = "SELECT folder, file, digest, release FROM origin ORDER BY folder, file"
        rows = await self._reading.fetch(query)
        return [NotedOrigin(Origin(row[0], row[1], row[2]), row[3]) for row in rows]

    async def unfinished_releases(self) -> list[Release]:
        """In the order of their arrival, which no clock that is set back can change."""
        rows = await self._reading.fetch(
            f"SELECT body FROM release WHERE status NOT IN ({_FINAL}) ORDER BY rowid"
        )
        return [decode(row[0], Release) for row in rows]

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        query = "SELECT spec, snapshot FROM rollout WHERE release = ? ORDER BY rowid"
        rows = await self._reading.fetch(query, (release_id,))
        stored = [(spec_as_today(row[0]), snapshot_as_today(row[1])) for row in rows]
        return [StoredRollout(decode(spec, RolloutSpec), decode(snapshot, Snapshot)) for spec, snapshot in stored]

    async def releases(self, *, application: str | None = None, limit: int = 100) -> list[Release]:
        query = (
            "SELECT body FROM release WHERE CAST(? AS TEXT) IS NULL OR application = CAST(? AS TEXT) ORDER BY rowid DESC LIMIT ?"
        )
        rows = await self._reading.fetch(query, (application, application, limit))
        return [decode(row[0], Release) for row in rows]

    async def release(self, release_id: str) -> Release | None:
        rows = await self._reading.fetch("SELECT body FROM release WHERE id = ?", (release_id,))
        return decode(rows[0][0], Release) if rows else None

    async def journal(self, release_id: str) -> list[JournalEntry]:
        """In the order of time; and each rollout's in the order in which they were written, also where the clock was set back."""
        query = (
            "SELECT body FROM (SELECT journal.body, journal.rollout, journal.seq, "
            "MAX(journal.at) OVER (PARTITION BY journal.rollout ORDER BY journal.seq) AS reached "
            "FROM journal JOIN rollout ON rollout.id = journal.rollout WHERE rollout.release = ?) AS entry "
            "ORDER BY reached, rollout, seq"
        )
        rows = await self._reading.fetch(query, (release_id,))
        return [decode(row[0], JournalEntry) for row in rows]

    async def ended_releases(self) -> list[EndedRelease]:
        return await find_ended(self._reading)

    async def remove_release(self, release_id: str) -> None:
        await remove(self.writer, self._reading, release_id)

    async def give_space_back(self) -> None:
        """A database server does that by itself."""


def _note(noted: NotedOrigin) -> Statement:
    return _NOTE_ORIGIN, (noted.origin.folder, noted.origin.file, noted.origin.digest, noted.release)

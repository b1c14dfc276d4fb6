"""The past in SQL: which releases have ended, and how one of them goes without holding up a commit of anybody.

A journal may have a hundred thousand lines. They go a few hundred at a time, each time as one `Change` of the single writer,
so what is committed meanwhile waits for one of these at most.
"""

from __future__ import annotations

from datetime import datetime

from engine.model import FINAL_STATUSES, State
from engine.retention import EndedRelease
from store.group_commit import GroupCommit, Reader

LINES = 400
"""Of a journal that go in one transaction."""
_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
_ENDED = f"""
    SELECT id, application, COALESCE(
        (SELECT MAX((SELECT at FROM journal WHERE journal.rollout = rollout.id ORDER BY seq DESC LIMIT 1))
         FROM rollout WHERE rollout.release = release.id), created_at),
        EXISTS (SELECT 1 FROM rollout WHERE rollout.release = release.id AND state = '{State.SUCCEEDED}')
    FROM release WHERE status IN ({_FINAL}) ORDER BY rowid
"""
_EXTENT = f"""
    SELECT rollout.id,
        COALESCE((SELECT MAX(seq) FROM journal WHERE journal.rollout = rollout.id), 0),
        COALESCE((SELECT MAX(number) FROM action WHERE action.rollout = rollout.id), 0)
    FROM rollout JOIN release ON release.id = rollout.release
    WHERE release.id = ? AND release.status IN ({_FINAL})
"""
_REMOVE_LINES = "DELETE FROM journal WHERE rollout = ? AND seq <= ?"
_REMOVE_ACTIONS = "DELETE FROM action WHERE rollout = ? AND number <= ?"
_REMOVE_RELEASE = f"DELETE FROM release WHERE id = ? AND status IN ({_FINAL})"


async def find_ended(reading: Reader) -> list[EndedRelease]:
    """In the order of their arrival."""
    rows = await reading.fetch(_ENDED)
    return [EndedRelease(row[0], row[1], datetime.fromisoformat(row[2]), bool(row[3])) for row in rows]


async def remove(writer: GroupCommit, reading: Reader, release_id: str) -> None:
    """All of a release that has ended; of any other, nothing. Raises `StoreError`."""
    for rollout, lines, actions in await reading.fetch(_EXTENT, (release_id,)):
        for statement, extent in ((_REMOVE_LINES, lines), (_REMOVE_ACTIONS, actions)):
            for until in range(LINES, extent, LINES):
                await writer.submit(plain=[(statement, (rollout, until))])
    await writer.submit(plain=[(_REMOVE_RELEASE, (release_id,))])

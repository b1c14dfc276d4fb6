"""The store port in memory. Everything goes through the encoding that the disk gets, so what does not survive it fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.errors import StoreError
from engine.model import FINAL_STATUSES, JournalEntry, Origin, Release, RolloutSpec, Snapshot
from engine.ports import Commit, NotedOrigin, StoredRollout
from tests.invariants import Journal


class MemoryStore:
    def __init__(self, journal: Journal | None = None) -> None:
        self.checker = journal or Journal()
        self._releases: dict[str, bytes] = {}
        self._rollouts: dict[str, tuple[bytes, bytes]] = {}
        self._origins: dict[tuple[str, str], NotedOrigin] = {}
        self._journal: list[JournalEntry] = []
        self.failing = 0
        """How many of the next commits fail, as on a full disk."""

    async def add_release(
        self, release: Release, rollouts: Sequence[StoredRollout], now: datetime, origin: Origin | None = None
    ) -> None:
        self._releases[release.id] = msgspec.json.encode(release)
        for stored in rollouts:
            self._rollouts[stored.spec.id] = (msgspec.json.encode(stored.spec), msgspec.json.encode(stored.snapshot))

        if origin is not None:
            await self.note_origin(NotedOrigin(origin, release.id))

    async def note_origin(self, noted: NotedOrigin) -> None:
        self._origins[noted.origin.folder, noted.origin.file] = noted

    async def origins(self) -> list[NotedOrigin]:
        return list(self._origins.values())

    async def update_release(self, release: Release) -> None:
        self._releases[release.id] = msgspec.json.encode(release)
        self.checker.notify()

    async def commit(self, commit: Commit) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise StoreError("the disk is full")
        spec, before = self._rollouts[commit.spec.id]
        if msgspec.json.decode(before, type=Snapshot).seq != commit.previous_seq:
            raise StoreError("the fence is lost")
        self.checker.check(commit)
        self._rollouts[commit.spec.id] = (spec, msgspec.json.encode(commit.snapshot))
        self._journal.append(commit.entry)

    async def unfinished_releases(self) -> list[Release]:
        return [release for release in self._all() if release.status not in FINAL_STATUSES]

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        decoded = [
            StoredRollout(msgspec.json.decode(spec, type=RolloutSpec), msgspec.json.decode(snapshot, type=Snapshot))
            for spec, snapshot in self._rollouts.values()
        ]
        return [stored for stored in decoded if stored.spec.release == release_id]

    async def releases(self, *, application: str | None = None, limit: int = 100) -> list[Release]:
        found = [release for release in self._all() if application in (None, release.application)]
        return found[::-1][:limit]

    async def release(self, release_id: str) -> Release | None:
        body = self._releases.get(release_id)
        return msgspec.json.decode(body, type=Release) if body is not None else None

    def spec(self, rollout: str) -> RolloutSpec:
        return msgspec.json.decode(self._rollouts[rollout][0], type=RolloutSpec)

    async def journal(self, release_id: str) -> list[JournalEntry]:
        return [entry for entry in self._journal if entry.rollout.startswith(f"{release_id}.")]

    def _all(self) -> list[Release]:
        return [msgspec.json.decode(body, type=Release) for body in self._releases.values()]

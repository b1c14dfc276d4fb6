"""What the API serves: the engine, and how its releases are found and shown. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from adapters.http.bodies import ErrorCode, ReleaseBody, ReleaseDetail
from adapters.http.failures import ApiFailure
from adapters.http.telemetry import Telemetry
from adapters.http.views import release_body, release_detail
from engine.clock import Clock
from engine.daemon import Engine
from engine.model import FINAL_STATUSES, Release
from engine.ports import Store, StoredRollout
from engine.releases import status_of

MOST_SEARCHED = 1_000
"""Among how many of the newest releases an abbreviated id is looked for."""


@dataclass(frozen=True, slots=True)
class Service:
    engine: Engine
    store: Store
    clock: Clock
    telemetry: Telemetry
    check_store: Callable[[], Awaitable[None]]
    """Returns when the store can be written to; raises `StoreError`."""
    accounts: frozenset[str]
    providers: frozenset[str]
    public_url: str | None

    async def find(self, wanted: str) -> Release:
        """A release by its id, by the beginning of its id, or the newest of an application. Raises `ApiFailure`."""
        if (release := await self.store.release(wanted)) is not None:
            return release
        if newest := await self.store.releases(application=wanted, limit=1):
            return newest[0]
        recent = await self.store.releases(limit=MOST_SEARCHED)
        found = [release for release in recent if wanted and release.id.startswith(wanted)]
        if not found:
            raise ApiFailure(
                ErrorCode.NOT_FOUND, f"there is no release or application {wanted[:80]}; see: headgate list"
            )
        if len(found) > 1:
            names = ", ".join(f"{release.id} ({release.application})" for release in found[:5])
            raise ApiFailure(
                ErrorCode.AMBIGUOUS, f"{wanted} begins the ids of several releases: {names}; write more of it"
            )
        return found[0]

    async def running(self, application: str) -> Release | None:
        newest = await self.store.releases(application=application, limit=MOST_SEARCHED)
        return next((release for release in newest if release.status not in FINAL_STATUSES), None)

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        """As they stand now; from the store once the release has ended."""
        return self.engine.rollouts(release_id) or await self.store.rollouts(release_id)

    async def detail(self, release: Release) -> ReleaseDetail:
        rollouts = await self.rollouts(release.id)
        if release.status not in FINAL_STATUSES:
            # The note of it on the release comes a moment after its rollouts move. Only an end waits for that note,
            # because only then the application is free for its next release.
            status, reason = status_of(rollouts)
            if status not in FINAL_STATUSES:
                release = replace(release, status=status, reason=reason)
        return release_detail(release, rollouts, self.public_url, self.engine.why_waiting)

    def body(self, release: Release) -> ReleaseBody:
        return release_body(release, self.public_url)

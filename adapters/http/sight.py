"""What one caller sees of the releases: the API finds, lists and shows them through this, so what may not be read is not there.

A release is seen when one of its targets is, and then as if it had only those that are. Says which orders a caller could
give; what becomes of one that is given is decided by `adapters.http.authority` and the engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from adapters.access import TargetKey, Verb
from adapters.http.bodies import ErrorCode, ReleaseBody, ReleaseDetail
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from adapters.http.service import MOST_SEARCHED, Service
from adapters.http.views import release_body, release_detail
from engine.events import Command, CommandKind
from engine.model import FINAL_STATUSES, Release
from engine.orders import refuse
from engine.ports import StoredRollout
from engine.releases import status_of

MOST_SIFTED = 10_000
"""Among how many of the newest releases those are looked for that a limited caller may see."""


class Sight:
    def __init__(self, service: Service, caller: Caller) -> None:
        self._service = service
        self.caller = caller

    # --- finding -------------------------------------------------------------------------------------------------------

    async def find(self, wanted: str) -> Release:
        """A release by its id, by the beginning of its id, or the newest of an application. Raises `ApiFailure`."""
        exact = await self._service.store.release(wanted)
        if exact is not None and await self.sees(exact):
            return exact
        if newest := await self.releases(application=wanted, limit=1):
            return newest[0]
        recent = await self._service.store.releases(limit=MOST_SEARCHED)
        begun = [release for release in recent if wanted and release.id.startswith(wanted)]
        found = [release for release in begun if await self.sees(release)]
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

    async def releases(self, *, application: str | None = None, limit: int) -> list[Release]:
        """The newest first."""
        store = self._service.store
        if self.caller.sees_everything:
            return await store.releases(application=application, limit=limit)
        seen: list[Release] = []
        for release in await store.releases(application=application, limit=MOST_SIFTED):
            if await self.sees(release):
                seen.append(release)
                if len(seen) == limit:
                    break
        return seen

    async def sees(self, release: Release) -> bool:
        if self.caller.sees_everything:
            return True
        names = [rollout.removeprefix(f"{release.id}.") for rollout in release.rollouts]
        scopes = self.caller.scopes
        named = [scope for scope in scopes if any(scope.covers_name(release.application, name) for name in names)]
        if not named or any(scope.covers_every_account for scope in named):
            return bool(named)
        return bool(await self.rollouts(release.id))

    # --- showing -------------------------------------------------------------------------------------------------------

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        """Those that may be read, as they stand now."""
        return [stored for stored in await self._service.rollouts(release_id) if self._sees_rollout(stored)]

    async def targets(self, release_id: str) -> frozenset[str]:
        """Those that may be read. They stay the same for as long as there is the release."""
        return frozenset(stored.spec.plan.target for stored in await self.rollouts(release_id))

    async def detail(self, release: Release) -> ReleaseDetail:
        rollouts = await self._service.rollouts(release.id)
        if release.status not in FINAL_STATUSES:
            # The note of it on the release comes a moment after its rollouts move. Only an end waits for that note,
            # because only then the application is free for its next release.
            status, reason = status_of(rollouts)
            if status not in FINAL_STATUSES:
                release = replace(release, status=status, reason=reason)
        seen = [stored for stored in rollouts if self._sees_rollout(stored)]
        return release_detail(
            _as_seen(release, seen),
            seen,
            self._service.public_url,
            self._service.engine.why_waiting,
            self.orders,
        )

    def orders(self, stored: StoredRollout) -> tuple[CommandKind, ...]:
        """What would be taken from the caller, were it ordered now."""
        now, key = self._service.clock.now(), key_of(stored)
        return tuple(
            kind
            for kind in CommandKind
            if self.caller.may(Verb(kind.value), key)
            and not refuse(stored.spec, stored.snapshot, Command(kind, self.caller.name, roles=self.caller.roles), now)
        )

    async def body(self, release: Release) -> ReleaseBody:
        seen = release if self.caller.sees_everything else _as_seen(release, await self.rollouts(release.id))
        return release_body(seen, self._service.public_url)

    def _sees_rollout(self, stored: StoredRollout) -> bool:
        return self.caller.may(Verb.READ, key_of(stored))


def key_of(stored: StoredRollout) -> TargetKey:
    return TargetKey(stored.spec.application, stored.spec.plan.target, stored.spec.plan.account)


def _as_seen(release: Release, seen: Sequence[StoredRollout]) -> Release:
    """Why the release failed may lie in a target that is not seen."""
    if len(seen) == len(release.rollouts):
        return release
    return replace(release, rollouts=tuple(stored.spec.id for stored in seen), reason=status_of(seen)[1] if seen else "")

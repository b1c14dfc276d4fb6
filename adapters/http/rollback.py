"""From an order to take a release back, or to try it again, to a plan: which releases there were, from the store, which also
knows those that ended before this daemon was started. What follows from them is `strategies.rollback`'s and `retry`'s."""

from __future__ import annotations

from itertools import takewhile

from adapters.http.authority import require_retry, require_rollback
from adapters.http.bodies import ErrorCode, RetryBody, RollbackBody
from adapters.http.failures import ApiFailure
from adapters.http.service import MOST_SEARCHED, Service
from adapters.http.sight import Sight
from engine.model import Release, ReleasePlan, ReleaseStatus
from strategies.retry import check_retryable, compile_retry
from strategies.rollback import StoredRelease, check_completed, check_not_overtaken, compile_rollback


async def plan_rollback(service: Service, sight: Sight, release: Release, body: RollbackBody) -> ReleasePlan:
    """Raises `RollbackRefused`, `NotFound`, and `ApiFailure` for an account that the settings do not name any more, and for a
    caller who may not."""
    rollouts = await service.rollouts(release.id)
    require_rollback(sight.caller, release, rollouts, body.targets)
    taken = StoredRelease(release, rollouts).only(body.targets)
    seen = await sight.releases(application=release.application, limit=MOST_SEARCHED)
    check_completed(taken, next((one for one in seen if one.status is ReleaseStatus.SUCCEEDED), None))
    newest = await service.store.releases(application=release.application, limit=MOST_SEARCHED)
    for later in takewhile(lambda one: one.id != release.id, newest):
        check_not_overtaken(taken, StoredRelease(later, await service.rollouts(later.id)))
    return _on_known_accounts(service, release, compile_rollback(taken, force=body.force, reason=body.reason), "taken back")


async def plan_retry(service: Service, sight: Sight, release: Release, body: RetryBody) -> ReleasePlan:
    """Raises `RetryRefused`, `NotFound`, and `ApiFailure` as `plan_rollback` does."""
    rollouts = await service.rollouts(release.id)
    require_retry(sight.caller, release, rollouts, body.targets)
    tried = StoredRelease(release, rollouts).only(body.targets)
    newest = await service.store.releases(application=release.application, limit=MOST_SEARCHED)
    later = takewhile(lambda one: one.id != release.id, newest)
    check_retryable(tried, next((one for one in later if one.status is ReleaseStatus.SUCCEEDED), None))
    return _on_known_accounts(service, release, compile_retry(tried, reason=body.reason), "tried again")


def _on_known_accounts(service: Service, release: Release, plan: ReleasePlan, what: str) -> ReleasePlan:
    for target in plan.targets:
        if target.account not in service.known().accounts:
            message = (
                f"release {release.id} cannot be {what}: the account {target.account} of its target {target.target} is no "
                "longer in the settings; name it there again"
            )
            raise ApiFailure(ErrorCode.REFUSED, message)
    return plan

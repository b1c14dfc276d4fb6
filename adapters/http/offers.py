"""What could follow a release that has ended: taking it back, and trying it again. Asks what an order would be told, and
gives none."""

from __future__ import annotations

from collections.abc import Awaitable

from adapters.http.bodies import OfferBody, OffersBody, RetryBody, RollbackBody
from adapters.http.failures import ApiFailure
from adapters.http.rollback import plan_retry, plan_rollback
from adapters.http.service import MOST_SEARCHED, Service
from adapters.http.sight import Sight
from engine.errors import CommandRefused
from engine.model import FINAL_STATUSES, ConcurrencyPolicy, Release, ReleasePlan


async def offers(service: Service, sight: Sight, release: Release) -> OffersBody:
    """As far as the store knows; what is live is compared once it is ordered."""
    return OffersBody(
        rollback=await _offer(plan_rollback(service, sight, release, RollbackBody()), sight),
        retry=await _offer(plan_retry(service, sight, release, RetryBody()), sight),
    )


async def _offer(planning: Awaitable[ReleasePlan], sight: Sight) -> OfferBody:
    try:
        plan = await planning
    except (CommandRefused, ApiFailure) as refusal:
        return OfferBody(possible=False, message=str(refusal))
    seen = await sight.releases(application=plan.application, limit=MOST_SEARCHED)
    running = next((one for one in seen if one.status not in FINAL_STATUSES), None)
    if running is not None and plan.concurrency is ConcurrencyPolicy.REJECT:
        message = f"release {running.id} of {plan.application} is {running.status}: wait for it, or abort it"
        return OfferBody(possible=False, message=message)
    return OfferBody(possible=True, message="")

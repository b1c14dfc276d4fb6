"""A release that did not succeed -> the plan of a new attempt at the same revision. Pure.

The targets that succeeded are left as they are; the others are rolled out as the first attempt's plan has them, word for word, so
that what is tried again is what failed. It must not know where releases are kept, nor who asks.
"""

from __future__ import annotations

from msgspec.structs import replace

from engine.errors import RetryRefused
from engine.model import FINAL_STATUSES, PLAN_VERSION, Release, ReleasePlan, State
from strategies.rollback import StoredRelease


def check_retryable(tried: StoredRelease, newer: Release | None) -> None:
    """`newer`: a later release of the application that has succeeded. Raises `RetryRefused`."""
    release = tried.release
    if release.status not in FINAL_STATUSES:
        raise RetryRefused(
            f"{tried.name} has not ended, it is {release.status}: wait for it, or abort it (headgate abort {release.id})"
        )
    if all(one.snapshot.state is State.SUCCEEDED for one in tried.rollouts):
        raise RetryRefused(f"{tried.name} has succeeded on {_names(tried)}: there is nothing to try again")
    if newer is not None:
        raise RetryRefused(
            f"release {newer.id} of {release.application} has succeeded after {tried.name}, so an attempt at the older revision "
            "would take its place; deploy the version that you want"
        )


def compile_retry(tried: StoredRelease, *, reason: str = "") -> ReleasePlan:
    """The targets that did not succeed, once more. What they wait for among those that did is done."""
    left = [one.spec.plan for one in tried.rollouts if one.snapshot.state is not State.SUCCEEDED]
    names = {plan.target for plan in left}
    targets = tuple(
        replace(plan, version=PLAN_VERSION, depends_on=tuple(one for one in plan.depends_on if one in names)) for plan in left
    )
    return ReleasePlan(
        version=PLAN_VERSION,
        application=tried.release.application,
        targets=targets,
        description=reason or tried.release.description,
        concurrency=tried.release.concurrency,
        retry_of=tried.release.id,
    )


def _names(tried: StoredRelease) -> str:
    return ", ".join(one.spec.plan.target for one in tried.rollouts)

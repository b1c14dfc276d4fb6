"""How long the past is kept: which of the releases that have ended may be removed. Pure.

A release is taken back by what it has noted itself, and only where no later one has changed the same: so of those that brought
a version somewhere, none goes before an older one does. It must not know where releases are kept, nor what removing one means.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct


class EndedRelease(Struct, frozen=True):
    """What the choice depends on."""

    id: str
    application: str
    ended_at: datetime
    completed: bool
    """On one target at least its version was promoted, so that it can be taken back."""


@dataclass(frozen=True, slots=True)
class Retention:
    age: timedelta = timedelta(days=365)
    """What has ended less than this ago is kept."""
    completed: int = 20
    """So many of the newest releases of each application that brought a version are kept, whatever their age."""


def removable(
    ended: Iterable[EndedRelease], referred: Set[str], retention: Retention, now: datetime
) -> list[str]:
    """The releases that may be removed, oldest first. `ended` is in the order of arrival; `referred` are those that an unfinished
    release takes back or tries again."""
    by_application: dict[str, list[EndedRelease]] = {}
    for release in ended:
        by_application.setdefault(release.application, []).append(release)
    return [
        release.id
        for releases in by_application.values()
        for release in _removable_of_one(releases, referred, retention, now)
    ]


def _removable_of_one(
    releases: list[EndedRelease], referred: Set[str], retention: Retention, now: datetime
) -> Iterable[EndedRelease]:
    to_spare = sum(release.completed for release in releases) - retention.completed
    """How many of those that brought a version may go at the most."""
    for release in releases:
        is_kept = release.id in referred or now - release.ended_at < retention.age
        if not release.completed:
            if not is_kept:
                yield release
        elif is_kept:
            to_spare = 0
        elif to_spare > 0:
            to_spare -= 1
            yield release

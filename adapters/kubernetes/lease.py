"""Who may lead, by a Lease of coordination.k8s.io/v1 and client-go's rules. Pure: what is done next, from what was seen and when.

Nobody's clock is compared with anybody else's. A candidate counts, on its own clock, from when it last *saw* the record change;
the times in the record are for people. A leader counts from before it sent its last renewal: so it gives up first, whatever the
way of a request takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

API_VERSION = "coordination.k8s.io/v1"
RELEASED_SECONDS = 1
"""The duration that client-go writes into a lease that it gives back."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """In seconds. A renewal is tried every `retry_period`; a leader that has had none for `renew_deadline` ends; others may take
    over when they have seen none for `lease_duration`."""

    lease_duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as it was read."""

    holder: str
    """Empty: nobody's."""
    duration: int
    transitions: int
    version: str
    """The object's resourceVersion, which changes with everything that is written to it."""
    body: JsonObject
    """The whole object, to be written back."""

    @property
    def was_given_back(self) -> bool:
        """By its holder, which writes nothing more; an edit by somebody else leaves the duration as it was."""
        return not self.holder and self.duration == RELEASED_SECONDS


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of the Lease."""

    record: Record | None = None
    """None: there is none, or nobody has looked yet."""
    changed_at: float = float("-inf")
    """When a change of it was last seen, on our own clock."""
    bereft: Record | None = None
    """The last record with a holder, where somebody has deleted or emptied it since: that one may not know yet."""

    def look(self, found: Record | None, now: float) -> Sight:
        """After it was read once more."""
        if found is None and self.record is None:
            return self
        if found is not None and self.record is not None and found.version == self.record.version:
            return self
        if found is not None and (found.holder or found.was_given_back):
            return Sight(found, now)
        return Sight(found, now, self.record if self.record is not None and self.record.holder else self.bereft)


class Move(Enum):
    WAIT = auto()
    CREATE = auto()
    TAKE = auto()
    RENEW = auto()


def decide(sight: Sight, me: str, now: float) -> Move:
    """What a candidate or a leader called `me` may do now, right after it has looked."""
    record, bereft = sight.record, sight.bereft
    if record is not None and record.holder == me:
        return Move.RENEW
    other = record if record is not None and record.holder else bereft
    if other is not None and other.holder != me and now < sight.changed_at + other.duration:
        return Move.WAIT
    return Move.CREATE if record is None else Move.TAKE


def read_record(body: JsonObject) -> Record:
    spec = body.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        duration=int(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=str(body["metadata"]["resourceVersion"]),
        body=body,
    )


def new_lease(namespace: str, name: str, me: str, times: LeaseTimes, now: datetime) -> JsonObject:
    return {
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "holderIdentity": me,
            "leaseDurationSeconds": times.lease_duration,
            "acquireTime": _micro_time(now),
            "renewTime": _micro_time(now),
            "leaseTransitions": 0,
        },
    }


def held(record: Record, me: str, times: LeaseTimes, now: datetime) -> JsonObject:
    """The object as it is written to take or to renew it; only over the version that was read."""
    changes: JsonObject = {"leaseDurationSeconds": times.lease_duration, "renewTime": _micro_time(now)}
    if record.holder != me:
        changes |= {
            "holderIdentity": me,
            "acquireTime": _micro_time(now),
            "leaseTransitions": record.transitions + 1,
        }
    return _with(record, changes)


def released(record: Record, now: datetime) -> JsonObject:
    """The object as it is written by a leader that stops: whoever waits may take it at once."""
    changes = {"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "renewTime": _micro_time(now)}
    return _with(record, changes | {"acquireTime": _micro_time(now)})


def _with(record: Record, changes: JsonObject) -> JsonObject:
    return {**record.body, "spec": {**(record.body.get("spec") or {}), **changes}}


def _micro_time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

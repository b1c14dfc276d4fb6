"""The arithmetic of a pod-ratio canary: how many pods of each version express a weight, and in which order to get there.

Without a mesh a Service spreads requests evenly over its ready pods, so the share of a version is its share of the pods. The
share that can really be reached is coarse; it is reported beside the one that was asked for, never silently taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.traffic import FULL_WEIGHT


@dataclass(frozen=True, slots=True)
class Split:
    stable: int
    canary: int

    @property
    def reached(self) -> int:
        """The canary's share that these pods really get, in basis points."""
        total = self.stable + self.canary
        return round(FULL_WEIGHT * self.canary / total) if total else 0


class Side(StrEnum):
    STABLE = "stable"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Move:
    side: Side
    replicas: int


def split(total: int, weight: int) -> Split:
    """The pods of each version for a weight in basis points (0..10000), of `total` pods in all.

    The nearest share, a tie in favour of the canary; but neither version has no pods while its weight is not 0. With a
    single pod that takes a second one, because there must never be a window without pods of the stable version.
    """
    if not 0 <= weight <= FULL_WEIGHT:
        raise ValueError(f"a weight is 0 to {FULL_WEIGHT} basis points, not {weight}")
    if total < 0:
        raise ValueError(f"a number of pods is not negative: {total}")
    if weight == 0 or total == 0:
        return Split(total, 0)
    if weight == FULL_WEIGHT:
        return Split(0, total)
    if total == 1:
        return Split(1, 1)
    nearest = (2 * total * weight + FULL_WEIGHT) // (2 * FULL_WEIGHT)
    canary = min(max(nearest, 1), total - 1)
    return Split(total - canary, canary)


def moves(before: Split, after: Split) -> tuple[Move, ...]:
    """The changes from one split to another, surge first: what grows has grown and is available before the other shrinks."""
    growing = []
    shrinking = []
    for side, now, then in (
        (Side.CANARY, before.canary, after.canary),
        (Side.STABLE, before.stable, after.stable),
    ):
        if then > now:
            growing.append(Move(side, then))
        elif then < now:
            shrinking.append(Move(side, then))
    return (*growing, *shrinking)

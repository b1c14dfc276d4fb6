"""How a weight is written into a list of destinations, and read from it. Pure arithmetic on lists.

The rule: what the old version's destination had before the rollout is *the share*, 100 where it is the only one and has no
weight. The share is divided between both versions, and a weight in basis points is a part of the share, not of the whole
list. All other destinations keep their part of the traffic.

Istio takes weights of any sum since it serves `networking.istio.io/v1` (1.22); before, those of a list had to make 100. So a
weight is exact where v1 is served: all weights of the list are multiplied by the smallest number that makes them whole.
Elsewhere the nearest whole weight is taken, and never all of the share before all is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd

from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_places import Side, is_same, sibling, side_of
from adapters.routers.weights import basis_points
from engine.traffic import FULL_WEIGHT

ALONE = 100
"""The weight of an only destination that says none."""


@dataclass(frozen=True, slots=True)
class Division:
    """A list of destinations as it was found, and which of them are the two versions'."""

    found: tuple[JsonObject, ...]
    stable: int
    """The index of the old version's."""
    canary: int | None
    """The index of the new version's, where there was one already, without a weight."""
    active: Side
    """How the old version's destination is written during a rollout: with its subset, even where it was found without."""
    fresh: Side
    namespace: str
    exact: bool

    @property
    def share(self) -> int:
        return weight_of(self.found[self.stable], alone=len(self.found) == 1)

    def at(self, weight: int) -> list[JsonObject]:
        """The list for a weight in basis points."""
        scale = FULL_WEIGHT // gcd(self.share * weight, FULL_WEIGHT) if self.exact else 1
        fresh = self.share * scale * weight // FULL_WEIGHT if self.exact else self._nearest(weight)
        both = {self.stable: self.share * scale - fresh} | ({self.canary: fresh} if self.canary is not None else {})
        divided = [_weighted(one, both.get(index), scale) for index, one in enumerate(self.found)]
        divided[self.stable] = _named(divided[self.stable], self.active)
        if self.canary is None:
            divided.insert(self.stable + 1, {**_named(self.found[self.stable], self.fresh), "weight": fresh})
        return divided

    def _nearest(self, weight: int) -> int:
        whole = (self.share * weight + FULL_WEIGHT // 2) // FULL_WEIGHT
        return whole if weight == FULL_WEIGHT else min(whole, self.share - 1)

    def fresh_alone(self) -> JsonObject:
        """The new version's destination as the only one of a list, which needs no weight."""
        given = _named(self.found[self.stable], self.fresh) if self.canary is None else self.found[self.canary]
        return {key: value for key, value in given.items() if key != "weight"}

    def reached(self, weight: int) -> int:
        """What is really set for a weight that was asked for, in basis points."""
        return self.read(self.at(weight)) or 0

    def read(self, now: Sequence[JsonObject]) -> int | None:
        """The new version's part of what both versions have, in basis points; None where it has no destination."""
        if self._find(now, self.fresh) is None:
            return None
        total = sum(weight_of(one) for one in now if self._is_ours(one))
        fresh = sum(weight_of(one) for one in now if is_same(side_of(one), self.fresh, self.namespace))
        return basis_points(Decimal(fresh), Decimal(total))

    def is_intact(self, now: Sequence[JsonObject]) -> bool:
        """Whether it still names exactly the destinations that a division names, whatever their weights."""
        wanted = [side_of(one) for one in self.at(0)]
        return len(now) == len(wanted) and all(
            is_same(side_of(one), other, self.namespace) for one, other in zip(now, wanted, strict=True)
        )

    def is_in(self, now: Sequence[JsonObject]) -> bool:
        """Whether a list of destinations names the new version."""
        return self._find(now, self.fresh) is not None

    def without_canary(self, now: Sequence[JsonObject]) -> list[JsonObject]:
        """The list as it was found; or, where somebody has put other destinations into it, theirs and the old version's, which
        gets what both versions had."""
        if self.is_intact(now):
            return list(self.found)
        if self._find(now, self.fresh) is None:
            return list(now)
        total = sum(weight_of(one) for one in now if self._is_ours(one))
        stable = {**self.found[self.stable], "weight": total}
        first = next(index for index, one in enumerate(now) if self._is_ours(one))
        return [*now[:first], stable, *(one for one in now[first:] if not self._is_ours(one))]

    def _is_ours(self, one: JsonObject) -> bool:
        return any(is_same(side_of(one), side, self.namespace) for side in (self.active, self.fresh))

    def _find(self, now: Sequence[JsonObject], side: Side) -> JsonObject | None:
        return next((one for one in now if is_same(side_of(one), side, self.namespace)), None)


def weight_of(destination: JsonObject, *, alone: bool = False) -> int:
    """Without a weight, the only destination of a list gets everything, and one of several nothing (Istio's rule)."""
    return int(destination.get("weight") or (ALONE if alone and "weight" not in destination else 0))


def _weighted(destination: JsonObject, weight: int | None, scale: int) -> JsonObject:
    """One of the two versions' gets its weight, all others keep theirs in proportion."""
    if weight is not None:
        return {**destination, "weight": weight}
    return {**destination, "weight": destination["weight"] * scale} if "weight" in destination else destination


def _named(destination: JsonObject, side: Side) -> JsonObject:
    target = {**destination["destination"], "host": side.host} | ({"subset": side.subset} if side.subset else {})
    return {**destination, "destination": target}


def shares_in_words(destinations: Sequence[JsonObject]) -> str:
    """What has to be put back, readable: `active 75, canary 25`."""
    return ", ".join(f"{side_of(one).subset or side_of(one).host} {weight_of(one)}" for one in destinations)


def find_division(found: Sequence[JsonObject], stable: Side, canary: Side, namespace: str, *, exact: bool) -> Division | str:
    """How a list can be divided; or, in words that follow the list's, why it cannot. A destination without a subset stands for
    the old version where none names its subset."""
    ours = _indices(found, stable, namespace) or _indices(found, Side(stable.host), namespace)
    told = f"subset {stable.subset} of {stable.host}" if stable.subset else f"the host {stable.host}"
    if not ours:
        return f"has no destination for {told}; add it"
    if len(ours) > 1:
        return f"has {len(ours)} destinations for {told}, so which share is to be divided cannot be told; keep one"
    fresh = _indices(found, canary, namespace)
    sent = sum(weight_of(found[index]) for index in fresh)
    if sent or len(fresh) > 1:
        return f"sends {sent} to {canary.subset or canary.host} already, which is for the new version; take it out"
    host = side_of(found[ours[0]]).host
    written = sibling(host, canary.host.partition(".")[0])
    index = fresh[0] if fresh else None
    new = Side(written, canary.subset) if index is None else side_of(found[index])
    division = Division(tuple(found), ours[0], index, Side(host, stable.subset), new, namespace, exact)
    return division if division.share else f"sends nothing to {told}, so there is no share to divide; give it a weight"


def _indices(found: Sequence[JsonObject], side: Side, namespace: str) -> list[int]:
    return [index for index, one in enumerate(found) if is_same(side_of(one), side, namespace)]

"""How a weight is written into the backends of one rule of an HTTPRoute or GRPCRoute, and read from them. Pure arithmetic on
lists.

The rule is that of every list of the user's: what the root Service's backend had is *the share*, and a weight in basis points
is a part of the share; everybody else's keep their part of the requests to the letter. A weight is a whole number up to
1,000,000, and one of each list is relative to their sum, so all weights of the list are multiplied by the smallest number that
makes them whole. Where that leads beyond a million, the nearest that can be said is taken, and never all of the share before
all is asked for.

Both versions are named from the first to the last write, at weight 0 too: so whoever carries the route out has looked for both
Services, and said so, before the new one is sent anything. Source: the reference of `gateway.networking.k8s.io/v1` (BackendRef).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from math import gcd

from adapters.kubernetes.templates import JsonObject
from adapters.routers.weights import basis_points
from engine.traffic import FULL_WEIGHT

MOST_WEIGHT = 1_000_000
MOST_BACKENDS = 16


@dataclass(frozen=True, slots=True)
class Shares:
    """The backends of one rule as they were found, and which of them is divided between both versions."""

    found: tuple[JsonObject, ...]
    root: int
    """The index of the root Service's."""
    stable: str
    canary: str
    namespace: str
    """The route's own, in which both Services are."""

    @property
    def share(self) -> int:
        return weight_of(self.found[self.root])

    def at(self, weight: int) -> list[JsonObject]:
        """The list for a weight in basis points."""
        weights, fresh = self._scaled(weight)
        pairs = zip(self.found, weights, strict=True)
        whole = [{**one, "weight": part} if _is_weighed(one, part) else one for one, part in pairs]
        stable = {**self._named(self.stable), "weight": weights[self.root] - fresh}
        return [*whole[: self.root], stable, {**self._named(self.canary), "weight": fresh}, *whole[self.root + 1 :]]

    def _named(self, service: str) -> JsonObject:
        """With all that the root Service's backend has: its port, and its own filters."""
        return {**self.found[self.root], "name": service}

    def _scaled(self, weight: int) -> tuple[list[int], int]:
        """The weights of the list as it was found, larger by one factor, and the new version's part of the root Service's."""
        weights = [weight_of(one) for one in self.found]
        if self.share * weight % FULL_WEIGHT == 0:
            return weights, self.share * weight // FULL_WEIGHT
        divisor = reduce(gcd, weights)
        smallest = [one // divisor for one in weights]
        share = smallest[self.root]
        factor = FULL_WEIGHT // gcd(share * weight, FULL_WEIGHT)
        if factor * max(smallest) <= MOST_WEIGHT:
            return [one * factor for one in smallest], share * factor * weight // FULL_WEIGHT
        factor = MOST_WEIGHT // max(smallest)
        nearest = (share * factor * weight + FULL_WEIGHT // 2) // FULL_WEIGHT
        return [one * factor for one in smallest], min(nearest, share * factor - 1)

    def fresh_alone(self) -> list[JsonObject]:
        """The new version's backend as the only one of a rule."""
        return [{**self._named(self.canary), "weight": 1}]

    def reached(self, weight: int) -> int:
        """What is really said for a weight that was asked for, in basis points."""
        return self.read(self.at(weight)) or 0

    def read(self, now: Sequence[JsonObject]) -> int | None:
        """The new version's part of what both versions have, in basis points; None where neither has any."""
        ours = [one for one in now if self._is_ours(one)]
        fresh = sum(weight_of(one) for one in ours if one.get("name") == self.canary)
        return basis_points(Decimal(fresh), Decimal(sum(map(weight_of, ours))))

    def is_intact(self, now: Sequence[JsonObject]) -> bool:
        """Whether it names exactly whom a division names, each once and in its order, whatever their weights."""
        return [_identity(one, self.namespace) for one in now] == [_identity(one, self.namespace) for one in self.at(0)]

    def as_found(self, now: Sequence[JsonObject]) -> list[JsonObject]:
        """The list as it was found; or, where somebody has changed whom it names, theirs, and the root Service with what both
        versions had."""
        is_untouched = self.is_intact(now) or list(now) == list(self.found)
        return list(self.found) if is_untouched else joined(now, self, str(self.found[self.root]["name"]))

    def without_canary(self, now: Sequence[JsonObject]) -> list[JsonObject]:
        """What both versions have, whoever has edited the list, given to the old one alone."""
        return self.at(0) if self.is_intact(now) else joined(now, self, self.stable)

    def _is_ours(self, one: JsonObject) -> bool:
        return any(names(one, service, self.namespace) for service in (self.stable, self.canary))


def joined(now: Sequence[JsonObject], shares: Shares, service: str) -> list[JsonObject]:
    """A list of somebody else's with one backend in the place of both versions', which has what they had."""
    versions = (shares.stable, shares.canary)
    ours = [one for one in now if any(names(one, version, shares.namespace) for version in versions)]
    if not ours:
        return list(now)
    both = {**ours[0], "name": service, "weight": sum(map(weight_of, ours)) or 1}
    first = next(index for index, one in enumerate(now) if one in ours)
    return [*now[:first], both, *(one for one in now[first:] if one not in ours)]


def weight_of(backend: JsonObject) -> int:
    """Without a weight a backend counts 1."""
    weight = backend.get("weight")
    return int(weight) if isinstance(weight, int) and not isinstance(weight, bool) else 1


def names(backend: JsonObject, service: str, namespace: str) -> bool:
    """Whether it is this Service of this namespace, which is the route's own where it says none."""
    is_service = backend.get("kind", "Service") == "Service" and not backend.get("group")
    return is_service and backend.get("name") == service and (backend.get("namespace") or namespace) == namespace


def find_shares(
    found: Sequence[JsonObject], root: str, stable: str, canary: str, namespace: str
) -> Shares | str:
    """How the backends of a rule that names the root Service are divided; or, in words that follow the rule's, why not."""
    ours = [index for index, one in enumerate(found) if names(one, root, namespace)]
    if len(ours) > 1:
        return f"names the Service {root} {len(ours)} times, so which share is to be divided cannot be told; keep one"
    taken = [one["name"] for one in found if any(names(one, name, namespace) for name in (stable, canary))]
    if taken:
        return f"names the Service {taken[0]} already, which is one version's for the time of a rollout; take it out"
    if len(found) >= MOST_BACKENDS:
        return f"has {len(found)} backends, and the new version's would be one more than the {MOST_BACKENDS} that a rule takes"
    shares = Shares(tuple(found), ours[0], stable, canary, namespace)
    if shares.share <= 0:
        return f"sends nothing to the Service {root}, so there is no share to divide; give it a weight"
    return shares


def shares_in_words(backends: Sequence[JsonObject]) -> str:
    """What has to be put back, readable: `web-stable 75, web-canary 25`."""
    return ", ".join(f"{one.get('name')} {weight_of(one)}" for one in backends)


def _is_weighed(backend: JsonObject, weight: int) -> bool:
    return "weight" in backend or weight != 1


def _identity(backend: JsonObject, namespace: str) -> tuple[object, ...]:
    kind = (backend.get("group") or "", backend.get("kind", "Service"))
    return (*kind, backend.get("name"), backend.get("namespace") or namespace, backend.get("port"))

"""How a weight is written into the list of a weighted TraefikService, and read from it. Pure arithmetic on lists.

The rule is that of every list of the user's: what the root Service's entry had is *the share*, and a weight in basis points is a
part of the share; everybody else's keep their part of the traffic. Traefik takes weights of any sum, so a weight is exact: all
weights of the list are multiplied by the smallest number that makes them whole.

A version that is sent nothing is not named: Traefik takes the whole list back when one of its Services has no pods, also at
weight 0 (its issue 9423), and before its first weight, as after all traffic is gone, a version has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd

from adapters.kubernetes.templates import JsonObject
from adapters.routers.weights import basis_points
from engine.traffic import FULL_WEIGHT


@dataclass(frozen=True, slots=True)
class WeightedList:
    """A list of Services as it was found, and which of them is divided between both versions."""

    found: tuple[JsonObject, ...]
    root: int
    """The index of the root Service's entry."""
    stable: str
    canary: str

    @property
    def share(self) -> int:
        return weight_of(self.found[self.root])

    def at(self, weight: int) -> list[JsonObject]:
        """The list for a weight in basis points."""
        scale = FULL_WEIGHT // gcd(self.share * weight, FULL_WEIGHT)
        fresh = self.share * scale * weight // FULL_WEIGHT
        sides = ((self.stable, self.share * scale - fresh), (self.canary, fresh))
        divided = [{**self._named(name), **self._weight(part, whole=self.share * scale)} for name, part in sides if part]
        others = [one if scale == 1 else {**one, "weight": weight_of(one) * scale} for one in self.found]
        return [*others[: self.root], *divided, *others[self.root + 1 :]]

    def _named(self, service: str) -> JsonObject:
        return {**self.found[self.root], "name": service}

    def _weight(self, part: int, whole: int) -> JsonObject:
        """An entry that says none, and stands alone for what it had, goes on saying none."""
        is_alone = part == whole == self.share and "weight" not in self.found[self.root]
        return {} if is_alone else {"weight": part}

    def read(self, now: Sequence[JsonObject]) -> int | None:
        """The new version's part of what both versions have, in basis points; None where neither is named."""
        ours = [one for one in now if self._is_ours(one)]
        fresh = sum(weight_of(one) for one in ours if one.get("name") == self.canary)
        return basis_points(Decimal(fresh), Decimal(sum(map(weight_of, ours))))

    def is_intact(self, now: Sequence[JsonObject]) -> bool:
        """Whether it still names everybody whom it named, each once and in the same order, and one version or both."""
        names = [one.get("name") for one in now if self._is_ours(one)]
        before = [index for index, one in enumerate(now) if self._is_ours(one)]
        others = [_identity(one) for one in now if not self._is_ours(one)]
        theirs = [_identity(one) for index, one in enumerate(self.found) if index != self.root]
        in_place = before == list(range(self.root, self.root + len(before)))
        return names in ([self.stable], [self.canary], [self.stable, self.canary]) and in_place and others == theirs

    def put_back(self, now: Sequence[JsonObject]) -> list[JsonObject]:
        """The list as it was found; or, where somebody has changed whom it names, theirs, and the root Service with what both
        versions had."""
        return list(self.found) if self.is_intact(now) else self._joined(now, self.found[self.root]["name"])

    def without_canary(self, now: Sequence[JsonObject]) -> list[JsonObject]:
        """What both versions have, whoever has edited the list, given to the old one alone."""
        return self.at(0) if self.is_intact(now) else self._joined(now, self.stable)

    def _joined(self, now: Sequence[JsonObject], service: str) -> list[JsonObject]:
        ours = [one for one in now if self._is_ours(one)]
        if not ours:
            return list(now)
        root = {**self._named(service), "weight": sum(map(weight_of, ours))}
        first = next(index for index, one in enumerate(now) if self._is_ours(one))
        return [*now[:first], root, *(one for one in now[first:] if not self._is_ours(one))]

    def _is_ours(self, one: JsonObject) -> bool:
        return is_service(one) and one.get("name") in (self.stable, self.canary)


def weight_of(entry: JsonObject) -> int:
    """Without a weight an entry counts 1 (Traefik's rule)."""
    weight = entry.get("weight")
    return int(weight) if isinstance(weight, int) else 1


def is_service(entry: JsonObject) -> bool:
    return str(entry.get("kind", "Service")) == "Service"


def _identity(entry: JsonObject) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in ("kind", "name", "namespace", "port"))


def find_list(found: Sequence[JsonObject], root: str, stable: str, canary: str, namespace: str) -> WeightedList | str:
    """How a list can be divided; or, in words that follow the object's, why it cannot."""
    named = [(index, one) for index, one in enumerate(found) if is_service(one) and one.get("namespace", namespace) == namespace]
    ours = [index for index, one in named if one.get("name") == root]
    if not ours:
        names = ", ".join(str(one.get("name")) for one in found) or "none"
        return f"does not name the Service {root}; those that it names are: {names}"
    if len(ours) > 1:
        return f"names the Service {root} {len(ours)} times, so which share is to be divided cannot be told; keep one"
    taken = [one["name"] for _, one in named if one.get("name") in (stable, canary)]
    if taken:
        return f"names the Service {taken[0]} already, which is one version's for the time of a rollout; take it out"
    made = WeightedList(tuple(found), ours[0], stable, canary)
    return made if made.share > 0 else f"sends nothing to the Service {root}, so there is no share to divide; give it a weight"


def shares_in_words(entries: Sequence[JsonObject]) -> str:
    """What has to be put back, readable: `web-stable 75, web-canary 25`."""
    return ", ".join(f"{one.get('name')} {weight_of(one)}" for one in entries)

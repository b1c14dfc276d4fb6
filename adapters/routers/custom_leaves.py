"""The leaves of an object of any kind in which a rollout says its weights, and the arithmetic of whole weights. Pure.

A weight is as near as the total allows: never the whole of it before all traffic is asked for, as the old version has to keep
what the rest of the engine thinks that it has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

from adapters.kubernetes.templates import JsonObject
from adapters.routers.weights import basis_points
from engine.traffic import FULL_WEIGHT, CustomRoute, RoutePlan
from strategies.json_pointers import Json, LeadsNowhere, find_at


def custom_of(route: RoutePlan) -> CustomRoute:
    assert route.custom is not None, f"route {route.name} is not one by JSON pointers"
    return route.custom


@dataclass(frozen=True, slots=True)
class Leaves:
    """The places of one route, and what is to stand in them."""

    route: RoutePlan

    @property
    def custom(self) -> CustomRoute:
        return custom_of(self.route)

    def at(self, weight: int) -> dict[str, Json]:
        """By pointer, for a weight in basis points."""
        fresh = self._nearest(weight)
        return {self.custom.stable_weight: self.custom.total - fresh, self.custom.canary_weight: fresh, **self.services()}

    def services(self) -> dict[str, Json]:
        named = {self.custom.stable_service: self.route.stable_service, self.custom.canary_service: self.route.canary_service}
        return {pointer: name for pointer, name in named.items() if pointer}

    def _nearest(self, weight: int) -> int:
        total = self.custom.total
        whole = (total * weight + FULL_WEIGHT // 2) // FULL_WEIGHT
        return whole if weight == FULL_WEIGHT else min(whole, total - 1)

    def reached(self, weight: int) -> int:
        """What is really said for a weight that was asked for, in basis points."""
        return basis_points(Decimal(self._nearest(weight)), Decimal(self.custom.total)) or 0

    def read(self, body: JsonObject) -> dict[str, Json]:
        """What stands in the places now. Raises `LeadsNowhere`."""
        return {pointer: find_at(body, pointer) for pointer in self.at(0)}

    def find(self, body: JsonObject) -> dict[str, Json] | None:
        try:
            return self.read(body)
        except LeadsNowhere:
            return None

    def find_obstacle(self, body: JsonObject) -> str:
        """Why the object of the user's cannot say the weights, in words that follow its name; empty where it can."""
        try:
            now = self.read(body)
        except LeadsNowhere as error:
            return f": {error}; correct the pointer, or the object"
        for pointer in (self.custom.stable_weight, self.custom.canary_weight):
            if not is_number(now[pointer]):
                return f" has {json.dumps(now[pointer])} at {pointer}, which is no weight; let it be a number"
        if fresh := now[self.custom.canary_weight]:
            return f" has {json.dumps(fresh)} at {self.custom.canary_weight}, which is for the new version; let it be 0"
        for pointer in self.services():
            if not isinstance(now[pointer], str):
                return f" has {json.dumps(now[pointer])} at {pointer}, which is no Service; let it name one"
        return ""

    def weight(self, now: dict[str, Json]) -> int | None:
        """The new version's part of both weights, in basis points; None where they say nothing usable."""
        stable, fresh = now[self.custom.stable_weight], now[self.custom.canary_weight]
        if not is_number(stable) or not is_number(fresh):
            return None
        canary = Decimal(str(fresh))
        return basis_points(canary, Decimal(str(stable)) + canary)

    def are_ours(self, now: dict[str, Json]) -> bool:
        """Whether the places are still those of both versions: a list that somebody has put in another order leads elsewhere."""
        return all(now[pointer] == name for pointer, name in self.services().items())


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def waits_for(custom: CustomRoute, body: JsonObject) -> str:
    """Why what was written last does not count yet, by the object's own status; empty where it does, or has no such place."""
    what = f"{custom.kind} {custom.name}"
    if custom.observed_generation:
        generation = body["metadata"].get("generation", 0)
        seen = _there(body, custom.observed_generation)
        if not isinstance(seen, int) or seen < generation:
            said = f"speaks of generation {seen}" if isinstance(seen, int) else "says nothing yet"
            return f"{what} is at generation {generation}, and its status {said} ({custom.observed_generation})"
    if custom.accepted:
        wanted: Json = json.loads(custom.accepted_value)
        seen = _there(body, custom.accepted)
        if seen != wanted or isinstance(seen, bool) is not isinstance(wanted, bool):
            return f"{what} has {json.dumps(seen)} at {custom.accepted} instead of {json.dumps(wanted)}"
    return ""


def _there(body: JsonObject, pointer: str) -> Json:
    try:
        return find_at(body, pointer)
    except LeadsNowhere:
        return None

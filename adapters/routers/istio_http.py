"""What stands beside a weight in a VirtualService's list of http routes: header routes, a mirror, and clients that stay. Pure.

Our routes stand right in front of the route that is edited, and are known by their names. They are copies of it, so that its
timeouts, retries, rewrites and all else that the user asks for holds for them too; only which requests they take and where these
go is ours. Everybody else's routes, and all other fields of the edited one, are as they are found at each write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_matches import joined
from adapters.routers.istio_places import is_ours, is_same, ours_before, side_of
from adapters.routers.istio_weights import Division
from adapters.routers.request_values import Unjoinable
from engine.model import TargetPlan
from engine.traffic import (
    FULL_WEIGHT,
    IstioRoute,
    MatchKind,
    NamedMatch,
    RequestMatch,
    SetHeaderRoute,
    SetMirror,
    Shape,
    Sticky,
    ValueMatch,
    describe_header_route,
)

STAYING = "staying-clients"
"""What our route for them is called, after our mark. No header route can be: these have a mark of their own."""
_MIRRORS = ("mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent")
_SET_COOKIE = "set-cookie"


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the object has to say at a moment: a weight, and what is beside it."""

    weight: int
    shape: Shape = field(default_factory=Shape)
    sticky: Sticky | None = None
    version: str = ""
    """The value of the cookie: of this rollout and no other, so that each one draws anew."""

    @property
    def keeps_clients(self) -> bool:
        """Nobody has to be kept where nobody, or everybody, is sent to the new version."""
        return self.sticky is not None and 0 < self.weight < FULL_WEIGHT


def version_of(rollout: str) -> str:
    """Short, and telling nobody anything."""
    return hashlib.sha256(rollout.encode()).hexdigest()[:12]


# --- the list as it is ordered -----------------------------------------------------------------------------------------


def arrange(http: Sequence[JsonObject], place: IstioRoute, index: int, division: Division, ordered: Ordered) -> list[JsonObject]:
    """The whole list, where `index` is the edited route's place in `http`. Raises `Unjoinable`."""
    edited = {**http[index], "route": destinations_for(division, ordered)}
    if ordered.shape.mirror or _mirrors_to(edited, division):
        edited = {**_without_mirror(edited), **_mirror(division, ordered.shape.mirror)}
    ours = list(_in_front(http[index], place, division, ordered))
    before = [one for one in http[:index] if not is_ours(one, place)]
    return [*before, *ours, edited, *(one for one in http[index + 1 :] if not is_ours(one, place))]


def destinations_for(division: Division, ordered: Ordered) -> list[JsonObject]:
    """Those of the edited route. Whom the new version answers it gives the cookie."""
    at = division.at(ordered.weight)
    if not ordered.keeps_clients or ordered.sticky is None:
        return at
    cookie = _cookie(ordered.sticky, ordered.version)
    return [_giving(one, cookie) if is_same(side_of(one), division.fresh, division.namespace) else one for one in at]


def _in_front(edited: JsonObject, place: IstioRoute, division: Division, ordered: Ordered) -> Iterator[JsonObject]:
    """A header route whose requests never come to the edited one has nothing to do here: another of the rollout's may."""
    for route in ordered.shape.header_routes:
        made = _route(edited, f"{ours_before(place)}route/{route.name}", division, route.matches)
        if made["match"]:
            yield made
    if ordered.keeps_clients and ordered.sticky is not None:
        value = ValueMatch(MatchKind.EXACT, ordered.version)
        kept = RequestMatch(cookies=(NamedMatch(ordered.sticky.cookie, value),))
        yield _route(edited, f"{ours_before(place)}{STAYING}", division, (kept,))


def _route(edited: JsonObject, name: str, division: Division, matches: Sequence[RequestMatch]) -> JsonObject:
    match = joined(edited.get("match") or [], matches)
    return {**_without_mirror(edited, division), "name": name, "match": match, "route": [division.fresh_alone()]}


def _cookie(sticky: Sticky, version: str) -> str:
    return f"{sticky.cookie}={version}; Max-Age={sticky.max_age_seconds:.0f}; Path=/; HttpOnly; SameSite=Lax"


def _giving(destination: JsonObject, cookie: str) -> JsonObject:
    headers = destination.get("headers") or {}
    response = headers.get("response") or {}
    added = {**(response.get("add") or {}), _SET_COOKIE: cookie}
    return {**destination, "headers": {**headers, "response": {**response, "add": added}}}


# --- mirrors -----------------------------------------------------------------------------------------------------------


def _mirror(division: Division, share: int) -> JsonObject:
    """In percent, which Istio takes with a fraction."""
    if not share:
        return {}
    percent = share // 100 if share % 100 == 0 else share / 100
    return {"mirror": division.fresh_alone()["destination"], "mirrorPercentage": {"value": percent}}


def _without_mirror(route: JsonObject, ours_only: Division | None = None) -> JsonObject:
    if ours_only is not None and not _mirrors_to(route, ours_only):
        return route
    return {key: value for key, value in route.items() if key not in ("mirror", "mirrorPercentage")}


def _mirrors_to(route: JsonObject, division: Division) -> bool:
    """Whether its mirror is one of ours. The user's own is found out before anything is changed (`find_obstacle`)."""
    found = route.get("mirror")
    return bool(found) and is_same(side_of({"destination": found}), division.fresh, division.namespace)


def _mirrored(route: JsonObject, division: Division) -> int | None:
    """The share of requests that is copied to the new version, in basis points; None where it cannot be told."""
    if not any(route.get(one) for one in _MIRRORS):
        return 0
    value = (route.get("mirrorPercentage") or {}).get("value", 100)
    return round(value * 100) if _mirrors_to(route, division) and isinstance(value, int | float) else None


# --- what stands there -------------------------------------------------------------------------------------------------


def is_arranged(http: Sequence[JsonObject], place: IstioRoute, index: int, division: Division, ordered: Ordered) -> bool:
    """Whether exactly what was ordered beside the weight stands there. What else the user has changed in their route in the
    meantime (a timeout) is taken up by our routes at the next write, and no reason to hold anything."""
    try:
        wanted = list(_in_front(http[index], place, division, ordered))
    except Unjoinable:
        return False
    ours = [one for one in http if is_ours(one, place)]
    stand_in_front = list(http[index - len(ours) : index]) == ours if ours else True
    same = [tuple(one.get(key) for key in ("name", "match", "route")) for one in (*ours, *wanted)]
    copied = _mirrored(http[index], division)
    return stand_in_front and same[: len(ours)] == same[len(ours) :] and (copied or 0) == ordered.shape.mirror


def is_bare(http: Sequence[JsonObject], place: IstioRoute, index: int, division: Division) -> bool:
    """Whether nothing of ours stands beside the weight."""
    return not any(is_ours(one, place) for one in http) and not _mirrors_to(http[index], division)


def without_ours(http: Sequence[JsonObject], place: IstioRoute, index: int, division: Division) -> list[JsonObject]:
    """The list as it is without us: the edited route has its own destinations, and nothing of ours is in front of it."""
    edited = {**_without_mirror(http[index], division), "route": division.without_canary(http[index].get("route") or [])}
    return [edited if at == index else one for at, one in enumerate(http) if not is_ours(one, place)]


# --- before anything is changed ----------------------------------------------------------------------------------------


def find_obstacle(
    http: Sequence[JsonObject], place: IstioRoute, index: int, division: Division, plan: TargetPlan, sticky: Sticky | None
) -> str:
    """Why this list cannot take what the steps will ask for, in words that follow the edited route's; empty where it can."""
    edited = http[index]
    if any(is_ours(one, place) for one in http):
        return "has routes of a rollout in front of it: another one uses it, or has left them. Wait for it, or remove them"
    if sticky is not None and (where := _cookie_in_the_way(edited, division)):
        return f"says in the headers of {where} what becomes of {_SET_COOKIE}; take that out, or leave stickySession out"
    if _mirrors_to(edited, division):
        return "mirrors requests to the new version's place, as only a setMirror step may; take the mirror out"
    if any(isinstance(step, SetMirror) and step.share for step in plan.steps) and any(edited.get(one) for one in _MIRRORS):
        return "mirrors requests already, and a route has one mirror; take it out, or the setMirror steps"
    routes = [step for step in plan.steps if isinstance(step, SetHeaderRoute) and step.matches]
    alone = sum(one.istio is not None for one in plan.routes) == 1
    try:
        for step in routes:
            if alone and not joined(edited.get("match") or [], step.matches):
                return f"gets no request that fits the header route {describe_header_route(step)}; its own matches leave it none"
        list(_in_front(edited, place, division, Ordered(1, Shape(tuple(routes)), sticky)))
    except Unjoinable as error:
        return str(error)
    return ""


def _cookie_in_the_way(edited: JsonObject, division: Division) -> str:
    """The canary's destination is made of the old version's, with its headers. One header can be added once in each place."""
    for where, one in (("a destination", division.fresh_alone()), ("the route", edited)):
        response = (one.get("headers") or {}).get("response") or {}
        words = ("add", "set", "remove") if where == "a destination" else ("set", "remove")
        if any(name.lower() == _SET_COOKIE for word in words for name in response.get(word) or ()):
            return where
    return ""

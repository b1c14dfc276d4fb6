"""What a rollout will do to the user's Istio objects, in the words of a plan. Pure; asks no cluster, so weights are shares of
what the old version's destination has now."""

from __future__ import annotations

from adapters.cli.changes import Change, Verb
from adapters.http.views import percent
from engine.model import Act, ActionKind
from engine.traffic import FULL_WEIGHT, IstioRoute, RoutePlan, describe_shape, read_shape


def describe_istio(act: Act, route: RoutePlan) -> Change:
    place = route.istio
    assert place is not None, f"route {route.name} is not one of Istio"
    service, rule = f"VirtualService {place.virtual_service}", f"DestinationRule {place.destination_rule}"
    stable, canary = _sides(route, place)
    old, new = (rule, rule) if place.destination_rule else (f"Service {stable}", f"Service {canary}")
    of_old, of_new = (f"subset {stable} ", f"subset {canary} ") if place.destination_rule else ("", "")
    match act.kind:
        case ActionKind.RECORD_ROUTE:
            return Change(Verb.LOOK, service, f"and {rule if place.destination_rule else 'both Services'}, to be put back")
        case ActionKind.ENSURE_STABLE_SERVICE | ActionKind.FOLLOW_STABLE:
            return Change(Verb.CHANGE, old, f"{of_old}selects the old version only")
        case ActionKind.ENSURE_CANARY_SERVICE:
            return Change(Verb.CHANGE, new, f"{of_new}selects the new version only")
        case ActionKind.ENSURE_ROUTE:
            return Change(Verb.CHANGE, service, _shares(place, stable, canary, int(act.args.get("initial") or 0)))
        case ActionKind.SET_WEIGHT:
            weight = int(act.args.get("weight") or 0)
            return Change(Verb.CHANGE, service, _shares(place, stable, canary, weight) + _beside(act, route, weight))
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.CHANGE, service, f"{_list(place)} as it was found")
        case ActionKind.REMOVE_STABLE_SERVICE:
            return Change(Verb.CHANGE, old, f"{of_old}selects by its own labels again")
        case ActionKind.REMOVE_CANARY_SERVICE:
            return Change(Verb.CHANGE, new, f"{of_new}as it was found")
        case _:
            return Change(Verb.CHANGE, service, act.name)


def _beside(act: Act, route: RoutePlan, weight: int) -> str:
    shape = describe_shape(read_shape(str(act.args.get("shape") or "")))
    told = [shape] if shape else []
    if route.sticky is not None and 0 < weight < FULL_WEIGHT:
        told.append(f"clients stay by the cookie {route.sticky.cookie}")
    return f"; beside it {'; '.join(told)}" if told else ""


def _sides(route: RoutePlan, place: IstioRoute) -> tuple[str, str]:
    if place.destination_rule:
        return place.active_subset or "<active>", place.canary_subset
    return route.stable_service, route.canary_service


def _list(place: IstioRoute) -> str:
    name = place.http_route or (str(place.port) if place.port else "") or ", ".join(place.sni_hosts)
    return f"{place.protocol} route {name}" if name else f"{place.protocol} route"


def _shares(place: IstioRoute, stable: str, canary: str, weight: int) -> str:
    return f"{_list(place)}: {stable} {percent(FULL_WEIGHT - weight):g} %, {canary} {percent(weight):g} %"

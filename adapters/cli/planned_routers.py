"""What a rollout will do to the two versions' Services, to routes of the Gateway API, Ingresses, TraefikServices and objects of
other kinds, in the words of a plan. Pure; asks no cluster."""

from __future__ import annotations

from adapters.cli.changes import Change, Verb
from adapters.http.views import percent
from adapters.routers.custom_leaves import Leaves
from adapters.routers.gateway_objects import gateway_of, words_for
from adapters.routers.ingress_objects import weight_annotations
from engine.model import Act, ActionKind
from engine.traffic import FULL_WEIGHT, RoutePlan, describe_header_route, describe_shape, read_shape


def describe_services(act: Act, route: RoutePlan) -> Change | None:
    """None for what is done to the route itself."""
    stable, canary = f"Service {route.stable_service}", f"Service {route.canary_service}"
    match act.kind:
        case ActionKind.ENSURE_STABLE_SERVICE:
            return Change(Verb.CREATE, stable, "selects the old version only")
        case ActionKind.ENSURE_CANARY_SERVICE if route.adopts_canary_service:
            return Change(Verb.CHANGE, canary, "selects the new version only")
        case ActionKind.ENSURE_CANARY_SERVICE:
            return Change(Verb.CREATE, canary, "selects the new version only")
        case ActionKind.REMOVE_CANARY_SERVICE if route.adopts_canary_service:
            return Change(Verb.CHANGE, canary, "as it was")
        case ActionKind.REMOVE_CANARY_SERVICE:
            return Change(Verb.REMOVE, canary)
        case ActionKind.REMOVE_STABLE_SERVICE:
            return Change(Verb.REMOVE, stable)
        case _:
            return None


def describe_shares(route: RoutePlan, weight: int) -> str:
    rest = FULL_WEIGHT - weight
    return f"{route.stable_service} {percent(rest):g} %, {route.canary_service} {percent(weight):g} %"


def describe_gateway(act: Act, route: RoutePlan) -> Change:
    gateway = gateway_of(route)
    what = words_for(route)
    match act.kind:
        case ActionKind.RECORD_ROUTE:
            return Change(Verb.LOOK, what, "which port it is for" if gateway.is_made else "to be put back")
        case ActionKind.ENSURE_ROUTE if gateway.is_made:
            parents = ", ".join(f"{one.kind} {one.name}" for one in gateway.parents)
            return Change(Verb.CREATE, what, f"for {parents}: {describe_shares(route, int(act.args.get('initial') or 0))}")
        case ActionKind.ENSURE_ROUTE:
            sticky = f", with the session {route.sticky.cookie}" if route.sticky is not None else ""
            where = f" in rule {gateway.rule}" if gateway.rule else ""
            told = f"names {route.stable_service} and {route.canary_service} instead of {route.root_service}{where}{sticky}"
            return Change(Verb.CHANGE, what, told)
        case ActionKind.SET_WEIGHT:
            shape = describe_shape(read_shape(str(act.args.get("shape") or "")))
            shares = describe_shares(route, int(act.args.get("weight") or 0))
            return Change(Verb.CHANGE, what, f"{shares}; {shape}" if shape else shares)
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.REMOVE, what) if gateway.is_made else Change(Verb.CHANGE, what, "as it was found")
        case _:
            return describe_services(act, route) or Change(Verb.CHANGE, what, act.name)


def describe_ingress(act: Act, route: RoutePlan) -> Change:
    main, canary = f"Ingress {route.ingress}", f"Ingress {route.split}"
    match act.kind:
        case ActionKind.RECORD_ROUTE:
            return Change(Verb.LOOK, main, "to be put back")
        case ActionKind.ENSURE_ROUTE:
            told = f"names {route.stable_service} instead of {route.root_service}, beside a new {canary} at 0 %"
            return Change(Verb.CHANGE, main, told)
        case ActionKind.SET_WEIGHT:
            weight = int(act.args.get("weight") or 0)
            said = ", ".join(f"{name.partition('/')[2]} {value}" for name, value in weight_annotations(weight).items())
            return Change(Verb.CHANGE, canary, f"{said}{_shape(act)}")
        case ActionKind.FREE_ROUTE:
            return Change(Verb.CHANGE, main, f"names {route.root_service} again, as it was found")
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.REMOVE, canary, f"and {main} is as it was found")
        case _:
            return describe_services(act, route) or Change(Verb.CHANGE, canary, act.name)


def _shape(act: Act) -> str:
    shape = read_shape(str(act.args.get("shape") or ""))
    return "".join(f"; {describe_header_route(one)}" for one in shape.header_routes)


def describe_traefik(act: Act, route: RoutePlan) -> Change:
    what = f"TraefikService {route.split}"
    match act.kind:
        case ActionKind.RECORD_ROUTE:
            return Change(Verb.LOOK, what, "to be put back")
        case ActionKind.ENSURE_ROUTE:
            sticky = f", with the cookie {route.sticky.cookie}" if route.sticky is not None else ""
            told = f"names {route.stable_service} instead of {route.root_service}{sticky}"
            return Change(Verb.CHANGE, what, told)
        case ActionKind.SET_WEIGHT:
            weight = int(act.args.get("weight") or 0)
            return Change(Verb.CHANGE, what, describe_shares(route, weight))
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.CHANGE, what, "as it was found")
        case _:
            return describe_services(act, route) or Change(Verb.CHANGE, what, act.name)


def describe_custom(act: Act, route: RoutePlan) -> Change:
    leaves = Leaves(route)
    what, is_made = f"{leaves.custom.kind} {leaves.custom.name}", bool(leaves.custom.template)
    match act.kind:
        case ActionKind.RECORD_ROUTE:
            return Change(Verb.LOOK, what, "whether its name is free" if is_made else "to be put back")
        case ActionKind.ENSURE_ROUTE:
            return Change(Verb.CREATE if is_made else Verb.CHANGE, what, _leaves(leaves, int(act.args.get("initial") or 0)))
        case ActionKind.SET_WEIGHT:
            return Change(Verb.CHANGE, what, _leaves(leaves, int(act.args.get("weight") or 0), weights_only=True))
        case ActionKind.REMOVE_ROUTE:
            return Change(Verb.REMOVE, what) if is_made else Change(Verb.CHANGE, what, "as it was found")
        case _:
            return describe_services(act, route) or Change(Verb.CHANGE, what, act.name)


def _leaves(leaves: Leaves, weight: int, *, weights_only: bool = False) -> str:
    values = leaves.at(weight)
    shown = {pointer: value for pointer, value in values.items() if not weights_only or pointer not in leaves.services()}
    told = ", ".join(f"{pointer}: {value}" for pointer, value in shown.items())
    reached = leaves.reached(weight)
    return told if reached == weight else f"{told} (comes to {percent(reached):g} %)"

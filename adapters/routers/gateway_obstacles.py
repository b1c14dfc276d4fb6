"""Why the rules of an HTTPRoute or GRPCRoute cannot take what a rollout will ask of them: said before anything is changed.
Pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kubernetes.templates import JsonObject
from adapters.routers.gateway_backends import Shares, find_shares
from adapters.routers.gateway_matches import MOST_MATCHES, MOST_RULES, find_theft
from adapters.routers.gateway_matches import joined as joined_matches
from adapters.routers.gateway_rules import Division, names_any
from adapters.routers.istio_http import Ordered
from adapters.routers.request_values import Unjoinable
from engine.model import TargetPlan
from engine.traffic import FULL_WEIGHT, SetHeaderRoute, SetMirror, Shape, Sticky, describe_header_route

MOST_FILTERS = 16


def find_division(
    kind: str, rules: Sequence[JsonObject], root: str, stable: str, canary: str, namespace: str, rule: str = ""
) -> Division | str:
    """How the rules of a route can be divided; or, in words that follow the route's, why they cannot."""
    if rule and not any(one.get("name") == rule for one in rules):
        named = [str(one["name"]) for one in rules if one.get("name")]
        return f"has no rule {rule}; the names that there are: {', '.join(named) or 'none'}"
    chosen = [index for index, one in enumerate(rules) if not rule or one.get("name") == rule]
    ours = [index for index in chosen if names_any(rules[index], (root,), namespace)]
    told = f"rule {rule}" if rule else "any rule"
    if not ours:
        return f"does not name the Service {root} in {told}; those that its rules name are: {_services(rules)}"
    parts: list[Shares] = []
    for index in ours:
        shares = find_shares(rules[index].get("backendRefs") or [], root, stable, canary, namespace)
        if isinstance(shares, str):
            return f"{shares_place(index)} {shares}"
        parts.append(shares)
    for index, one in enumerate(rules):
        if index not in ours and names_any(one, (stable, canary), namespace):
            return f"{shares_place(index)} names a Service that is one version's for the time of a rollout; take it out"
    division = Division(kind, root, stable, canary, namespace, tuple(parts), rule)
    for index, one in enumerate(rules):
        if division.has_mirror(one):
            return f"{shares_place(index)} mirrors to the Service {canary}, as only a setMirror step may; take the mirror out"
    return division


def shares_place(index: int) -> str:
    return f"has a rule (spec.rules[{index}]) that"


def find_obstacle(division: Division, rules: Sequence[JsonObject], plan: TargetPlan, sticky: Sticky | None) -> str:
    """Why this list cannot take what the steps will ask for, in words that follow the route's; empty where it can."""
    divided = [index for index, rule in enumerate(rules) if _is_divided(division, rule)]
    if sticky is not None and any(rules[index].get("sessionPersistence") for index in divided):
        return "has a sessionPersistence already, and a rule has one; take it out, or leave stickySession out"
    if any(isinstance(step, SetMirror) and step.share for step in plan.steps):
        most = max(len(rules[index].get("filters") or ()) for index in divided)
        if most >= MOST_FILTERS:
            return f"has a rule with {most} filters, and a mirror would be one more than the {MOST_FILTERS} that it takes"
    routes = [step for step in plan.steps if isinstance(step, SetHeaderRoute) and step.matches]
    try:
        return _find_obstacle_to_routes(division, rules, divided, routes)
    except Unjoinable as error:
        return str(error)


def _find_obstacle_to_routes(
    division: Division, rules: Sequence[JsonObject], divided: Sequence[int], routes: Sequence[SetHeaderRoute]
) -> str:
    count = len(rules)
    for step in routes:
        fitting = [joined_matches(division.kind, rules[index].get("matches") or [], step.matches) for index in divided]
        if not any(fitting):
            return f"gets no request that fits the header route {describe_header_route(step)}; its own matches leave it none"
        count += sum(map(bool, fitting))
        most = max(map(len, fitting))
        if most > MOST_MATCHES:
            return f"would need {most} matches in one rule for the header route {step.name}, and takes {MOST_MATCHES}"
        for index in divided:
            if (loser := find_theft(division.kind, rules, index, divided, step.matches)) is not None:
                return (
                    f"has another rule (spec.rules[{loser}]) that would lose requests to the header route "
                    f"{describe_header_route(step)}: the more exact match goes first; let their matches exclude each other"
                )
    if count > MOST_RULES:
        return f"would have {count} rules with all header routes, and a route takes {MOST_RULES}; take some away"
    return ""


def _is_divided(division: Division, rule: JsonObject) -> bool:
    is_named = not division.rule or rule.get("name") == division.rule
    return is_named and names_any(rule, (division.root, division.stable, division.canary), division.namespace)


def all_at_once(plan: TargetPlan, sticky: Sticky | None) -> Ordered:
    """The most that the steps of a plan will ask of a route, so that it can be tried out."""
    routes = {step.name: step for step in plan.steps if isinstance(step, SetHeaderRoute) and step.matches}
    mirrors = [step.share for step in plan.steps if isinstance(step, SetMirror) and step.share]
    finest = sorted(mirrors, key=lambda share: (share % 100 == 0, share == FULL_WEIGHT))
    return Ordered(1, Shape(tuple(routes.values()), finest[0] if finest else 0), sticky, "tried")


def find_lost(division: Division, answered: Sequence[JsonObject], ordered: Ordered) -> str:
    """What of a try the cluster's definition of the kind does not know, in words that follow the route's, as an API server
    drops such fields without an error; empty where it knows all."""
    if division.is_arranged(answered, ordered):
        return ""
    without_sticky = Ordered(ordered.weight, ordered.shape)
    if ordered.keeps_clients and not any(rule.get("sessionPersistence") for rule in answered):
        return (
            "cannot keep clients: the cluster's definition of the kind knows no sessionPersistence, which is in the experimental "
            "channel of the Gateway API; install that, or leave stickySession out"
        )
    if ordered.shape.mirror not in (0, FULL_WEIGHT) and not division.is_arranged(answered, without_sticky):
        return (
            "can mirror all requests or none: the cluster's definition of the kind knows no share of them, which the Gateway API "
            "has since 1.3; install a newer one, or write setMirror with the weight 100"
        )
    return "was not taken as it was tried: something in the cluster changes what is written to it"


def _services(rules: Sequence[JsonObject]) -> str:
    found = [str(one.get("name")) for rule in rules for one in rule.get("backendRefs") or ()]
    return ", ".join(dict.fromkeys(found)) or "none"

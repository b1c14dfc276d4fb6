"""The Gateway API: weights in an HTTPRoute or GRPCRoute, the user's own or one that is made for the rollout.

The user's route is edited by JSON patches that are tied to the version that was read, and put back to the letter. Its status is
what a weight stands on: it counts when every parent that matters has accepted just this version of the route and found all that
it names (`gateway_status`). On the way back, and at the end, it is enough that a controller has seen the route, whatever it
says of it, and one that says nothing is not waited for without an end (`strategies.pieces`).

`gateway_backends` does the arithmetic, `gateway_rules` arranges the list, `gateway_matches` joins matches, `gateway_obstacles`
and `gateway_first_look` tell what cannot be done, and `gateway_objects` what else in the cluster would take the effect.
"""

from __future__ import annotations

import json

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import SERVICES, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import ROLLOUT_ANNOTATION, JsonObject
from adapters.routers import services
from adapters.routers.gateway_backends import Shares, names, shares_in_words, weight_of
from adapters.routers.gateway_first_look import divided_by, division_to_make, look, look_for_room, made_rules
from adapters.routers.gateway_objects import (
    find_tls_gap,
    gateway_of,
    made_route,
    made_spec,
    permissions_to_look,
    routes_of,
    rules_of,
    served_version,
    words_for,
)
from adapters.routers.gateway_rules import Division, Edited
from adapters.routers.gateway_status import GATEWAY_GROUP, refusing_parents, why_not_accepted, why_not_seen
from adapters.routers.istio_http import Ordered, version_of
from adapters.routers.request_values import Unjoinable
from adapters.routers.user_objects import gone, read_declared, read_live, stands_as_ordered
from engine.errors import Rejected
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, State
from engine.observation import RouteObservation
from engine.traffic import RoutePlan, describe_shape, read_shape


class GatewayRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        gateway = gateway_of(route)
        resource = routes_of(gateway.kind, "")
        made = (Verb.CREATE, Verb.DELETE) if gateway.is_made else ()
        found = needs.watch(resource) | needs.named(resource, gateway.name, Verb.GET, Verb.PATCH, *made)
        return found | permissions_to_look(route, needs) | services.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        gateway = gateway_of(route)
        version = await served_version(task.cluster, gateway.kind)
        if version is None:
            raise Rejected(
                f"route {route.name}: the cluster serves no {gateway.kind} ({GATEWAY_GROUP}); install the definitions of the "
                "Gateway API, or leave trafficManagement out to shift by the ratio of pods"
            )
        facts = await services.record_services(task, route, live, new_template)
        resource = routes_of(gateway.kind, version)
        if gateway.is_made:
            await look_for_room(task, route, resource)
        else:
            await look(task, route, resource, read_declared)
        if gap := await find_tls_gap(task.cluster, route, task.namespace):
            raise Rejected(f"route {route.name}: {gap}")
        return {**facts, f"{route.name}.version": version}

    def handlers(self) -> dict[ActionKind, Handler]:
        return {
            **services.handlers(),
            ActionKind.RECORD_ROUTE: _record_route,
            ActionKind.ENSURE_ROUTE: _ensure_route,
            ActionKind.SET_WEIGHT: lambda task: _divide(task, task.number("weight")),
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _remove_route,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        resource, namespace = _watched(route, snapshot), spec.plan.namespace
        if resource is None:
            return []
        cluster.watch(resource, namespace)
        cluster.watch(SERVICES, namespace)
        of_services = (route.root_service, route.stable_service, route.canary_service)
        key = cluster.key(resource, namespace, gateway_of(route).name)
        return [key, *(cluster.key(SERVICES, namespace, name) for name in of_services)]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        resource, division = _watched(route, snapshot), _recorded(route, snapshot, spec.plan.namespace)
        if resource is None or division is None:
            return RouteObservation()
        found = cluster.cached_object(resource, spec.plan.namespace, gateway_of(route).name)
        ordered = Ordered(snapshot.expected, read_shape(snapshot.shape), route.sticky, version_of(spec.id))
        there = services.services_there(cluster, spec, route)
        drift = ""
        if stands_as_ordered(snapshot, f"ensure-route:{route.name}", f"remove-route:{route.name}"):
            drift = _drift(route, division, found, ordered)
        drift = drift or services.drift(route, snapshot, there)
        missing = services.missing(route, snapshot, there)
        if found is None:
            return RouteObservation(False, None, drift, missing)
        rules, is_ending = rules_of(found), snapshot.state in UNDOING_STATES | {State.FINALISING}
        waits = why_not_seen(found) if is_ending else why_not_accepted(found, _refused(route, snapshot))
        weight = _weigh(route, division, rules, ordered)
        shape = _shape_shown(snapshot, division, rules, ordered)
        if waits and not is_ending:
            return RouteObservation(weight is not None, None, drift, missing, shape=shape, waits_for=waits)
        reached = division.reached(weight) if weight == snapshot.expected else None
        return RouteObservation(weight is not None, weight, drift, missing, reached=reached, shape=shape, waits_for=waits)


def _watched(route: RoutePlan, snapshot: Snapshot) -> ResourceRef | None:
    version = snapshot.facts.get(f"{route.name}.version")
    return routes_of(gateway_of(route).kind, str(version)) if version else None


def _resource(task: Task) -> ResourceRef:
    return routes_of(gateway_of(task.route).kind, task.fact(task.route.name, "version"))


# --- what was found ---------------------------------------------------------------------------------------------------


async def _record_route(task: Task) -> Done:
    route = task.route
    if gateway_of(route).is_made:
        division = await division_to_make(task, route)
        kept: JsonObject = {"parts": _written(division)}
        return Done(f"{words_for(route)} will be made for the rollout", {f"{route.name}.found": json.dumps(kept)})
    found, division = await look(task, route, _resource(task), read_live)
    kept = {
        "parts": _written(division),
        "managedFields": found["metadata"].get("managedFields") or [],
        "refused": refusing_parents(found),
    }
    return Done(f"{words_for(route)} is recorded as it is", {f"{route.name}.found": json.dumps(kept)})


def _written(division: Division) -> list[JsonObject]:
    return [{"found": list(part.found), "root": part.root} for part in division.parts]


def _recorded(route: RoutePlan, snapshot: Snapshot, namespace: str) -> Division | None:
    kept = snapshot.facts.get(f"{route.name}.found")
    if not kept:
        return None
    parts = tuple(
        Shares(tuple(one["found"]), one["root"], route.stable_service, route.canary_service, namespace)
        for one in json.loads(str(kept))["parts"]
    )
    return divided_by(route, namespace, parts)


def _refused(route: RoutePlan, snapshot: Snapshot) -> list[str]:
    found: list[str] = json.loads(str(snapshot.facts[f"{route.name}.found"])).get("refused") or []
    return found


def _division(task: Task) -> Division:
    found = _recorded(task.route, task.snapshot, task.namespace)
    assert found is not None, f"{task.action.name} before the route was recorded"
    return found


# --- what is done ------------------------------------------------------------------------------------------------------


def _ordered(task: Task, weight: int) -> Ordered:
    return Ordered(weight, read_shape(str(task.action.args.get("shape") or "")), task.route.sticky, version_of(task.rollout))


async def _find(task: Task) -> JsonObject | None:
    return await task.cluster.find(_resource(task), task.namespace, gateway_of(task.route).name)


async def _ensure_route(task: Task) -> Done:
    weight, route = task.number("initial"), task.route
    if not gateway_of(route).is_made:
        return await _divide(task, weight)
    found = await _find(task)
    if found is not None and not _is_ours(task, found):
        raise Rejected(services.taken(gateway_of(route).kind, found))
    if found is None:
        await _make(task, weight)
    return Done(_words(task, weight))


async def _make(task: Task, weight: int) -> None:
    rules, resource = made_rules(_division(task), _ordered(task, weight)), _resource(task)
    await task.cluster.create(resource, made_route(task, task.route, resource.version, rules))


async def _reassert(task: Task) -> Done:
    """Over whatever somebody else has made of what is ours: of a route of ours that is all of it."""
    await services.reassert(task)
    found, weight, gateway = await _find(task), task.number("weight"), gateway_of(task.route)
    if not gateway.is_made:
        return await _divide(task, weight)
    if found is None:
        await _make(task, weight)
        return Done(f"made again: {_words(task, weight)}")
    rules = made_rules(_division(task), _ordered(task, weight))
    if change := change_of("/spec", found.get("spec"), {**made_spec(gateway, task.namespace), "rules": rules}):
        await task.cluster.patch(_resource(task), found, change)
    return Done(_words(task, weight))


async def _divide(task: Task, weight: int) -> Done:
    """Weight and shape in one write."""
    route, division, ordered = task.route, _division(task), _ordered(task, weight)
    what, found = words_for(route), await _find(task)
    if found is None:
        if gateway_of(route).is_made and weight == 0 and not ordered.shape:
            return Done(f"{what} is not there, so it sends nothing to the new version")
        return gone(task, what)
    if gateway_of(route).is_made and not _is_ours(task, found):
        if task.is_undoing:
            return Done(f"{what} was replaced by somebody else's, which is left as it is")
        raise Rejected(f"{what} was replaced by somebody else's during the rollout")
    rules = rules_of(found)
    begins = task.action.kind is ActionKind.ENSURE_ROUTE and division.is_as_found(rules)
    reasserts = task.action.kind is ActionKind.REASSERT_ROUTE
    if begins or reasserts or division.is_intact(rules):
        wanted = _arranged(division, rules, ordered, what)
    elif task.is_undoing:
        wanted = division.without_canary(rules, ordered)
    else:
        raise Rejected(f"the backends of {what} were edited by somebody else during the rollout")
    if change := _change(rules, wanted):
        await task.cluster.patch(_resource(task), found, change)
    beside = f", beside it {describe_shape(ordered.shape)}" if ordered.shape else ""
    return Done(f"{_words(task, weight)}{beside}")


def _arranged(division: Division, rules: list[JsonObject], ordered: Ordered, what: str) -> list[JsonObject]:
    try:
        return division.arrange(rules, ordered)
    except (Edited, Unjoinable) as error:
        raise Rejected(f"{what} was edited by somebody else during the rollout: it {error}") from error


def _change(now: list[JsonObject], wanted: list[JsonObject]) -> list[JsonObject]:
    """Of no more than lists of backends, where that is all that changes."""
    only_backends = [{**one, "backendRefs": other.get("backendRefs")} for one, other in zip(now, wanted, strict=False)]
    if len(now) != len(wanted) or only_backends != wanted:
        return change_of("/spec/rules", now, wanted)
    return [
        change
        for index, (one, other) in enumerate(zip(now, wanted, strict=True))
        for change in change_of(f"/spec/rules/{index}/backendRefs", one.get("backendRefs"), other.get("backendRefs"))
    ]


async def _remove_route(task: Task) -> Done:
    route, what, found = task.route, words_for(task.route), await _find(task)
    if found is None:
        return Done(f"{what} is gone; there is nothing to put back")
    if gateway_of(route).is_made:
        if not _is_ours(task, found):
            return Done(f"{what} was not made by this rollout and is left as it is")
        await task.cluster.delete(_resource(task), found)
        return Done(f"{what} is removed")
    division, rules = _division(task), rules_of(found)
    wanted = division.as_found(rules, _ordered(task, 0))
    before = task.json_fact(route.name, "found")["managedFields"]
    await put_back(task, _resource(task), found, _change(rules, wanted), before)
    note = "is as it was found" if division.is_as_found(wanted) else "keeps what somebody else has put into it"
    return Done(f"{what} {note}")


def _is_ours(task: Task, found: JsonObject) -> bool:
    """Also where somebody replaced it and our mark was lost: its name was free, and it names our Services."""
    if ROLLOUT_ANNOTATION in (found["metadata"].get("annotations") or {}):
        return task.is_ours(found)
    return _division(task).is_intact(rules_of(found))


def _words(task: Task, weight: int) -> str:
    what, reached = words_for(task.route), _division(task).reached(weight)
    if reached is None:
        return f"{what}: {weight / 100:g} % to the new version"
    return f"{what}: {reached / 100:g} % to the new version, as near to {weight / 100:g} % as whole weights come here"


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _weigh(route: RoutePlan, division: Division, rules: list[JsonObject], ordered: Ordered) -> int | None:
    """Where somebody has made other rules of ours, what counts is that none sends anything to the new version."""
    if division.divided(rules) is not None:
        return division.weigh(rules, ordered)
    namespace = division.namespace
    sent = [one for rule in rules for one in rule.get("backendRefs") or () if names(one, route.canary_service, namespace)]
    return None if any(map(weight_of, sent)) else 0


def _shape_shown(snapshot: Snapshot, division: Division, rules: list[JsonObject], ordered: Ordered) -> str:
    """What was ordered beside the weight, where just that stands there; anything else otherwise."""
    if division.is_arranged(rules, ordered):
        return snapshot.shape
    return "" if (snapshot.shape or division.divided(rules) is None) and division.is_bare(rules) else "another"


def _drift(route: RoutePlan, division: Division, found: JsonObject | None, ordered: Ordered) -> str:
    what, advice = words_for(route), "put it back and resume, or abort"
    if found is None:
        return f"{what} was removed by somebody else; {advice}"
    rules = rules_of(found)
    now = division.divided(rules)
    if now is None:
        return f"the rules of {what} that name {route.root_service} or its versions were edited by somebody else; {advice}"
    wanted = [part.at(ordered.weight) for part in division.parts]
    told = f"put back {'; '.join(dict.fromkeys(map(shares_in_words, wanted)))} and resume, or abort"
    if now != wanted:
        read = division.weigh(rules, ordered)
        if division.is_intact(rules) and read is not None and read != ordered.weight:
            return f"somebody else set {what} to {read / 100:g} % instead of {ordered.weight / 100:g} %; {told}"
        return f"the backends of {what} were edited by somebody else; {told}"
    if not division.is_arranged(rules, ordered):
        return f"what stands beside the weights of {what} was edited by somebody else; {_advice(ordered)}"
    if gateway_of(route).is_made and _differs(route, division, found):
        return f"the parents or hostnames of {what} were edited by somebody else; {advice}"
    return ""


def _differs(route: RoutePlan, division: Division, found: JsonObject) -> bool:
    wanted = made_spec(gateway_of(route), division.namespace)
    return any(found["spec"].get(name) != wanted.get(name) for name in ("parentRefs", "hostnames"))


def _advice(ordered: Ordered) -> str:
    wanted = [describe_shape(ordered.shape)] if ordered.shape else []
    if ordered.keeps_clients and ordered.sticky is not None:
        wanted.append("its sessionPersistence")
    if not wanted:
        return "take it out and resume, or abort"
    return f"put back {', and '.join(wanted)} as it was and resume, or abort"

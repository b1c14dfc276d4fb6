"""Istio: weights in the user's own VirtualService, between two versions that subsets or Services tell apart.

Nothing is created or deleted: a list of destinations, and what it names, are edited and put back to the letter, on success as on
the way back. What other people do elsewhere in the same objects in the meantime is kept. A VirtualService's status says
nothing of proxies, so the weight is confirmed by reading the object back.

`istio_places` finds the list, `istio_weights` does the arithmetic, `istio_http` puts beside it what else was ordered,
`istio_subsets` and `istio_hosts` tell the versions apart, and `istio_objects` writes; the order of the edits is the strategy's
(`strategies.istio_operations`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from adapters.kubernetes import endpoints
from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject, selects
from adapters.routers import services
from adapters.routers.istio_hosts import HostSides
from adapters.routers.istio_http import (
    Ordered,
    arrange,
    destinations_for,
    find_obstacle,
    is_arranged,
    is_bare,
    version_of,
    without_ours,
)
from adapters.routers.istio_objects import GROUP, VERSIONS, place_of, served_version, virtual_services
from adapters.routers.istio_places import Side, destinations_at, find_index, http_of, path_of, words_for
from adapters.routers.istio_sides import Look, Sides
from adapters.routers.istio_subsets import SubsetSides
from adapters.routers.istio_weights import Division, find_division, shares_in_words
from adapters.routers.request_values import Unjoinable
from adapters.routers.user_objects import Read, absent, gone, read_declared, read_live, stands_as_ordered
from engine.errors import Rejected, Retryable
from engine.model import ActionKind, Facts, RolloutSpec, Snapshot, TargetPlan
from engine.observation import RouteObservation
from engine.traffic import IstioProtocol, IstioRoute, RoutePlan, describe_shape, read_shape

_SUBSETS, _HOSTS = SubsetSides(), HostSides()


class IstioRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        resource = virtual_services(VERSIONS[0])
        found = needs.watch(resource) | needs.named(resource, place_of(route).virtual_service, Verb.GET, Verb.PATCH)
        return found | _sides(route).permissions(route, needs) | endpoints.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        version = await served_version(task.cluster)
        if version is None:
            raise Rejected(
                f"route {route.name}: the cluster serves no VirtualService ({GROUP}); install Istio, or leave "
                "trafficManagement out to shift by the ratio of pods"
            )
        look, _ = await _look(task, route, version, read_declared)
        for pods, template in (("live", live["spec"]["template"]), ("new", new_template)):
            if not selects({"matchLabels": look.selects}, template["metadata"].get("labels") or {}):
                own = ", ".join(f"{key}={value}" for key, value in sorted(look.selects.items()))
                raise Rejected(
                    f"route {route.name}: {look.stable.subset or look.stable.host} selects {own}, which the {pods} version of "
                    f"Deployment {route.workload} does not have, so it would be left without pods; let it select what both have"
                )
        return {f"{route.name}.version": version}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            ActionKind.RECORD_ROUTE: _record_route,
            ActionKind.FOLLOW_STABLE: _follow_stable,
            ActionKind.ENSURE_STABLE_SERVICE: _pin_stable,
            ActionKind.ENSURE_CANARY_SERVICE: lambda task: _sides(task.route).show(task),
            ActionKind.REMOVE_STABLE_SERVICE: lambda task: _sides(task.route).free(task),
            ActionKind.REMOVE_CANARY_SERVICE: lambda task: _sides(task.route).hide(task),
            ActionKind.ENSURE_ROUTE: lambda task: _divide(task, task.number("initial")),
            ActionKind.SET_WEIGHT: lambda task: _divide(task, task.number("weight")),
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _put_back,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        version = snapshot.facts.get(f"{route.name}.version")
        if not version:
            return []
        resource, namespace = virtual_services(str(version)), spec.plan.namespace
        cluster.watch(resource, namespace)
        key = cluster.key(resource, namespace, place_of(route).virtual_service)
        return [key, *_sides(route).watch(cluster, spec, route, str(version))]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        division = _recorded(route, snapshot)
        if division is None:
            return RouteObservation()
        version = str(snapshot.facts[f"{route.name}.version"])
        found = cluster.cached_object(virtual_services(version), spec.plan.namespace, place_of(route).virtual_service)
        now = destinations_at(found, place_of(route), division.is_in) if found is not None else None
        read = division.read(now) if now is not None else None
        ordered = Ordered(snapshot.expected, read_shape(snapshot.shape), route.sticky, version_of(spec.id))
        shape = _shape_shown(route, snapshot, division, found, ordered)
        drift = ""
        if stands_as_ordered(snapshot, f"ensure-route:{route.name}", f"remove-route:{route.name}"):
            drift = _drift(route, division, found, now, ordered, is_shaped=shape == snapshot.shape)
            if not drift and not _is_free(route, spec.plan, snapshot):
                drift = _sides(route).drift(cluster, spec, route, snapshot)
        if now is not None and now == destinations_for(division, ordered):
            # Where whole percents are all that can be said, this is as near as it gets.
            reached = read if read != snapshot.expected else None
            return RouteObservation(True, snapshot.expected, drift, reached=reached, shape=shape)
        # The weight alone does not count yet where those who are sent to the new version do not get their cookie.
        lacks_cookie = ordered.keeps_clients and read == snapshot.expected
        return RouteObservation(read is not None, None if lacks_cookie else read, drift, shape=shape)


def _is_free(route: RoutePlan, plan: TargetPlan, snapshot: Snapshot) -> bool:
    """Whether the old version's side is any pods' by now: whichever route comes first frees it for all that share it."""
    sharing = (one.name for one in plan.routes if one.istio is not None and _old_side_of(one) == _old_side_of(route))
    return any(f"free-stable:{name}" in snapshot.begun for name in sharing)


def _old_side_of(route: RoutePlan) -> tuple[str, str, str]:
    return route.workload, place_of(route).destination_rule, route.stable_service


def _sides(route: RoutePlan) -> Sides:
    return _SUBSETS if place_of(route).destination_rule else _HOSTS


# --- the list of destinations as it was found --------------------------------------------------------------------------


async def _look(task: Task, route: RoutePlan, version: str, read: Read) -> tuple[Look, Facts]:
    """Both sides, and the list that is divided between them. Raises `Rejected`."""
    place, resource = place_of(route), virtual_services(version)
    found = await read(task, resource, place.virtual_service)
    if found is None:
        raise absent(task, route, resource, place.virtual_service)
    where = words_for(place)
    index = find_index(found, place)
    if isinstance(index, str):
        raise Rejected(f"route {route.name}: the {where} {index}")
    destinations = destinations_at(found, place)
    if not destinations:
        raise Rejected(f"route {route.name}: the {where} has no destinations, it redirects or delegates; name another")
    look = await _sides(route).look(task, route, version, read)
    division = find_division(destinations, look.stable, look.canary, task.namespace, exact=version == VERSIONS[0])
    if isinstance(division, str):
        raise Rejected(f"route {route.name}: the {where} {division}")
    is_http = place.protocol is IstioProtocol.HTTP
    if is_http and (obstacle := find_obstacle(http_of(found), place, index, division, task.spec.plan, route.sticky)):
        raise Rejected(f"route {route.name}: the {where} {obstacle}")
    before = {"division": asdict(division), "managedFields": found["metadata"].get("managedFields") or []}
    return look, {f"{route.name}.found": json.dumps(before)}


async def _record_route(task: Task) -> Done:
    route = task.route
    look, facts = await _look(task, route, task.fact(route.name, "version"), read_live)
    return Done(f"the {words_for(place_of(route))} is recorded as it is", {**look.facts, **facts})


def _recorded(route: RoutePlan, snapshot: Snapshot) -> Division | None:
    kept = snapshot.facts.get(f"{route.name}.found")
    if not kept:
        return None
    body = json.loads(str(kept))["division"]
    sides = {name: Side(**body[name]) for name in ("active", "fresh")}
    return Division(**{**body, **sides, "found": tuple(body["found"])})


def _division(task: Task) -> Division:
    found = _recorded(task.route, task.snapshot)
    assert found is not None, f"{task.action.name} before the route was recorded"
    return found


# --- what is done ------------------------------------------------------------------------------------------------------


async def _pin_stable(task: Task) -> Done:
    return await _sides(task.route).pin(task, task.fact(task.route.workload, "stable_hash"))


async def _follow_stable(task: Task) -> Done:
    """As `services.follow_stable`: the pods that were found, or if they are gone the ones that the Deployment runs now."""
    route = task.route
    serving = await services.serving_versions(task)
    if not serving and not task.is_undoing:
        raise Retryable(f"Deployment {route.workload} has no version yet that the old version's side could follow")
    if not serving or task.fact(route.workload, "stable_name") in serving:
        return await _pin_stable(task)
    name, hash_value = next(iter(serving.items()))
    done = await _sides(route).pin(task, hash_value)
    return Done(done.note, {f"{route.workload}.stable_name": name, f"{route.workload}.stable_hash": hash_value})


def _resource(task: Task) -> ResourceRef:
    return virtual_services(task.fact(task.route.name, "version"))


async def _find(task: Task) -> tuple[JsonObject | None, list[JsonObject] | None]:
    place = place_of(task.route)
    found = await task.cluster.find(_resource(task), task.namespace, place.virtual_service)
    return found, destinations_at(found, place, _division(task).is_in) if found is not None else None


async def _reassert(task: Task) -> Done:
    """Both sides first, as the list names them. The old version's stays free once it is: other routes may send to it."""
    if not _is_free(task.route, task.spec.plan, task.snapshot):
        await _pin_stable(task)
    await _sides(task.route).show(task)
    return await _divide(task, task.number("weight"))


async def _divide(task: Task, weight: int) -> Done:
    """Weight and shape in one write."""
    place, division = place_of(task.route), _division(task)
    ordered = Ordered(weight, read_shape(str(task.action.args.get("shape") or "")), task.route.sticky, version_of(task.rollout))
    where = words_for(place)
    found, now = await _find(task)
    if found is None or now is None:
        return gone(task, f"the {where}" if found is not None else f"VirtualService {place.virtual_service}")
    begins = task.action.kind is ActionKind.ENSURE_ROUTE and now == list(division.found)
    reasserts = task.action.kind is ActionKind.REASSERT_ROUTE
    if not begins and not reasserts and not division.is_intact(now):
        if not task.is_undoing:
            raise Rejected(f"the destinations of the {where} were edited by somebody else during the rollout")
        change = _change_back(found, place, division)
    else:
        change = _change_to(found, place, division, ordered)
    if change:
        await task.cluster.patch(_resource(task), found, change)
    beside = f", beside it {describe_shape(ordered.shape)}" if ordered.shape else ""
    return Done(f"{where}: {_words(division, weight)}{beside}")


def _change_to(found: JsonObject, place: IstioRoute, division: Division, ordered: Ordered) -> list[JsonObject]:
    index = _index_in(found, place, division)
    if index is None:
        now = destinations_at(found, place, division.is_in)
        return change_of(path_of(found, place, division.is_in), now, division.at(ordered.weight))
    try:
        wanted = arrange(http_of(found), place, index, division, ordered)
    except Unjoinable as error:
        raise Rejected(f"the {words_for(place)} was edited by somebody else during the rollout: it {error}") from error
    return _change_of_http(found, index, wanted)


def _change_back(found: JsonObject, place: IstioRoute, division: Division) -> list[JsonObject]:
    index = _index_in(found, place, division)
    if index is None:
        now = destinations_at(found, place, division.is_in) or []
        return change_of(path_of(found, place, division.is_in), now, division.without_canary(now))
    return _change_of_http(found, index, without_ours(http_of(found), place, index, division))


def _index_in(found: JsonObject, place: IstioRoute, division: Division) -> int | None:
    """Where in its list an http route stands, beside which there may be more of ours than a weight."""
    index = find_index(found, place, division.is_in)
    return index if place.protocol is IstioProtocol.HTTP and isinstance(index, int) else None


def _change_of_http(found: JsonObject, index: int, wanted: list[JsonObject]) -> list[JsonObject]:
    """Of no more than one list of destinations, where that is all that changes."""
    now = http_of(found)
    destinations = wanted[index].get("route") if index < len(wanted) else None
    if wanted == [*now[:index], {**now[index], "route": destinations}, *now[index + 1 :]]:
        return change_of(f"/spec/http/{index}/route", now[index].get("route"), destinations)
    return change_of("/spec/http", now, wanted)


async def _put_back(task: Task) -> Done:
    place, division = place_of(task.route), _division(task)
    found, now = await _find(task)
    if found is None or now is None:
        return Done(f"the {words_for(place)} is gone; there is nothing to put back")
    before = task.json_fact(task.route.name, "found")["managedFields"]
    await put_back(task, _resource(task), found, _change_back(found, place, division), before)
    is_as_found = division.without_canary(now) == list(division.found)
    note = "is as it was found" if is_as_found else "keeps what somebody else has put into it"
    return Done(f"the {words_for(place)} {note}")


def _words(division: Division, weight: int) -> str:
    reached = division.reached(weight)
    if reached == weight:
        return f"{weight / 100:g} % to the new version"
    return f"{reached / 100:g} % to the new version, as near to {weight / 100:g} % as whole weights come here"


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _shape_shown(
    route: RoutePlan, snapshot: Snapshot, division: Division, found: JsonObject | None, ordered: Ordered
) -> str:
    """What was ordered beside the weight, where just that stands there; anything else otherwise."""
    place = place_of(route)
    index = _index_in(found, place, division) if found is not None else None
    if found is None or index is None:
        return ""
    if is_arranged(http_of(found), place, index, division, ordered):
        return snapshot.shape
    return "" if snapshot.shape and is_bare(http_of(found), place, index, division) else "another"


def _drift(
    route: RoutePlan,
    division: Division,
    found: JsonObject | None,
    now: list[JsonObject] | None,
    ordered: Ordered,
    *,
    is_shaped: bool,
) -> str:
    place = place_of(route)
    if found is None:
        return f"VirtualService {place.virtual_service} was removed by somebody else; put it back and resume, or abort"
    where, wanted = words_for(place), destinations_for(division, ordered)
    if now is None:
        return f"the {where} was taken out by somebody else; put it back and resume, or abort"
    if now == wanted:
        edited = f"what stands beside the weights of the {where} was edited by somebody else; {_advice(ordered)}"
        return "" if is_shaped else edited
    advice = f"put back {shares_in_words(wanted)} and resume, or abort"
    read = division.read(now)
    if division.is_intact(now) and read is not None and read != ordered.weight:
        return f"somebody else set the {where} to {read / 100:g} % instead of {ordered.weight / 100:g} %; {advice}"
    return f"the destinations of the {where} were edited by somebody else; {advice}"


def _advice(ordered: Ordered) -> str:
    wanted = [describe_shape(ordered.shape)] if ordered.shape else []
    if ordered.keeps_clients and ordered.sticky is not None:
        wanted.append(f"the route for the cookie {ordered.sticky.cookie}")
    if not wanted:
        return "take it out and resume, or abort"
    return f"put back {', and '.join(wanted)} in front of it as it was and resume, or abort"

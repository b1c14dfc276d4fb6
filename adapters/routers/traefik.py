"""Traefik: weights in the user's own weighted TraefikService, which is edited and put back to the letter.

Nothing but the two versions' Services is made. A TraefikService has no status, so the weight is confirmed by reading it back.
Which entries stand in the list, and why one that is sent nothing does not, is told in `traefik_lists`. What is called by the name
of the TraefikService (IngressRoutes) is not touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import SERVICES, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from adapters.routers import services
from adapters.routers.istio_http import version_of
from adapters.routers.traefik_lists import WeightedList, find_list, shares_in_words
from adapters.routers.user_objects import Read, absent, gone, read_declared, read_live, stands_as_ordered
from engine.errors import Rejected
from engine.model import ActionKind, Facts, RolloutSpec, Snapshot, TargetPlan
from engine.observation import RouteObservation
from engine.traffic import RoutePlan, read_shape
from strategies.other_router_limits import refuse_traefik_shape

KIND, VERSION = "TraefikService", "v1alpha1"
GROUPS = ("traefik.io", "traefik.containo.us")
"""Newest first; Traefik 3 reads the first only."""
_LIST, _STICKY = "/spec/weighted/services", "/spec/weighted/sticky"


def traefik_services(group: str) -> ResourceRef:
    return ResourceRef(group, VERSION, "traefikservices", KIND, True)


async def served_group(cluster: Cluster) -> str | None:
    for group in GROUPS:
        if VERSION in await cluster.served_versions(group):
            return group
    return None


class TraefikRouter:
    """Implements `adapters.kubernetes.routing.Router` and `NamesKinds`."""

    async def kinds_of(
        self, cluster: Cluster, plan: TargetPlan, route: RoutePlan
    ) -> Mapping[tuple[str, str], ResourceRef]:
        group = await served_group(cluster)
        return {(f"{GROUPS[0]}/{VERSION}", KIND): traefik_services(group or GROUPS[0])}

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        resource = needs.resource_of(f"{GROUPS[0]}/{VERSION}", KIND)
        found = needs.watch(resource) | needs.named(resource, route.split, Verb.GET, Verb.PATCH)
        return found | services.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        group = await served_group(task.cluster)
        if group is None:
            raise Rejected(
                f"route {route.name}: the cluster serves no {KIND} ({GROUPS[0]}); install the definitions of Traefik, or leave "
                "trafficManagement out to shift by the ratio of pods"
            )
        await _look(task, route, traefik_services(group), read_declared)
        facts = await services.record_services(task, route, live, new_template)
        return {**facts, f"{route.name}.group": group}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            **services.handlers(),
            ActionKind.RECORD_ROUTE: _record_route,
            ActionKind.ENSURE_ROUTE: lambda task: _divide(task, task.number("initial")),
            ActionKind.SET_WEIGHT: _set_weight,
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _put_back,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        group, namespace = snapshot.facts.get(f"{route.name}.group"), spec.plan.namespace
        if not group:
            return []
        resource = traefik_services(str(group))
        cluster.watch(resource, namespace)
        cluster.watch(SERVICES, namespace)
        names = (route.root_service, route.stable_service, route.canary_service)
        key = cluster.key(resource, namespace, route.split)
        return [key, *(cluster.key(SERVICES, namespace, name) for name in names)]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        divided = _recorded(route, snapshot)
        if divided is None:
            return RouteObservation()
        resource = traefik_services(str(snapshot.facts[f"{route.name}.group"]))
        found = cluster.cached_object(resource, spec.plan.namespace, route.split)
        now = list_of(found) if found is not None else None
        read = divided.read(now) if now is not None else None
        there = services.services_there(cluster, spec, route)
        drift = ""
        if stands_as_ordered(snapshot, f"ensure-route:{route.name}", f"remove-route:{route.name}"):
            drift = _drift(route, snapshot, divided, found, now, spec.id)
        drift = drift or services.drift(route, snapshot, there)
        return RouteObservation(read is not None, read, drift, services.missing(route, snapshot, there))


def weighted_of(found: JsonObject) -> JsonObject | None:
    weighted: JsonObject | None = (found.get("spec") or {}).get("weighted")
    return weighted


def list_of(found: JsonObject) -> list[JsonObject] | None:
    weighted = weighted_of(found)
    entries: list[JsonObject] | None = weighted.get("services") if weighted is not None else None
    return entries


def _sticky_of(found: JsonObject) -> JsonObject | None:
    sticky: JsonObject | None = (weighted_of(found) or {}).get("sticky")
    return sticky


async def _look(task: Task, route: RoutePlan, resource: ResourceRef, read: Read) -> tuple[JsonObject, WeightedList]:
    """The user's TraefikService, and how its list can be divided. Raises `Rejected`."""
    found = await read(task, resource, route.split)
    if found is None:
        raise absent(task, route, resource, route.split)
    where = f"route {route.name}: {KIND} {route.split}"
    entries = list_of(found)
    if not entries:
        raise Rejected(f"{where} has no spec.weighted.services; name one that has, with the Service {route.root_service} in it")
    divided = find_list(entries, route.root_service, route.stable_service, route.canary_service, task.namespace)
    if isinstance(divided, str):
        raise Rejected(f"{where} {divided}")
    return found, divided


async def _record_route(task: Task) -> Done:
    route = task.route
    found, divided = await _look(task, route, _resource(task), read_live)
    kept = {
        "list": asdict(divided),
        "sticky": _sticky_of(found),
        "managedFields": found["metadata"].get("managedFields") or [],
    }
    return Done(f"{KIND} {route.split} is recorded as it is", {f"{route.name}.found": json.dumps(kept)})


def _recorded(route: RoutePlan, snapshot: Snapshot) -> WeightedList | None:
    kept = snapshot.facts.get(f"{route.name}.found")
    if not kept:
        return None
    body = json.loads(str(kept))["list"]
    return WeightedList(**{**body, "found": tuple(body["found"])})


def _division(task: Task) -> WeightedList:
    found = _recorded(task.route, task.snapshot)
    assert found is not None, f"{task.action.name} before the route was recorded"
    return found


# --- what is done ------------------------------------------------------------------------------------------------------


def _resource(task: Task) -> ResourceRef:
    return traefik_services(task.fact(task.route.name, "group"))


async def _set_weight(task: Task) -> Done:
    if why := refuse_traefik_shape(read_shape(str(task.action.args.get("shape") or ""))):
        raise Rejected(f"route {task.route.name}: {why}")
    return await _divide(task, task.number("weight"))


async def _reassert(task: Task) -> Done:
    await services.reassert(task)
    return await _divide(task, task.number("weight"))


async def _divide(task: Task, weight: int) -> Done:
    route, divided = task.route, _division(task)
    what = f"{KIND} {route.split}"
    found = await task.cluster.find(_resource(task), task.namespace, route.split)
    now = list_of(found) if found is not None else None
    if found is None or now is None:
        return gone(task, what if found is None else f"the list of weights of {what}")
    begins = task.action.kind is ActionKind.ENSURE_ROUTE and now == list(divided.found)
    reasserts = task.action.kind is ActionKind.REASSERT_ROUTE
    wanted = divided.at(weight)
    if not begins and not reasserts and not divided.is_intact(now):
        if not task.is_undoing:
            raise Rejected(f"the list of weights of {what} was edited by somebody else during the rollout")
        wanted = divided.without_canary(now)
    change = change_of(_LIST, now, wanted)
    if route.sticky is not None and not task.is_undoing and not _sticks(route, found, task.rollout):
        change.append({"op": "add", "path": _STICKY, "value": _sticky(route, task.rollout)})
    if change:
        await task.cluster.patch(_resource(task), found, change)
    return Done(f"{what}: {weight / 100:g} % to the new version")


def _cookie(route: RoutePlan, rollout: str) -> str:
    """One for each rollout: Traefik's cookie holds a Service, and that of the new version has the same name every time, so
    whoever was drawn in the last rollout would be in this one at once."""
    return f"{route.sticky.cookie}-{version_of(rollout)}" if route.sticky is not None else ""


def _sticky(route: RoutePlan, rollout: str) -> JsonObject:
    assert route.sticky is not None
    return {"cookie": {"name": _cookie(route, rollout), "maxAge": round(route.sticky.max_age_seconds)}}


def _sticks(route: RoutePlan, found: JsonObject, rollout: str) -> bool:
    """By the cookie's name: an older Traefik knows no age, and its definition drops what it does not know."""
    cookie = (_sticky_of(found) or {}).get("cookie") or {}
    return route.sticky is not None and cookie.get("name") == _cookie(route, rollout)


async def _put_back(task: Task) -> Done:
    route, divided = task.route, _division(task)
    what = f"{KIND} {route.split}"
    found = await task.cluster.find(_resource(task), task.namespace, route.split)
    now = list_of(found) if found is not None else None
    if found is None or now is None:
        return Done(f"{what} is gone, or has no list of weights; there is nothing to put back")
    kept, wanted = task.json_fact(route.name, "found"), divided.put_back(now)
    change = change_of(_LIST, now, wanted)
    if _sticks(route, found, task.rollout) and _sticky_of(found) != kept["sticky"]:
        back = {"op": "add", "path": _STICKY, "value": kept["sticky"]}
        change.append(back if kept["sticky"] is not None else {"op": "remove", "path": _STICKY})
    await put_back(task, _resource(task), found, change, kept["managedFields"])
    note = "is as it was found" if wanted == list(divided.found) else "keeps what somebody else has put into it"
    return Done(f"{what} {note}")


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _drift(
    route: RoutePlan,
    snapshot: Snapshot,
    divided: WeightedList,
    found: JsonObject | None,
    now: list[JsonObject] | None,
    rollout: str,
) -> str:
    what = f"{KIND} {route.split}"
    if found is None:
        return f"{what} was removed by somebody else; put it back and resume, or abort"
    if now is None:
        return f"the list of weights of {what} was taken out by somebody else; put it back and resume, or abort"
    wanted = divided.at(snapshot.expected)
    advice = f"put back {shares_in_words(wanted)} and resume, or abort"
    if now != wanted:
        read = divided.read(now)
        if divided.is_intact(now) and read is not None and read != snapshot.expected:
            instead = f"{read / 100:g} % instead of {snapshot.expected / 100:g} %"
            return f"somebody else set {what} to {instead}; {advice}"
        return f"the list of weights of {what} was edited by somebody else; {advice}"
    if route.sticky is not None and not _sticks(route, found, rollout):
        told = json.dumps(_sticky(route, rollout))
        return f"the cookie of {what} was edited by somebody else; put back {told} and resume, or abort"
    return ""

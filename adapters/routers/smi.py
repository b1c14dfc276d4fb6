"""SMI TrafficSplit: one split per route, in whichever version the cluster serves.

Order (SMI's specification): the split stands at 100/0 before canary pods exist and is deleted after the old ones are gone. The
object has no status, so the weight is confirmed by reading the object back; what a mesh makes of it is another question.
Clients are found in all of v1alpha1, v1alpha2 and v1alpha4, so the served version is discovered. Weights are whole numbers,
which mean the same in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import SERVICES, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject
from adapters.routers import services
from adapters.routers.weights import basis_points, parse_weight, relative_weights
from engine.errors import Rejected
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, State
from engine.observation import RouteObservation
from engine.traffic import RoutePlan

GROUP = "split.smi-spec.io"
VERSIONS = ("v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")
"""Newest first. All-integer weights and the three fields that are used are the same in each."""


def split_resource(version: str) -> ResourceRef:
    return ResourceRef(group=GROUP, version=version, plural="trafficsplits", kind="TrafficSplit", namespaced=True)


class SmiRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        split = split_resource(VERSIONS[0])
        found = needs.watch(split) | needs.look_through(split)
        found |= needs.named(split, route.split, Verb.GET, Verb.CREATE, Verb.PATCH, Verb.DELETE)
        return found | services.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        served = await task.cluster.served_versions(GROUP)
        version = next((one for one in VERSIONS if one in served), None)
        if version is None:
            raise Rejected(
                f"route {route.name}: the cluster serves no TrafficSplit ({GROUP}); install the mesh's SMI extension, or "
                "leave trafficManagement out to shift by the ratio of pods"
            )
        for split in await task.cluster.list_objects(split_resource(version), task.namespace):
            name, root = split["metadata"]["name"], _spec(split).get("service", "").split(".")[0]
            if task.is_ours(split):
                continue
            if name == route.split:
                raise Rejected(services.taken("TrafficSplit", split))
            if root == route.root_service:
                raise Rejected(f"TrafficSplit {name} splits the root Service {root} already; two splits on one root fight")
        facts = await services.record_services(task, route, live, new_template)
        return {**facts, f"{route.name}.version": version}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            ActionKind.FOLLOW_STABLE: services.follow_stable,
            ActionKind.ENSURE_STABLE_SERVICE: services.ensure_stable_service,
            ActionKind.ENSURE_CANARY_SERVICE: services.ensure_canary_service,
            ActionKind.REMOVE_STABLE_SERVICE: services.remove_stable_service,
            ActionKind.REMOVE_CANARY_SERVICE: services.remove_canary_service,
            ActionKind.ENSURE_ROUTE: _ensure_route,
            ActionKind.SET_WEIGHT: _set_weight,
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _remove_route,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        resource = _watched(route, snapshot)
        if resource is None:
            return []
        namespace = spec.plan.namespace
        cluster.watch(resource, namespace)
        cluster.watch(SERVICES, namespace)
        names = (route.root_service, route.stable_service, route.canary_service)
        return [cluster.key(resource, namespace, route.split), *(cluster.key(SERVICES, namespace, name) for name in names)]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        resource = _watched(route, snapshot)
        found = cluster.cached_object(resource, spec.plan.namespace, route.split) if resource is not None else None
        weight = read_weight(route, found) if found is not None else None
        there = services.services_there(cluster, spec, route)
        drift = _drift(route, snapshot, found, weight) or services.drift(route, snapshot, there)
        return RouteObservation(found is not None, weight, drift, services.missing(route, snapshot, there))


def _watched(route: RoutePlan, snapshot: Snapshot) -> ResourceRef | None:
    version = snapshot.facts.get(f"{route.name}.version")
    return split_resource(str(version)) if version else None


async def _ensure_route(task: Task) -> Done:
    route = task.route
    found = await _find(task)
    if found is not None:
        return Done(f"TrafficSplit {route.split} is there")
    weight = task.number("initial")
    await task.cluster.create(_resource(task), _split(task, weight))
    return Done(f"TrafficSplit {route.split} splits {route.root_service}: {_words(weight)}")


async def _set_weight(task: Task) -> Done:
    route, weight = task.route, task.number("weight")
    found = await _find(task, ours_only=not task.is_undoing)
    if found is not None and task.is_undoing and not _is_made_by(task, found):
        return Done(f"TrafficSplit {route.split} was replaced by somebody else's, whose weights are left as they are")
    if found is None:
        if weight == 0:
            return Done(f"TrafficSplit {route.split} is not there, so it sends nothing to the new version")
        raise Rejected(f"TrafficSplit {route.split} was removed by somebody else during the rollout")
    wanted = _backends(route, weight)
    if _spec(found).get("backends") != wanted:
        spec = {**_spec(found), "service": route.root_service, "backends": wanted}
        path, value = ("/spec/backends", wanted) if _spec(found).get("service") else ("/spec", spec)
        change = {"op": "add", "path": path, "value": value}
        await task.cluster.patch(_resource(task), found, [change])
    return Done(f"TrafficSplit {route.split}: {_words(weight)}")


async def _reassert(task: Task) -> Done:
    """Made again where it was removed, and written over where it was edited."""
    weight = task.number("weight")
    found = await _find(task, ours_only=False)
    if found is None:
        await task.cluster.create(_resource(task), _split(task, weight))
        return Done(f"TrafficSplit {task.route.split} is made again: {_words(weight)}")
    return await _set_weight(task)


async def _remove_route(task: Task) -> Done:
    found = await _find(task, ours_only=False)
    name = task.route.split
    if found is None:
        return Done(f"TrafficSplit {name} is gone")
    if not _is_made_by(task, found):
        return Done(f"TrafficSplit {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(_resource(task), found)
    return Done(f"TrafficSplit {name} is removed")


def _resource(task: Task) -> ResourceRef:
    return split_resource(task.fact(task.route.name, "version"))


async def _find(task: Task, *, ours_only: bool = True) -> JsonObject | None:
    found = await task.cluster.find(_resource(task), task.namespace, task.route.split)
    if found is not None and ours_only and not _is_made_by(task, found):
        raise Rejected(f"TrafficSplit {task.route.split} was replaced by somebody else's during the rollout")
    return found


def _is_made_by(task: Task, found: JsonObject) -> bool:
    """Also where somebody replaced it and our mark was lost: its name was free, and its backends are our Services."""
    if ROLLOUT_ANNOTATION in (found["metadata"].get("annotations") or {}):
        return task.is_ours(found)
    names = {backend.get("service") for backend in _spec(found).get("backends") or []}
    root = str(_spec(found).get("service", "")).split(".")[0]
    return root == task.route.root_service and names == {task.route.stable_service, task.route.canary_service}


def _split(task: Task, weight: int) -> JsonObject:
    route = task.route
    return {
        "apiVersion": f"{GROUP}/{task.fact(route.name, 'version')}",
        "kind": "TrafficSplit",
        "metadata": {
            "name": route.split,
            "namespace": task.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGER},
            "annotations": {ROLLOUT_ANNOTATION: task.rollout},
        },
        "spec": {"service": route.root_service, "backends": _backends(route, weight)},
    }


def _backends(route: RoutePlan, weight: int) -> list[JsonObject]:
    stable, canary = relative_weights(weight)
    return [
        {"service": route.stable_service, "weight": stable},
        {"service": route.canary_service, "weight": canary},
    ]


def _spec(split: JsonObject) -> JsonObject:
    """Somebody may have taken it out; no definition of the kind demands it."""
    spec: JsonObject = split.get("spec") or {}
    return spec


def read_weight(route: RoutePlan, split: JsonObject) -> int | None:
    """The canary's share of all backends in basis points, as the object says it; None where it says nothing usable."""
    canary = total = Decimal(0)
    for backend in _spec(split).get("backends") or []:
        weight = parse_weight(backend.get("weight"))
        if weight is None:
            return None
        total += weight
        if backend.get("service") == route.canary_service:
            canary += weight
    return basis_points(canary, total)


def _drift(route: RoutePlan, snapshot: Snapshot, split: JsonObject | None, weight: int | None) -> str:
    """What somebody else made of the split while it stood as we ordered it: no write of ours to it is under way."""
    settled = snapshot.state is not State.PREPARING and snapshot.state not in UNDOING_STATES
    if not settled or snapshot.state is State.FINALISING or snapshot.action is not None or snapshot.is_between_routes:
        return ""
    if f"ensure-route:{route.name}" not in snapshot.begun or f"remove-route:{route.name}" in snapshot.begun:
        return ""
    advice = "put it back and resume, or abort"
    if split is None:
        return f"TrafficSplit {route.split} was removed by somebody else, so {route.root_service} reaches all pods; {advice}"
    names = {backend.get("service") for backend in _spec(split).get("backends") or []}
    if weight is None or names != {route.stable_service, route.canary_service}:
        return f"the backends of TrafficSplit {route.split} were edited by somebody else; {advice}"
    if weight != snapshot.expected:
        instead = f"{weight / 100:g} % instead of {_words(snapshot.expected)}"
        return f"somebody else set TrafficSplit {route.split} to {instead}; {advice}"
    return ""


def _words(weight: int) -> str:
    return f"{weight / 100:g} % to the new version"

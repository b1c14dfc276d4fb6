"""ingress-nginx: a canary Ingress of ours beside the user's own, which names the old version's Service meanwhile.

The controller writes nothing into an Ingress when it has taken it up, so a weight is confirmed by reading the Ingress back. In
which order the edits come, and why, is told in `strategies.route_operations`; what stands in the objects, in `ingress_objects`;
what a canary Ingress can say beside a weight, in `strategies.nginx_limits`. The root Service is never edited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import INGRESSES, SERVICES
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import put_back
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject
from adapters.routers import services
from adapters.routers.ingress_objects import (
    canary_annotations,
    canary_spec,
    find_obstacle,
    is_canary,
    names,
    places_of,
    read_conditions,
    read_weight,
    renaming,
    repeated_annotations,
    saying,
    services_of,
)
from adapters.routers.user_objects import Read, absent, gone, read_declared, read_live, stands_as_ordered
from engine.errors import Rejected
from engine.model import ActionKind, Facts, RolloutSpec, Snapshot
from engine.observation import RouteObservation
from engine.traffic import FULL_WEIGHT, RoutePlan, read_shape
from strategies.nginx_limits import conditions_of, refuse_shape


class IngressNginxRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        found = needs.watch(INGRESSES) | needs.look_through(INGRESSES)
        found |= needs.named(INGRESSES, route.ingress, Verb.GET, Verb.PATCH)
        found |= needs.named(INGRESSES, route.split, Verb.GET, Verb.CREATE, Verb.PATCH, Verb.DELETE)
        return found | services.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        found = await _look(task, route, read_declared)
        ours = places_of(found, route.root_service)
        for other in await task.cluster.list_objects(INGRESSES, task.namespace):
            name = other["metadata"]["name"]
            if name == route.split and not task.is_ours(other):
                raise Rejected(services.taken("Ingress", other))
            shared = [place for service in services_of(other) for place in places_of(other, service) & ours]
            if is_canary(other) and shared and not task.is_ours(other):
                host, path = sorted(shared)[0]
                raise Rejected(
                    f"route {route.name}: Ingress {name} is a canary for {host}{path or ' the default backend'} already, and "
                    "ingress-nginx takes one for each place; remove it"
                )
        return await services.record_services(task, route, live, new_template)

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            **services.handlers(),
            ActionKind.RECORD_ROUTE: _record_route,
            ActionKind.ENSURE_ROUTE: _ensure_route,
            ActionKind.SET_WEIGHT: _set_weight,
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.FREE_ROUTE: _free_route,
            ActionKind.REMOVE_ROUTE: _remove_route,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        namespace = spec.plan.namespace
        cluster.watch(INGRESSES, namespace)
        cluster.watch(SERVICES, namespace)
        of_services = (route.root_service, route.stable_service, route.canary_service)
        ingresses = [cluster.key(INGRESSES, namespace, name) for name in (route.ingress, route.split)]
        return [*ingresses, *(cluster.key(SERVICES, namespace, name) for name in of_services)]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        canary = cluster.cached_object(INGRESSES, spec.plan.namespace, route.split)
        main = cluster.cached_object(INGRESSES, spec.plan.namespace, route.ingress)
        if canary is not None and not _is_ours(canary, spec.id, route):
            canary = None
        weight = read_weight(canary) if canary is not None else None
        shape = _read_shape(snapshot, canary) if canary is not None else ""
        there = services.services_there(cluster, spec, route)
        drift = ""
        if stands_as_ordered(snapshot, f"ensure-route:{route.name}", f"remove-route:{route.name}"):
            drift = _drift(route, snapshot, main, canary, weight, shape)
        drift = drift or services.drift(route, snapshot, there)
        missing = services.missing(route, snapshot, there)
        return RouteObservation(canary is not None, weight, drift, missing, shape=shape)


async def _look(task: Task, route: RoutePlan, read: Read) -> JsonObject:
    """The user's Ingress, with the root Service in it. Raises `Rejected`."""
    found = await read(task, INGRESSES, route.ingress)
    if found is None:
        raise absent(task, route, INGRESSES, route.ingress)
    if obstacle := find_obstacle(found, route.root_service):
        raise Rejected(f"route {route.name}: Ingress {route.ingress} {obstacle}")
    return found


async def _record_route(task: Task) -> Done:
    route = task.route
    found = await _look(task, route, read_live)
    kept = {
        "canary": canary_spec(found, route.root_service, route.canary_service),
        "annotations": repeated_annotations(found),
        "managedFields": found["metadata"].get("managedFields") or [],
    }
    return Done(f"Ingress {route.ingress} is recorded as it is", {f"{route.name}.found": json.dumps(kept)})


# --- what is done ------------------------------------------------------------------------------------------------------


async def _ensure_route(task: Task) -> Done:
    """The canary Ingress first, which may be refused, and sends nothing yet. Made again with all traffic, it stands on the root
    Service, as the old version may have no pods."""
    weight = task.number("initial")
    note = await _ensure_canary(task, weight)
    if weight != FULL_WEIGHT:
        await _name_stable(task)
        note = f"{note}; Ingress {task.route.ingress} names Service {task.route.stable_service}"
    return Done(note)


async def _ensure_canary(task: Task, weight: int) -> str:
    name = task.route.split
    if await _find_canary(task) is not None:
        return f"Ingress {name} is there"
    await task.cluster.create(INGRESSES, _canary(task, weight, {}))
    return f"Ingress {name} is a canary: {_words(weight)}"


async def _name_stable(task: Task) -> None:
    route = task.route
    found = await task.cluster.find(INGRESSES, task.namespace, route.ingress)
    if found is None:
        gone(task, f"Ingress {route.ingress}")
    elif change := renaming(found, route.root_service, route.stable_service):
        await task.cluster.patch(INGRESSES, found, change)


async def _set_weight(task: Task) -> Done:
    route, weight = task.route, task.number("weight")
    if task.is_undoing and f"free-route:{route.name}" in task.snapshot.begun:
        await _name_stable(task)  # The root Service selects the new version too.
    shape = read_shape(str(task.action.args.get("shape") or ""))
    if why := refuse_shape(shape):
        raise Rejected(f"route {route.name}: {why}")
    found = await _find_canary(task, ours_only=not task.is_undoing)
    if found is None:
        if weight == 0 and not shape:
            return Done(f"Ingress {route.split} is not there, so it sends nothing to the new version")
        raise Rejected(f"Ingress {route.split} was removed by somebody else during the rollout")
    if not _is_ours(found, task.rollout, route):
        return Done(f"Ingress {route.split} was replaced by somebody else's, which is left as it is")
    if change := saying(found, weight, conditions_of(shape)):
        await task.cluster.patch(INGRESSES, found, change)
    return Done(f"Ingress {route.split}: {_words(weight)}")


async def _reassert(task: Task) -> Done:
    """Services and both Ingresses as ordered, over what somebody else has made of them."""
    await services.reassert(task)
    route, weight = task.route, task.number("weight")
    shape = read_shape(str(task.action.args.get("shape") or ""))
    if f"free-route:{route.name}" not in task.snapshot.begun:
        await _name_stable(task)
    found = await _find_canary(task)
    if found is None:
        await task.cluster.create(INGRESSES, _canary(task, weight, conditions_of(shape)))
        return Done(f"Ingress {route.split} is made again: {_words(weight)}")
    spec = _recorded(task)["canary"]
    change = saying(found, weight, conditions_of(shape))
    if found.get("spec") != spec:
        change.append({"op": "add", "path": "/spec", "value": spec})
    if change:
        await task.cluster.patch(INGRESSES, found, change)
    return Done(f"Ingress {route.split} is as it was ordered: {_words(weight)}")


async def _free_route(task: Task) -> Done:
    route = task.route
    found = await task.cluster.find(INGRESSES, task.namespace, route.ingress)
    if found is None:
        return Done(f"Ingress {route.ingress} is gone; there is nothing to put back")
    change = renaming(found, route.stable_service, route.root_service)
    await put_back(task, INGRESSES, found, change, _recorded(task)["managedFields"])
    return Done(f"Ingress {route.ingress} names Service {route.root_service} again")


async def _remove_route(task: Task) -> Done:
    """The user's Ingress first: by now the root Service has the pods of one version only, and ours sends all or nothing."""
    freed = await _free_route(task)
    found = await _find_canary(task, ours_only=False)
    name = task.route.split
    if found is None:
        return Done(f"{freed.note}; Ingress {name} is gone")
    if not _is_ours(found, task.rollout, task.route):
        return Done(f"{freed.note}; Ingress {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(INGRESSES, found)
    return Done(f"{freed.note}; Ingress {name} is removed")


def _recorded(task: Task) -> JsonObject:
    found = task.json_fact(task.route.name, "found")
    assert found, f"{task.action.name} before the route was recorded"
    return found


async def _find_canary(task: Task, *, ours_only: bool = True) -> JsonObject | None:
    found = await task.cluster.find(INGRESSES, task.namespace, task.route.split)
    if found is not None and ours_only and not _is_ours(found, task.rollout, task.route):
        raise Rejected(f"Ingress {task.route.split} was replaced by somebody else's during the rollout")
    return found


def _is_ours(found: JsonObject, rollout: str, route: RoutePlan) -> bool:
    """Also where somebody replaced it and our mark was lost: its name was free, and it leads to our Service."""
    mark = (found["metadata"].get("annotations") or {}).get(ROLLOUT_ANNOTATION)
    return mark == rollout if mark is not None else names(found, route.canary_service)


def _canary(task: Task, weight: int, conditions: Mapping[str, str]) -> JsonObject:
    recorded, route = _recorded(task), task.route
    marks = {ROLLOUT_ANNOTATION: task.rollout, **recorded["annotations"]}
    return {
        "apiVersion": INGRESSES.api_version,
        "kind": INGRESSES.kind,
        "metadata": {
            "name": route.split,
            "namespace": task.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGER},
            "annotations": marks | canary_annotations(weight, conditions),
        },
        "spec": recorded["canary"],
    }


def _words(weight: int) -> str:
    return f"{weight / 100:g} % to the new version"


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _read_shape(snapshot: Snapshot, canary: JsonObject) -> str:
    """What was ordered, where just that is read back; or else what is there, which is no text of a shape."""
    found = read_conditions(canary)
    ordered = conditions_of(read_shape(snapshot.shape))
    return snapshot.shape if found == ordered else json.dumps(found)


def _drift(
    route: RoutePlan,
    snapshot: Snapshot,
    main: JsonObject | None,
    canary: JsonObject | None,
    weight: int | None,
    shape: str,
) -> str:
    if main is None:
        return f"Ingress {route.ingress} was removed by somebody else; put it back and resume, or abort"
    freed = f"free-route:{route.name}" in snapshot.begun
    wanted, other = (route.root_service, route.stable_service) if freed else (route.stable_service, route.root_service)
    if names(main, other) or not names(main, wanted):
        reason = f"so requests reach the pods of both versions; let it name {wanted} instead of {other}"
        if not names(main, other):
            reason = f"let it name {wanted} again"
        return f"the backends of Ingress {route.ingress} were edited by somebody else; {reason} and resume, or abort"
    if canary is None:
        return f"Ingress {route.split}, the canary, was removed by somebody else; resume after it was put back, or abort"
    advice = "put it back and resume, or abort"
    kept = json.loads(str(snapshot.facts[f"{route.name}.found"]))["canary"]
    if canary.get("spec") != kept or weight is None:
        return f"Ingress {route.split}, the canary, was edited by somebody else; {advice}"
    if weight != snapshot.expected:
        instead = f"{weight / 100:g} % instead of {_words(snapshot.expected)}"
        return f"somebody else set Ingress {route.split} to {instead}; {advice}"
    if shape != snapshot.shape:
        return f"somebody else changed for which requests Ingress {route.split} is a canary; {advice}"
    return ""

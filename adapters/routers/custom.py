"""Any object that has two weights, known by JSON pointers to them: a new mesh or gateway without a line of code.

The object is the user's own, whose leaves are edited and put back; or it is made from a template for the rollout, and removed in
the end. Its kind is found by discovery. Both weights are written in one patch. Where the deploy file says how the object's status
tells that a write was taken up, a weight counts only then; an abort does not wait for a controller that says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.errors import NotServed
from adapters.kubernetes.own_definitions import defined_kind
from adapters.kubernetes.paths import SERVICES, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject
from adapters.routers import services
from adapters.routers.custom_leaves import Leaves, custom_of, waits_for
from adapters.routers.user_objects import Read, absent, gone, read_declared, read_live, stands_as_ordered
from engine.errors import Rejected
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, TargetPlan
from engine.observation import RouteObservation
from engine.traffic import RoutePlan, read_shape
from strategies.json_pointers import Json, with_values
from strategies.other_router_limits import refuse_custom_shape


class CustomRouter:
    """Implements `adapters.kubernetes.routing.Router` and `NamesKinds`."""

    async def kinds_of(
        self, cluster: Cluster, plan: TargetPlan, route: RoutePlan
    ) -> Mapping[tuple[str, str], ResourceRef]:
        custom = custom_of(route)
        return {(custom.api_version, custom.kind): await discover(cluster, plan, route)}

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        custom = custom_of(route)
        resource = needs.resource_of(custom.api_version, custom.kind)
        made = (Verb.CREATE, Verb.DELETE) if custom.template else ()
        found = needs.watch(resource) | needs.named(resource, custom.name, Verb.GET, Verb.PATCH, *made)
        return found | services.permissions(route, needs)

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        custom = custom_of(route)
        resource = await discover(task.cluster, task.spec.plan, route)
        if custom.template:
            found = await task.cluster.find(resource, task.namespace, custom.name)
            if found is not None and not task.is_ours(found):
                raise Rejected(services.taken(custom.kind, found))
        else:
            await _look(task, route, resource, read_declared)
        facts = await services.record_services(task, route, live, new_template)
        return {**facts, f"{route.name}.plural": resource.plural}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            **services.handlers(),
            ActionKind.RECORD_ROUTE: _record_route,
            ActionKind.ENSURE_ROUTE: _ensure_route,
            ActionKind.SET_WEIGHT: _set_weight,
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _remove_route,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        resource, namespace = _watched(route, snapshot), spec.plan.namespace
        if resource is None:
            return []
        cluster.watch(resource, namespace)
        cluster.watch(SERVICES, namespace)
        names = (route.root_service, route.stable_service, route.canary_service)
        key = cluster.key(resource, namespace, custom_of(route).name)
        return [key, *(cluster.key(SERVICES, namespace, name) for name in names)]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        resource, leaves = _watched(route, snapshot), Leaves(route)
        if resource is None:
            return RouteObservation()
        found = cluster.cached_object(resource, spec.plan.namespace, leaves.custom.name)
        now = leaves.find(found) if found is not None else None
        there = services.services_there(cluster, spec, route)
        drift = ""
        if stands_as_ordered(snapshot, f"ensure-route:{route.name}", f"remove-route:{route.name}"):
            drift = _drift(leaves, snapshot, found, now)
        drift = drift or services.drift(route, snapshot, there)
        missing = services.missing(route, snapshot, there)
        if found is None or now is None or not leaves.are_ours(now):
            return RouteObservation(False, None, drift, missing)
        waits = waits_for(leaves.custom, found)
        if waits and snapshot.state not in UNDOING_STATES:
            return RouteObservation(True, None, drift, missing, waits_for=waits)
        read = leaves.weight(now)
        if now == leaves.at(snapshot.expected):
            reached = read if read != snapshot.expected else None
            return RouteObservation(True, snapshot.expected, drift, missing, reached=reached, waits_for=waits)
        return RouteObservation(True, read, drift, missing, waits_for=waits)


async def discover(cluster: Cluster, plan: TargetPlan, route: RoutePlan) -> ResourceRef:
    """Raises `NotServed` for a kind that neither the cluster knows nor one of the manifests defines, or that has no namespace."""
    custom = custom_of(route)
    try:
        resource = await cluster.resource_of(custom.api_version, custom.kind)
    except NotServed as error:
        defined = defined_kind(plan, custom.api_version, custom.kind)
        if defined is None:
            raise NotServed(
                f"route {route.name}",
                f"the cluster serves no {custom.kind} ({custom.api_version}); install what brings it, or correct apiVersion and "
                "kind (kubectl api-resources lists what there is)",
            ) from error
        resource = defined
    if not resource.namespaced:
        raise NotServed(
            f"route {route.name}",
            f"{custom.kind} ({custom.api_version}) is a kind without a namespace; a rollout edits objects in its own only",
        )
    return resource


def _watched(route: RoutePlan, snapshot: Snapshot) -> ResourceRef | None:
    plural = snapshot.facts.get(f"{route.name}.plural")
    return _resource_called(route, str(plural)) if plural else None


def _resource_called(route: RoutePlan, plural: str) -> ResourceRef:
    custom = custom_of(route)
    group, _, version = custom.api_version.rpartition("/")
    return ResourceRef(group, version, plural, custom.kind, True)


def _resource(task: Task) -> ResourceRef:
    return _resource_called(task.route, task.fact(task.route.name, "plural"))


async def _look(task: Task, route: RoutePlan, resource: ResourceRef, read: Read) -> tuple[JsonObject, dict[str, Json]]:
    """The user's object, and what stands in its leaves. Raises `Rejected`."""
    custom, leaves = custom_of(route), Leaves(route)
    found = await read(task, resource, custom.name)
    if found is None:
        raise absent(task, route, resource, custom.name)
    if obstacle := leaves.find_obstacle(found):
        raise Rejected(f"route {route.name}: {custom.kind} {custom.name}{obstacle}")
    now = leaves.read(found)
    return found, now


# --- what is done ------------------------------------------------------------------------------------------------------


async def _record_route(task: Task) -> Done:
    route, custom = task.route, custom_of(task.route)
    if custom.template:
        return Done(f"{custom.kind} {custom.name} will be made from its template")
    found, now = await _look(task, route, _resource(task), read_live)
    kept = {"leaves": now, "managedFields": found["metadata"].get("managedFields") or []}
    return Done(f"{custom.kind} {custom.name} is recorded as it is", {f"{route.name}.found": json.dumps(kept)})


async def _ensure_route(task: Task) -> Done:
    weight, custom = task.number("initial"), custom_of(task.route)
    if custom.template:
        found = await task.cluster.find(_resource(task), task.namespace, custom.name)
        if found is not None and not _is_ours(task, found):
            raise Rejected(services.taken(custom.kind, found))
        if found is None:
            await task.cluster.create(_resource(task), _made(task, weight))
        return Done(f"{_words(task, weight)}")
    return await _write(task, weight, begins=True)


async def _set_weight(task: Task) -> Done:
    shape = read_shape(str(task.action.args.get("shape") or ""))
    if why := refuse_custom_shape(shape):
        raise Rejected(f"route {task.route.name}: {why}")
    return await _write(task, task.number("weight"))


async def _reassert(task: Task) -> Done:
    await services.reassert(task)
    custom, weight = custom_of(task.route), task.number("weight")
    found = await task.cluster.find(_resource(task), task.namespace, custom.name)
    if found is None and custom.template:
        await task.cluster.create(_resource(task), _made(task, weight))
        return Done(f"made again: {_words(task, weight)}")
    return await _write(task, weight, begins=True)


async def _write(task: Task, weight: int, *, begins: bool = False) -> Done:
    """All leaves in one patch. `begins`: whatever stands in them, as they are not ours yet, or to be ours again."""
    leaves = Leaves(task.route)
    what = f"{leaves.custom.kind} {leaves.custom.name}"
    found = await task.cluster.find(_resource(task), task.namespace, leaves.custom.name)
    if found is None:
        return _missing(task, what, weight)
    now = leaves.find(found)
    if now is None or not (begins or leaves.are_ours(now)):
        if task.is_undoing:
            return Done(f"{what} has no such places any more, or they are for other Services; it is left as it is")
        raise Rejected(f"the places of both versions in {what} were edited by somebody else during the rollout")
    if change := _changes(now, leaves.at(weight)):
        await task.cluster.patch(_resource(task), found, change)
    return Done(_words(task, weight))


def _missing(task: Task, what: str, weight: int) -> Done:
    if weight == 0 and custom_of(task.route).template:
        return Done(f"{what} is not there, so it sends nothing to the new version")
    return gone(task, what)


async def _remove_route(task: Task) -> Done:
    leaves = Leaves(task.route)
    what = f"{leaves.custom.kind} {leaves.custom.name}"
    found = await task.cluster.find(_resource(task), task.namespace, leaves.custom.name)
    if found is None:
        return Done(f"{what} is gone; there is nothing to put back")
    if leaves.custom.template:
        if not _is_ours(task, found):
            return Done(f"{what} was not made by this rollout and is left as it is")
        await task.cluster.delete(_resource(task), found)
        return Done(f"{what} is removed")
    kept = task.json_fact(task.route.name, "found")
    now = leaves.find(found)
    wanted: dict[str, Json] = kept["leaves"]
    is_ours = now is not None and (leaves.are_ours(now) or now == wanted)
    change = _changes(now, wanted) if now is not None and is_ours else []
    await put_back(task, _resource(task), found, change, kept["managedFields"])
    return Done(f"{what} {'is as it was found' if is_ours else 'keeps what somebody else has made of it'}")


def _changes(now: dict[str, Json], wanted: dict[str, Json]) -> list[JsonObject]:
    return [change for pointer, value in wanted.items() for change in _change(pointer, now[pointer], value)]


def _change(pointer: str, now: Json, wanted: Json) -> list[JsonObject]:
    """`replace`, because `add` would put another item into a list."""
    return [{**change, "op": "replace"} for change in change_of(pointer, now, wanted)]


def _is_ours(task: Task, found: JsonObject) -> bool:
    """Also where somebody replaced it and our mark was lost: its name was free, and it names our Services."""
    if ROLLOUT_ANNOTATION in (found["metadata"].get("annotations") or {}):
        return task.is_ours(found)
    leaves = Leaves(task.route)
    now = leaves.find(found)
    return now is not None and leaves.are_ours(now)


def _made(task: Task, weight: int) -> JsonObject:
    leaves = Leaves(task.route)
    template: JsonObject = json.loads(leaves.custom.template)
    body: JsonObject = with_values(template, leaves.at(weight))
    metadata = body.get("metadata") or {}
    marks = {
        "name": leaves.custom.name,
        "namespace": task.namespace,
        "labels": {**(metadata.get("labels") or {}), MANAGED_BY_LABEL: MANAGER},
        "annotations": {**(metadata.get("annotations") or {}), ROLLOUT_ANNOTATION: task.rollout},
    }
    kind = {"apiVersion": leaves.custom.api_version, "kind": leaves.custom.kind}
    return {**body, **kind, "metadata": {**metadata, **marks}}


def _words(task: Task, weight: int) -> str:
    leaves = Leaves(task.route)
    what, reached = f"{leaves.custom.kind} {leaves.custom.name}", leaves.reached(weight)
    if reached == weight:
        return f"{what}: {weight / 100:g} % to the new version"
    total = f"a total of {leaves.custom.total}"
    return f"{what}: {reached / 100:g} % to the new version, as near to {weight / 100:g} % as {total} allows"


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _drift(leaves: Leaves, snapshot: Snapshot, found: JsonObject | None, now: dict[str, Json] | None) -> str:
    what = f"{leaves.custom.kind} {leaves.custom.name}"
    if found is None:
        return f"{what} was removed by somebody else; put it back and resume, or abort"
    wanted = leaves.at(snapshot.expected)
    if now == wanted:
        return ""
    told = ", ".join(f"{pointer}: {json.dumps(value)}" for pointer, value in wanted.items())
    return f"the weights of {what} were edited by somebody else; put back {told} and resume, or abort"

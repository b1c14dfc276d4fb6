"""Blue/green by the selector of the user's own Service: all traffic or none.

The active Service, which clients call, is pinned on the pods of the version that serves (its own selector plus that version's
`pod-template-hash`) before a pod of the new version exists, since its own selector matches those too. To redirect is to change
that one value, which is one write and takes effect for all clients as fast as endpoints travel. At the end, when one version is
left, the pin is taken off and the Service is as its owner wrote it. A preview Service, where there is one, is pinned on the new
version as soon as that is available, and given back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import SERVICES
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL, MANAGER, JsonObject, returned_fields, selects
from adapters.routers.services import root_service, serving_versions
from engine.errors import Rejected, Retryable
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, State
from engine.observation import RouteObservation
from engine.traffic import FULL_WEIGHT, RoutePlan


class ActiveServiceRouter:
    """Implements `adapters.kubernetes.routing.Router`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        found = needs.watch(SERVICES)
        for name in filter(None, (route.root_service, route.canary_service)):
            found |= needs.named(SERVICES, name, Verb.GET, Verb.PATCH)
        return found

    async def record(self, task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
        facts: Facts = {}
        for side, name in (("active", route.root_service), ("preview", route.canary_service)):
            if not name:
                continue
            service = await root_service(task, route, name)
            _check_selector(route, service, live, new_template)
            facts[f"{route.name}.{side}"] = json.dumps(service)
        return facts

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            ActionKind.FOLLOW_STABLE: _follow_stable,
            ActionKind.ENSURE_ROUTE: _ensure_route,
            ActionKind.SET_WEIGHT: _set_weight,
            ActionKind.REASSERT_ROUTE: _reassert,
            ActionKind.REMOVE_ROUTE: _remove_route,
            ActionKind.ENSURE_CANARY_SERVICE: _show_preview,
            ActionKind.REMOVE_CANARY_SERVICE: _give_preview_back,
        }

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> list[ObjectKey]:
        namespace = spec.plan.namespace
        cluster.watch(SERVICES, namespace)
        return [cluster.key(SERVICES, namespace, name) for name in (route.root_service, route.canary_service) if name]

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        found = cluster.cached_object(SERVICES, spec.plan.namespace, route.root_service)
        weight = _read_weight(route, snapshot, found) if found is not None else None
        return RouteObservation(found is not None, weight, _drift(cluster, spec, route, snapshot, found, weight))


def _check_selector(route: RoutePlan, service: JsonObject, live: JsonObject, new_template: JsonObject) -> None:
    name, selector = service["metadata"]["name"], dict(service["spec"].get("selector") or {})
    pinned = selector.pop(HASH_LABEL, None)
    if pinned is not None:
        raise Rejected(
            f"route {route.name}: Service {name} selects {HASH_LABEL}={pinned} already, so somebody else tells versions apart "
            f"with it; take {HASH_LABEL} out of its selector and deploy again"
        )
    for version, template in (("live", live["spec"]["template"]), ("new", new_template)):
        if not selector or not selects({"matchLabels": selector}, template["metadata"].get("labels") or {}):
            raise Rejected(
                f"route {route.name}: Service {name} does not select the pods of the {version} version of Deployment "
                f"{route.workload}; correct its selector"
            )


# --- what the watch shows ----------------------------------------------------------------------------------------------


def _pin(service: JsonObject) -> str:
    selector = service["spec"].get("selector") or {}
    return str(selector.get(HASH_LABEL, ""))


def _read_weight(route: RoutePlan, snapshot: Snapshot, service: JsonObject) -> int | None:
    """All or nothing, by the version that the Service is pinned on; None where it is pinned on neither."""
    pinned = _pin(service)
    for side, weight in (("stable", 0), ("canary", FULL_WEIGHT)):
        if pinned and pinned == snapshot.facts.get(f"{route.workload}.{side}_hash"):
            return weight
    return None


def _drift(
    cluster: Cluster,
    spec: RolloutSpec,
    route: RoutePlan,
    snapshot: Snapshot,
    service: JsonObject | None,
    weight: int | None,
) -> str:
    """What somebody else made of the Services while they stood as we ordered it: no write of ours to them is under way."""
    states = UNDOING_STATES | {State.PREPARING, State.FINALISING}
    if snapshot.state in states or snapshot.action is not None or snapshot.is_between_routes:
        return ""
    if f"ensure-route:{route.name}" not in snapshot.begun or f"remove-route:{route.name}" in snapshot.begun:
        return ""
    if service is None:
        return f"the active Service {route.root_service} was removed by somebody else; put it back and resume, or abort"
    if weight != snapshot.expected:
        version = "canary" if snapshot.expected == FULL_WEIGHT else "stable"
        return _edited(route.root_service, str(snapshot.facts.get(f"{route.workload}.{version}_hash")))
    if f"ensure-canary-service:{route.name}" in snapshot.begun:
        preview = cluster.cached_object(SERVICES, spec.plan.namespace, route.canary_service)
        hash_value = str(snapshot.facts.get(f"{route.workload}.canary_hash"))
        if preview is not None and _pin(preview) != hash_value:
            return _edited(route.canary_service, hash_value)
    return ""


def _edited(name: str, hash_value: str) -> str:
    return (
        f"the selector of Service {name} was edited by somebody else; put {HASH_LABEL}={hash_value} back into it and resume, "
        "or abort"
    )


# --- what is done ------------------------------------------------------------------------------------------------------


async def _ensure_route(task: Task) -> Done:
    return await _point_at(task, task.number("initial"))


async def _set_weight(task: Task) -> Done:
    weight = task.number("weight")
    if weight not in (0, FULL_WEIGHT):
        raise Rejected(f"Service {task.route.root_service} can send all traffic to one version or none, not {weight / 100:g} %")
    return await _point_at(task, weight)


async def _reassert(task: Task) -> Done:
    done = await _set_weight(task)
    shown = f"ensure-canary-service:{task.route.name}" in task.snapshot.begun
    if not shown or f"remove-canary-service:{task.route.name}" in task.snapshot.begun:
        return done
    preview = await _show_preview(task)
    return Done(f"{done.note}; {preview.note}")


async def _point_at(task: Task, weight: int) -> Done:
    route = task.route
    side, words = ("canary", "the new") if weight == FULL_WEIGHT else ("stable", "the old")
    if weight == FULL_WEIGHT and not task.is_undoing:
        await _require_ready(task)
    return await _pin_on(task, route.root_service, task.fact(route.workload, f"{side}_hash"), f"{words} version")


async def _require_ready(task: Task) -> None:
    """Only to a set that can serve: the last look before the one write that moves everything."""
    serving = await serving_versions(task, with_canary=True)
    if task.fact(task.route.workload, "canary_name") not in serving:
        raise Retryable(f"no pod of the new version of {task.route.workload} is available, so nothing is redirected to it")


async def _follow_stable(task: Task) -> Done:
    """On the pods of the version that was found; or, if those are gone, on the Deployment's current ones."""
    workload = task.route.workload
    serving = await serving_versions(task)
    if not serving or task.fact(workload, "stable_name") in serving:
        if not serving and not task.is_undoing:
            raise Retryable(f"Deployment {workload} has no version yet that the active Service could follow")
        return Done(f"the old version of {workload} is where it was")
    name, hash_value = next(iter(serving.items()))
    done = await _pin_on(task, task.route.root_service, hash_value, "current version")
    return Done(done.note, {f"{workload}.stable_name": name, f"{workload}.stable_hash": hash_value})


async def _show_preview(task: Task) -> Done:
    route = task.route
    return await _pin_on(task, route.canary_service, task.fact(route.workload, "canary_hash"), "the new version")


async def _pin_on(task: Task, name: str, hash_value: str, version: str) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        return _missing(task, name)
    if _pin(found) != hash_value:
        selector = {**(found["spec"].get("selector") or {}), HASH_LABEL: hash_value}
        await task.cluster.patch(SERVICES, found, [_replace_selector(selector)])
    return Done(f"Service {name} selects {version} ({hash_value})")


async def _remove_route(task: Task) -> Done:
    return await _give_back(task, task.route.root_service, "active")


async def _give_preview_back(task: Task) -> Done:
    return await _give_back(task, task.route.canary_service, "preview")


async def _give_back(task: Task, name: str, side: str) -> Done:
    """Without our pin, and with the fields' owners as they were; what else somebody has changed in it stays."""
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        return Done(f"Service {name} is gone; there is nothing to give back")
    if _pin(found):
        selector = {key: value for key, value in found["spec"]["selector"].items() if key != HASH_LABEL}
        found = await task.cluster.patch(SERVICES, found, [_replace_selector(selector)])
    owners = _owners(task, found, side)
    if owners and owners != found["metadata"].get("managedFields"):
        change = {"op": "add", "path": "/metadata/managedFields", "value": owners}
        await task.cluster.patch(SERVICES, found, [change])
    return Done(f"Service {name} selects as its owner wrote it")


def _owners(task: Task, found: JsonObject, side: str) -> list[JsonObject]:
    """As before; but what a release that succeeds has applied as declared is its own from now on."""
    if not task.is_undoing and any(one.key == f"Service/{found['metadata']['name']}" for one in task.spec.plan.manifests):
        entries: list[JsonObject] = found["metadata"].get("managedFields") or []
        return [one for one in entries if (one.get("manager"), one.get("operation")) != (MANAGER, "Update")]
    return returned_fields(found, task.json_fact(task.route.name, side))


def _replace_selector(selector: dict[str, str]) -> JsonObject:
    return {"op": "add", "path": "/spec/selector", "value": selector}


def _missing(task: Task, name: str) -> Done:
    if task.is_undoing:
        return Done(f"Service {name} is gone; nobody calls it")
    raise Rejected(f"Service {name} was removed by somebody else during the rollout")

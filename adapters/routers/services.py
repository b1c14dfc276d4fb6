"""The Services that name one version each: the root Service's ports, its selector, and one version's pod-template-hash; and what
it tells those who carry its requests (`carried_over`), as it was when the Service was made.

Stable and canary Services pin their version by hash, so that no split ever has to name the root Service, whose own selector
matches all versions. They are removed by whoever made them and by nobody else.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

from adapters.kubernetes import endpoints
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.field_owners import owners_without_us
from adapters.kubernetes.paths import DEPLOYMENTS, REPLICA_SETS, SERVICES
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.routing import Handler
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL, MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject, selects
from adapters.routers.carried_over import carried_metadata, carried_spec
from engine.errors import Rejected, Retryable
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, State
from engine.traffic import RoutePlan


def permissions(route: RoutePlan, needs: Needs) -> set[Permission]:
    """The Services of both versions may have to be edited: the old one's follows a version that took the found one's place, and
    both are put back where that is the policy for somebody else's edits."""
    found = needs.watch(SERVICES) | needs.named(SERVICES, route.root_service, Verb.GET) | endpoints.permissions(route, needs)
    for name in (route.stable_service, route.canary_service):
        found |= needs.named(SERVICES, name, Verb.GET, Verb.CREATE, Verb.PATCH, Verb.DELETE)
    return found


async def record_services(task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
    """Check that the root Service can be split. It may be live, or come with the manifests."""
    root = await root_service(task, route, route.root_service)
    spec = root["spec"]
    where = f"route {route.name}: the root Service {route.root_service}"
    if spec.get("clusterIP") == "None":
        raise Rejected(f"{where} is headless; clients of a headless Service dial pods, so a split has no effect. Give it an IP")
    selector = {str(key): str(value) for key, value in (spec.get("selector") or {}).items()}
    for version, template in (("live", live["spec"]["template"]), ("new", new_template)):
        if not selector or not selects({"matchLabels": selector}, template["metadata"].get("labels") or {}):
            raise Rejected(f"{where} does not select the pods of the {version} version of Deployment {route.workload}")
    await _check_name_is_free(task, route.stable_service)
    if not route.adopts_canary_service:
        await _check_name_is_free(task, route.canary_service)
        return {}
    theirs = await task.cluster.find(SERVICES, task.namespace, route.canary_service)
    if theirs is None:
        return {f"{route.name}.canary_service": ""}
    return {
        f"{route.name}.canary_service": json.dumps(theirs["spec"].get("selector") or {}),
        f"{route.name}.canary_managers": json.dumps({"managedFields": _managers(theirs)}),
    }


async def root_service(task: Task, route: RoutePlan, name: str) -> JsonObject:
    """A Service of the user's, as it is live or, for want of that, as the manifests bring it."""
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is not None:
        return found
    for manifest in task.spec.plan.manifests:
        if manifest.key == f"Service/{name}":
            body: JsonObject = json.loads(manifest.content)
            return body
    raise Rejected(
        f"route {route.name}: there is no Service {name} in namespace {task.namespace}; "
        "it must exist or be among the manifests"
    )


async def _check_name_is_free(task: Task, name: str) -> None:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is not None and not task.is_ours(found):
        raise Rejected(taken("Service", found))


def taken(kind: str, found: JsonObject) -> str:
    """Why an object stands in the way, and what can be done about it: another rollout's must not be removed by hand."""
    name, owner = found["metadata"]["name"], (found["metadata"].get("annotations") or {}).get(ROLLOUT_ANNOTATION, "")
    if owner:
        return f"a {kind} {name} exists and belongs to the rollout {owner}: wait for it, or abort it"
    return f"a {kind} {name} exists and was not made by Headgate; remove it, or name another one"


# --- what the watch shows ----------------------------------------------------------------------------------------------


def services_there(cluster: Cluster, spec: RolloutSpec, route: RoutePlan) -> dict[str, JsonObject]:
    """The route's Services that exist, by name."""
    names = (route.root_service, route.stable_service, route.canary_service)
    found = {name: cluster.cached_object(SERVICES, spec.plan.namespace, name) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def missing(route: RoutePlan, snapshot: Snapshot, there: Mapping[str, JsonObject]) -> tuple[ActionKind, ...]:
    """What makes the Services again that this rollout made and that somebody else removed."""
    kinds = {"stable": ActionKind.ENSURE_STABLE_SERVICE, "canary": ActionKind.ENSURE_CANARY_SERVICE}
    return tuple(kinds[side] for side, name in _sides(route) if is_made(route, snapshot, side) and name not in there)


def is_made(route: RoutePlan, snapshot: Snapshot, side: str) -> bool:
    """Whether one version's Service is there by the rollout's will, or in the making."""
    return f"ensure-{side}-service:{route.name}" in snapshot.begun and f"remove-{side}-service:{route.name}" not in snapshot.begun


def drift(route: RoutePlan, snapshot: Snapshot, there: Mapping[str, JsonObject]) -> str:
    """What somebody else made of the Services, in one sentence, once a route names them; what can be made again is made again
    instead."""
    named = f"ensure-route:{route.name}" in snapshot.begun
    stands = snapshot.action is None and named and is_made(route, snapshot, "canary")
    if not stands or snapshot.state in UNDOING_STATES | {State.FINALISING}:
        return ""
    if route.root_service not in there:
        return f"the root Service {route.root_service} was removed by somebody else; put it back and resume, or abort"
    for side, name in _sides(route):
        selector = (there[name]["spec"].get("selector") or {}) if name in there else None
        if selector is not None and selector != (wanted := _wanted_selector(route, snapshot.facts, side, selector)):
            return (
                f"the selector of Service {name} was edited by somebody else, so it is not the {side} version's alone any more; "
                f"put {in_words(wanted)} back and resume, or abort"
            )
    return ""


def _sides(route: RoutePlan) -> tuple[tuple[str, str], ...]:
    return (("stable", route.stable_service), ("canary", route.canary_service))


def _wanted_selector(route: RoutePlan, facts: Mapping[str, object], side: str, now: Mapping[str, str]) -> dict[str, str]:
    """What was written into one version's Service; of a rollout that did not keep it, what stands there and the version."""
    kept = facts.get(f"{route.name}.{side}_selector")
    return {**(json.loads(str(kept)) if kept else now), HASH_LABEL: str(facts.get(f"{route.workload}.{side}_hash"))}


def in_words(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))


# --- what is done ------------------------------------------------------------------------------------------------------


def handlers() -> dict[ActionKind, Handler]:
    """How a router that tells the versions apart by their Services performs the actions on these."""
    return {
        ActionKind.FOLLOW_STABLE: follow_stable,
        ActionKind.ENSURE_STABLE_SERVICE: ensure_stable_service,
        ActionKind.ENSURE_CANARY_SERVICE: ensure_canary_service,
        ActionKind.REMOVE_STABLE_SERVICE: remove_stable_service,
        ActionKind.REMOVE_CANARY_SERVICE: remove_canary_service,
    }


async def follow_stable(task: Task) -> Done:
    """The stable Service, on the pods of the version that was found; or, if those are gone, on the Deployment's current ones."""
    route = task.route
    serving = await serving_versions(task)
    if not serving or task.fact(route.workload, "stable_name") in serving:
        if not serving and not task.is_undoing:
            raise Retryable(f"Deployment {route.workload} has no version yet that the stable Service could follow")
        return await ensure_stable_service(task)
    name, hash_value = next(iter(serving.items()))
    facts: Facts = {f"{route.workload}.stable_name": name, f"{route.workload}.stable_hash": hash_value}
    found = await task.cluster.find(SERVICES, task.namespace, route.stable_service)
    if found is None:
        done = await _ensure(task, "stable", route.stable_service, hash_value)
        return Done(done.note, {**done.facts, **facts})
    wanted = _wanted_selector(route, task.snapshot.facts, "stable", found["spec"].get("selector") or {})
    done = await _select(task, route.stable_service, {**wanted, HASH_LABEL: hash_value})
    return Done(done.note, facts)


async def reassert(task: Task) -> None:
    """Both versions' Services on their own version again, over what somebody else has made of their selectors. One that was
    removed is left to `missing`. Raises `Rejected` for what cannot be made again."""
    route = task.route
    if await task.cluster.find(SERVICES, task.namespace, route.root_service) is None:
        raise Rejected(f"the root Service {route.root_service} was removed by somebody else; put it back and resume, or abort")
    for side, name in _sides(route):
        found = await task.cluster.find(SERVICES, task.namespace, name) if is_made(route, task.snapshot, side) else None
        if found is not None:
            await _select(task, name, _wanted_selector(route, task.snapshot.facts, side, found["spec"].get("selector") or {}))


async def serving_versions(task: Task, *, with_canary: bool = False) -> dict[str, str]:
    """Names and hashes of the ReplicaSets with available pods, the most first: the Deployment's as it is now, which may have been
    made anew, and the one that was found. The canary only where it is asked for."""
    workload = task.route.workload
    recorded, canary = task.fact(workload, "stable_name"), task.fact(workload, "canary_name")
    live = await task.cluster.find(DEPLOYMENTS, task.namespace, workload)
    uid = live["metadata"]["uid"] if live is not None else ""
    found: list[JsonObject] = []
    for one in await task.cluster.list_objects(REPLICA_SETS, task.namespace):
        name, labels = one["metadata"]["name"], one["metadata"].get("labels") or {}
        is_wanted = with_canary if name == canary else _is_controlled_by(one, uid) and HASH_LABEL in labels
        if name == recorded or is_wanted:
            found.append(one)
    serving = sorted((one for one in found if _available(one)), key=_available, reverse=True)
    return {one["metadata"]["name"]: (one["metadata"].get("labels") or {}).get(HASH_LABEL, "") for one in serving}


def _is_controlled_by(found: JsonObject, uid: str) -> bool:
    return any(one.get("uid") == uid and one.get("controller") for one in found["metadata"].get("ownerReferences") or [])


def _available(replica_set: JsonObject) -> int:
    count: int = replica_set.get("status", {}).get("availableReplicas", 0)
    return count


async def ensure_stable_service(task: Task) -> Done:
    route = task.route
    return await _ensure(task, "stable", route.stable_service, task.fact(route.workload, "stable_hash"))


async def ensure_canary_service(task: Task) -> Done:
    route = task.route
    hash_value = task.fact(route.workload, "canary_hash")
    if route.adopts_canary_service and task.fact(route.name, "canary_service"):
        done = await _select(task, route.canary_service, {**_recorded_selector(task), HASH_LABEL: hash_value})
        return Done(done.note, _kept(task, "canary", _recorded_selector(task)))
    return await _ensure(task, "canary", route.canary_service, hash_value)


async def _ensure(task: Task, side: str, name: str, hash_value: str) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is not None:
        if not _is_made_by(task, found) and not task.is_undoing:
            raise Rejected(taken("Service", found))
        own = {key: value for key, value in (found["spec"].get("selector") or {}).items() if key != HASH_LABEL}
        fact = f"{task.route.name}.{side}_selector"
        return Done(f"Service {name} is there", {} if fact in task.snapshot.facts else _kept(task, side, own))
    root = await task.cluster.find(SERVICES, task.namespace, task.route.root_service)
    if root is None and task.is_undoing:
        return Done(f"Service {name} and the root Service {task.route.root_service} are gone; nobody calls either")
    if root is None:
        raise Rejected(f"the root Service {task.route.root_service} was removed by somebody else during the rollout")
    await task.cluster.create(SERVICES, _pinned(root, name, hash_value, task.rollout))
    return Done(f"Service {name} selects the pods of version {hash_value}", _kept(task, side, root["spec"]["selector"]))


def _kept(task: Task, side: str, selector: Mapping[str, str]) -> Facts:
    """What a version's Service selects by beside the version, to know an edit of it."""
    return {f"{task.route.name}.{side}_selector": json.dumps(dict(selector))}


def _is_made_by(task: Task, found: JsonObject) -> bool:
    """Also where somebody replaced it and our mark was lost: its name was free, and nobody else pins one on our versions."""
    if ROLLOUT_ANNOTATION in (found["metadata"].get("annotations") or {}):
        return task.is_ours(found)
    versions = {task.fact(task.route.workload, f"{side}_hash") for side in ("stable", "canary")} - {""}
    return (found["spec"].get("selector") or {}).get(HASH_LABEL) in versions


def _pinned(root: JsonObject, name: str, hash_value: str, rollout: str) -> JsonObject:
    carried = carried_metadata(root)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": root["metadata"]["namespace"],
            "labels": {**carried["labels"], MANAGED_BY_LABEL: MANAGER},
            "annotations": {**carried["annotations"], ROLLOUT_ANNOTATION: rollout},
        },
        "spec": {"selector": {**copy.deepcopy(root["spec"]["selector"]), HASH_LABEL: hash_value}, **carried_spec(root)},
    }


async def remove_stable_service(task: Task) -> Done:
    return await _remove(task, task.route.stable_service)


async def remove_canary_service(task: Task) -> Done:
    route = task.route
    if route.adopts_canary_service and task.fact(route.name, "canary_service"):
        done = await _select(task, route.canary_service, _recorded_selector(task))
        await _leave_to_managers(task, route.canary_service)
        return done
    return await _remove(task, route.canary_service)


async def _leave_to_managers(task: Task, name: str) -> None:
    """Whoever applies the user's own Service next must not meet us as a rival. What a release that succeeds has applied as
    declared is its own from now on."""
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        return
    shipped = not task.is_undoing and any(one.key == f"Service/{name}" for one in task.spec.plan.manifests)
    before = [] if shipped else task.json_fact(task.route.name, "canary_managers").get("managedFields") or []
    owners = owners_without_us(_managers(found), before)
    if owners != _managers(found):
        change = {"op": "add", "path": "/metadata/managedFields", "value": owners}
        await task.cluster.patch(SERVICES, found, [change])


def _managers(found: JsonObject) -> list[JsonObject]:
    managers: list[JsonObject] = found["metadata"].get("managedFields") or []
    return managers


async def _remove(task: Task, name: str) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        return Done(f"Service {name} is gone")
    if not _is_made_by(task, found):
        return Done(f"Service {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(SERVICES, found)
    return Done(f"Service {name} is removed")


async def _select(task: Task, name: str, selector: dict[str, str]) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None and (task.is_undoing or task.action.kind is ActionKind.REMOVE_CANARY_SERVICE):
        return Done(f"Service {name}, which the deploy file names, is gone; there is nothing to give back")
    if found is None:
        raise Rejected(f"Service {name}, which the deploy file names, was removed by somebody else during the rollout")
    if (found["spec"].get("selector") or {}) != selector:
        await task.cluster.patch(SERVICES, found, [{"op": "add", "path": "/spec/selector", "value": selector}])
    return Done(f"Service {name} selects {in_words(selector)}")


def _recorded_selector(task: Task) -> dict[str, str]:
    return {str(key): str(value) for key, value in task.json_fact(task.route.name, "canary_service").items()}

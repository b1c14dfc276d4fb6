"""SMI TrafficSplit: one split per route, in whichever version the cluster serves.

Order (SMI's specification): the split stands at 100/0 before canary pods exist and is deleted after the old ones are gone. The
object has no status, so the weight is confirmed by reading the object back, and where the cluster serves ServiceProfiles by
reading what Linkerd has made of it (`adapters.routers.linkerd_confirmation`). Clients are found in all of v1alpha1, v1alpha2
and v1alpha4, so the served version is discovered. Weights are whole numbers, which mean the same in all of them.
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
from adapters.routers import linkerd, services, smi_matches
from adapters.routers.linkerd_confirmation import Confirmation, confirm
from adapters.routers.linkerd_profiles import SERVICE_PROFILES, beginning_of
from adapters.routers.user_objects import read_declared
from adapters.routers.weights import basis_points, parse_weight, relative_weights
from engine.errors import Rejected
from engine.model import UNDOING_STATES, ActionKind, Facts, RolloutSpec, Snapshot, State
from engine.observation import RouteObservation
from engine.traffic import RoutePlan

GROUP = "split.smi-spec.io"
AGAIN_ANNOTATION = "headgate.dev/written-again"
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
        found |= smi_matches.permissions(route, needs) | linkerd.permissions(needs)
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
            name = split["metadata"]["name"]
            if task.is_ours(split):
                continue
            if name == route.split:
                raise Rejected(services.taken("TrafficSplit", split))
            if splits(split, route.root_service, task.namespace):
                raise Rejected(
                    f"TrafficSplit {name} splits the root Service {route.root_service} already, and of two splits on one root "
                    "the last writer wins; remove it, or name another root Service"
                )
        facts = await services.record_services(task, route, live, new_template)
        await _check_backends(task, route)
        facts |= await linkerd.record(task, route, live, served)
        await smi_matches.check_matches(task, route, version, served)
        return {**facts, f"{route.name}.version": version}

    def handlers(self) -> Mapping[ActionKind, Handler]:
        return {
            **services.handlers(),
            ActionKind.REMOVE_STABLE_SERVICE: _remove_stable_service,
            ActionKind.REMOVE_CANARY_SERVICE: _remove_canary_service,
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
        keys = [cluster.key(resource, namespace, route.split), *(cluster.key(SERVICES, namespace, name) for name in names)]
        if _is_followed_by_linkerd(route, snapshot):
            cluster.watch(SERVICE_PROFILES, namespace, also_called=beginning_of)
            profiles = [one["metadata"]["name"] for one in _profiles(cluster, spec, route)]
            called = (linkerd.key_name(route, namespace), *profiles)
            keys += [cluster.key(SERVICE_PROFILES, namespace, name) for name in called]
        return keys

    def observe(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> RouteObservation:
        resource = _watched(route, snapshot)
        found = cluster.cached_object(resource, spec.plan.namespace, route.split) if resource is not None else None
        weight = read_weight(route, found) if found is not None else None
        there = services.services_there(cluster, spec, route)
        drift = _drift(route, snapshot, found, weight) or services.drift(route, snapshot, there)
        read = Confirmation(found is not None, weight)
        if _is_followed_by_linkerd(route, snapshot):
            profiles = _profiles(cluster, spec, route)
            read = confirm(route, spec.plan.namespace, snapshot, profiles, weight, is_split=found is not None)
            drift = drift or (read.drift if _is_settled(route, snapshot) else "")
        missing = services.missing(route, snapshot, there)
        return RouteObservation(read.exists, read.weight, drift, missing, waits_for=read.waits_for)


def _watched(route: RoutePlan, snapshot: Snapshot) -> ResourceRef | None:
    version = snapshot.facts.get(f"{route.name}.version")
    return split_resource(str(version)) if version else None


def _is_followed_by_linkerd(route: RoutePlan, snapshot: Snapshot) -> bool:
    return bool(snapshot.facts.get(f"{route.name}.profiles"))


def _profiles(cluster: Cluster, spec: RolloutSpec, route: RoutePlan) -> list[JsonObject]:
    namespace = spec.plan.namespace
    return cluster.cached_by_other_name(SERVICE_PROFILES, namespace, linkerd.key_name(route, namespace))


def splits(split: JsonObject, root: str, namespace: str) -> bool:
    """Whether a split of the namespace is of the root Service, named short or in full."""
    name, _, rest = str(_spec(split).get("service", "")).partition(".")
    return name == root and (not rest or rest.split(".")[0] == namespace)


async def _check_backends(task: Task, route: RoutePlan) -> None:
    """A caller's port is kept, so each backend has to have the root's (SMI's specification), as those have that are made here."""
    root = route.root_service
    if root in (route.stable_service, route.canary_service):
        raise Rejected(
            f"route {route.name}: {root} is the root Service and a backend of its own split, and it selects both versions; name "
            "another Service for the version"
        )
    backend = await read_declared(task, SERVICES, route.canary_service) if route.adopts_canary_service else None
    if backend is None:
        return
    declared = await read_declared(task, SERVICES, root)
    lacking = sorted(ports_of(declared or {}) - ports_of(backend))
    if lacking:
        ports = " and ".join(map(str, lacking))
        raise Rejected(
            f"route {route.name}: Service {route.canary_service} lacks port {ports} of {root}, and a split keeps the caller's "
            f"port, so what comes there would be lost; add port {ports} to it (its targetPort may be another)"
        )


def ports_of(service: JsonObject) -> set[int]:
    return {int(port["port"]) for port in (service.get("spec") or {}).get("ports") or ()}


async def _ensure_route(task: Task) -> Done:
    route = task.route
    found = await _find(task)
    if found is not None:
        return Done(f"TrafficSplit {route.split} is there")
    weight = task.number("initial")
    await task.cluster.create(_resource(task), _split(task, weight))
    return Done(f"TrafficSplit {route.split} splits {route.root_service}: {_words(weight)}")


async def _set_weight(task: Task) -> Done:
    """On the way back also past linkerd-smi, which need not run any more: nothing may keep traffic on a bad version."""
    done = await _write_weight(task)
    taken_down = await linkerd.take_down(task) if task.is_undoing and task.number("weight") == 0 else ""
    return Done(f"{done.note}; {taken_down}") if taken_down else done


async def _write_weight(task: Task) -> Done:
    route, weight = task.route, task.number("weight")
    found = await _find(task, ours_only=not task.is_undoing)
    if found is not None and task.is_undoing and not _is_made_by(task, found):
        return Done(f"TrafficSplit {route.split} was replaced by somebody else's, whose weights are left as they are")
    if found is None:
        if weight == 0:
            return Done(f"TrafficSplit {route.split} is not there, so it sends nothing to the new version")
        raise Rejected(f"TrafficSplit {route.split} was removed by somebody else during the rollout")
    wanted = _backends(route, weight)
    if _spec(found).get("backends") != wanted or _matches_differ(route, found):
        edited = {**_spec(found), **_split(task, weight)["spec"]}
        whole = not _spec(found).get("service") or _matches_differ(route, found)
        path, value = ("/spec", edited) if whole else ("/spec/backends", wanted)
        change = {"op": "add", "path": path, "value": value}
        await task.cluster.patch(_resource(task), found, [change])
    return Done(f"TrafficSplit {route.split}: {_words(weight)}")


async def _reassert(task: Task) -> Done:
    """Made again where it was removed, and written over where it was edited."""
    await services.reassert(task)
    weight = task.number("weight")
    found = await _find(task, ours_only=False)
    if found is None:
        await task.cluster.create(_resource(task), _split(task, weight))
        return Done(f"TrafficSplit {task.route.split} is made again: {_words(weight)}")
    done = await _write_weight(task)
    if not await linkerd.write_again(task, weight):
        await _touch(task)
    return done


async def _touch(task: Task) -> None:
    """Whatever follows splits looks at one again that has changed, in whatever."""
    found = await _find(task, ours_only=False)
    if found is not None:
        annotations = {**(found["metadata"].get("annotations") or {}), AGAIN_ANNOTATION: str(task.action.number)}
        change = {"op": "add", "path": "/metadata/annotations", "value": annotations}
        await task.cluster.patch(_resource(task), found, [change])


async def _remove_route(task: Task) -> Done:
    found = await _find(task, ours_only=False)
    name = task.route.split
    if found is None:
        return Done(f"TrafficSplit {name} is gone")
    if not _is_made_by(task, found):
        return Done(f"TrafficSplit {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(_resource(task), found)
    return Done(f"TrafficSplit {name} is removed")


async def _remove_stable_service(task: Task) -> Done:
    return await _after_linkerd(task, services.remove_stable_service)


async def _remove_canary_service(task: Task) -> Done:
    return await _after_linkerd(task, services.remove_canary_service)


async def _after_linkerd(task: Task, remove: Handler) -> Done:
    """No Service goes while proxies are told to send to it."""
    if not linkerd.is_followed(task) or await task.cluster.find(_resource(task), task.namespace, task.route.split) is not None:
        return await remove(task)
    put_back = await linkerd.put_profiles_back(task)
    done = await remove(task)
    return Done(f"{put_back}; {done.note}", done.facts) if put_back else done


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
        "spec": {
            "service": route.root_service,
            **({"matches": smi_matches.matches_of(route)} if route.match_groups else {}),
            "backends": _backends(route, weight),
        },
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
    if not _is_settled(route, snapshot):
        return ""
    advice = "put it back and resume, or abort"
    if split is None:
        return f"TrafficSplit {route.split} was removed by somebody else, so {route.root_service} reaches all pods; {advice}"
    names = {backend.get("service") for backend in _spec(split).get("backends") or []}
    if weight is None or names != {route.stable_service, route.canary_service}:
        return f"the backends of TrafficSplit {route.split} were edited by somebody else; {advice}"
    if _matches_differ(route, split):
        wanted = ", ".join(route.match_groups) or "none"
        return f"the matches of TrafficSplit {route.split} were edited by somebody else, they were {wanted}; {advice}"
    if weight != snapshot.expected:
        instead = f"{weight / 100:g} % instead of {_words(snapshot.expected)}"
        return f"somebody else set TrafficSplit {route.split} to {instead}; {advice}"
    return ""


def _is_settled(route: RoutePlan, snapshot: Snapshot) -> bool:
    settled = snapshot.state is not State.PREPARING and snapshot.state not in UNDOING_STATES
    if not settled or snapshot.state is State.FINALISING or snapshot.action is not None or snapshot.is_between_routes:
        return False
    return f"ensure-route:{route.name}" in snapshot.begun and f"remove-route:{route.name}" not in snapshot.begun


def _matches_differ(route: RoutePlan, split: JsonObject) -> bool:
    return smi_matches.names_in(_spec(split)) != list(route.match_groups)


def _words(weight: int) -> str:
    return f"{weight / 100:g} % to the new version"

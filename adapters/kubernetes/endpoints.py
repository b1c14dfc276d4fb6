"""No traffic for a version before those who send it can know where its pods are.

That pods are available is one controller's word, and their endpoints are another one's, which may be late: it is busy, or gathers
changes for a while (`--endpointslice-updates-batch-period`), or its API server was away. In between, a weight leads to nowhere,
and requests fail. So the endpoints are looked at before each weight that rises, before a Service of one version carries
everything for the first time, and before everything goes to the root Service again; a proxy that hears of them late is what
`minReadySeconds` is for. On the way back this is a matter of half a minute at most, and never one before the hand-over.
"""

from __future__ import annotations

from adapters.kubernetes.errors import Forbidden, NotFound, NotServed
from adapters.kubernetes.paths import ENDPOINT_SLICES, PODS
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import HASH_LABEL, JsonObject
from engine.errors import Retryable
from engine.model import ActionKind
from engine.traffic import RoutePlan, RouterKind

SERVICE_LABEL = "kubernetes.io/service-name"
LOOKS_WHILE_UNDOING = 6
"""Some fifteen to thirty seconds: a controller that is gone for good must not keep the bad version serving."""
LOOKS_WHILE_SAFE = 12
"""Some two or three minutes: controllers whose writes were refused wait for up to a hundred seconds."""
_BY_OTHER_MEANS = (RouterKind.POD_RATIO, RouterKind.SERVICE)
"""Where endpoints are not waited for: they are the weight itself, and both versions' change as one."""
_ENDED_PHASES = ("Succeeded", "Failed")
_FREED_BY = {RouterKind.SERVICE: ActionKind.REMOVE_ROUTE, RouterKind.ISTIO: ActionKind.REMOVE_STABLE_SERVICE}
"""Where what carries everything was narrowed down to the pods of one version, and by what it is widened again."""


def permissions(route: RoutePlan, needs: Needs) -> set[Permission]:
    return needs.all(ENDPOINT_SLICES, Verb.LIST) if is_by_endpoints(route) else set()


def is_by_endpoints(route: RoutePlan) -> bool:
    """A custom route that names no Service may send to whatever it likes."""
    return route.kind not in _BY_OTHER_MEANS and (route.kind is RouterKind.ISTIO or bool(route.canary_service))


async def require_endpoints(task: Task) -> None:
    """Before somebody is sent to the new version who was not. Raises `Retryable` while fewer of its pods are among the endpoints
    than are available."""
    route = task.route
    if task.is_undoing or not is_by_endpoints(route) or not _sends_more(task):
        return
    await _require_known(task, "canary", route.canary_service)


async def require_backend(task: Task) -> None:
    """Before a Service that has just been made carries everything: that of the old version at the beginning, and on the way back
    after the hand-over that of the new one, which serves still. Raises `Retryable` as `require_endpoints` does."""
    route = task.route
    if not is_by_endpoints(route) or not route.stable_service or _has_looked_enough(task):
        return
    if task.is_undoing:
        await _require_known(task, "canary", route.canary_service)
    else:
        await _require_known(task, "stable", route.stable_service)


async def require_old_version(task: Task) -> None:
    """Before traffic goes back to pods that have come up for it, after the hand-over. Raises `Retryable`."""
    route = task.route
    has_regrown = f"restore-template:{route.workload}" in task.snapshot.begun
    if not has_regrown or not is_by_endpoints(route) or not route.stable_service or _has_looked_enough(task):
        return
    await _require_known(task, "stable", route.stable_service)


async def require_root(task: Task) -> None:
    """Before everything goes to the root Service again. Raises `Retryable` while its endpoints name pods of the version that is
    gone. On the way back the old version's own Service carries everything meanwhile, so that this may take longer."""
    route = task.route
    if not is_by_endpoints(route) or not route.root_service or not route.stable_service:
        return
    if task.is_undoing and task.snapshot.failures >= LOOKS_WHILE_SAFE:
        return
    version, which = ("canary", "new") if task.is_undoing else ("stable", "old")
    if not task.snapshot.facts.get(f"{route.workload}.{version}_name"):
        return  # It never came to that.
    named = await _known(task, version, route.root_service)
    if named:
        raise Retryable(
            f"the endpoints of Service {route.root_service} still name {len(named)} pods of the {which} version of "
            f"{route.workload}, which are gone, so nobody is sent there yet"
        )


async def require_none_left(task: Task) -> None:
    """Before what carries everything selects by the user's own labels alone again: on the way back no pod of the new version may
    be there, which would be selected too. That none is was read from caches, as far as they hear of pods. Raises `Retryable`,
    for no longer than `require_root`."""
    route = task.route
    hash_value = task.snapshot.facts.get(f"{route.workload}.canary_hash")
    if not task.is_undoing or _FREED_BY.get(route.kind) is not task.action.kind or not hash_value:
        return
    if task.snapshot.failures >= LOOKS_WHILE_SAFE:
        return
    try:
        left = await task.cluster.list_objects(PODS, task.namespace, labels=f"{HASH_LABEL}={hash_value}")
    except Forbidden:
        if _has_looked_enough(task):
            return
        raise
    serving = [pod for pod in left if _may_serve(pod)]
    if serving:
        raise Retryable(
            f"{len(serving)} pods of the new version of {route.workload} are still there, and would be selected with those of "
            "the old one"
        )


def _may_serve(pod: JsonObject) -> bool:
    """One that belongs to nobody was taken out of its version by somebody, for a look at it."""
    metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in metadata and bool(metadata.get("ownerReferences")) and phase not in _ENDED_PHASES


def _has_looked_enough(task: Task) -> bool:
    return task.is_undoing and task.snapshot.failures >= LOOKS_WHILE_UNDOING


async def _require_known(task: Task, version: str, service: str) -> None:
    replica_set = task.cluster.cached_replica_set(task.namespace, task.fact(task.route.workload, f"{version}_name"))
    available = replica_set.available if replica_set is not None else 0
    if not available and version == "canary" and not task.is_undoing:
        raise Retryable(f"no pod of the new version of {task.route.workload} is available, so nobody is sent to it")
    known = await _known(task, version, service)
    if known is not None and len(known) < available:
        where = f"the endpoints of Service {service}" if service else "the endpoints of any Service"
        which = "new" if version == "canary" else "old"
        raise Retryable(
            f"{len(known)} of the {available} available pods of the {which} version of {task.route.workload} are among {where} "
            "yet, so nobody is sent to them"
        )


async def _known(task: Task, version: str, service: str) -> set[str] | None:
    """The version's pods that are ready by the endpoints of the Service, or of any. None where no endpoints are served."""
    labels = f"{SERVICE_LABEL}={service}" if service else SERVICE_LABEL
    try:
        slices = await task.cluster.list_objects(ENDPOINT_SLICES, task.namespace, labels=labels)
    except (NotFound, NotServed):
        return None
    name = task.fact(task.route.workload, f"{version}_name")
    return {pod for one in slices for pod in _ready_pods(one) if pod.startswith(f"{name}-")}


def _sends_more(task: Task) -> bool:
    """What is the canary's beside the weight (a header, copies) needs its pods at a weight of 0 as well. A weight that falls with
    the pods waits for nothing."""
    args = task.action.args
    is_shaped = bool(args.get("shape")) and not args.get("carry")
    return task.number("weight") > task.snapshot.served or is_shaped


def _ready_pods(endpoint_slice: JsonObject) -> list[str]:
    """Readiness that is not given counts as given (the specification of EndpointSlices)."""
    return [
        str((one.get("targetRef") or {}).get("name", ""))
        for one in endpoint_slice.get("endpoints") or ()
        if (one.get("conditions") or {}).get("ready") is not False
    ]

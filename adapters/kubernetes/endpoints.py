"""No traffic for a version before those who send it can know where its pods are.

That pods are available is one controller's word, and their endpoints are another one's, which may be late: it is busy, or gathers
changes for a while (`--endpointslice-updates-batch-period`). In between, a weight leads to nowhere, and requests fail. So the
endpoints are looked at before each weight that rises; a proxy that hears of them late is what `minReadySeconds` is for.
"""

from __future__ import annotations

from adapters.kubernetes.errors import NotFound, NotServed
from adapters.kubernetes.paths import ENDPOINT_SLICES
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Retryable
from engine.traffic import RoutePlan, RouterKind

SERVICE_LABEL = "kubernetes.io/service-name"
_BY_OTHER_MEANS = (RouterKind.POD_RATIO, RouterKind.SERVICE)
"""Where endpoints are not waited for: they are the weight itself, and both versions' change as one."""


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
    name = task.fact(route.workload, "canary_name")
    replica_set = task.cluster.cached_replica_set(task.namespace, name)
    available = replica_set.available if replica_set is not None else 0
    labels = f"{SERVICE_LABEL}={route.canary_service}" if route.canary_service else SERVICE_LABEL
    try:
        slices = await task.cluster.list_objects(ENDPOINT_SLICES, task.namespace, labels=labels)
    except (NotFound, NotServed):
        return
    known = {pod for one in slices for pod in _ready_pods(one) if pod.startswith(f"{name}-")}
    if len(known) < available:
        where = f"the endpoints of Service {route.canary_service}" if route.canary_service else "the endpoints of any Service"
        raise Retryable(
            f"{len(known)} of the {available} available pods of the new version of {route.workload} are among {where} yet, so "
            "nobody is sent to them"
        )


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

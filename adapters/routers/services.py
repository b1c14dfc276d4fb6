"""The Services that name one version each: the root Service's ports, its selector, and one version's pod-template-hash.

Stable and canary Services pin their version by hash, so that no split ever has to name the root Service, whose own selector
matches all versions. They are removed by whoever made them and by nobody else.
"""

from __future__ import annotations

import copy
import json

from adapters.kubernetes.paths import SERVICES
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL, MANAGED_BY_LABEL, MANAGER, ROLLOUT_ANNOTATION, JsonObject, selects
from engine.errors import Rejected
from engine.model import Facts, RoutePlan

_PORT_FIELDS = ("name", "port", "protocol", "targetPort", "appProtocol")


async def record_services(task: Task, route: RoutePlan, live: JsonObject, new_template: JsonObject) -> Facts:
    """Check that the root Service can be split. It may be live, or come with the manifests."""
    root = await _root_service(task, route)
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
    return {f"{route.name}.canary_service": json.dumps(theirs["spec"].get("selector") or {}) if theirs else ""}


async def _root_service(task: Task, route: RoutePlan) -> JsonObject:
    found = await task.cluster.find(SERVICES, task.namespace, route.root_service)
    if found is not None:
        return found
    for manifest in task.spec.plan.manifests:
        if manifest.key == f"Service/{route.root_service}":
            body: JsonObject = json.loads(manifest.content)
            return body
    raise Rejected(
        f"route {route.name}: there is no Service {route.root_service} in namespace {task.namespace}; "
        "the root Service must exist or be among the manifests"
    )


async def _check_name_is_free(task: Task, name: str) -> None:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is not None and not task.is_ours(found):
        raise Rejected(f"a Service {name} exists and was not made by this rollout; remove it, or name another one")


async def ensure_stable_service(task: Task) -> Done:
    route = task.route
    return await _ensure(task, route.stable_service, task.fact(route.workload, "stable_hash"))


async def ensure_canary_service(task: Task) -> Done:
    route = task.route
    hash_value = task.fact(route.workload, "canary_hash")
    if route.adopts_canary_service and task.fact(route.name, "canary_service"):
        return await _select(task, route.canary_service, {**_recorded_selector(task), HASH_LABEL: hash_value})
    return await _ensure(task, route.canary_service, hash_value)


async def _ensure(task: Task, name: str, hash_value: str) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is not None:
        if not task.is_ours(found):
            raise Rejected(f"a Service {name} exists and was not made by this rollout; remove it, or name another one")
        return Done(f"Service {name} is there")
    root = await task.cluster.get(SERVICES, task.namespace, task.route.root_service)
    await task.cluster.create(SERVICES, _pinned(root, name, hash_value, task.rollout))
    return Done(f"Service {name} selects the pods of version {hash_value}")


def _pinned(root: JsonObject, name: str, hash_value: str, rollout: str) -> JsonObject:
    ports = [{key: port[key] for key in _PORT_FIELDS if key in port} for port in root["spec"]["ports"]]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": root["metadata"]["namespace"],
            "labels": {MANAGED_BY_LABEL: MANAGER},
            "annotations": {ROLLOUT_ANNOTATION: rollout},
        },
        "spec": {"selector": {**copy.deepcopy(root["spec"]["selector"]), HASH_LABEL: hash_value}, "ports": ports},
    }


async def remove_stable_service(task: Task) -> Done:
    return await _remove(task, task.route.stable_service)


async def remove_canary_service(task: Task) -> Done:
    route = task.route
    if route.adopts_canary_service and task.fact(route.name, "canary_service"):
        return await _select(task, route.canary_service, _recorded_selector(task))
    return await _remove(task, route.canary_service)


async def _remove(task: Task, name: str) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        return Done(f"Service {name} is gone")
    if not task.is_ours(found):
        return Done(f"Service {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(SERVICES, found)
    return Done(f"Service {name} is removed")


async def _select(task: Task, name: str, selector: dict[str, str]) -> Done:
    found = await task.cluster.find(SERVICES, task.namespace, name)
    if found is None:
        raise Rejected(f"Service {name}, which the deploy file names, was removed by somebody else during the rollout")
    if (found["spec"].get("selector") or {}) != selector:
        await task.cluster.patch(SERVICES, found, [{"op": "add", "path": "/spec/selector", "value": selector}])
    return Done(f"Service {name} selects {', '.join(f'{key}={value}' for key, value in sorted(selector.items()))}")


def _recorded_selector(task: Task) -> dict[str, str]:
    return {str(key): str(value) for key, value in task.json_fact(task.route.name, "canary_service").items()}

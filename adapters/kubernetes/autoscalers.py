"""A Deployment's autoscaler while pods are the weight: recorded, held at a number, and given back as it was found.

It is looked at before each write, as everything is. A bound that somebody else has written meanwhile is theirs: only what is
still our own edit is taken back, and whoever managed a field before us manages it again.
"""

from __future__ import annotations

import json

from adapters.kubernetes.field_owners import is_our_edit
from adapters.kubernetes.paths import HORIZONTAL_POD_AUTOSCALERS
from adapters.kubernetes.putting_back import owners_of, put_back
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.model import Facts

_BOUNDS = ("minReplicas", "maxReplicas")


async def facts_of_autoscaler(task: Task, workload: str) -> Facts:
    for found in await task.cluster.list_objects(HORIZONTAL_POD_AUTOSCALERS, task.namespace):
        target = found["spec"]["scaleTargetRef"]
        if target.get("kind") == "Deployment" and target.get("name") == workload:
            return {
                f"{workload}.autoscaled": True,
                f"{workload}.autoscaler": found["metadata"]["name"],
                f"{workload}.autoscaler_bounds": json.dumps(_bounds_of(found)),
                f"{workload}.autoscaler_owners": json.dumps(owners_of(found)),
            }
    return {f"{workload}.autoscaled": False}


def _bounds_of(scaler: JsonObject) -> JsonObject:
    return {key: scaler["spec"][key] for key in _BOUNDS if key in scaler["spec"]}


async def freeze_autoscaler(task: Task) -> Done:
    """While pods are the weight, the autoscaler is told to want exactly the number that the weight needs. What somebody else has
    bound it to since is noted, to be given back."""
    name, replicas = task.fact(task.workload.name, "autoscaler"), task.number("replicas")
    found = await task.cluster.find(HORIZONTAL_POD_AUTOSCALERS, task.namespace, name)
    if found is None:
        return _gone(name)
    changes = [_set(bound, replicas) for bound in _BOUNDS if found["spec"].get(bound) != replicas]
    theirs = {bound: count for bound, count in _bounds_of(found).items() if bound not in _ours(found)}
    fact = f"{task.workload.name}.autoscaler_bounds"
    facts: Facts = {fact: json.dumps({**json.loads(str(task.snapshot.facts[fact])), **theirs})}
    if changes:
        await task.cluster.patch(HORIZONTAL_POD_AUTOSCALERS, found, changes)
    return Done(f"autoscaler {name} is held at {replicas} pods", facts)


async def restore_autoscaler(task: Task) -> Done:
    name = task.fact(task.workload.name, "autoscaler")
    found = await task.cluster.find(HORIZONTAL_POD_AUTOSCALERS, task.namespace, name)
    if found is None:
        return _gone(name)
    before = task.snapshot.facts.get(f"{task.workload.name}.autoscaler_owners")
    wanted, ours = _wanted(task, name), _ours(found)
    changes: list[JsonObject] = []
    for bound in _BOUNDS:
        now, then = found["spec"].get(bound), wanted.get(bound)
        if bound in ours and now != then:
            changes.append({"op": "remove", "path": f"/spec/{bound}"} if then is None else _set(bound, then))
    await put_back(task, HORIZONTAL_POD_AUTOSCALERS, found, changes, json.loads(str(before)) if before else [])
    return Done(f"autoscaler {name} is free again")


def _wanted(task: Task, name: str) -> JsonObject:
    """The bounds that it had, or that the release declares."""
    for manifest in () if task.is_undoing else task.spec.plan.manifests:
        body = json.loads(manifest.content)
        if body.get("kind") == HORIZONTAL_POD_AUTOSCALERS.kind and body["metadata"]["name"] == name:
            return _bounds_of(body)
    return task.json_fact(task.workload.name, "autoscaler_bounds")


def _ours(scaler: JsonObject) -> set[str]:
    """The bounds that are as our last edit has left them."""
    edits = [one for one in owners_of(scaler) if is_our_edit(one)]
    return {bound for bound in _BOUNDS for one in edits if f"f:{bound}" in (one.get("fieldsV1") or {}).get("f:spec", {})}


def _gone(name: str) -> Done:
    return Done(f"autoscaler {name} is gone")


def _set(bound: str, value: object) -> JsonObject:
    return {"op": "add", "path": f"/spec/{bound}", "value": value}

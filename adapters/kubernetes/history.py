"""The Deployment's older versions, let go while it changes hands and given back as they were.

A paused Deployment that owns no ReplicaSet with pods scales the youngest that it owns (seen on a real kube-controller-manager).
In a hand-over by the ratio of pods there is such a moment, and without this an old version from the history would come back into
traffic. What is needed to give one back is written on it, so that nothing else has to be remembered.
"""

from __future__ import annotations

import json

from adapters.kubernetes.paths import REPLICA_SETS
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import ROLLOUT_ANNOTATION, JsonObject, own_labels

LET_GO_ANNOTATION = "headgate.dev/let-go"


async def release_history(task: Task) -> Done:
    """Take the labels off by which the Deployment's controller finds them. One write for each, none for those that are let go."""
    for found in await _history(task):
        metadata = found["metadata"]
        annotations = dict(metadata.get("annotations") or {})
        if LET_GO_ANNOTATION in annotations:
            continue
        kept = {"labels": metadata.get("labels") or {}, "managedFields": metadata.get("managedFields")}
        annotations |= {LET_GO_ANNOTATION: json.dumps(kept), ROLLOUT_ANNOTATION: task.rollout}
        changes = [_set("/metadata/labels", own_labels()), _set("/metadata/annotations", annotations)]
        await task.cluster.patch(REPLICA_SETS, found, changes)
    return Done(f"the older versions of {task.workload.name} are let go")


async def return_history(task: Task) -> Done:
    """The labels first, which the controller waits for; then the fields go back to their managers and the note goes."""
    for found in await _history(task):
        kept = (found["metadata"].get("annotations") or {}).get(LET_GO_ANNOTATION)
        if kept is None:
            continue
        original = json.loads(kept)
        if found["metadata"].get("labels") != original["labels"]:
            found = await task.cluster.patch(REPLICA_SETS, found, [_set("/metadata/labels", original["labels"])])
        ours = (LET_GO_ANNOTATION, ROLLOUT_ANNOTATION)
        annotations = {key: value for key, value in found["metadata"]["annotations"].items() if key not in ours}
        changes = [_set("/metadata/annotations", annotations), _set("/metadata/managedFields", original["managedFields"])]
        await task.cluster.patch(REPLICA_SETS, found, changes)
    return Done(f"the older versions of {task.workload.name} belong to it again")


async def _history(task: Task) -> list[JsonObject]:
    names = [name for name in task.fact(task.workload.name, "history").split(",") if name]
    found = [await task.cluster.find(REPLICA_SETS, task.namespace, name) for name in names]
    return [one for one in found if one is not None]


def _set(path: str, value: object) -> JsonObject:
    return {"op": "add", "path": path, "value": value}

"""StatefulSets and DaemonSets, as far as a rollout waits for them: their pods, their updates, and what they count.

    a StatefulSet   pods by number, each after the one before it is ready; updated from the last to the first (RollingUpdate)
    a DaemonSet     one pod, because there is one node

What a rollout does not look at is left out: revisions as objects, and claims for volumes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from adapters.embedded.controllers import Key
from adapters.embedded.errors import AlreadyExists
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import (
    JsonObject,
    copy_json,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
)
from adapters.embedded.ownership import OwnerIndex, controller_of, owner_reference
from adapters.embedded.pod_ranking import is_active, is_ready
from adapters.embedded.resources import DAEMON_SETS, PODS, STATEFUL_SETS, Resource
from adapters.embedded.storage import Storage

REVISION_LABEL = "controller-revision-hash"


class OtherWorkloadController:
    """Implements `adapters.embedded.controllers.Reconciler`. `step` is one look at one object with its pods: it changes pods, and
    returns the status."""

    def __init__(
        self,
        storage: Storage,
        pods: OwnerIndex,
        resource: Resource,
        step: Callable[[Storage, JsonObject, list[JsonObject]], JsonObject],
    ) -> None:
        self.name = resource.plural
        self._storage = storage
        self._pods = pods
        self._resource = resource
        self._step = step

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace = namespace_of(event.object)
        if event.resource.storage_key == self._resource.storage_key:
            return [(namespace, name_of(event.object))]
        if event.resource.storage_key != PODS.storage_key:
            return []
        owner = controller_of(event.object)
        return [(namespace, owner["name"])] if owner is not None and owner["kind"] == self._resource.kind else []

    def reconcile(self, key: Key) -> float | None:
        owner = self._storage.peek(self._resource, *key)
        if owner is None or metadata_of(owner).get("deletionTimestamp"):
            return None
        status = self._step(self._storage, owner, self._pods.owned_by(metadata_of(owner)["uid"]))
        if owner.get("status") != status:
            self._storage.update(self._resource, {**owner, "status": status}, subresource="status")
        return None


def other_workload_controllers(storage: Storage, pods: OwnerIndex) -> list[OtherWorkloadController]:
    steps = {STATEFUL_SETS: _step_stateful_set, DAEMON_SETS: _step_daemon_set}
    return [OtherWorkloadController(storage, pods, resource, step) for resource, step in steps.items()]


# --- StatefulSets -----------------------------------------------------------------------------------------------------


def _step_stateful_set(storage: Storage, owner: JsonObject, pods: list[JsonObject]) -> JsonObject:
    revision, wanted = _revision_of(owner), int(owner["spec"].get("replicas", 1))
    by_name = {name_of(pod): pod for pod in pods}
    names = [f"{name_of(owner)}-{number}" for number in range(wanted)]
    healthy = True
    for name in names:
        pod = by_name.get(name)
        if pod is None:
            _make_pod(storage, STATEFUL_SETS, owner, name, revision)
        healthy = healthy and pod is not None and is_active(pod) and is_ready(pod)
        if not healthy and owner["spec"].get("podManagementPolicy") != "Parallel":
            break
    surplus = [pod for name, pod in by_name.items() if name not in names and is_active(pod)]
    outdated = [by_name[name] for name in names if name in by_name and _revision(by_name[name]) != revision]
    for pod in surplus or (outdated[-1:] if healthy and _updates_by_itself(owner) else []):
        storage.delete(PODS, namespace_of(pod), name_of(pod))
    living = [pod for pod in pods if is_active(pod)]
    updated = sum(_revision(pod) == revision for pod in living)
    former: str = (owner.get("status") or {}).get("currentRevision") or revision
    return {
        **_counted(owner, living),
        "updatedReplicas": updated,
        "currentRevision": revision if updated == wanted else former,
        "updateRevision": revision,
    }


def _counted(owner: JsonObject, living: list[JsonObject]) -> JsonObject:
    ready = sum(map(is_ready, living))
    return {
        "observedGeneration": metadata_of(owner)["generation"],
        "replicas": len(living),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }


def _updates_by_itself(owner: JsonObject) -> bool:
    return bool((owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete")


# --- DaemonSets -------------------------------------------------------------------------------------------------------


def _step_daemon_set(storage: Storage, owner: JsonObject, pods: list[JsonObject]) -> JsonObject:
    revision = _revision_of(owner)
    living = [pod for pod in pods if is_active(pod)]
    if not pods:
        _make_pod(storage, DAEMON_SETS, owner, f"{name_of(owner)}-{revision}", revision)
    for pod in living:
        if _revision(pod) != revision and _updates_by_itself(owner):
            storage.delete(PODS, namespace_of(pod), name_of(pod))
    ready = sum(map(is_ready, living))
    return {
        "observedGeneration": metadata_of(owner)["generation"],
        "desiredNumberScheduled": 1,
        "currentNumberScheduled": len(living),
        "numberMisscheduled": 0,
        "updatedNumberScheduled": sum(_revision(pod) == revision for pod in living),
        "numberReady": ready,
        "numberAvailable": ready,
    }


# --- pods -------------------------------------------------------------------------------------------------------------


def _make_pod(storage: Storage, resource: Resource, owner: JsonObject, name: str, revision: str) -> None:
    template = copy_json(owner["spec"]["template"])
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **({REVISION_LABEL: revision} if revision else {})}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace_of(owner),
            "labels": labels,
            "annotations": metadata.get("annotations") or {},
            "ownerReferences": [owner_reference(resource, owner)],
        },
        "spec": template["spec"],
    }
    try:
        storage.create(PODS, pod)
    except AlreadyExists:
        return  # One of its name is still ending, or is somebody else's.


def _revision_of(owner: JsonObject) -> str:
    text = json.dumps(owner["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _revision(pod: JsonObject) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")

"""ReplicaSets: as many pods as asked for, the worst ones deleted first, and what is ready and available counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from adapters.embedded.controllers import Key
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, copy_json, metadata_of, name_of, namespace_of, parse_time
from adapters.embedded.ownership import Claims, OwnerIndex, controller_of, owner_reference
from adapters.embedded.resources import PODS, REPLICA_SETS
from adapters.embedded.storage import Storage

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSetController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "replicasets"

    def __init__(self, storage: Storage, pods: OwnerIndex, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._claims = Claims(storage, pods, PODS, REPLICA_SETS)
        self._now = now

    def keys_for(self, event: StorageEvent) -> list[Key]:
        if event.resource.storage_key == REPLICA_SETS.storage_key:
            return [(namespace_of(event.object), name_of(event.object))]
        if event.resource.storage_key != PODS.storage_key:
            return []
        versions = [event.object] if event.previous is None else [event.object, event.previous]
        owners = (controller_of(version) for version in versions)
        return [(namespace_of(event.object), owner["name"]) for owner in owners if owner and owner["kind"] == "ReplicaSet"]

    def reconcile(self, key: Key) -> float | None:
        replica_set = self._storage.peek(REPLICA_SETS, *key)
        if replica_set is None:
            return None
        pods = [pod for pod in self._claims.claim(replica_set) if _is_active(pod)]
        if not metadata_of(replica_set).get("deletionTimestamp"):
            self._scale(replica_set, pods)
        return self._count(key)

    def _scale(self, replica_set: JsonObject, pods: list[JsonObject]) -> None:
        missing = replica_set["spec"].get("replicas", 1) - len(pods)
        for _ in range(missing):
            self._storage.create(PODS, _pod_of(replica_set))
        for pod in sorted(pods, key=_deletion_order)[: max(-missing, 0)]:
            self._storage.delete(PODS, namespace_of(pod), name_of(pod))

    def _count(self, key: Key) -> float | None:
        replica_set = self._storage.peek(REPLICA_SETS, *key)
        if replica_set is None:
            return None
        pods = [pod for pod in self._claims.claim(replica_set) if _is_active(pod)]
        replica_set = self._storage.peek(REPLICA_SETS, *key) or replica_set
        template_labels = replica_set["spec"]["template"].get("metadata", {}).get("labels") or {}
        waits = [_seconds_to_available(pod, replica_set["spec"].get("minReadySeconds", 0), self._now()) for pod in pods]
        labelled = [pod for pod in pods if template_labels.items() <= (metadata_of(pod).get("labels") or {}).items()]
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(labelled),
            "readyReplicas": sum(wait is not None for wait in waits),
            "availableReplicas": sum(wait is not None and wait <= 0 for wait in waits),
            "observedGeneration": metadata_of(replica_set)["generation"],
        }
        status = {name: value for name, value in status.items() if value or name in ("replicas", "observedGeneration")}
        if replica_set.get("status") != status:
            self._storage.update(REPLICA_SETS, {**replica_set, "status": status}, subresource="status")
        return min((wait for wait in waits if wait is not None and wait > 0), default=None)


def _is_active(pod: JsonObject) -> bool:
    return not metadata_of(pod).get("deletionTimestamp") and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")


def _pod_of(replica_set: JsonObject) -> JsonObject:
    template = copy_json(replica_set["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{field: metadata[field] for field in ("labels", "annotations") if metadata.get(field)},
            "generateName": f"{name_of(replica_set)}-",
            "namespace": namespace_of(replica_set),
            "ownerReferences": [owner_reference(REPLICA_SETS, replica_set)],
        },
        "spec": template["spec"],
    }


def condition_of(pod: JsonObject, kind: str) -> JsonObject:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def is_ready(pod: JsonObject) -> bool:
    return condition_of(pod, "Ready").get("status") == "True"


def _seconds_to_available(pod: JsonObject, min_ready_seconds: int, now: datetime) -> float | None:
    """0 or less when it is available, None while it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = parse_time(condition_of(pod, "Ready")["lastTransitionTime"])
    return (since + timedelta(seconds=min_ready_seconds) - now).total_seconds()


def _deletion_order(pod: JsonObject) -> tuple[bool, int, bool, int, str, int, str]:
    """First those that nobody will miss: unassigned, pending, not ready, cheap to delete, restarted, young (the real ranking)."""
    status = pod.get("status", {})
    phases = {"Pending": 0, "Unknown": 1}
    cost = int((metadata_of(pod).get("annotations") or {}).get(DELETION_COST, 0))
    restarts = max((one.get("restartCount", 0) for one in status.get("containerStatuses") or []), default=0)
    born = parse_time(metadata_of(pod)["creationTimestamp"]).timestamp()
    return (
        bool(pod["spec"].get("nodeName")),
        phases.get(status.get("phase", "Pending"), 2),
        is_ready(pod),
        cost,
        "",
        -restarts,
        f"{-born:020.0f}{name_of(pod)}",
    )

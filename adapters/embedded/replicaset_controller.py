"""ReplicaSets: as many pods as asked for, the worst ones deleted first, and what is ready and available counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from adapters.embedded.controllers import Key
from adapters.embedded.errors import ApiError, Forbidden, NotFound
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import (
    JsonObject,
    copy_json,
    format_time,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
    parse_time,
)
from adapters.embedded.ownership import Claims, OwnerIndex, controller_of, matches, owner_reference
from adapters.embedded.pod_ranking import condition_of, deletion_order, is_active, is_ready
from adapters.embedded.resources import PODS, REPLICA_SETS
from adapters.embedded.storage import Storage


class ReplicaSetController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "replicasets"

    def __init__(self, storage: Storage, pods: OwnerIndex, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._pods = pods
        self._claims = Claims(storage, pods, PODS, REPLICA_SETS)
        self._now = now

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace = namespace_of(event.object)
        if event.resource.storage_key == REPLICA_SETS.storage_key:
            return [(namespace, name_of(event.object))]
        if event.resource.storage_key != PODS.storage_key:
            return []
        versions = [event.object] if event.previous is None else [event.object, event.previous]
        owners = (controller_of(version) for version in versions)
        keys = [(namespace, owner["name"]) for owner in owners if owner and owner["kind"] == "ReplicaSet"]
        if controller_of(event.object) is not None:
            return keys
        beside = self._storage.iterate(REPLICA_SETS, namespace)
        return keys + [(namespace, name_of(one)) for one in beside if matches(one["spec"]["selector"], labels_of(event.object))]

    def reconcile(self, key: Key) -> float | None:
        replica_set = self._storage.peek(REPLICA_SETS, *key)
        if replica_set is None:
            return None
        pods = self._claims.claim(replica_set, is_active)
        failure: ApiError | None = None
        if not metadata_of(replica_set).get("deletionTimestamp"):
            failure = self._scale(replica_set, pods)
        again = self._count(key, failure)
        if failure is not None:
            raise failure
        return again

    def _scale(self, replica_set: JsonObject, pods: list[JsonObject]) -> ApiError | None:
        missing = replica_set["spec"].get("replicas", 1) - len(pods)
        try:
            for _ in range(missing):
                self._storage.create(PODS, _pod_of(replica_set))
            for pod in deletion_order(pods, self._now())[: max(-missing, 0)]:
                self._storage.delete(PODS, namespace_of(pod), name_of(pod))
        except (Forbidden, NotFound):
            return None  # The namespace is going, or somebody else was faster.
        except ApiError as error:
            return error
        return None

    def _count(self, key: Key, failure: ApiError | None) -> float | None:
        replica_set = self._storage.peek(REPLICA_SETS, *key)
        if replica_set is None:
            return None
        selector, patience = replica_set["spec"]["selector"], replica_set["spec"].get("minReadySeconds", 0)
        owned = [pod for pod in self._pods.owned_by(metadata_of(replica_set)["uid"]) if matches(selector, labels_of(pod))]
        pods = [pod for pod in owned if is_active(pod)]
        waits = [_seconds_to_available(pod, patience, self._now()) for pod in pods]
        template_labels = replica_set["spec"]["template"].get("metadata", {}).get("labels") or {}
        counts = {
            "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(pod).items() for pod in pods),
            "readyReplicas": sum(wait is not None for wait in waits),
            "availableReplicas": sum(wait is not None and wait <= 0 for wait in waits),
        }
        status = {
            "replicas": len(pods),
            **{name: value for name, value in counts.items() if value},
            "terminatingReplicas": sum(_is_terminating(pod) for pod in owned),
            "observedGeneration": metadata_of(replica_set)["generation"],
        }
        if conditions := self._conditions(replica_set, len(pods), failure):
            status["conditions"] = conditions
        if replica_set.get("status") != status:
            self._storage.update(REPLICA_SETS, {**replica_set, "status": status}, subresource="status")
        return min((wait for wait in waits if wait is not None and wait > 0), default=None)

    def _conditions(self, replica_set: JsonObject, pods: int, failure: ApiError | None) -> list[JsonObject]:
        before: list[JsonObject] = (replica_set.get("status") or {}).get("conditions") or []
        rest = [one for one in before if one["type"] != "ReplicaFailure"]
        if failure is None or len(rest) < len(before):
            return rest if failure is None else before
        reason = "FailedCreate" if pods < replica_set["spec"].get("replicas", 1) else "FailedDelete"
        made: JsonObject = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": str(failure)}
        return [*rest, {**made, "lastTransitionTime": format_time(self._now())}]


def _pod_of(replica_set: JsonObject) -> JsonObject:
    template = copy_json(replica_set["spec"]["template"])
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{field: metadata[field] for field in ("labels", "annotations", "finalizers") if metadata.get(field)},
            "generateName": f"{name_of(replica_set)}-",
            "namespace": namespace_of(replica_set),
            "ownerReferences": [owner_reference(REPLICA_SETS, replica_set)],
        },
        "spec": template["spec"],
    }


def _is_terminating(pod: JsonObject) -> bool:
    over = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return bool(metadata_of(pod).get("deletionTimestamp")) and not over


def _seconds_to_available(pod: JsonObject, min_ready_seconds: int, now: datetime) -> float | None:
    """0 or less when it is available, None while it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = parse_time(condition_of(pod, "Ready")["lastTransitionTime"])
    return (since + timedelta(seconds=min_ready_seconds) - now).total_seconds()

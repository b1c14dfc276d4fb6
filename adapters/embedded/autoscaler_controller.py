"""HorizontalPodAutoscalers: keep the scale target within their bounds, and at the number that an annotation pretends to measure.

    embedded.headgate.dev/desired-replicas      what its metrics would ask for

A target that is scaled to 0 is left alone, as the real one does.
"""

from __future__ import annotations

from adapters.embedded.controllers import Key
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.pods import PREFIX
from adapters.embedded.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS
from adapters.embedded.storage import Storage

DESIRED = f"{PREFIX}desired-replicas"


class AutoscalerController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "autoscalers"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace = namespace_of(event.object)
        if event.resource.storage_key == HORIZONTAL_POD_AUTOSCALERS.storage_key:
            return [(namespace, name_of(event.object))]
        if event.resource.storage_key != DEPLOYMENTS.storage_key:
            return []
        scalers = self._storage.iterate(HORIZONTAL_POD_AUTOSCALERS, namespace)
        return [(namespace, name_of(one)) for one in scalers if _target(one) == name_of(event.object)]

    def reconcile(self, key: Key) -> float | None:
        scaler = self._storage.peek(HORIZONTAL_POD_AUTOSCALERS, *key)
        target = self._storage.peek(DEPLOYMENTS, key[0], _target(scaler)) if scaler is not None else None
        if scaler is None or target is None:
            return None
        current = int(target["spec"].get("replicas", 1))
        desired = _bounded(scaler, current)
        if current > 0 and desired != current:
            self._storage.update(DEPLOYMENTS, {**target, "spec": {**target["spec"], "replicas": desired}})
        status = {"currentReplicas": int(target.get("status", {}).get("replicas", 0)), "desiredReplicas": desired}
        if scaler.get("status") != status:
            self._storage.update(HORIZONTAL_POD_AUTOSCALERS, {**scaler, "status": status}, subresource="status")
        return None


def _target(scaler: JsonObject) -> str:
    reference = scaler["spec"]["scaleTargetRef"]
    return str(reference["name"]) if reference.get("kind") == "Deployment" else ""


def _bounded(scaler: JsonObject, current: int) -> int:
    text = (metadata_of(scaler).get("annotations") or {}).get(DESIRED, "")
    wished = int(text) if text.isdigit() else current
    return max(int(scaler["spec"].get("minReplicas", 1)), min(wished, int(scaler["spec"]["maxReplicas"])))

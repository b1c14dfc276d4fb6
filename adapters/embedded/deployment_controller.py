"""Deployments, as kube-controller-manager treats them: claim, recognise by template, roll, scale, remember.

What the native hand-over rests on: a bare ReplicaSet whose own labels do not match is left alone; one whose labels match is
adopted; an adopted one with the Deployment's template is its new revision; a paused Deployment neither rolls nor makes
ReplicaSets, but still claims and scales, and scales old ones away once the new one is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from adapters.embedded import deployment_rules as rules
from adapters.embedded import deployment_status as statuses
from adapters.embedded.controllers import Key
from adapters.embedded.deployment_roll_out import RollOut
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.ownership import Claims, OwnerIndex, controller_of
from adapters.embedded.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from adapters.embedded.storage import Storage


class DeploymentController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "deployments"

    def __init__(self, storage: Storage, replica_sets: OwnerIndex, pods: OwnerIndex, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._claims = Claims(storage, replica_sets, REPLICA_SETS, DEPLOYMENTS)
        self._pods = pods
        self._now = now

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace = namespace_of(event.object)
        if event.resource.storage_key == DEPLOYMENTS.storage_key:
            return [(namespace, name_of(event.object))]
        if event.resource.storage_key == PODS.storage_key:
            return self._keys_for_pod(event)
        if event.resource.storage_key != REPLICA_SETS.storage_key:
            return []
        versions = [event.object] if event.previous is None else [event.object, event.previous]
        owners = [owner for version in versions if (owner := controller_of(version)) is not None]
        if owners and controller_of(event.object) is not None:
            return [(namespace, owner["name"]) for owner in owners if owner["kind"] == "Deployment"]
        # Nobody's: any Deployment beside it may want it.
        return [(namespace, name_of(one)) for one in self._storage.iterate(DEPLOYMENTS, namespace)]

    def _keys_for_pod(self, event: StorageEvent) -> list[Key]:
        """The last old pod that goes is what a Deployment with the strategy Recreate waits for."""
        owner = controller_of(event.object)
        if event.type is not EventType.DELETED or owner is None or owner["kind"] != "ReplicaSet":
            return []
        replica_set = self._storage.peek(REPLICA_SETS, namespace_of(event.object), owner["name"])
        above = controller_of(replica_set) if replica_set is not None else None
        return [(namespace_of(event.object), above["name"])] if above is not None and above["kind"] == "Deployment" else []

    def reconcile(self, key: Key) -> float | None:
        deployment = self._storage.peek(DEPLOYMENTS, *key)
        if deployment is None:
            return None
        owned = self._claims.claim(deployment)
        work = RollOut(self._storage, deployment, owned, self._now)
        if metadata_of(deployment).get("deletionTimestamp"):
            work.keep_revision()
            work.write_status()
            return None
        work.note_pause()
        work.keep_revision()
        if deployment["spec"].get("paused"):
            work.scale()
            work.forget_history()
            work.write_status()
        elif rules.was_scaled(work.deployment, work.owned):
            work.scale()
            work.write_status()
        else:
            return self._roll(work)
        return None

    def _roll(self, work: RollOut) -> float | None:
        if rules.is_recreated(work.deployment):
            changed = work.recreate(any(self._has_living_pods(one) for one in work.old))
        else:
            changed = work.roll_gradually()
        if not changed and statuses.is_complete(work.deployment, work.deployment.get("status") or {}):
            work.forget_history()
        if work.write_roll_out_status():
            return None
        return statuses.seconds_to_deadline(work.deployment, work.deployment.get("status") or {}, self._now())

    def _has_living_pods(self, replica_set: JsonObject) -> bool:
        pods = self._pods.owned_by(metadata_of(replica_set)["uid"])
        return any(pod.get("status", {}).get("phase") not in ("Failed", "Succeeded") for pod in pods)

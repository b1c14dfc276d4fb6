"""Deployments, as kube-controller-manager treats them: claim, recognise by template, roll, scale, remember.

What the native hand-over rests on: a bare ReplicaSet whose own labels do not match is left alone; one whose labels match is
adopted; an adopted one with the Deployment's template is its new revision; a paused Deployment neither rolls nor makes
ReplicaSets, but still claims and scales, and scales old ones away once the new one is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from adapters.embedded import deployment_rules as rules
from adapters.embedded.controllers import Key
from adapters.embedded.deployment_status import status_of
from adapters.embedded.errors import AlreadyExists
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.ownership import Claims, OwnerIndex, controller_of, owner_reference
from adapters.embedded.resources import DEPLOYMENTS, REPLICA_SETS
from adapters.embedded.storage import Storage


class DeploymentController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "deployments"

    def __init__(self, storage: Storage, replica_sets: OwnerIndex, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._claims = Claims(storage, replica_sets, REPLICA_SETS, DEPLOYMENTS)
        self._now = now

    def keys_for(self, event: StorageEvent) -> list[Key]:
        namespace = namespace_of(event.object)
        if event.resource.storage_key == DEPLOYMENTS.storage_key:
            return [(namespace, name_of(event.object))]
        if event.resource.storage_key != REPLICA_SETS.storage_key:
            return []
        versions = [event.object] if event.previous is None else [event.object, event.previous]
        owners = [owner for version in versions if (owner := controller_of(version)) is not None]
        if owners and controller_of(event.object) is not None:
            return [(namespace, owner["name"]) for owner in owners if owner["kind"] == "Deployment"]
        # Nobody's: any Deployment beside it may want it.
        return [(namespace, name_of(one)) for one in self._storage.iterate(DEPLOYMENTS, namespace)]

    def reconcile(self, key: Key) -> float | None:
        deployment = self._storage.peek(DEPLOYMENTS, *key)
        if deployment is None:
            return None
        owned = self._claims.claim(deployment)
        if metadata_of(deployment).get("deletionTimestamp"):
            return self._write_status(key, owned)
        new = self._keep_revision(deployment, rules.new_replica_set_of(deployment, owned), owned)
        old = [one for one in owned if new is None or name_of(one) != name_of(new)]
        if deployment["spec"].get("paused") or self._was_scaled(deployment, owned):
            self._scale(deployment, new, old)
        else:
            self._roll(deployment, new, old)
        return self._write_status(key, self._claims.claim(self._storage.peek(DEPLOYMENTS, *key) or deployment))

    # --- revisions -----------------------------------------------------------------------------------------------------

    def _keep_revision(self, deployment: JsonObject, new: JsonObject | None, owned: list[JsonObject]) -> JsonObject | None:
        if new is None:
            return None
        highest = max((rules.annotation(one, rules.REVISION) for one in owned if name_of(one) != name_of(new)), default=0)
        annotations = dict(metadata_of(new).get("annotations") or {})
        before = rules.annotation(new, rules.REVISION)
        if before <= highest:
            if before:
                history = annotations.get(rules.REVISION_HISTORY)
                annotations[rules.REVISION_HISTORY] = f"{history},{before}" if history else str(before)
            annotations[rules.REVISION] = str(highest + 1)
        annotations |= self._copied_annotations(deployment) | self._size_annotations(deployment)
        if annotations != metadata_of(new).get("annotations"):
            new = self._storage.update(REPLICA_SETS, {**new, "metadata": {**metadata_of(new), "annotations": annotations}})
        self._note_revision(deployment, annotations[rules.REVISION])
        return new

    def _copied_annotations(self, deployment: JsonObject) -> dict[str, str]:
        own = (rules.LAST_APPLIED, rules.REVISION, rules.REVISION_HISTORY, rules.DESIRED, rules.MOST)
        return {k: v for k, v in (metadata_of(deployment).get("annotations") or {}).items() if k not in own}

    def _size_annotations(self, deployment: JsonObject) -> dict[str, str]:
        count = rules.wanted(deployment)
        return {rules.DESIRED: str(count), rules.MOST: str(count + rules.limits(deployment)[0])}

    def _note_revision(self, deployment: JsonObject, revision: str) -> None:
        there = self._storage.peek(DEPLOYMENTS, namespace_of(deployment), name_of(deployment))
        if there is None or (metadata_of(there).get("annotations") or {}).get(rules.REVISION) == revision:
            return
        annotations = {**(metadata_of(there).get("annotations") or {}), rules.REVISION: revision}
        self._storage.update(DEPLOYMENTS, {**there, "metadata": {**metadata_of(there), "annotations": annotations}})

    def _make_new(self, deployment: JsonObject, old: list[JsonObject]) -> JsonObject:
        collisions = rules.status_count(deployment, "collisionCount")
        replicas = rules.next_size_of_new(deployment, None, sum(rules.wanted(one) for one in old))
        while True:
            hash_value = rules.template_hash(deployment["spec"]["template"], collisions)
            body = rules.replica_set_of(deployment, hash_value, replicas)
            highest = max((rules.annotation(one, rules.REVISION) for one in old), default=0)
            annotations = self._copied_annotations(deployment) | self._size_annotations(deployment)
            body["metadata"]["annotations"] = annotations | {rules.REVISION: str(highest + 1)}
            body["metadata"]["ownerReferences"] = [owner_reference(DEPLOYMENTS, deployment)]
            try:
                made = self._storage.create(REPLICA_SETS, body)
            except AlreadyExists:
                # Somebody else's ReplicaSet has the name: the real controller counts the collision into the hash.
                collisions += 1
                continue
            self._note_revision(deployment, str(highest + 1))
            return made

    # --- sizes ---------------------------------------------------------------------------------------------------------

    def _was_scaled(self, deployment: JsonObject, owned: list[JsonObject]) -> bool:
        active = [one for one in owned if rules.wanted(one) > 0]
        return any(rules.annotation(one, rules.DESIRED, -1) not in (-1, rules.wanted(deployment)) for one in active)

    def _scale(self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject]) -> None:
        single = rules.only_one_to_scale(new, old)
        if single is not None:
            self._resize(deployment, single, rules.wanted(deployment))
        elif rules.is_saturated(deployment, new):
            for one in old:
                self._resize(deployment, one, 0)
        elif (deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
            active = [one for one in (*old, *([new] if new is not None else ())) if rules.wanted(one) > 0]
            sizes = rules.proportional_sizes(deployment, active)
            for one in active:
                self._resize(deployment, one, sizes[name_of(one)])

    def _resize(self, deployment: JsonObject, replica_set: JsonObject, replicas: int) -> None:
        annotations = {**(metadata_of(replica_set).get("annotations") or {}), **self._size_annotations(deployment)}
        if rules.wanted(replica_set) == replicas and annotations == metadata_of(replica_set).get("annotations"):
            return
        changed = {
            **replica_set,
            "metadata": {**metadata_of(replica_set), "annotations": annotations},
            "spec": {**replica_set["spec"], "replicas": replicas},
        }
        self._storage.update(REPLICA_SETS, changed)

    def _roll(self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject]) -> None:
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            self._recreate(deployment, new, old)
        else:
            self._roll_gradually(deployment, new or self._make_new(deployment, old), old)
        self._forget_history(deployment, old)

    def _recreate(self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject]) -> None:
        if any(rules.wanted(one) for one in old):
            for one in old:
                self._resize(deployment, one, 0)
        elif not any(rules.status_count(one, "replicas") for one in old):
            self._resize(deployment, new or self._make_new(deployment, old), rules.wanted(deployment))

    def _roll_gradually(self, deployment: JsonObject, new: JsonObject, old: list[JsonObject]) -> None:
        count = rules.wanted(deployment)
        if rules.wanted(new) > count:
            self._resize(deployment, new, count)
            return
        total = rules.wanted(new) + sum(rules.wanted(one) for one in old)
        size = rules.next_size_of_new(deployment, new, total)
        if size != rules.wanted(new):
            self._resize(deployment, new, size)
            return
        self._shrink_old(deployment, new, sorted(old, key=rules.age_order))

    def _shrink_old(self, deployment: JsonObject, new: JsonObject, old: list[JsonObject]) -> None:
        least = rules.wanted(deployment) - rules.limits(deployment)[1]
        unready_new = rules.wanted(new) - rules.status_count(new, "availableReplicas")
        spare = sum(rules.wanted(one) for one in (*old, new)) - least - unready_new
        sizes = {name_of(one): rules.wanted(one) for one in old}
        for one in old:  # Pods that do not serve go first: nobody will miss them.
            unhealthy = max(sizes[name_of(one)] - rules.status_count(one, "availableReplicas"), 0)
            gone = min(max(spare, 0), unhealthy)
            sizes[name_of(one)] -= gone
            spare -= gone
        available = sum(rules.status_count(one, "availableReplicas") for one in (*old, new))
        surplus = min(max(available - least, 0), max(spare, 0))
        for one in old:
            gone = min(surplus, sizes[name_of(one)])
            sizes[name_of(one)] -= gone
            surplus -= gone
        for one in old:
            if sizes[name_of(one)] != rules.wanted(one):
                self._resize(deployment, one, sizes[name_of(one)])

    def _forget_history(self, deployment: JsonObject, old: list[JsonObject]) -> None:
        empty = [one for one in old if not rules.wanted(one) and not rules.status_count(one, "replicas")]
        surplus = len(empty) - deployment["spec"].get("revisionHistoryLimit", 10)
        for one in sorted(empty, key=lambda one: rules.annotation(one, rules.REVISION))[: max(surplus, 0)]:
            if not metadata_of(one).get("deletionTimestamp"):
                self._storage.discard(REPLICA_SETS, namespace_of(one), name_of(one))

    # --- status --------------------------------------------------------------------------------------------------------

    def _write_status(self, key: Key, owned: list[JsonObject]) -> float | None:
        deployment = self._storage.peek(DEPLOYMENTS, *key)
        if deployment is None:
            return None
        status, again = status_of(deployment, owned, self._now())
        if status != deployment.get("status"):
            self._storage.update(DEPLOYMENTS, {**deployment, "status": status}, subresource="status")
        return again

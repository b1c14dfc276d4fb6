"""One look at one Deployment: its own ReplicaSets in hand, and each change that the look may lead to.

The order in which they are made is the controller's (`deployment_controller`); the arithmetic is `deployment_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from adapters.embedded import deployment_revisions as revisions
from adapters.embedded import deployment_rules as rules
from adapters.embedded import deployment_status as statuses
from adapters.embedded.errors import AlreadyExists, ApiError, Conflict, Forbidden
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.ownership import owner_reference
from adapters.embedded.resources import DEPLOYMENTS, REPLICA_SETS
from adapters.embedded.storage import Storage

NO_LIMIT = 2**31 - 1


class RollOut:
    """`deployment` and `owned` are as they were last written; shared objects, not to be changed."""

    def __init__(
        self, storage: Storage, deployment: JsonObject, owned: Sequence[JsonObject], now: Callable[[], datetime]
    ) -> None:
        self.deployment = deployment
        self._storage = storage
        self._owned = {name_of(one): one for one in sorted(owned, key=rules.age_order)}
        found = rules.new_replica_set_of(deployment, owned)
        self._new_name = name_of(found) if found is not None else ""
        self._now = now

    @property
    def owned(self) -> list[JsonObject]:
        return list(self._owned.values())

    @property
    def new(self) -> JsonObject | None:
        return self._owned.get(self._new_name)

    @property
    def old(self) -> list[JsonObject]:
        """The oldest first."""
        return [one for name, one in self._owned.items() if name != self._new_name]

    # --- revisions -----------------------------------------------------------------------------------------------------

    def keep_revision(self) -> None:
        """The newest ReplicaSet has the highest revision and the Deployment's annotations, and the Deployment says which."""
        new = self.new
        if new is None:
            return
        notes = revisions.noted(self.deployment, new, revisions.next_revision(self.old))
        spec = {**new["spec"], "minReadySeconds": self.deployment["spec"].get("minReadySeconds", 0)}
        if not spec["minReadySeconds"]:
            del spec["minReadySeconds"]
        if notes != revisions.annotations_of(new) or spec != new["spec"]:
            self._update(new, notes, spec)
        self._note_revision(notes.get(revisions.REVISION, ""), "FoundNewReplicaSet", f'Found new replica set "{name_of(new)}"')

    def _note_revision(self, revision: str, reason: str, text: str, *, always: bool = False) -> None:
        status: JsonObject = self.deployment.get("status") or {}
        if statuses.has_deadline(self.deployment) and (always or not statuses.condition_of(status, "Progressing")):
            status = statuses.with_condition(status, "Progressing", "True", reason, text, self._now())
        annotations = revisions.annotations_of(self.deployment) | {revisions.REVISION: revision}
        self._put({**self.deployment, "metadata": {**metadata_of(self.deployment), "annotations": annotations}}, status)

    def make_new(self) -> JsonObject:
        """Raises what the storage raises when it does not take the ReplicaSet.

        Somebody else's may have the name: that is counted, and the next look takes another name.
        """
        collisions = rules.status_count(self.deployment, "collisionCount")
        hash_value = rules.template_hash(self.deployment["spec"]["template"], collisions)
        replicas = rules.next_size_of_new(self.deployment, None, sum(rules.wanted(one) for one in self.old))
        body = rules.replica_set_of(self.deployment, hash_value, replicas)
        revision = revisions.next_revision(self.old)
        body["metadata"]["annotations"] = revisions.noted(self.deployment, body, revision) | self._size_notes()
        body["metadata"]["ownerReferences"] = [owner_reference(DEPLOYMENTS, self.deployment)]
        try:
            made = self._storage.create(REPLICA_SETS, body)
        except AlreadyExists:
            self._put(self.deployment, {**(self.deployment.get("status") or {}), "collisionCount": collisions + 1})
            raise Conflict.of(REPLICA_SETS, name_of(body), "its name is taken") from None
        except ApiError as error:
            self._tell_failure(name_of(body), error)
            raise
        self._new_name = name_of(made)
        self._owned[self._new_name] = made
        text = f'Created new replica set "{name_of(made)}"'
        self._note_revision(str(revision), "NewReplicaSetCreated", text, always=True)
        return made

    def _tell_failure(self, name: str, error: ApiError) -> None:
        if isinstance(error, Forbidden) or not statuses.has_deadline(self.deployment):
            return  # A namespace that is going takes nothing new, and that is nobody's failure.
        status: JsonObject = self.deployment.get("status") or {}
        text = f'Failed to create new replica set "{name}": {error}'
        self._put(
            self.deployment,
            statuses.with_condition(status, "Progressing", "False", "ReplicaSetCreateError", text, self._now()),
        )

    def forget_history(self) -> None:
        """Delete the oldest revisions beyond the limit; one that still has pods counts, but is kept."""
        limit = self.deployment["spec"].get("revisionHistoryLimit", NO_LIMIT)
        alive = [one for one in self.old if not metadata_of(one).get("deletionTimestamp")]
        alive.sort(key=lambda one: revisions.revision_of(one) or 0)
        for one in alive[: max(len(alive) - limit, 0)]:
            observed = rules.status_count(one, "observedGeneration") >= metadata_of(one)["generation"]
            if observed and not rules.wanted(one) and not rules.status_count(one, "replicas"):
                self._storage.discard(REPLICA_SETS, namespace_of(one), name_of(one))

    # --- sizes ---------------------------------------------------------------------------------------------------------

    def scale(self) -> None:
        single = rules.only_one_to_scale(self.new, self.old)
        if single is not None:
            self._resize(single, rules.wanted(self.deployment))
        elif rules.is_saturated(self.deployment, self.new):
            for one in self.old:
                self._resize(one, 0)
        elif not rules.is_recreated(self.deployment):
            serving = rules.active(self.owned)
            sizes = rules.proportional_sizes(self.deployment, serving)
            for one in serving:
                self._resize(one, sizes[name_of(one)], note=True)

    def recreate(self, old_pods_live: bool) -> bool:
        """First all old pods go, then the new ones come. Whether a size changed."""
        serving = rules.active(self.old)
        for one in serving:
            self._resize(one, 0)
        if serving or old_pods_live or any(rules.status_count(one, "replicas") for one in self.old):
            return bool(serving)
        return self._resize(self.new or self.make_new(), rules.wanted(self.deployment))

    def roll_gradually(self) -> bool:
        """One step: the new version up as far as the surge allows, else old ones down. Whether a size changed."""
        new, count = self.new or self.make_new(), rules.wanted(self.deployment)
        total = sum(rules.wanted(one) for one in self.owned)
        size = count if rules.wanted(new) > count else rules.next_size_of_new(self.deployment, new, total)
        if self._resize(new, size):
            return True
        serving = rules.active(self.old)
        sizes = rules.shrunk_sizes(self.deployment, new, serving)
        return sum(self._resize(one, sizes[name_of(one)]) for one in serving) > 0

    def _resize(self, replica_set: JsonObject, replicas: int, *, note: bool = False) -> bool:
        """With `note`, the annotations about sizes are kept current even where the size stays. Whether the size changed."""
        changes = rules.wanted(replica_set) != replicas
        if not changes and not note:
            return False
        notes = revisions.annotations_of(replica_set) | self._size_notes()
        if changes or notes != revisions.annotations_of(replica_set):
            self._update(replica_set, notes, {**replica_set["spec"], "replicas": replicas})
        return changes

    def _size_notes(self) -> dict[str, str]:
        return revisions.size_notes(rules.wanted(self.deployment), rules.limits(self.deployment)[0])

    def _update(self, replica_set: JsonObject, annotations: dict[str, str], spec: JsonObject) -> None:
        changed = {**replica_set, "metadata": {**metadata_of(replica_set), "annotations": annotations}, "spec": spec}
        self._owned[name_of(replica_set)] = self._storage.update(REPLICA_SETS, changed)

    # --- status --------------------------------------------------------------------------------------------------------

    def note_pause(self) -> None:
        status = statuses.pause_status_of(self.deployment, self._now())
        if status is not None:
            self._put(self.deployment, status)

    def write_status(self) -> None:
        self._put(self.deployment, statuses.status_of(self.deployment, self.owned, self.new, self._now()))

    def write_roll_out_status(self) -> bool:
        """Whether there was anything new to say."""
        return self._put(
            self.deployment, statuses.roll_out_status_of(self.deployment, self.owned, self.new, self._now())
        )

    def _put(self, deployment: JsonObject, status: JsonObject) -> bool:
        """Written as a status, annotations and all: the real controller does, and so the generation stays what it is."""
        if status == (self.deployment.get("status") or {}) and deployment["metadata"] == self.deployment["metadata"]:
            return False
        self.deployment = self._storage.update(DEPLOYMENTS, {**deployment, "status": status}, subresource="status")
        return True

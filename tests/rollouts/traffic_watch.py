"""The invariants about traffic, looked at after every change of the cluster: weights add up, and what has weight has pods."""

from __future__ import annotations

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import REPLICA_SETS, SERVICES
from adapters.embedded.storage import Storage
from tests.invariants import Journal, Violation

HASH = "pod-template-hash"
ROLLOUT = "headgate.dev/rollout"


class TrafficWatch:
    """Collects violations; a listener of the storage must not raise into whoever writes."""

    def __init__(self, storage: Storage, journal: Journal) -> None:
        self._storage = storage
        self._journal = journal
        self._splits: dict[tuple[str, str], JsonObject] = {}
        self._pinned: dict[tuple[str, str], JsonObject] = {}
        self.violations: list[str] = []
        self.pods_may_fail = False
        """A story in which pods are broken on purpose."""
        self.for_new_version: set[str] = set()
        """Services of the user's that nobody calls but a route: while there is no new version they may be without pods."""
        self.events = 0
        storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        self.events += 1
        metadata = event.object["metadata"]
        place = (metadata.get("namespace", ""), metadata["name"])
        if event.resource.plural == "trafficsplits" and ROLLOUT in (metadata.get("annotations") or {}):
            if event.type is EventType.DELETED:
                self._splits.pop(place, None)
                return
            self._splits[place] = event.object
            self._check_weights(event.object)
            self._check_pods(event.object)
        elif event.resource.plural == "services":
            self._notice_service(event, place)
        elif event.resource.plural == "replicasets":
            for pinned in self._pinned.values():
                self._check_pinned(pinned)
            for (namespace, _), split in self._splits.items():
                if namespace == place[0]:
                    self._check_pods(split)

    def _notice_service(self, event: StorageEvent, place: tuple[str, str]) -> None:
        """A Service of the user's that is pinned on one version has pods to send to, from the moment of the pin until it is
        taken off."""
        ours = ROLLOUT in (event.object["metadata"].get("annotations") or {})
        pinned = HASH in (event.object["spec"].get("selector") or {})
        # A backend of a split gets what its weight says, which is looked at there.
        splits = [split for (namespace, _), split in self._splits.items() if namespace == place[0]]
        is_backend = any(backend["service"] == place[1] for split in splits for backend in _backends(split))
        is_left_out = is_backend or place[1] in self.for_new_version
        if event.type is EventType.DELETED or ours or is_left_out or not pinned:
            self._pinned.pop(place, None)
            return
        self._pinned[place] = event.object
        self._check_pinned(event.object)

    def _check_pinned(self, service: JsonObject) -> None:
        metadata = service["metadata"]
        if not self.pods_may_fail and self._available(metadata["namespace"], metadata["name"]) == 0:
            self.violations.append(f"Service {metadata['name']} selects {service['spec']['selector']}, and no available pod")

    def _check_weights(self, split: JsonObject) -> None:
        name = split["metadata"]["name"]
        weights = [int(backend["weight"]) for backend in _backends(split)]
        if not weights:
            return  # Somebody emptied it: it splits nothing.
        if sum(weights) not in (100, 1_000, 10_000) or min(weights) < 0:
            self.violations.append(f"TrafficSplit {name}: weights {weights}")
            return
        rollout = (split["metadata"].get("annotations") or {}).get(ROLLOUT, "")
        canary = 10_000 * weights[1] // sum(weights)
        snapshot = self._journal.snapshots.get(rollout)
        most = max((snapshot.weight if snapshot is not None else 0), 0)
        if canary > most:
            self.violations.append(f"TrafficSplit {name}: canary has {canary} bp, ordered were {most}")

    def _check_pods(self, split: JsonObject) -> None:
        if self.pods_may_fail:
            return
        namespace = split["metadata"]["namespace"]
        for backend in _backends(split):
            if int(backend["weight"]) > 0 and self._available(namespace, backend["service"]) == 0:
                self.violations.append(f"{backend['service']} has weight {backend['weight']} and no available pod")

    def _available(self, namespace: str, service: str) -> int:
        found = self._storage.peek(SERVICES, namespace, service)
        hash_value = found["spec"]["selector"][HASH] if found is not None else ""
        replica_sets = self._storage.iterate(REPLICA_SETS, namespace)
        mine = [one for one in replica_sets if one["spec"]["selector"]["matchLabels"].get(HASH) == hash_value]
        return sum(one.get("status", {}).get("availableReplicas", 0) for one in mine)

    def raise_violations(self) -> None:
        if self.violations:
            raise Violation("; ".join(self.violations[:5]))


def _backends(split: JsonObject) -> list[JsonObject]:
    backends: list[JsonObject] = (split.get("spec") or {}).get("backends") or []
    return backends

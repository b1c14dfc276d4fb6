"""An extension like Linkerd's own that turns TrafficSplits into ServiceProfiles, with its habits, the bad ones included.

It replaces `dstOverrides` whole and keeps everything else of a profile; leaves a profile alone that is annotated so, without a
word; empties the overrides of a split that is gone and never removes a profile; and knows one version of TrafficSplit only. A
split whose root was changed leaves the overrides of the former root behind. Source: the behaviour of linkerd-smi's adaptor.
"""

from __future__ import annotations

from adapters.embedded.controllers import Key
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.known_crds import SMI_SPLIT_GROUP
from adapters.embedded.linkerd_definitions import LINKERD_GROUP
from adapters.embedded.resources import Resource
from adapters.embedded.storage import Storage
from engine.clock import Clock

SKIP = "smi.linkerd.io/skip"
WATCHED_VERSION = "v1alpha1"
MANAGER = "smi-adaptor"
_LOOK_SECONDS = 0.02


class LinkerdSmi:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "linkerd-smi"

    def __init__(self, storage: Storage, clock: Clock, domain: str = "cluster.local") -> None:
        self._storage = storage
        self._clock = clock
        self._domain = domain
        self._noticed: dict[Key, float] = {}
        self.runs = True
        """While it does not, everything that changes is noticed, and done when it runs again."""
        self.lag_seconds = 0.0
        """From a change of a split to that of its profile."""

    def keys_for(self, event: StorageEvent) -> list[Key]:
        """The split and its root, as the profile of one that is gone has to be found by the root's name."""
        if event.resource.group != SMI_SPLIT_GROUP:
            return []
        root = (event.object.get("spec") or {}).get("service", "")
        key = (namespace_of(event.object), f"{name_of(event.object)}/{root}")
        self._noticed[key] = self._clock.monotonic()
        return [key]

    def reconcile(self, key: Key) -> float | None:
        if not self.runs:
            return _LOOK_SECONDS
        left = self._noticed.get(key, 0.0) + self.lag_seconds - self._clock.monotonic()
        if left > 0 and self.lag_seconds:
            return left
        splits, profiles = self._find(SMI_SPLIT_GROUP, WATCHED_VERSION), self._find(LINKERD_GROUP, "")
        if splits is None or profiles is None:
            return None
        namespace, (name, root) = key[0], key[1].split("/")
        split = self._storage.find(splits, namespace, name)
        if split is None:
            self._write(profiles, namespace, root, None)
        else:
            spec = split["spec"]
            backends = spec.get("backends") or []
            overrides = [{"authority": self._full(one["service"], namespace), "weight": one["weight"]} for one in backends]
            self._write(profiles, namespace, spec["service"], overrides)
        return None

    def _find(self, group: str, version: str) -> Resource | None:
        registry = self._storage.registry
        found = (one for one in registry if one.group == group and registry.serves(one))
        return next((one for one in found if version in ("", one.version)), None)

    def _write(self, profiles: Resource, namespace: str, root: str, overrides: list[JsonObject] | None) -> None:
        name = self._full(root, namespace)
        found = self._storage.find(profiles, namespace, name)
        if found is None:
            if overrides is not None:
                metadata = {"name": name, "namespace": namespace}
                body = {"apiVersion": profiles.api_version, "kind": profiles.kind, "metadata": metadata}
                self._storage.create(profiles, {**body, "spec": {"dstOverrides": overrides}}, manager=MANAGER)
            return
        if SKIP in (metadata_of(found).get("annotations") or {}):
            return
        spec = {key: value for key, value in (found.get("spec") or {}).items() if key != "dstOverrides"}
        changed = {**found, "spec": {**spec, **({"dstOverrides": overrides} if overrides is not None else {})}}
        self._storage.update(profiles, changed, manager=MANAGER)

    def _full(self, service: str, namespace: str) -> str:
        return f"{service}.{namespace}.svc.{self._domain}"

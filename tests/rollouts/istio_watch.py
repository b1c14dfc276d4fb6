"""The invariants about traffic through Istio's objects, looked at after every change of the cluster.

Requests are followed as proxies follow them: from a destination by its Service's selector and its subset's labels to the pods
that match both. Whatever is sent anywhere meets a pod that is ready, and the new version gets no more than was ordered.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import PODS, SERVICES
from adapters.embedded.storage import Storage
from tests.invariants import Journal, Violation

ROUTE_LISTS = ("http", "tls", "tcp")


class IstioWatch:
    """Collects violations; a listener of the storage must not raise into whoever writes."""

    def __init__(self, storage: Storage, journal: Journal, plurals: Sequence[str], *, rollout: str = "r1.production") -> None:
        self._storage = storage
        self._journal = journal
        self._kinds = {one.kind: one for one in storage.registry.kinds() if one.plural in plurals}
        self.rollout = rollout
        self.ignores: set[str] = set()
        """Hosts that a story is not about."""
        self.violations: list[str] = []
        storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        if self._kinds and event.resource.kind in (*self._kinds, "Pod", "Service"):
            for virtual_service in self._storage.iterate(self._kinds["VirtualService"]):
                for routes in ROUTE_LISTS:
                    for route in virtual_service["spec"].get(routes) or ():
                        when = f"after {event.type} {event.resource.kind}"
                        if str(route.get("name", "")).startswith("headgate/"):
                            self._check_singled_out(when, route)
                        else:
                            self._check(when, route.get("route") or [])
                        if route.get("mirror") and not self._pods(route["mirror"]):
                            self.violations.append(f"{when}: {route['mirror']} gets copies and has no ready pod")

    def _check(self, when: str, destinations: list[JsonObject]) -> None:
        new = total = 0.0
        for one in (one for one in destinations if one["destination"]["host"] not in self.ignores):
            weight = one.get("weight", 100 if len(destinations) == 1 else 0)
            pods = self._pods(one["destination"]) if weight else []
            if weight and not pods:
                self.violations.append(f"{when}: {one} is sent {weight} and has no ready pod")
                return
            total += weight
            images = [pod["spec"]["containers"][0]["image"] for pod in pods]
            new += weight * images.count("web:2") / len(images) if images else 0
        snapshot = self._journal.snapshots.get(self.rollout)
        most = max(snapshot.weight, snapshot.served) / 10_000 if snapshot is not None else 0
        if total and new / total > most + 1e-9:
            self.violations.append(f"{when}: the new version gets {new / total:.2%}, ordered were {most:.2%}: {destinations}")

    def _check_singled_out(self, when: str, route: JsonObject) -> None:
        """Some requests, never all of them, and to the new version alone."""
        (one,) = route["route"]
        images = {pod["spec"]["containers"][0]["image"] for pod in self._pods(one["destination"])}
        if not route.get("match") or images != {"web:2"}:
            self.violations.append(f"{when}: {route} leads to {images or 'no pod'}")

    def _pods(self, destination: JsonObject) -> list[JsonObject]:
        name = destination["host"].partition(".")[0]
        service = self._storage.peek(SERVICES, "shop", name)
        if service is None:
            return []
        wanted = dict(service["spec"]["selector"])
        if destination.get("subset"):
            subset = self._subset(name, destination["subset"])
            if subset is None:
                return []
            wanted |= subset.get("labels") or {}
        pods = (pod for pod in self._storage.iterate(PODS, "shop") if not pod["metadata"].get("deletionTimestamp"))
        return [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items() and is_ready(pod)]

    def _subset(self, host: str, name: str) -> JsonObject | None:
        for rule in self._storage.iterate(self._kinds["DestinationRule"], "shop"):
            if rule["spec"]["host"].partition(".")[0] == host:
                return next((one for one in rule["spec"].get("subsets") or () if one["name"] == name), None)
        return None

    def raise_violations(self, *, unless: bool = False) -> None:
        if self.violations and not unless:
            raise Violation("; ".join(self.violations[:5]))

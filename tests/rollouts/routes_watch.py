"""The invariants about traffic through Ingresses, TraefikServices, routes of the Gateway API and objects by pointers, looked at
after every change of the cluster: requests are followed as the proxies follow them, and every one of them meets a pod that is
ready.

What is told of proxies here is what people have reported of them: ingress-nginx asks a canary Ingress only for an Ingress whose
own Service has pods, and goes on with that Service where the canary's has none; Traefik takes a whole list back of which one
Service has no pods, whatever its weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import INGRESSES, PODS, SERVICES
from adapters.embedded.storage import Storage
from tests.invariants import Journal, Violation

NGINX = "nginx.ingress.kubernetes.io/"
NEW = "web:2"
Parts: TypeAlias = list[tuple[str, float]]
"""What share of the requests each Service gets."""


class RoutesWatch:
    """Collects violations; a listener of the storage must not raise into whoever writes."""

    def __init__(self, storage: Storage, journal: Journal, *, rollout: str = "r1.production") -> None:
        self._storage = storage
        self._journal = journal
        self._rollout = rollout
        self.theirs = {"legacy", "beta"}
        """Services of other people, that a story is not about."""
        self.violations: list[str] = []
        storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        when = f"after {event.type} {event.resource.kind} {event.object['metadata']['name']}"
        for parts in (*self._of_ingresses(), *self._of_traefik(when), *self._of_weighted(), *self._of_gateways()):
            self._check(when, parts)

    def _check(self, when: str, parts: Parts) -> None:
        new = total = 0.0
        for service, part in parts:
            images = self.images(service)
            if part and not images:
                self.violations.append(f"{when}: {service} gets {part:.2%} and has no ready pod: {parts}")
                return
            total += part
            new += part * images.count(NEW) / len(images) if images else 0
        snapshot = self._journal.snapshots.get(self._rollout)
        most = max(snapshot.weight, snapshot.served) / 10_000 if snapshot is not None else 0
        if total and new / total > most + 1e-9:
            self.violations.append(f"{when}: the new version gets {new / total:.2%}, ordered were {most:.2%}: {parts}")

    def _of_ingresses(self) -> Iterator[Parts]:
        ingresses = list(self._storage.iterate(INGRESSES, "shop"))
        annotated = {one["metadata"]["name"]: one["metadata"].get("annotations") or {} for one in ingresses}
        canaries = [one for one in ingresses if annotated[one["metadata"]["name"]].get(f"{NGINX}canary") == "true"]
        for main in (one for one in ingresses if one not in canaries):
            for place, service in _places(main):
                beside = [(one, name) for one in canaries for at, name in _places(one) if at == place]
                share = 0.0
                if beside and self.images(beside[0][1]):
                    said = annotated[beside[0][0]["metadata"]["name"]]
                    share = int(said[f"{NGINX}canary-weight"]) / int(said.get(f"{NGINX}canary-weight-total", 100))
                if service in self.theirs:
                    continue
                if not self.images(service):
                    self.violations.append(f"{service}, which Ingress {main['metadata']['name']} names, has no ready pod: 503")
                else:
                    yield [(service, 1 - share), *([(beside[0][1], share)] if share else [])]

    def _of_traefik(self, when: str) -> Iterator[Parts]:
        for found in self._all("TraefikService"):
            listed = (found["spec"].get("weighted") or {}).get("services") or []
            entries = [one for one in listed if one["name"] not in self.theirs]
            empty = [one["name"] for one in entries if not self.images(one["name"])]
            if empty:
                self.violations.append(f"{when}: {empty} have no ready pods, so Traefik takes the list back: 404")
            else:
                yield [(one["name"], float(one.get("weight", 1))) for one in entries]

    def _of_weighted(self) -> Iterator[Parts]:
        for found in self._all("WeightedRoute"):
            entries = found["spec"]["backends"]
            yield [(one["service"], float(one["weight"])) for one in entries if one["service"] not in self.theirs]

    def _of_gateways(self) -> Iterator[Parts]:
        """Every rule by itself, but for those that single requests out for the new version."""
        for found in (*self._all("HTTPRoute"), *self._all("GRPCRoute")):
            for rule in found["spec"]["rules"]:
                backends = rule.get("backendRefs") or []
                if [one["name"] for one in backends] != ["web-canary"]:
                    yield [(one["name"], float(one["weight"])) for one in backends if one["name"] not in self.theirs]

    def _all(self, kind: str) -> Iterator[JsonObject]:
        for resource in self._storage.registry.kinds():
            if resource.kind == kind:
                yield from self._storage.iterate(resource, "shop")

    def images(self, service: str) -> list[str]:
        """Of the ready pods of a Service."""
        found = self._storage.peek(SERVICES, "shop", service)
        wanted = (found["spec"].get("selector") or {}) if found is not None else None
        pods = (pod for pod in self._storage.iterate(PODS, "shop") if not pod["metadata"].get("deletionTimestamp"))
        ready = [pod for pod in pods if wanted and wanted.items() <= pod["metadata"]["labels"].items() and is_ready(pod)]
        return [pod["spec"]["containers"][0]["image"] for pod in ready]

    def raise_violations(self, *, unless: bool = False) -> None:
        if self.violations and not unless:
            raise Violation("; ".join(self.violations[:5]))


def _places(ingress: JsonObject) -> Iterator[tuple[tuple[str, str], str]]:
    spec = ingress["spec"]
    if "defaultBackend" in spec:
        yield ("", ""), spec["defaultBackend"]["service"]["name"]
    for rule in spec.get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield (rule.get("host", ""), path["path"]), path["backend"]["service"]["name"]

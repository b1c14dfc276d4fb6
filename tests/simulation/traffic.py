"""Where the requests of the application's clients go, read from the cluster's objects as proxies read them, and what must be true
of it after every change.

It shares no code with the routers. What is told of proxies is what people have reported of them: ingress-nginx asks a canary
Ingress only for an Ingress whose own Service has pods; Traefik takes a whole list back of which one Service has no pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import SERVICES
from tests.simulation.cluster import NAMESPACE, Routing, SimulatedCluster, image_of

NGINX = "nginx.ingress.kubernetes.io/"
_NEVER: Mapping[str, str] = {"no": "pod"}


@dataclass(frozen=True, slots=True)
class Share:
    part: float
    """Of all requests, 0..1."""
    selector: Mapping[str, str]
    name: str


class Unroutable(Exception):
    """The proxies have nowhere to send requests to."""


def shares_of(cluster: SimulatedCluster) -> list[Share]:
    """Raises `Unroutable`."""
    match cluster.routing:
        case Routing.SMI:
            return _of_split(cluster)
        case Routing.ISTIO:
            return _of_istio(cluster)
        case Routing.INGRESS:
            return _of_ingress(cluster)
        case Routing.TRAEFIK:
            return _of_list(cluster, "TraefikService", lambda spec: spec["weighted"]["services"], "name")
        case Routing.CUSTOM:
            return _of_list(cluster, "WeightedRoute", lambda spec: spec["backends"], "service")
        case Routing.POD_RATIO | Routing.SWITCH:
            return [Share(1.0, _selector(cluster, "web"), "web")]


def _selector(cluster: SimulatedCluster, service: str) -> Mapping[str, str]:
    found = cluster.storage.peek(SERVICES, NAMESPACE, service)
    return dict(found["spec"].get("selector") or _NEVER) if found is not None else _NEVER


def _divided(parts: list[tuple[float, Mapping[str, str], str]]) -> list[Share]:
    total = sum(weight for weight, _, _ in parts)
    if total <= 0:
        raise Unroutable(f"all weights are 0: {parts}")
    return [Share(weight / total, selector, name) for weight, selector, name in parts if weight]


def _find(cluster: SimulatedCluster, kind: str, name: str) -> JsonObject | None:
    return cluster.storage.peek(cluster.kind(kind), NAMESPACE, name)


def _of_split(cluster: SimulatedCluster) -> list[Share]:
    split = _find(cluster, "TrafficSplit", "web")
    backends = (split["spec"].get("backends") or []) if split is not None else []
    if not backends:
        return [Share(1.0, _selector(cluster, "web"), "web")]
    return _divided([(float(one["weight"]), _selector(cluster, one["service"]), one["service"]) for one in backends])


def _of_istio(cluster: SimulatedCluster) -> list[Share]:
    found, rule = _find(cluster, "VirtualService", "web"), _find(cluster, "DestinationRule", "web")
    if found is None:
        return [Share(1.0, _selector(cluster, "web"), "web")]
    subsets = {one["name"]: one.get("labels") or {} for one in (rule["spec"].get("subsets") or [])} if rule is not None else {}
    (route,) = [one for one in found["spec"]["http"] if not one.get("match")]
    parts: list[tuple[float, Mapping[str, str], str]] = []
    for one in route["route"]:
        subset = one["destination"].get("subset", "")
        if subset and subset not in subsets:
            raise Unroutable(f"the subset {subset} is nowhere defined")
        selector = {**_selector(cluster, one["destination"]["host"]), **subsets.get(subset, {})}
        parts.append((float(one.get("weight", 100 if len(route["route"]) == 1 else 0)), selector, subset))
    return _divided(parts)


def _of_ingress(cluster: SimulatedCluster) -> list[Share]:
    main, canary = _find(cluster, "Ingress", "web"), _find(cluster, "Ingress", "web-canary")
    if main is None:
        raise Unroutable("somebody has removed the Ingress")
    stable = _ingress_service(main)
    said = (canary["metadata"].get("annotations") or {}) if canary is not None else {}
    if canary is None or said.get(f"{NGINX}canary") != "true":
        return [Share(1.0, _selector(cluster, stable), stable)]
    new = _ingress_service(canary)
    weight = float(said.get(f"{NGINX}canary-weight", 0)) / float(said.get(f"{NGINX}canary-weight-total", 100))
    if not cluster.ready_pods(_selector(cluster, new)):
        weight = 0.0
    return _divided([(1 - weight, _selector(cluster, stable), stable), (weight, _selector(cluster, new), new)])


def _ingress_service(ingress: JsonObject) -> str:
    return str(ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"])


def _of_list(
    cluster: SimulatedCluster, kind: str, entries_of: Callable[[JsonObject], list[JsonObject]], names: str
) -> list[Share]:
    found = _find(cluster, kind, "web")
    if found is None:
        raise Unroutable(f"somebody has removed the {kind}")
    entries = [one for one in entries_of(found["spec"]) if one[names] != "nobody"]
    if kind == "TraefikService":
        empty = [one["name"] for one in entries if not cluster.ready_pods(_selector(cluster, one["name"]))]
        if empty:
            raise Unroutable(f"{empty} have no ready pod, so Traefik takes the whole list back")
    return _divided([(float(one.get("weight", 1)), _selector(cluster, one[names]), one[names]) for one in entries])


class TrafficOracle:
    """Looks after every change of the cluster. Listeners must not raise into whoever writes, so it collects what is wrong."""

    def __init__(self, cluster: SimulatedCluster, allowed: Callable[[str], float]) -> None:
        """`allowed`: the greatest share that a version (by image) may have at the moment."""
        self._cluster = cluster
        self._allowed = allowed
        self._last: dict[str, float] = {}
        self.pods_may_fail = False
        """There is trouble with pods, or somebody meddles: then nobody can promise that each request is served."""
        self.violations: list[str] = []
        self.changes = 0
        self._relevant = {"pods", "services", *(one.plural for one in cluster.kinds)} - {"deployments"}
        cluster.storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        self.changes += 1
        if event.resource.plural in self._relevant:
            self.look(f"after {event.type} {event.resource.kind} {event.object['metadata']['name']}")

    def look(self, when: str) -> None:
        try:
            shares = shares_of(self._cluster)
        except Unroutable as error:
            self._complain(f"{when}: {error}")
            return
        served: dict[str, float] = {}
        for share in shares:
            images = [image_of(pod) for pod in self._cluster.ready_pods(share.selector)]
            if not images:
                self._complain(f"{when}: {share.name} gets {share.part:.2%} and has no ready pod")
                return
            for image in images:
                served[image] = served.get(image, 0.0) + share.part / len(images)
        for image, part in served.items():
            most = self._allowed(image)
            # A share that has been allowed may stay until the next write of ours, whatever else happens.
            if part > max(most, self._last.get(image, 0.0)) + 1e-6 and not self.pods_may_fail:
                self.violations.append(f"{when}: {image} gets {part:.2%}, allowed are {most:.2%}: {shares}")
        self._last = served

    def _complain(self, text: str) -> None:
        if not self.pods_may_fail:
            self.violations.append(text)

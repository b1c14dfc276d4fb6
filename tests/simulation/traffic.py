"""Where the requests of the application's clients go, read from the cluster's objects as proxies read them, and what must be true
of it after every change.

It shares no code with the routers. What is told of proxies is what people have reported of them: ingress-nginx asks a canary
Ingress only for an Ingress whose own Service has pods; Traefik takes a whole list back of which one Service has no pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import PODS, SERVICES
from tests.simulation.cluster import NAMESPACE, Routing, SimulatedCluster, image_of

NGINX = "nginx.ingress.kubernetes.io/"
SOMEBODY = 1e-9
"""The part of those who are singled out by a header: it counts as requests, and not as weight."""
_NEVER: Mapping[str, str] = {"no": "pod"}


@dataclass(frozen=True, slots=True)
class Share:
    part: float
    """Of all requests, 0..1."""
    selector: Mapping[str, str]
    name: str


class Unroutable(Exception):
    """The proxies have nowhere to send requests to."""


def shares_of(cluster: SimulatedCluster) -> list[list[Share]]:
    """For each place where requests come in. Raises `Unroutable`."""
    match cluster.routing:
        case Routing.SMI:
            return [_of_split(cluster)]
        case Routing.LINKERD:
            return [_of_profile(cluster)]
        case Routing.ISTIO:
            return [_of_istio(cluster, name) for name in ("web", "web-gateway")]
        case Routing.INGRESS:
            return [_of_ingress(cluster)]
        case Routing.TRAEFIK:
            return [_of_list(cluster, "TraefikService", lambda spec: spec["weighted"]["services"], "name")]
        case Routing.CUSTOM:
            return [_of_list(cluster, "WeightedRoute", lambda spec: spec["backends"], "service")]
        case Routing.GATEWAY:
            return [_of_http_route(cluster)]
        case Routing.POD_RATIO | Routing.SWITCH | Routing.PREVIEW:
            return [[Share(1.0, _selector(cluster, "web"), "web")]]


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


def _of_profile(cluster: SimulatedCluster) -> list[Share]:
    """Linkerd's proxies know nothing of splits, only what its extension makes of them."""
    found = _find(cluster, "ServiceProfile", "web.shop.svc.cluster.local")
    overrides = (found["spec"].get("dstOverrides") or []) if found is not None else []
    if not overrides:
        return [Share(1.0, _selector(cluster, "web"), "web")]
    named = [(one["authority"].partition(".")[0], float(one["weight"])) for one in overrides]
    return _divided([(weight, _selector(cluster, name), name) for name, weight in named])


def _of_istio(cluster: SimulatedCluster, name: str) -> list[Share]:
    found, rule = _find(cluster, "VirtualService", name), _find(cluster, "DestinationRule", "web")
    if found is None:
        return [Share(1.0, _selector(cluster, "web"), "web")]
    subsets = {one["name"]: one.get("labels") or {} for one in (rule["spec"].get("subsets") or [])} if rule is not None else {}
    (route,) = [one for one in found["spec"]["http"] if not one.get("match")]
    singled = [one["route"][0]["destination"] for one in found["spec"]["http"] if one.get("match")]

    def selector_of(destination: JsonObject) -> Mapping[str, str]:
        subset = destination.get("subset", "")
        if subset and subset not in subsets:
            raise Unroutable(f"the subset {subset} is nowhere defined")
        return {**_selector(cluster, destination["host"]), **subsets.get(subset, {})}

    alone = 100 if len(route["route"]) == 1 else 0
    parts = [
        (float(one.get("weight", alone)), selector_of(one["destination"]), one["destination"].get("subset", ""))
        for one in route["route"]
    ]
    return [*_divided(parts), *(Share(SOMEBODY, selector_of(one), one.get("subset", "")) for one in singled)]


def _of_http_route(cluster: SimulatedCluster) -> list[Share]:
    found = _find(cluster, "HTTPRoute", "web")
    if found is None:
        raise Unroutable("somebody has removed the HTTPRoute")
    rules = found["spec"]["rules"]
    singled = [rule for rule in rules if any(match.get("headers") for match in rule.get("matches") or ())]
    (everybody,) = [rule for rule in rules if rule not in singled]
    parts = [(float(one.get("weight", 1)), _selector(cluster, one["name"]), one["name"]) for one in everybody["backendRefs"]]
    names = [rule["backendRefs"][0]["name"] for rule in singled]
    return [*_divided(parts), *(Share(SOMEBODY, _selector(cluster, name), name) for name in names)]


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
    has_pods = bool(cluster.ready_pods(_selector(cluster, new)))
    weight *= has_pods
    shares = _divided([(1 - weight, _selector(cluster, stable), stable), (weight, _selector(cluster, new), new)])
    singled = f"{NGINX}canary-by-header" in said and has_pods
    return [*shares, Share(SOMEBODY, _selector(cluster, new), new)] if singled else shares


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


def _served_by(shares: list[tuple[Share, list[str]]]) -> dict[str, float]:
    """What each version gets, by the images of the pods that each share is spread over."""
    served: dict[str, float] = {}
    for share, images in shares:
        for image in images:
            served[image] = served.get(image, 0.0) + share.part / len(images)
    return served


class TrafficOracle:
    """Looks after every change of the cluster. Listeners must not raise into whoever writes, so it collects what is wrong."""

    def __init__(
        self, cluster: SimulatedCluster, allowed: Callable[[str], float], *, settle_seconds: float, lag_seconds: float
    ) -> None:
        """`allowed`: the greatest share that a version (by image) may have at the moment. `settle_seconds`: how long the pods of
        a version outlive its last request. `lag_seconds`: how old what a daemon knows of pods may be; infinite where watches
        lag."""
        self._cluster = cluster
        self._allowed = allowed
        self._settle = settle_seconds
        self._lag = lag_seconds
        self._last: dict[str, float] = {}
        self._served_until: dict[str, float] = {}
        """When a version had its last request, of those that have none now."""
        self._ready: set[str] = set()
        """The versions that had a ready pod when they were last looked at."""
        self._ready_until: dict[str, float] = {}
        self.pods_may_fail = False
        """There is trouble with pods, or somebody meddles: then nobody can promise that each request is served."""
        self.counts_pods = True
        """Nobody but the rollouts changes the number of pods, for better or for worse."""
        self.violations: list[str] = []
        self.changes = 0
        self._of_routes = {one.plural for one in cluster.kinds} - {"deployments", "services"}
        cluster.storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        self.changes += 1
        plural, when = event.resource.plural, f"after {event.type} {event.resource.kind} {event.object['metadata']['name']}"
        if plural in self._of_routes or plural in ("pods", "services"):
            self.look(when, routed=plural in self._of_routes)
        elif plural == "replicasets":
            self._look_at_size(when, event)

    def look(self, when: str, *, routed: bool = False) -> None:
        """`routed`: the weights have changed, and not only pods."""
        now, last = anyio.current_time(), self._last
        self._note_ready(now)
        try:
            places = shares_of(self._cluster)
        except Unroutable as error:
            self._complain(f"{when}: {error}")
            return
        drawn = [[(share, self._images_of(share)) for share in shares] for shares in places]
        nobody = next((share for shares in drawn for share, images in shares if not images), None)
        if nobody is not None:
            self._complain_of_nobody(nobody, when, now, routed=routed)
            return
        served: dict[str, float] = {}
        for here in map(_served_by, drawn):
            served |= {image: max(part, served.get(image, 0.0)) for image, part in here.items()}
        for image, part in served.items():
            most = self._allowed(image)
            # A share that has been allowed may stay until the next write of ours, whatever else happens.
            if part > max(most, last.get(image, 0.0)) + 1e-6 and not self.pods_may_fail:
                self.violations.append(f"{when}: {image} gets {part:.2%}, allowed are {most:.2%}: {places}")
        if self._cluster.routing is Routing.POD_RATIO and self.counts_pods:
            self._look_at_number(when)
        self._served_until |= dict.fromkeys(last.keys() - served.keys(), now)
        self._last = served

    def _images_of(self, share: Share) -> list[str]:
        return [image_of(pod) for pod in self._cluster.ready_pods(share.selector)]

    def _complain_of_nobody(self, share: Share, when: str, now: float, *, routed: bool) -> None:
        self._complain(f"{when}: {share.name} gets {share.part:.2%} and has no ready pod")
        if routed and self._is_raised_for_nobody(share, now):
            self.violations.append(f"{when}: {share.name} is given {share.part:.2%}, and its pods are long gone")

    def _note_ready(self, now: float) -> None:
        """A version whose last pod is not ready any more was so until now, however long nothing has happened before."""
        ready = {image_of(pod) for pod in self._cluster.ready_pods({"app": "web"})}
        self._ready_until |= dict.fromkeys(self._ready | ready, now)
        self._ready = ready

    def _look_at_number(self, when: str) -> None:
        """Where pods are the weight, those that come are there before those that go."""
        ready = len(self._cluster.ready_pods({"app": "web"}))
        if ready < self._cluster.replicas:
            self.violations.append(f"{when}: {ready} pods are ready, of {self._cluster.replicas}")

    def _is_raised_for_nobody(self, share: Share, now: float) -> bool:
        """A weight for pods that were there when a daemon last could see them is nobody's fault; one for others is ours. The
        version that was found gets what it had, with pods or without."""
        pods = self._cluster.storage.iterate(PODS, NAMESPACE)
        images = {image_of(pod) for pod in pods if share.selector.items() <= pod["metadata"]["labels"].items()}
        ready = max((self._ready_until.get(image, 0.0) for image in images), default=0.0)
        return bool(images) and not any(self._allowed(image) == 1.0 for image in images) and now - ready > self._lag

    def _look_at_size(self, when: str, event: StorageEvent) -> None:
        """Pods of a version go only when it has had no requests for the settle time. Where pods are the weight, none is."""
        before = event.previous["spec"]["replicas"] if event.previous is not None else 0
        after = event.object["spec"]["replicas"] if event.type is not EventType.DELETED else 0
        if after >= before or self.pods_may_fail or self._cluster.routing is Routing.POD_RATIO:
            return
        image = image_of(event.object["spec"]["template"])
        idle = 0.0 if self._last.get(image) else anyio.current_time() - self._served_until.get(image, float("-inf"))
        if idle < self._settle - 1e-6:
            self.violations.append(f"{when}: pods of {image} go {idle:.3f} s after its last request, not {self._settle:g} s")

    def _complain(self, text: str) -> None:
        if not self.pods_may_fail:
            self.violations.append(text)

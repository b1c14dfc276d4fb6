"""What the objects of a cluster mean for requests, as routes and endpoints of a proxy. Pure.

This is the judge of these tests: it is written from what Kubernetes, SMI and Istio say of their objects, and knows nothing of
how Headgate reads or writes them. A destination that does not exist is a cluster without endpoints: a request that is sent there
fails, as it does in a mesh.

Each answer is to say which split it was drawn from, in the header `x-route`: `web-stable=75,web-canary=25`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from adapters.dataplane.envoy_configuration import Endpoint
from adapters.embedded.json_objects import JsonObject, labels_of

ROUTE_HEADER = "x-route"
SERVICE_LABEL = "kubernetes.io/service-name"
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class World:
    services: Mapping[Key, JsonObject]
    slices: Mapping[Key, JsonObject]
    pods: Mapping[Key, JsonObject]
    splits: Mapping[Key, JsonObject] = field(default_factory=dict)
    virtual_services: Mapping[Key, JsonObject] = field(default_factory=dict)
    rules: Mapping[Key, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Host:
    """What a Host header of this name leads to: Envoy's routes, the first that matches counts."""

    name: str
    routes: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class Door:
    """A Service's own address, where connections are spread over its endpoints."""

    address: Endpoint
    cluster: str


@dataclass(frozen=True, slots=True)
class Table:
    clusters: Mapping[str, tuple[Endpoint, ...]]
    hosts: tuple[Host, ...]
    doors: tuple[Door, ...]


def translate(world: World) -> Table:
    clusters: dict[str, tuple[Endpoint, ...]] = {}
    hosts, doors = [], []
    splits = {(space, _short(one["spec"]["service"])): one for (space, _), one in world.splits.items()}
    meshed = {
        (space, _short(host)): one for (space, _), one in world.virtual_services.items() for host in one["spec"]["hosts"]
    }
    for (space, name), service in world.services.items():
        clusters[cluster_name(space, name)] = endpoints(world, space, name)
        doors += [
            Door((service["spec"]["clusterIP"], port["port"]), cluster_name(space, name))
            for port in service["spec"].get("ports") or ()
            if service["spec"].get("clusterIP") not in (None, "", "None")
        ]
        if (space, name) in meshed:
            routes = list(_istio_routes(world, space, meshed[(space, name)]))
        elif (space, name) in splits:
            routes = [_split_route(space, splits[(space, name)])]
        else:
            routes = [_route({"prefix": "/"}, {cluster_name(space, name): (name, 1)})]
        hosts.append(Host(f"{name}.{space}", tuple(routes)))
    for host in hosts:
        for route in host.routes:
            for named in _clusters_of(route):
                clusters.setdefault(named, _named_endpoints(world, named))
    return Table(clusters, tuple(hosts), tuple(doors))


def cluster_name(namespace: str, service: str, subset: str = "") -> str:
    return f"{service}--{subset}.{namespace}" if subset else f"{service}.{namespace}"


def endpoints(world: World, namespace: str, service: str, labels: Mapping[str, str] | None = None) -> tuple[Endpoint, ...]:
    """Those that are ready, and whose pod has the labels."""
    found: set[Endpoint] = set()
    for (space, _), one in world.slices.items():
        if space != namespace or labels_of(one).get(SERVICE_LABEL) != service:
            continue
        for port in one.get("ports") or ():
            found |= {
                (address, port["port"])
                for endpoint in one.get("endpoints") or ()
                if endpoint.get("conditions", {}).get("ready", True) and _fits(world, space, endpoint, labels or {})
                for address in endpoint["addresses"]
            }
    return tuple(sorted(found))


def _fits(world: World, namespace: str, endpoint: JsonObject, labels: Mapping[str, str]) -> bool:
    if not labels:
        return True
    pod = world.pods.get((namespace, (endpoint.get("targetRef") or {}).get("name", "")))
    return pod is not None and labels.items() <= labels_of(pod).items()


def _named_endpoints(world: World, cluster: str) -> tuple[Endpoint, ...]:
    service, _, namespace = cluster.partition(".")
    service, _, subset = service.partition("--")
    if not subset:
        return endpoints(world, namespace, service)
    rules = (one for (space, _), one in world.rules.items() if space == namespace and _short(one["spec"]["host"]) == service)
    subsets = [one for rule in rules for one in rule["spec"].get("subsets") or () if one["name"] == subset]
    return endpoints(world, namespace, service, subsets[0].get("labels") or {}) if subsets else ()


def _short(host: str) -> str:
    return host.partition(".")[0]


# --- SMI ---------------------------------------------------------------------------------------------------------------


def _split_route(namespace: str, split: JsonObject) -> JsonObject:
    backends = split["spec"].get("backends") or ()
    weights = {cluster_name(namespace, _short(one["service"])): (one["service"], int(one["weight"])) for one in backends}
    return _route({"prefix": "/"}, weights)


# --- Istio -------------------------------------------------------------------------------------------------------------


def _istio_routes(world: World, namespace: str, service: JsonObject) -> Iterator[JsonObject]:
    for http in service["spec"].get("http") or ():
        for match in [_istio_match(one) for one in http.get("match") or ()] or [{"prefix": "/"}]:
            yield _istio_route(namespace, http, match)


def _istio_route(namespace: str, http: JsonObject, match: JsonObject) -> JsonObject:
    destinations = http["route"]
    weights, additions = {}, {}
    for one in destinations:
        target = one["destination"]
        subset = target.get("subset", "")
        cluster = cluster_name(namespace, _short(target["host"]), subset)
        weight = one.get("weight", 1 if len(destinations) == 1 else 0)
        weights[cluster] = (subset or _short(target["host"]), int(weight))
        if added := _added_headers(one):
            additions[cluster] = added
    route = _route(match, weights, additions)
    route["response_headers_to_add"] += _added_headers(http)
    copies = [*(http.get("mirrors") or ()), *([http["mirror"]] if "mirror" in http else [])]
    if copies:
        route["route"]["request_mirror_policies"] = [_mirror(namespace, http, one) for one in copies]
    if "timeout" in http:
        route["route"]["timeout"] = http["timeout"]
    return route


def _added_headers(one: JsonObject) -> list[JsonObject]:
    added = ((one.get("headers") or {}).get("response") or {}).get("add") or {}
    return [{"header": {"key": name, "value": value.replace("%", "%%")}} for name, value in added.items()]


def _mirror(namespace: str, http: JsonObject, mirror: JsonObject) -> JsonObject:
    target = mirror.get("destination", mirror)
    percentage = (mirror.get("percentage") or http.get("mirrorPercentage") or {"value": 100.0})["value"]
    fraction = {"numerator": round(percentage * 10_000), "denominator": "MILLION"}
    cluster = cluster_name(namespace, _short(target["host"]), target.get("subset", ""))
    return {"cluster": cluster, "runtime_fraction": {"default_value": fraction}}


def _istio_match(match: JsonObject) -> JsonObject:
    """All parts of one entry have to fit."""
    found: JsonObject = {"prefix": "/"}
    if uri := match.get("uri"):
        (kind, value), *_ = uri.items()
        regex = {"safe_regex": {"regex": value}}
        found = {"exact": {"path": value}, "prefix": {"prefix": value}, "regex": regex}[kind]
    headers = [_header_match(name, text) for name, text in (match.get("headers") or {}).items()]
    headers += [
        {**_header_match(name, text), "invert_match": True} for name, text in (match.get("withoutHeaders") or {}).items()
    ]
    if method := match.get("method"):
        headers.append(_header_match(":method", method))
    return {**found, "headers": headers} if headers else found


def _header_match(name: str, text: JsonObject) -> JsonObject:
    if not text:
        return {"name": name, "present_match": True}
    (kind, value), *_ = text.items()
    told = {"exact": {"exact": value}, "prefix": {"prefix": value}, "regex": {"safe_regex": {"regex": value}}}[kind]
    return {"name": name, "string_match": told}


# --- Envoy's words -----------------------------------------------------------------------------------------------------


def _route(
    match: JsonObject, weights: Mapping[str, tuple[str, int]], additions: Mapping[str, list[JsonObject]] | None = None
) -> JsonObject:
    """Drawn by weight; the header tells of which share. With no weight at all there is nowhere to go."""
    told = ",".join(f"{name}={weight}" for name, weight in weights.values())
    header = {"header": {"key": ROUTE_HEADER, "value": told}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    route: JsonObject = {"match": match, "response_headers_to_add": [header]}
    if not sum(weight for _, weight in weights.values()):
        return {**route, "direct_response": {"status": 503, "body": {"inline_string": "no destination has a weight"}}}
    clusters = [
        {"name": name, "weight": weight, "response_headers_to_add": (additions or {}).get(name, [])}
        for name, (_, weight) in weights.items()
    ]
    return {**route, "route": {"weighted_clusters": {"clusters": clusters}}}


def _clusters_of(route: JsonObject) -> Iterator[str]:
    action = route.get("route") or {}
    yield from (one["name"] for one in (action.get("weighted_clusters") or {}).get("clusters", ()))
    yield from (one["cluster"] for one in action.get("request_mirror_policies", ()))


def share_of(told: str, name: str) -> float | None:
    """What a header says that this destination gets, 0 to 1; None where it says nothing of it."""
    weights = {part: int(weight) for part, weight in re.findall(r"([^=,]+)=(\d+)", told)}
    total = sum(weights.values())
    return weights[name] / total if total and name in weights else None

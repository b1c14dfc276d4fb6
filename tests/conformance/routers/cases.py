"""The routers, one case each: what the deploy file says, what its user has, how requests are read, and what others do to it.

A router that is not in this table is not finished: `test_table` asks for one case of every kind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from engine.traffic import RouterKind
from tests.builders import definition, service
from tests.conformance.routers.readings import (
    NGINX,
    Headers,
    Reading,
    by_gateway_route,
    by_ingress,
    by_istio,
    by_profile,
    by_root,
    by_split,
    by_traefik,
    by_weighted_route,
    cookie_of_gateway_route,
    cookie_of_istio,
    cookie_of_traefik,
    mirrored_by_gateway_route,
    mirrored_by_istio,
    not_mirrored,
)
from tests.conformance.routers.view import JsonObject, View
from tests.rollouts.istio_objects import destination, destination_rule, http_route, virtual_service
from tests.rollouts.routed import (
    backend,
    backend_ref,
    entry,
    gateway,
    grpc_route,
    ingress,
    parent,
    path,
    path_match,
    rule,
    traefik_service,
    weighted_route,
)
from tests.rollouts.routed import http_route as gateway_http_route

Change = Callable[[JsonObject], None]


@dataclass(frozen=True, slots=True)
class RouterCase:
    name: str
    kind: RouterKind
    traffic: str
    """The entry of `trafficManagement`, as YAML; empty where there is none."""
    read: Reading
    meddled: tuple[str, str]
    """Kind and name of the object whose weight somebody changes."""
    meddle: Change
    """Gives the new version another share."""
    objects: tuple[JsonObject, ...] = ()
    """The user's, beside the Deployment and the Service `web`."""
    kinds: tuple[str, ...] = ()
    """All kinds of objects, beside Services, in which this router writes."""
    elsewhere: Change = lambda body: None
    """What somebody else does in one of the user's objects, beside labels, that is no business of the rollout."""
    cookie: Callable[[View], str] = lambda view: ""
    mirrored: Callable[[View], Fraction] = not_mirrored
    singled: tuple[Headers, ...] = ()
    """Requests that a header route for `x-user: anna` takes, where the router can make one."""
    blue_green: bool = False
    by_pods: bool = False
    reasserts: bool = True
    """Whether an edit is put back where that is the policy. Pods that somebody has scaled are not."""
    split_versions: tuple[str, ...] = ("v1alpha2", "v1alpha4")
    """Of TrafficSplit, that the cluster serves."""
    traefik_group: str = "traefik.io"
    linkerd: bool = False
    gateways: bool = False
    """Whether the cluster has the Gateway API, and somebody who takes up its routes."""
    sticks_on_real: bool = True
    """Whether the projects' own definitions, in their standard channel, know how clients stay."""
    on_real: bool = True
    finest: int = 1
    """In basis points; coarser than the router's table says where the deploy file makes it so."""

    def __str__(self) -> str:
        return self.name


WEIGHTED_ROUTES: JsonObject = definition("WeightedRoute")
LABEL = "theirs"


def add_label(body: JsonObject) -> None:
    body["metadata"].setdefault("labels", {})[LABEL] = "yes"


# --- what others do ----------------------------------------------------------------------------------------------------


def _swap(weights: list[JsonObject]) -> None:
    """Nobody's order has such weights."""
    for one, weight in zip(weights, (1, 3), strict=True):
        one["weight"] = weight


def _meddle_with_split(body: JsonObject) -> None:
    _swap(body["spec"]["backends"])


def _meddle_with_profile(body: JsonObject) -> None:
    _swap(body["spec"]["dstOverrides"])


def _meddle_with_route(protocol: str, index: int = 0) -> Change:
    def change(body: JsonObject) -> None:
        _swap(body["spec"][protocol][index]["route"][-2:])

    return change


def _meddle_with_canary_ingress(body: JsonObject) -> None:
    body["metadata"]["annotations"][f"{NGINX}-weight"] = "76"
    body["metadata"]["annotations"].pop(f"{NGINX}-weight-total", None)


def _meddle_with_list(body: JsonObject) -> None:
    _swap([one for one in body["spec"]["weighted"]["services"] if one["name"].startswith("web")])


def _meddle_with_backends(body: JsonObject) -> None:
    _swap(body["spec"]["backends"])


def _scale(body: JsonObject) -> None:
    body["spec"]["replicas"] += 2


def _unpin(body: JsonObject) -> None:
    del body["spec"]["selector"]["pod-template-hash"]


def _another_port(body: JsonObject) -> None:
    body["spec"]["ports"].append({"name": "admin", "port": 9090, "targetPort": 9090, "protocol": "TCP"})


def _other_http(body: JsonObject) -> None:
    """A timeout in the edited route, and a route of somebody else's behind it."""
    if body["kind"] == "VirtualService":
        body["spec"]["http"][0]["timeout"] = "7s"
        body["spec"]["http"].append({"name": "theirs", "route": [destination("legacy")]})
    elif body["kind"] == "DestinationRule":
        body["spec"]["subsets"].append({"name": "theirs", "labels": {"track": "theirs"}})


def _other_connections(protocol: str) -> Change:
    def change(body: JsonObject) -> None:
        if body["kind"] == "VirtualService":
            match = {"port": 6379, **({"sniHosts": ["theirs.example.com"]} if protocol == "tls" else {})}
            body["spec"][protocol].append({"match": [match], "route": [destination("legacy")]})

    return change


def _other_paths(body: JsonObject) -> None:
    if body["kind"] == "Ingress":
        body["spec"]["rules"][0]["http"]["paths"].insert(0, path("/old", "legacy"))
        body["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"] = "9"


def _other_annotations(body: JsonObject) -> None:
    body["metadata"].setdefault("annotations", {})["theirs"] = "yes"


def _meddle_with_rule(body: JsonObject) -> None:
    _swap([one for one in body["spec"]["rules"][-1]["backendRefs"] if one["name"] != "legacy"])


def _other_rules(body: JsonObject) -> None:
    """A timeout in the divided rule, where the kind has one, and a rule of somebody else's for another path."""
    if body["kind"] == "HTTPRoute":
        body["spec"]["rules"][-1]["timeouts"] = {"request": "7s"}
        body["spec"]["rules"].insert(0, rule(backend_ref("legacy"), matches=[path_match("/theirs")]))


def _other_host(body: JsonObject) -> None:
    if body["kind"] == "WeightedRoute":
        body["spec"]["host"] = "theirs"


# --- the table ---------------------------------------------------------------------------------------------------------

ANNA: Headers = {"x-user": "anna"}
SMI = "smi: [{rootServiceName: web}]"
BY_SUBSETS = "destinationRule: {name: web, activeSubsetName: active, canarySubsetName: canary}"
SMI_CASES = [
    RouterCase(
        name=f"SMI {version}",
        kind=RouterKind.SMI,
        traffic=SMI,
        read=by_split,
        kinds=("TrafficSplit",),
        meddled=("TrafficSplit", "web"),
        meddle=_meddle_with_split,
        split_versions=(version,),
        # What is called v1alpha1 in the definition that people install takes no quantities.
        on_real=version != "v1alpha1",
    )
    for version in ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")
]
LINKERD = RouterCase(
    name="Linkerd",
    kind=RouterKind.SMI,
    traffic=SMI,
    read=by_profile,
    kinds=("TrafficSplit", "ServiceProfile"),
    meddled=("ServiceProfile", "web.shop.svc.cluster.local"),
    meddle=_meddle_with_profile,
    split_versions=("v1alpha1", "v1alpha2"),
    linkerd=True,
    on_real=False,
)
ISTIO = RouterCase(
    name="Istio, subsets",
    kind=RouterKind.ISTIO,
    traffic=f"istio: [{{virtualService: {{name: web}}, {BY_SUBSETS}}}]",
    objects=(virtual_service(), destination_rule()),
    read=by_istio(),
    kinds=("VirtualService", "DestinationRule"),
    meddled=("VirtualService", "web"),
    meddle=_meddle_with_route("http"),
    elsewhere=_other_http,
    cookie=cookie_of_istio,
    mirrored=mirrored_by_istio,
    singled=(ANNA,),
)
BY_HOSTS = replace(
    ISTIO,
    name="Istio, hosts",
    traffic="istio: [{virtualService: {name: web}, stableServiceName: web, canaryServiceName: web-new}]",
    objects=(service("web-new", app="web"), virtual_service(http_route(destination("web")))),
    kinds=("VirtualService",),
)
BY_NAME = replace(
    ISTIO,
    name="Istio, several routes",
    traffic="istio: ["
    + ", ".join(f"{{virtualService: {{name: web, httpRouteName: {name}}}, {BY_SUBSETS}}}" for name in ("main", "api"))
    + "]",
    objects=(
        virtual_service(
            {**http_route(name="main"), "match": [{"uri": {"prefix": "/"}, "headers": {"x-kind": {"exact": "page"}}}]},
            http_route(destination("elsewhere", weight=40), destination(subset="active", weight=60), name="api"),
            http_route(name="untouched"),
        ),
        destination_rule(),
    ),
    read=lambda view, headers: [
        [way for way in ways if way.service == "web"]
        for ways in by_istio("main", "api")(view, {**headers, "x-kind": "page"})
    ],
)


def _connections(protocol: str, match: JsonObject) -> JsonObject:
    others: JsonObject = {**match, "port": 9999, **({"sniHosts": ["other.example.com"]} if protocol == "tls" else {})}
    target = [destination(subset="active")]
    routes = [{"match": [others], "route": target}, {"match": [match], "route": target}]
    lists: JsonObject = {protocol: routes}
    return virtual_service(**lists)


TLS = replace(
    ISTIO,
    name="Istio, tls",
    traffic=f"istio: [{{virtualService: {{name: web, tlsRoutes: [{{port: 443, sniHosts: [web.example.com]}}]}}, {BY_SUBSETS}}}]",
    objects=(_connections("tls", {"port": 443, "sniHosts": ["web.example.com"]}), destination_rule()),
    read=by_istio(protocol="tls", match=lambda route: route["match"][0]["port"] == 443),
    meddle=_meddle_with_route("tls", 1),
    elsewhere=_other_connections("tls"),
    singled=(),
)
TCP = replace(
    TLS,
    name="Istio, tcp",
    traffic=f"istio: [{{virtualService: {{name: web, tcpRoutes: [{{port: 5432}}]}}, {BY_SUBSETS}}}]",
    objects=(_connections("tcp", {"port": 5432}), destination_rule()),
    read=by_istio(protocol="tcp", match=lambda route: route["match"][0]["port"] == 5432),
    meddle=_meddle_with_route("tcp", 1),
    elsewhere=_other_connections("tcp"),
)
INGRESS_NGINX = RouterCase(
    name="ingress-nginx",
    kind=RouterKind.INGRESS_NGINX,
    traffic="ingressNginx: [{ingressName: web, rootServiceName: web}]",
    objects=(
        ingress(
            path("/legacy", "legacy"),
            path(),
            annotations={"nginx.ingress.kubernetes.io/affinity": "cookie"},
            defaultBackend=backend(),
        ),
    ),
    read=by_ingress,
    kinds=("Ingress",),
    meddled=("Ingress", "web-canary"),
    meddle=_meddle_with_canary_ingress,
    elsewhere=_other_paths,
    singled=(ANNA,),
)
TRAEFIK = RouterCase(
    name="Traefik",
    kind=RouterKind.TRAEFIK,
    traffic="traefik: [{traefikServiceName: web, rootServiceName: web}]",
    objects=(traefik_service(entry("legacy", 1), entry("web", 3)),),
    read=by_traefik,
    kinds=("TraefikService",),
    meddled=("TraefikService", "web"),
    meddle=_meddle_with_list,
    elsewhere=_other_annotations,
    cookie=cookie_of_traefik,
)
OLD_TRAEFIK = replace(
    TRAEFIK,
    name="Traefik, old group",
    objects=(traefik_service(entry("web"), group="traefik.containo.us"),),
    traefik_group="traefik.containo.us",
)
_POINTERS = (
    "apiVersion: sea.example.com/v1, kind: WeightedRoute, name: web, rootServiceName: web, "
    "stableWeight: /spec/backends/0/weight, canaryWeight: /spec/backends/1/weight, "
    "stableService: /spec/backends/0/service, canaryService: /spec/backends/1/service"
)
CUSTOM = RouterCase(
    name="custom, the user's object",
    kind=RouterKind.CUSTOM,
    traffic=f"custom: [{{{_POINTERS}, total: 10000}}]",
    objects=(weighted_route(),),
    read=by_weighted_route,
    kinds=("WeightedRoute",),
    meddled=("WeightedRoute", "web"),
    meddle=_meddle_with_backends,
    elsewhere=_other_host,
)
_TWO_BACKENDS = "[{service: a, weight: 0}, {service: b, weight: 0}]"
TEMPLATE = replace(
    CUSTOM,
    name="custom, from a template",
    traffic=f"custom: [{{{_POINTERS}, template: {{spec: {{backends: {_TWO_BACKENDS}}}}}}}]",
    objects=(),
    finest=100,
)
HTTP_ROUTE = RouterCase(
    name="Gateway API, HTTPRoute",
    kind=RouterKind.GATEWAY_API,
    traffic="gatewayApi: [{httpRoute: {name: web}, rootServiceName: web}]",
    objects=(
        gateway(),
        service("legacy"),
        gateway_http_route(
            rule(backend_ref("legacy"), matches=[path_match("/legacy")]), rule(backend_ref("web", 3), backend_ref("legacy", 1))
        ),
    ),
    read=by_gateway_route("HTTPRoute"),
    kinds=("Gateway", "HTTPRoute"),
    meddled=("HTTPRoute", "web"),
    meddle=_meddle_with_rule,
    elsewhere=_other_rules,
    cookie=cookie_of_gateway_route,
    mirrored=mirrored_by_gateway_route("HTTPRoute"),
    singled=(ANNA,),
    gateways=True,
    sticks_on_real=False,
)
IN_A_MESH = replace(
    HTTP_ROUTE,
    name="Gateway API, HTTPRoute of a Service",
    objects=(service("legacy"), gateway_http_route(parents=[parent("Service", "web", port=80)])),
    kinds=("HTTPRoute",),
)
GRPC_ROUTE = replace(
    HTTP_ROUTE,
    name="Gateway API, GRPCRoute",
    traffic="gatewayApi: [{grpcRoute: {name: web}, rootServiceName: web}]",
    objects=(gateway(), grpc_route()),
    read=by_gateway_route("GRPCRoute"),
    kinds=("Gateway", "GRPCRoute"),
    meddled=("GRPCRoute", "web"),
    mirrored=mirrored_by_gateway_route("GRPCRoute"),
)
MADE_ROUTE = replace(
    IN_A_MESH,
    name="Gateway API, a route that is made",
    traffic="gatewayApi: [{httpRoute: {name: web-rollout, parents: [{kind: Service, name: web}]}, rootServiceName: web}]",
    objects=(),
    read=by_gateway_route("HTTPRoute", "web-rollout"),
    meddled=("HTTPRoute", "web-rollout"),
    mirrored=mirrored_by_gateway_route("HTTPRoute", "web-rollout"),
)
POD_RATIO = RouterCase(
    name="ratio of pods",
    kind=RouterKind.POD_RATIO,
    traffic="",
    read=by_root,
    meddled=("Deployment", "web"),
    meddle=_scale,
    by_pods=True,
    reasserts=False,
    elsewhere=_another_port,
)
BLUE_GREEN = RouterCase(
    name="blue/green Service",
    kind=RouterKind.SERVICE,
    traffic="kubernetes: [{activeService: web, previewService: next}]",
    objects=(service("next", app="web"),),
    read=by_root,
    meddled=("Service", "web"),
    meddle=_unpin,
    blue_green=True,
    elsewhere=_another_port,
)
CASES: Sequence[RouterCase] = (
    *SMI_CASES,
    LINKERD,
    ISTIO,
    BY_HOSTS,
    BY_NAME,
    TLS,
    TCP,
    INGRESS_NGINX,
    TRAEFIK,
    OLD_TRAEFIK,
    CUSTOM,
    TEMPLATE,
    HTTP_ROUTE,
    IN_A_MESH,
    GRPC_ROUTE,
    MADE_ROUTE,
    POD_RATIO,
    BLUE_GREEN,
)


def fresh(body: JsonObject) -> dict[str, Any]:
    """A copy without a namespace, for whichever namespace it comes into."""
    made = copy.deepcopy(body)
    made["metadata"].pop("namespace", None)
    return made

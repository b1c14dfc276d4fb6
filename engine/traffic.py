"""The words of traffic as frozen data: weights, what else a step may ask of a router, and the plans of routes.

It must not know how any router expresses them. A *shape* is what of the traffic is the canary's beside its weight: the requests
that match go to it whatever the weight, and copies of others. It is ordered together with the weight and read back with it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct

FULL_WEIGHT = 10_000
"""All traffic, in basis points: weights are integers 0..10000, so 0.01 % is representable."""


# --- steps that change traffic -----------------------------------------------------------------------------------------


class SetWeight(Struct, frozen=True, tag="setWeight"):
    weight: int
    """The canary's share of traffic in basis points, 0..10000."""


class MatchKind(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    """In the dialect of the router's proxies; all of it has to match."""


class ValueMatch(Struct, frozen=True):
    kind: MatchKind
    value: str


class NamedMatch(Struct, frozen=True):
    """A header or a cookie, by name."""

    name: str
    value: ValueMatch


class RequestMatch(Struct, frozen=True):
    """Requests that fit all of this."""

    method: str = ""
    """An HTTP method, or for gRPC the method's name; empty for any."""
    path: ValueMatch | None = None
    """For gRPC the service's name."""
    headers: tuple[NamedMatch, ...] = ()
    cookies: tuple[NamedMatch, ...] = ()


class SetHeaderRoute(Struct, frozen=True, tag="setHeaderRoute"):
    """From this step on the requests that fit any of `matches` go to the canary; without any, the route of that name ends."""

    name: str
    matches: tuple[RequestMatch, ...] = ()


def describe_header_route(route: SetHeaderRoute) -> str:
    """`beta: header x-user = anna, or path beginning with /v2`, for people."""
    return f"{route.name}: " + (", or ".join(map(describe_match, route.matches)) or "off")


def describe_match(match: RequestMatch) -> str:
    parts = [f"method {match.method}"] if match.method else []
    parts += [f"path {_describe(match.path)}"] if match.path is not None else []
    for kind, named in (("header", match.headers), ("cookie", match.cookies)):
        parts += [f"{kind} {one.name} {_describe(one.value)}" for one in named]
    return " and ".join(parts) or "everything"


def _describe(match: ValueMatch) -> str:
    words = {MatchKind.EXACT: "=", MatchKind.PREFIX: "beginning with", MatchKind.REGEX: "like"}
    return f"{words[match.kind]} {match.value}"


class SetMirror(Struct, frozen=True, tag="setMirror"):
    """From this step on copies of requests go to the canary, whose answers nobody sees."""

    share: int
    """Of all requests, in basis points; 0 ends it."""


TrafficStep: TypeAlias = SetWeight | SetHeaderRoute | SetMirror


class Shape(Struct, frozen=True):
    """What of the traffic is the canary's beside its weight."""

    header_routes: tuple[SetHeaderRoute, ...] = ()
    """In the order in which they were set: the first that fits decides."""
    mirror: int = 0
    """The share of requests that are copied, in basis points."""

    def __bool__(self) -> bool:
        return bool(self.header_routes or self.mirror)


def describe_shape(shape: Shape) -> str:
    """What of the traffic is the canary's beside its weight, for people; empty for nothing."""
    parts = [describe_header_route(one) for one in shape.header_routes]
    parts += [f"copies of {shape.mirror / 100:g} % of requests"] if shape.mirror else []
    return "; ".join(parts)


def write_shape(shape: Shape) -> str:
    """As actions and snapshots carry it; empty for none, so that two are equal if and only if their texts are."""
    return msgspec.json.encode(shape).decode() if shape else ""


def read_shape(text: str) -> Shape:
    return msgspec.json.decode(text, type=Shape) if text else Shape()


# --- routes ------------------------------------------------------------------------------------------------------------


class RouterKind(StrEnum):
    SMI = "smi"
    ISTIO = "istio"
    """A list of destinations in the user's own VirtualService, which is edited and put back."""
    GATEWAY_API = "gatewayApi"
    """An HTTPRoute or GRPCRoute: the user's own, edited and put back, or one that is made for the rollout."""
    INGRESS_NGINX = "ingressNginx"
    """A canary Ingress beside the user's own, which names the old version meanwhile."""
    TRAEFIK = "traefik"
    """The user's own weighted TraefikService, which is edited and put back."""
    CUSTOM = "custom"
    """Any object, by JSON pointers to its weights."""
    POD_RATIO = "podRatio"
    SERVICE = "service"
    """The selector of a Service (blue/green): all traffic or none."""


class IstioProtocol(StrEnum):
    """Which of a VirtualService's three lists of routes; also the name of its field."""

    HTTP = "http"
    TLS = "tls"
    TCP = "tcp"


class IstioRoute(Struct, frozen=True):
    """Where in a VirtualService the weights stand, and what tells the versions apart there."""

    virtual_service: str
    protocol: IstioProtocol = IstioProtocol.HTTP
    http_route: str = ""
    """The name of an http route; empty for the only one."""
    port: int = 0
    """What a tls or tcp route matches; 0 for any."""
    sni_hosts: tuple[str, ...] = ()
    """What a tls route matches."""
    destination_rule: str = ""
    """Empty: the versions are told apart by `RoutePlan.stable_service` and `canary_service`."""
    active_subset: str = ""
    """Empty: the only one."""
    canary_subset: str = ""


class GatewayParent(Struct, frozen=True):
    """What a route is attached to: a Gateway, or a Service of a mesh."""

    kind: str
    """`Gateway` or `Service`."""
    name: str
    namespace: str = ""
    section: str = ""
    port: int = 0


class GatewayRoute(Struct, frozen=True):
    """An HTTPRoute or GRPCRoute of the Gateway API."""

    kind: str
    """`HTTPRoute` or `GRPCRoute`."""
    name: str
    parents: tuple[GatewayParent, ...] = ()
    """Of a route that is made for the rollout; empty for one of the user's."""
    hostnames: tuple[str, ...] = ()
    """Of a route that is made for the rollout."""
    port: int = 0
    """Of both versions' Services in a route that is made for the rollout; 0 for the root Service's only one."""
    rule: str = ""
    """The name of the only rule of the user's route that is divided; empty for all that name the root Service."""

    @property
    def is_made(self) -> bool:
        return bool(self.parents)


class CustomRoute(Struct, frozen=True):
    """Any object, by JSON pointers (RFC 6901) into it."""

    api_version: str
    kind: str
    name: str
    stable_weight: str
    """The pointer to the stable version's weight."""
    canary_weight: str
    total: int = 100
    """What both weights add up to."""
    stable_service: str = ""
    """The pointer to the place that names the stable version's Service; empty where the template or the user names it."""
    canary_service: str = ""
    accepted: str = ""
    """The pointer to what has to equal `accepted_value` before a weight counts; empty where the object says nothing."""
    accepted_value: str = ""
    """As JSON."""
    observed_generation: str = ""
    """The pointer to the generation that the status speaks of."""
    template: str = ""
    """The object as JSON, made for the rollout and removed in the end; empty for one of the user's."""


class Sticky(Struct, frozen=True):
    """Clients that the canary has answered once stay with it, by a cookie."""

    cookie: str
    max_age_seconds: float = 86_400.0


class RoutePlan(Struct, frozen=True):
    """One traffic object that expresses the weight for one workload."""

    name: str
    """Unique within the plan; the key of its observation."""
    kind: RouterKind
    workload: str
    root_service: str = ""
    """The Service that clients call; in blue/green the active one."""
    stable_service: str = ""
    canary_service: str = ""
    """The Service that shows the new version only; in blue/green the preview, and empty where there is none."""
    split: str = ""
    """The name of the TrafficSplit, of the canary Ingress, or of the TraefikService."""
    adopts_canary_service: bool = False
    """The canary Service was named by the user: it is theirs, so it is edited and put back, never deleted."""
    istio: IstioRoute | None = None
    """Set for `RouterKind.ISTIO` and for no other."""
    gateway: GatewayRoute | None = None
    """Set for `RouterKind.GATEWAY_API` and for no other."""
    custom: CustomRoute | None = None
    """Set for `RouterKind.CUSTOM` and for no other."""
    ingress: str = ""
    """The user's own Ingress. Set for `RouterKind.INGRESS_NGINX` and for no other."""
    match_groups: tuple[str, ...] = ()
    """The HTTPRouteGroups that limit a TrafficSplit to some requests."""
    sticky: Sticky | None = None

"""What each kind of router can do beside moving all traffic, as one table: to be asked before a file is accepted. Pure.

A router that learns something gets it here, and `strategies.capability_checks` lets it pass from then on. What a router is not
known to do it is said not to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from engine.traffic import FULL_WEIGHT, IstioProtocol, MatchKind, RoutePlan, RouterKind

EXACT, PREFIX, REGEX = MatchKind.EXACT, MatchKind.PREFIX, MatchKind.REGEX
ALL_KINDS = frozenset(MatchKind)
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""Source: RFC 9110, section 9, and RFC 5789."""


class Mirroring(StrEnum):
    NONE = "none"
    SHARE = "share"
    """Any share of them, to 0.01 %."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    called: str
    """The router in words, with its article."""
    headers: frozenset[MatchKind] = field(default_factory=frozenset)
    cookies: frozenset[MatchKind] = field(default_factory=frozenset)
    cookie_value: str = ""
    """The only value of a cookie that can be asked for; empty for any."""
    most_cookies: int = 1
    """In one entry."""
    paths: frozenset[MatchKind] = field(default_factory=frozenset)
    methods: frozenset[str] = frozenset()
    any_method: bool = False
    """Methods are names of the application's own, as with gRPC; and paths are names of its services."""
    most_routes: int | None = None
    """Header routes at a time; None for any number."""
    most_matches: int | None = None
    """Entries of one header route, which are alternatives."""
    most_conditions: int | None = None
    """Fields of one entry, which are all asked for."""
    one_of_each: bool = False
    """All entries of all routes that stand together may ask for one header and for one cookie, as alternatives."""
    mirroring: Mirroring = Mirroring.NONE
    sticky: bool = False
    finest: int | None = 1
    """The finest step of a weight in basis points; None where it follows from the number of pods, or is all or nothing."""
    instead: str = "use istio or gatewayApi, which can"
    """What to do where it cannot."""

    @property
    def routes_requests(self) -> bool:
        """Whether it can tell requests apart at all."""
        return bool(self.headers or self.cookies or self.paths or self.methods or self.any_method)


ISTIO_HTTP = Capabilities(
    "an http route of Istio",
    headers=ALL_KINDS,
    cookies=ALL_KINDS,
    most_cookies=3,
    paths=ALL_KINDS,
    methods=HTTP_METHODS,
    mirroring=Mirroring.SHARE,
    sticky=True,
)
ISTIO_CONNECTIONS = Capabilities(
    "a tls or tcp route of Istio", instead="it sees connections and no requests: name an http route"
)
HTTP_ROUTE = Capabilities(
    "an HTTPRoute",
    headers=frozenset({EXACT, REGEX}),
    cookies=ALL_KINDS,
    most_cookies=3,
    paths=frozenset({EXACT, PREFIX}),
    methods=HTTP_METHODS,
    mirroring=Mirroring.SHARE,
    sticky=True,
)
"""A share of a mirror, and clients that stay, need definitions that know them, which the first look tries out. Of two paths of
which one is an expression the API leaves open which goes first."""
GRPC_ROUTE = Capabilities(
    "a GRPCRoute",
    headers=frozenset({EXACT, REGEX}),
    any_method=True,
    mirroring=Mirroring.SHARE,
    sticky=True,
    instead="use an HTTPRoute, or istio, which can",
)
OF_KINDS: dict[RouterKind, Capabilities] = {
    RouterKind.SMI: Capabilities("a TrafficSplit", instead="it knows weights only: use istio or gatewayApi, which can"),
    RouterKind.INGRESS_NGINX: Capabilities(
        "an Ingress of ingress-nginx",
        headers=ALL_KINDS,
        cookies=frozenset({EXACT}),
        cookie_value="always",
        most_conditions=1,
        one_of_each=True,
    ),
    RouterKind.TRAEFIK: Capabilities("a TraefikService", sticky=True),
    RouterKind.CUSTOM: Capabilities("an object that is edited by pointers"),
    RouterKind.POD_RATIO: Capabilities(
        "a ratio of pods",
        finest=None,
        instead="every pod gets all kinds of requests: add trafficManagement with istio or gatewayApi",
    ),
    RouterKind.SERVICE: Capabilities("a Service of blue/green", finest=None, instead="use a canary strategy"),
}
"""Where the kind alone decides."""


def capabilities_of(route: RoutePlan) -> Capabilities:
    if route.kind is RouterKind.ISTIO:
        is_http = route.istio is None or route.istio.protocol is IstioProtocol.HTTP
        return ISTIO_HTTP if is_http else ISTIO_CONNECTIONS
    if route.kind is RouterKind.GATEWAY_API:
        return GRPC_ROUTE if route.gateway is not None and route.gateway.kind == "GRPCRoute" else HTTP_ROUTE
    return OF_KINDS[route.kind]


def finest_weight(route: RoutePlan) -> int | None:
    """In basis points; None where nothing can be said beforehand."""
    return None if route.custom is not None else capabilities_of(route).finest


def is_too_coarse(route: RoutePlan, weight: int) -> bool:
    """Whether the object can only come near to a weight: the next whole number of its total is taken."""
    return route.custom is not None and bool(route.custom.total * weight % FULL_WEIGHT)

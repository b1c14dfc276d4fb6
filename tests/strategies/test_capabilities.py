"""The table of what routers can do, and the complaints that come of it for routers that a file cannot name by a bad example."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.traffic import CustomRoute, GatewayRoute, IstioProtocol, RoutePlan, RouterKind
from strategies.capabilities import Capabilities, Mirroring, capabilities_of, finest_weight, is_too_coarse
from strategies.capability_checks import Asked
from strategies.places import Place
from strategies.request_patterns import find_fault
from strategies.yaml_document import Limits, compose
from strategies.yaml_scalars import Dialect
from tests.builders import istio_route, pod_ratio_route, smi_route

GRPC = RoutePlan("api", RouterKind.GATEWAY_API, "web", gateway=GatewayRoute("GRPCRoute", "api"))
HTTP = replace(GRPC, gateway=GatewayRoute("HTTPRoute", "web"))
NGINX = RoutePlan("web", RouterKind.INGRESS_NGINX, "web")
SWITCHED = RoutePlan("web", RouterKind.SERVICE, "web")
TENTHS = RoutePlan("web", RouterKind.CUSTOM, "web", custom=CustomRoute("v1", "Any", "any", "/a", "/b", total=1_000))
LINES = replace(istio_route(), istio=replace(istio_route().istio, protocol=IstioProtocol.TCP))  # type: ignore[type-var]


@pytest.mark.parametrize("kind", RouterKind)
def test_every_kind_of_router_has_an_entry(kind: RouterKind) -> None:
    assert isinstance(capabilities_of(RoutePlan("web", kind, "web")), Capabilities)


@pytest.mark.parametrize(
    ("route", "finest"),
    [(smi_route(), 1), (istio_route(), 1), (pod_ratio_route(), None), (SWITCHED, None), (TENTHS, None)],
)
def test_the_finest_weight_is_known_where_it_does_not_hang_on_pods(route: RoutePlan, finest: int | None) -> None:
    assert finest_weight(route) == finest


def test_a_total_may_be_too_coarse_for_a_weight_which_is_told_and_not_refused() -> None:
    assert [weight for weight in (1, 5, 10, 15, 2_500) if is_too_coarse(TENTHS, weight)] == [1, 5, 15]
    assert not is_too_coarse(smi_route(), 1)


def test_connections_are_not_requests() -> None:
    known = capabilities_of(LINES)
    assert (known.routes_requests, known.mirroring, known.sticky) == (False, Mirroring.NONE, False)


def complaints(route: RoutePlan, steps: str) -> list[str]:
    """About steps in a file that was never asked for such a router; each on one line."""
    text = "steps:\n" + "".join(f"  - {line}\n" for line in steps.splitlines())
    root = Place.root(compose(text, dialect=Dialect.DEPLOY_FILE, limits=Limits(10_000, 1_000), single=True).documents[0])
    known = capabilities_of(route)
    return [message for _, message in Asked(known.called, known).of_steps(list(root.items("steps")), route)]


HEADER = "setHeaderRoute: {name: %s, match: [{header: [{name: x, %s: a.b}]}]}"
COOKIE = "setHeaderRoute: {name: a, match: [{cookie: [{name: a, exact: %s}]}]}"
ASKED: list[tuple[RoutePlan, str, list[str]]] = [
    (HTTP, HEADER % ("a", "exact"), []),
    (HTTP, HEADER % ("a", "prefix"), ['an HTTPRoute cannot match a header by prefix; write exact or regex: here "a\\.b.*"']),
    (HTTP, "setMirror: {weight: 0.5}", []),
    (HTTP, "setHeaderRoute: {name: a, match: [{path: {regex: /v.}}]}", ["cannot match a path by regex; write exact or prefix"]),
    (HTTP, "setHeaderRoute: {name: a, match: [{method: Check}]}", ['match[0].method is "Check", which is no method of HTTP']),
    (GRPC, "setHeaderRoute: {name: a, match: [{method: Check, path: {exact: fleet.Health}}]}", []),
    (GRPC, COOKIE % "b", ["a GRPCRoute cannot tell requests by their cookie"]),
    (NGINX, HEADER % ("a", "regex"), []),
    (NGINX, COOKIE % "always", []),
    (NGINX, COOKIE % "now", ['an Ingress of ingress-nginx can ask a cookie for the value "always" only']),
    (
        NGINX,
        "setHeaderRoute: {name: a, match: [{header: [{name: x, exact: a}, {name: y, exact: b}]}, {header: [{name: z}]}]}",
        ["asks a request for 1 thing, not for 2; keep one of them", "asks for one header at a time, not for 3; keep one"],
    ),
    (NGINX, f"{HEADER % ('a', 'exact')}\n{HEADER % ('b', 'exact')}", []),
    (NGINX, f"{HEADER % ('a', 'exact')}\n{HEADER % ('b', 'regex')}", ["asks for one header at a time, not for 2; keep one"]),
    (NGINX, f"{HEADER % ('a', 'exact')}\nsetHeaderRoute: {{name: a}}\n{HEADER % ('b', 'exact')}", []),
    (NGINX, f"{HEADER % ('a', 'exact')}\nsetWeight: {{weight: 100}}\n{HEADER % ('b', 'exact')}", []),
    (TENTHS, "setWeight: {weight: 0.1}", []),
    (TENTHS, "setWeight: {weight: 0.01}", []),
]


@pytest.mark.parametrize(("route", "steps", "said"), ASKED)
def test_a_router_is_asked_for_no_more_than_it_can_do(route: RoutePlan, steps: str, said: list[str]) -> None:
    found = complaints(route, steps)
    assert len(found) == len(said), found
    assert all(expected in message for expected, message in zip(said, found, strict=True)), found


@pytest.mark.parametrize(
    "pattern",
    ["a", "(?i)abc", "a(?i:b)c", "[[:alpha:]]+", r"\pL+\p{Greek}", r"x\z", "[*+?]+", "[A-Z._%*+]{2,}", "(?P<n>a)", "(?<n>a)",
     r"\Qa(b\E.*", r"a\\1", "[]a]", "^.*$"],
)  # fmt: skip
def test_what_the_proxies_take_passes(pattern: str) -> None:
    assert find_fault(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a(?=b)", 'looks around ("(?=")'),
        ("(?<!a)b", 'looks around ("(?<!")'),
        (r"(a)\1", "refers back to a group"),
        ("a*+", "has a possessive or conditional part"),
        (r"a\Z", "has a part"),
        ("*a", "is no regular expression: nothing to repeat at its character 1"),
        ("[a", "is no regular expression: unterminated character set"),
        ("x" * 2_000, "is 2000 characters long"),
    ],
)
def test_what_they_do_not_take_is_said_before_a_proxy_says_it(pattern: str, why: str) -> None:
    assert why in find_fault(pattern)

"""The `gatewayApi`, `ingressNginx`, `traefik` and `custom` blocks of a deploy file -> plans of routes. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from msgspec.structs import replace

from engine.traffic import CustomRoute, GatewayParent, GatewayRoute, RoutePlan, RouterKind
from strategies.deployfile_models import DeployFile
from strategies.gateway_models import GatewayApi
from strategies.istio_routes import compile_sticky
from strategies.router_models import Custom, IngressNginx, Traefik
from strategies.traffic_matching import NoMatch

FindWorkload: TypeAlias = Callable[[str], str | NoMatch]
"""By the name of the root Service."""


class _Named(Protocol):
    @property
    def root_service_name(self) -> str: ...
    @property
    def stable_service_name(self) -> str | None: ...
    @property
    def canary_service_name(self) -> str | None: ...


def compile_router_routes(document: DeployFile, target: str, find: FindWorkload) -> list[RoutePlan]:
    """The file has been checked, so every block is for a Deployment."""
    routes: list[RoutePlan] = []
    for entry in document.traffic_management or []:
        if entry.targets is not None and target not in entry.targets:
            continue
        found = [_gateway(block, find) for block in entry.gateway_api or []]
        found += [_ingress(block, find) for block in entry.ingress_nginx or []]
        found += [_traefik(block, find) for block in entry.traefik or []]
        found += [_custom(block, find) for block in entry.custom or []]
        routes += [route for route in found if route is not None]
    return [replace(route, name=_unique(routes, index)) for index, route in enumerate(routes)]


def _unique(routes: Sequence[RoutePlan], index: int) -> str:
    """Two blocks may speak of different places of one object."""
    name = routes[index].name
    before = sum(one.name == name for one in routes[:index])
    return f"{name}#{before + 1}" if before else name


def _gateway(block: GatewayApi, find: FindWorkload) -> RoutePlan | None:
    kind = "HTTPRoute" if block.http_route is not None else "GRPCRoute"
    named = block.http_route or block.grpc_route
    if named is None:  # That is said elsewhere; what the other routes can do is asked all the same.
        return None
    parents = tuple(
        GatewayParent(one.kind, one.name, one.namespace or "", one.section_name or "", one.port or 0)
        for one in named.parents or ()
    )
    place = GatewayRoute(
        kind, named.name, parents, tuple(named.hostnames or ()), port=named.port or 0, rule=named.rule_name or ""
    )
    sticky = compile_sticky(block.sticky_session)
    plan = RoutePlan(f"{kind.lower()}/{named.name}", RouterKind.GATEWAY_API, "", gateway=place, sticky=sticky)
    return _with_services(plan, block, find)


def _ingress(block: IngressNginx, find: FindWorkload) -> RoutePlan | None:
    split = block.canary_ingress_name or f"{block.ingress_name}-canary"
    plan = RoutePlan(f"ingress/{block.ingress_name}", RouterKind.INGRESS_NGINX, "", split=split, ingress=block.ingress_name)
    return _with_services(plan, block, find)


def _traefik(block: Traefik, find: FindWorkload) -> RoutePlan | None:
    sticky = compile_sticky(block.sticky_session)
    name = block.traefik_service_name
    plan = RoutePlan(f"traefik/{name}", RouterKind.TRAEFIK, "", split=name, sticky=sticky)
    return _with_services(plan, block, find)


def _custom(block: Custom, find: FindWorkload) -> RoutePlan | None:
    accepted = block.accepted
    custom = CustomRoute(
        api_version=block.api_version,
        kind=block.kind,
        name=block.name,
        stable_weight=block.stable_weight,
        canary_weight=block.canary_weight,
        total=block.total,
        stable_service=block.stable_service or "",
        canary_service=block.canary_service or "",
        accepted=accepted.pointer if accepted is not None else "",
        accepted_value=json.dumps(accepted.value) if accepted is not None else "",
        observed_generation=block.observed_generation or "",
        template=json.dumps(block.template) if block.template is not None else "",
    )
    name = f"{block.kind.lower()}/{block.name}"
    return _with_services(RoutePlan(name, RouterKind.CUSTOM, "", custom=custom), block, find)


def _with_services(plan: RoutePlan, block: _Named, find: FindWorkload) -> RoutePlan | None:
    root = block.root_service_name
    workload = find(root)
    if isinstance(workload, NoMatch):
        return None
    return replace(
        plan,
        workload=workload,
        root_service=root,
        stable_service=block.stable_service_name or f"{root}-stable",
        canary_service=block.canary_service_name or f"{root}-canary",
        adopts_canary_service=block.canary_service_name is not None,
    )

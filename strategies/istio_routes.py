"""The `istio` blocks of a deploy file -> plans of routes: one for each list of destinations that is edited. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from msgspec.structs import replace

from engine.traffic import IstioProtocol, IstioRoute, RoutePlan, RouterKind, Sticky
from strategies.deployfile_models import DeployFile
from strategies.durations import to_seconds
from strategies.router_models import StickySession
from strategies.traffic_matching import NoMatch
from strategies.traffic_models import Istio

CANARY_SUBSET = "canary"


FindWorkload: TypeAlias = Callable[[str, str | None, str | None], str | NoMatch]
"""By the names of the VirtualService, of the DestinationRule and of the Service for the old version."""


def compile_istio_routes(document: DeployFile, target: str, find: FindWorkload) -> list[RoutePlan]:
    """The file has been checked, so every block is for a Deployment."""
    routes: list[RoutePlan] = []
    for entry in document.traffic_management or []:
        for block in (entry.istio or []) if entry.targets is None or target in entry.targets else []:
            rule = block.destination_rule.name if block.destination_rule is not None else None
            workload = find(block.virtual_service.name, rule, block.stable_service_name)
            if not isinstance(workload, NoMatch):
                routes += [_route(block, place, workload) for place in _places(block)]
    return routes


def _places(block: Istio) -> Iterator[IstioRoute]:
    named = block.virtual_service
    rule = block.destination_rule
    place = IstioRoute(
        named.name,
        destination_rule=rule.name if rule is not None else "",
        active_subset=(rule.active_subset_name or "") if rule is not None else "",
        canary_subset=(rule.canary_subset_name or CANARY_SUBSET) if rule is not None else "",
    )
    if named.http_route_name is not None or not (named.tls_routes or named.tcp_routes):
        yield replace(place, http_route=named.http_route_name or "")
    for tls in named.tls_routes or []:
        hosts = tuple(sorted(tls.sni_hosts or ()))
        yield replace(place, protocol=IstioProtocol.TLS, port=tls.port or 0, sni_hosts=hosts)
    for tcp in named.tcp_routes or []:
        yield replace(place, protocol=IstioProtocol.TCP, port=tcp.port)


def _route(block: Istio, place: IstioRoute, workload: str) -> RoutePlan:
    return RoutePlan(
        name=name_of(place),
        kind=RouterKind.ISTIO,
        workload=workload,
        stable_service=block.stable_service_name or "",
        canary_service=block.canary_service_name or "",
        istio=place,
        sticky=compile_sticky(block.sticky_session),
    )


def compile_sticky(written: StickySession | None) -> Sticky | None:
    if written is None:
        return None
    age = written.max_age
    return Sticky(written.cookie_name, to_seconds(age.duration, age.unit)) if age is not None else Sticky(written.cookie_name)


def name_of(place: IstioRoute) -> str:
    """Unique within a target, where no list of destinations is named twice (`strategies.istio_checks`)."""
    match place.protocol:
        case IstioProtocol.HTTP:
            parts = [place.http_route]
        case IstioProtocol.TLS:
            parts = ["tls", *([str(place.port)] if place.port else []), *place.sni_hosts]
        case IstioProtocol.TCP:
            parts = ["tcp", str(place.port)]
    return "/".join([place.virtual_service, *filter(None, parts)])

"""What a router needs beside the common order, because of how its proxies treat a Service without pods. Pure.

ingress-nginx answers 503 for an Ingress whose own Service has no pods, whatever its canary Ingress says, also at 100 % (its
issues 9635 and 13086). So the user's Ingress names the root Service again *before* the old pods go, while the canary Ingress
still gets all requests: from then on the root Service, which selects both versions, is only what the canary Ingress stands on.
The proxies are given time to hear of it; then the old pods go; and at the very end, when the root Service has the new version's
pods alone, the canary Ingress.

Traefik takes a list of weights back as a whole when one of its Services has no pods, also at weight 0 (its issue 9423). So its
router names a Service only while it is sent something, and the new version's pods are given time to be known before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.model import Act, ActionKind, Operation, Settle
from engine.traffic import RoutePlan, RouterKind


def free_routes(routes: Sequence[RoutePlan], settle_seconds: float) -> Iterator[Operation]:
    """An abort lets the user's object name the old version again, when that has pods (`SET_WEIGHT`)."""
    freed = [route for route in routes if route.kind is RouterKind.INGRESS_NGINX]
    for route in freed:
        yield Act(f"free-route:{route.name}", ActionKind.FREE_ROUTE, {"route": route.name})
    if freed:
        yield Settle("settle before the old version's pods go", settle_seconds)


def await_known(routes: Sequence[RoutePlan], settle_seconds: float) -> Iterator[Operation]:
    if any(route.kind is RouterKind.TRAEFIK for route in routes):
        yield Settle("settle before the new version is named", settle_seconds)

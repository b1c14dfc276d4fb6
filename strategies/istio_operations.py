"""The order in which a canary by Istio prepares, clears and prepares again what tells its versions apart. Pure.

Three edits of the user's objects stand behind each route: the old version's side is pinned on its pods, the new version gets a
side of its own (a subset, or a Service), and the list of destinations names both. What a route names has to exist before it is
named and until it is named no more, or proxies answer 503; and a pinned side must not be sent anything once its pods are gone.

So once all traffic is read back on the new version, the old version's side is freed: it selects by the user's own labels again,
which are those of both versions. Other routes may send their traffic there too, and must not be left without pods when the old
ones go. In the end the list of destinations goes back; and last, after a while, the new version's side, because the proxies hear
of both at different times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from engine.model import Act, ActionKind, Await, Condition, Facts, OnTimeout, Operation, Settle
from engine.traffic import FULL_WEIGHT, RoutePlan
from strategies.stand import AGAIN_SECONDS


def prepare_istio(routes: Sequence[RoutePlan]) -> Iterator[Operation]:
    """All are looked at before any is edited, as two may share a VirtualService or a DestinationRule."""
    for route in routes:
        yield Act(f"record:route:{route.name}", ActionKind.RECORD_ROUTE, {"route": route.name})
    for route in routes:
        name: Facts = {"route": route.name}
        yield Act(f"pin-stable:{route.name}", ActionKind.ENSURE_STABLE_SERVICE, name)
        yield Act(f"show-canary:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, name)
        yield Act(f"ensure-route:{route.name}", ActionKind.ENSURE_ROUTE, {**name, "initial": 0})
        text = f"{route.name} is read back at 0 %"
        yield Await(text, Condition.WEIGHT, route.name, 0, AGAIN_SECONDS, OnTimeout.AGAIN)


def free_istio(routes: Sequence[RoutePlan]) -> Iterator[Operation]:
    """Before the first pod of the old version goes. An abort pins it again, when it has pods (`FOLLOW_STABLE`)."""
    for route in routes:
        yield _free(route)


def _free(route: RoutePlan) -> Act:
    return Act(f"free-stable:{route.name}", ActionKind.REMOVE_STABLE_SERVICE, {"route": route.name})


def clear_istio(routes: Sequence[RoutePlan], begun: Collection[str], settle_seconds: float) -> Iterator[Operation]:
    for route in routes:
        if f"pin-stable:{route.name}" in begun and _may_be_pinned(route, begun):
            yield _free(route)
    for route in routes:
        if f"ensure-route:{route.name}" in begun:
            yield Act(f"remove-route:{route.name}", ActionKind.REMOVE_ROUTE, {"route": route.name})
    if any(f"ensure-route:{route.name}" in begun for route in routes):
        yield Settle("settle before the new version's side goes", settle_seconds)
    for route in routes:
        if f"show-canary:{route.name}" in begun:
            yield Act(f"hide-canary:{route.name}", ActionKind.REMOVE_CANARY_SERVICE, {"route": route.name})


def _may_be_pinned(route: RoutePlan, begun: Collection[str]) -> bool:
    if f"free-stable:{route.name}" not in begun or f"abort-follow-stable:{route.name}" in begun:
        return True
    return f"follow-stable:{route.name}" in begun


def prepare_istio_again(routes: Sequence[RoutePlan]) -> Iterator[Operation]:
    """After they may have been cleared: all traffic is the new version's. The old version's side stays free until it has pods."""
    for route in routes:
        yield Act(f"again-show-canary:{route.name}", ActionKind.ENSURE_CANARY_SERVICE, {"route": route.name})
    for route in routes:
        again: Facts = {"route": route.name, "initial": FULL_WEIGHT}
        yield Act(f"again-route:{route.name}", ActionKind.ENSURE_ROUTE, again)

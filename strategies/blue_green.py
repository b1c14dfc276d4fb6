"""Blue/green: which Services stand for which Deployments, and the steps of a switch. Pure.

The conditions before the switch are one step, all at the same time; then everything is redirected at once; then come the
conditions before the old version goes. The rest is what every rollout does (`strategies.canary`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.model import GateStep, Parallel, Step
from engine.traffic import FULL_WEIGHT, RoutePlan, RouterKind, SetWeight
from strategies.deployfile_models import DeployFile
from strategies.step_models import BlueGreen
from strategies.traffic_matching import DeploymentFacts, NoMatch, ServiceFacts, find_workload


@dataclass(frozen=True, slots=True)
class ServicePair:
    active: str
    preview: str
    """Empty where there is none."""


def blue_green_of(document: DeployFile, target: str) -> BlueGreen | None:
    definition = (document.strategies or {}).get(document.targets[target].strategy or "")
    return definition.blue_green if definition is not None else None


def pairs_of(document: DeployFile, target: str) -> list[ServicePair]:
    """The Services of a target's blue/green strategy: those of `trafficManagement`, else the strategy's own, as older files
    have them."""
    entries = [entry for entry in document.traffic_management or [] if entry.targets is None or target in entry.targets]
    found = [
        ServicePair(pair.active_service, pair.preview_service or "") for entry in entries for pair in entry.kubernetes or []
    ]
    strategy = blue_green_of(document, target)
    if not found and strategy is not None and strategy.active_service is not None:
        return [ServicePair(strategy.active_service, strategy.preview_service or "")]
    return found


def compile_service_routes(
    pairs: Iterable[ServicePair], deployments: Sequence[DeploymentFacts], services: dict[str, ServiceFacts]
) -> list[RoutePlan]:
    """One route for each active Service whose Deployment is known."""
    routes: list[RoutePlan] = []
    for pair in pairs:
        workload = find_workload(pair.active, deployments, services)
        if not isinstance(workload, NoMatch):
            routes.append(
                RoutePlan(
                    name=pair.active,
                    kind=RouterKind.SERVICE,
                    workload=workload,
                    root_service=pair.active,
                    canary_service=pair.preview,
                    adopts_canary_service=bool(pair.preview),
                )
            )
    return routes


def compile_switch(redirect_after: Sequence[GateStep], shut_down_after: Sequence[GateStep]) -> tuple[Step, ...]:
    return (*_together(redirect_after), SetWeight(FULL_WEIGHT), *_together(shut_down_after))


def _together(conditions: Sequence[GateStep]) -> tuple[Step, ...]:
    return tuple(conditions) if len(conditions) < 2 else (Parallel(tuple(conditions)),)

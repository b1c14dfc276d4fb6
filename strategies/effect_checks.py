"""The `effect` of a traffic entry: what the file alone tells of it, and its plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model import Effect, NoDataPolicy, OnTimeout, Query
from engine.traffic import RoutePlan, RouterKind
from strategies.compile_steps import seconds_of
from strategies.deployfile_models import DeployFile
from strategies.field_types import WithoutTraffic
from strategies.places import Place
from strategies.problems import FileReport
from strategies.step_checks import check_duration
from strategies.traffic_models import EffectCheck, TrafficManagement

INTERVAL_SECONDS = 10.0
TIMEOUT_SECONDS = 120.0


def check_effect(entry: Place, root: Place, say: FileReport) -> None:
    effect = entry.get("effect")
    if effect is None:
        return
    blocks = [block for kind in entry.names if kind not in ("effect", "targets", "kubernetes") for block in entry.items(kind)]
    if len(blocks) != 1:
        say.error(
            effect.key_mark,
            f'"effect" is for an entry of one traffic object, and this one has {len(blocks)}; make an entry for each',
        )
    named = effect.get("metricProviderName") or root.at("analysis", "defaultMetricProviderName")
    if named is None and effect.is_mapping:
        say.error(
            effect.key_mark,
            'no metric provider is named for "effect"; add "metricProviderName", or "analysis.defaultMetricProviderName"',
        )
    for field in ("interval", "timeout"):
        if (duration := effect.get(field)) is not None:
            check_duration(duration, say, least=1)


def compile_effects(document: DeployFile, target: str, routes: Sequence[RoutePlan]) -> tuple[Effect, ...]:
    """One for each entry that has one: for the first of its routes, as those of one object move together."""
    effects: list[Effect] = []
    for entry in document.traffic_management or []:
        check = entry.effect
        if check is None or (entry.targets is not None and target not in entry.targets):
            continue
        route = next((one for one in routes if _is_of(one, entry)), None)
        if route is not None:
            effects.append(_compile(document, check, route))
    return tuple(effects)


def _is_of(route: RoutePlan, entry: TrafficManagement) -> bool:
    if route.istio is not None:
        return any(block.virtual_service.name == route.istio.virtual_service for block in entry.istio or ())
    if route.kind in (RouterKind.POD_RATIO, RouterKind.SERVICE):
        return False
    fields = (getattr(entry, name) or () for name in type(entry).model_fields if name not in ("targets", "effect", "kubernetes"))
    roots = {getattr(block, "root_service_name", None) for blocks in fields for block in blocks}
    return route.root_service in roots


def _compile(document: DeployFile, check: EffectCheck, route: RoutePlan) -> Effect:
    default = document.analysis.default_metric_provider_name if document.analysis is not None else None
    provider = check.metric_provider_name or default or ""

    def query(name: str, template: str) -> Query:
        return Query(name, provider, template, no_data=NoDataPolicy.PASS)

    return Effect(
        route=route.name,
        canary=query("requests of the new version", check.canary_requests),
        everybody=query("requests of both versions", check.all_requests),
        tolerance=check.tolerance,
        least_requests=check.least_requests,
        interval_seconds=seconds_of(check.interval, INTERVAL_SECONDS),
        timeout_seconds=seconds_of(check.timeout, TIMEOUT_SECONDS),
        without_traffic=OnTimeout.PROCEED if check.without_traffic is WithoutTraffic.PASS else OnTimeout.FAIL,
    )

"""One target of a deploy file and its manifests -> the engine's plan of one rollout. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from engine.model import PLAN_VERSION, Analysis, Freeze, ManifestPlan, OnDrift, OnFailure, Step, TargetPlan, WorkloadPlan
from engine.traffic import RoutePlan, RouterKind
from strategies.blue_green import blue_green_of, compile_service_routes, compile_switch, pairs_of
from strategies.compile_steps import compile_background, compile_conditions, compile_steps, seconds_of
from strategies.config_snapshots import snapshot_config
from strategies.deployfile_models import DeployFile
from strategies.effect_checks import compile_effects
from strategies.istio_matching import find_istio_workload
from strategies.istio_routes import compile_istio_routes
from strategies.job_manifests import JobManifests
from strategies.kubernetes_kinds import DAEMON_SET, DEPLOYMENT, JOB, STATEFUL_SET, rank
from strategies.manifest_checks import deployment_facts, deployments_of, service_facts
from strategies.manifest_objects import ManifestObject
from strategies.router_routes import compile_router_routes
from strategies.target_objects import TargetObjects
from strategies.traffic_matching import NoMatch, find_workload
from strategies.traffic_models import Smi

READY_SECONDS = 1_800.0
SETTLE_SECONDS = 5.0
REASSERT_LIMIT = 3

JsonObject = dict[str, Any]


def compile_target(
    document: DeployFile,
    name: str,
    objects: Sequence[ManifestObject],
    *,
    context: dict[str, str],
    depends_on: tuple[str, ...],
    jobs: JobManifests,
) -> TargetPlan:
    """`objects` are all of the file's; those for other targets are left out. The file has been checked and has no
    errors."""
    target = document.targets[name]
    config, constraints = document.deployment_config, target.constraints
    chosen = [item for item in objects if name in item.targets]
    placed = TargetObjects(chosen, target.namespace)
    workloads = tuple(WorkloadPlan(item.name, placed.to_json(item)) for item in deployments_of(chosen))
    manifests = _compile_manifests(chosen, placed)
    if config is not None and config.snapshot_config:
        workloads, manifests = snapshot_config(workloads, manifests)
    routes = compile_routes(document, name, chosen)
    return TargetPlan(
        version=PLAN_VERSION,
        target=name,
        account=target.account,
        namespace=target.namespace,
        workloads=workloads,
        manifests=manifests,
        routes=routes,
        steps=_steps_of(document, target.strategy, jobs) if workloads else (),
        depends_on=depends_on,
        ready_timeout_seconds=seconds_of(config.timeout if config is not None else None, READY_SECONDS),
        settle_seconds=seconds_of(config.settle if config is not None else None, SETTLE_SECONDS),
        context=context,
        freeze=Freeze(config.freeze) if config is not None and config.freeze is not None else Freeze.FROM_START,
        before=compile_conditions(document, constraints.before_deployment if constraints is not None else None, jobs),
        after=compile_conditions(document, constraints.after_deployment if constraints is not None else None, jobs),
        on_failure=OnFailure(constraints.on_failure) if constraints is not None else OnFailure.LEAVE,
        on_drift=OnDrift(config.on_drift) if config is not None else OnDrift.HOLD,
        reassert_limit=config.reassert_limit if config is not None else REASSERT_LIMIT,
        effects=compile_effects(document, name, routes),
        background=_background_of(document, target.strategy) if workloads else (),
    )


def _steps_of(document: DeployFile, strategy: str | None, jobs: JobManifests) -> tuple[Step, ...]:
    definition = (document.strategies or {}).get(strategy or "")
    if definition is None:
        return ()
    if definition.canary is not None:
        return compile_steps(document, definition.canary.steps, jobs)
    switch = definition.blue_green
    before, after = (switch.redirect_traffic_after, switch.shut_down_old_version_after) if switch is not None else (None, None)
    return compile_switch(compile_conditions(document, before, jobs), compile_conditions(document, after, jobs))


def _background_of(document: DeployFile, strategy: str | None) -> tuple[Analysis, ...]:
    definition = (document.strategies or {}).get(strategy or "")
    chosen = (definition.canary or definition.blue_green) if definition is not None else None
    return compile_background(document, chosen.background_analysis) if chosen is not None else ()


# --- manifests --------------------------------------------------------------------------------------------------------


def _compile_manifests(objects: Iterable[ManifestObject], placed: TargetObjects) -> tuple[ManifestPlan, ...]:
    supporting = sorted((item for item in objects if item.kind != DEPLOYMENT), key=lambda item: rank(item.kind))
    plans: list[ManifestPlan] = []
    taken: set[str] = set()
    for item in supporting:
        key = f"{item.kind.kind}/{item.name}"
        if key in taken:  # Two API groups may have kinds of one name, as the Services of Kubernetes and of Knative.
            key = f"{item.kind.kind}.{item.kind.group}/{item.name}"
        taken.add(key)
        awaited = item.kind in (STATEFUL_SET, DAEMON_SET, JOB)
        plans.append(ManifestPlan(key, placed.to_json(item), awaited))
    return tuple(plans)


# --- routes -----------------------------------------------------------------------------------------------------------


def compile_routes(document: DeployFile, target: str, objects: Sequence[ManifestObject]) -> tuple[RoutePlan, ...]:
    """`objects` are the target's own. Routes whose Deployment cannot be told are left out."""
    deployments, services = deployment_facts(objects), service_facts(objects)
    if not deployments:
        return ()
    if blue_green_of(document, target) is not None:
        return tuple(compile_service_routes(pairs_of(document, target), deployments, services))
    routes: list[RoutePlan] = []
    for block in _smi_blocks(document, target):
        workload = find_workload(block.root_service_name, deployments, services)
        if not isinstance(workload, NoMatch):
            routes.append(_smi_route(block, workload))
    find = partial(find_istio_workload, objects=objects, deployments=deployments, services=services)
    routes += compile_istio_routes(document, target, find)
    routes += compile_router_routes(document, target, partial(find_workload, deployments=deployments, services=services))
    routed = {route.workload for route in routes}
    names = {route.name for route in routes}
    for deployment in deployments:
        if deployment.name not in routed:
            name = deployment.name if deployment.name not in names else f"{deployment.name}/pods"
            routes.append(RoutePlan(name=name, kind=RouterKind.POD_RATIO, workload=deployment.name))
    return tuple(routes)


def _smi_blocks(document: DeployFile, target: str) -> list[Smi]:
    entries = [entry for entry in document.traffic_management or [] if entry.targets is None or target in entry.targets]
    return [block for entry in entries for block in entry.smi or []]


def _smi_route(block: Smi, workload: str) -> RoutePlan:
    root = block.root_service_name
    return RoutePlan(
        name=root,
        kind=RouterKind.SMI,
        workload=workload,
        root_service=root,
        stable_service=block.stable_service_name or f"{root}-stable",
        canary_service=block.canary_service_name or f"{root}-canary",
        split=block.traffic_split_name or root,
        adopts_canary_service=block.canary_service_name is not None,
        match_groups=tuple(block.matches or ()),
    )

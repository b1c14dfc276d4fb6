"""One vocabulary for building plans and rollouts in tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count

from msgspec.structs import replace

from engine.model import (
    PLAN_VERSION,
    Analysis,
    ConcurrencyPolicy,
    Freeze,
    GateStep,
    ManifestPlan,
    NoDataPolicy,
    OnFailure,
    Query,
    ReleasePlan,
    RolloutSpec,
    Snapshot,
    State,
    Step,
    TargetPlan,
    WorkloadPlan,
)
from engine.traffic import (
    CustomRoute,
    GatewayParent,
    GatewayRoute,
    IstioRoute,
    MatchKind,
    NamedMatch,
    RequestMatch,
    RoutePlan,
    RouterKind,
    SetHeaderRoute,
    SetWeight,
    Sticky,
    ValueMatch,
)
from tests.clocks import START


def percent(weight: float) -> SetWeight:
    return SetWeight(round(weight * 100))


def header_match(name: str, value: str, kind: MatchKind = MatchKind.EXACT) -> RequestMatch:
    return RequestMatch(headers=(NamedMatch(name, ValueMatch(kind, value)),))


def header_route(name: str = "beta", *matches: RequestMatch) -> SetHeaderRoute:
    """For requests with `x-user: anna`, if nothing else is said."""
    return SetHeaderRoute(name, matches or (header_match("x-user", "anna"),))


def error_rate(limit: float = 0.01, *, runs: int = 2, interval: float = 10.0, **options: object) -> Analysis:
    query = Query("error-rate", "metrics", "errors", upper=limit, no_data=NoDataPolicy.EXTEND)
    return Analysis(queries=(query,), interval_seconds=interval, runs=runs, **options)  # type: ignore[arg-type]


def deployment(name: str = "web", *, image: str = "web:2", replicas: int = 3, namespace: str = "shop") -> dict[str, object]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    }


def pods_of(
    kind: str, name: str = "store", *, image: str = "store:1", namespace: str = "shop", **spec: object
) -> dict[str, object]:
    """A StatefulSet, a DaemonSet or a Job."""
    pod: dict[str, object] = {"containers": [{"name": "app", "image": image}]}
    template: dict[str, object] = {"metadata": {"labels": {"app": name}}, "spec": pod}
    if kind == "Job":
        pod["restartPolicy"] = "Never"
    else:
        spec = {"selector": {"matchLabels": {"app": name}}, **spec}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**spec, "template": template},
    }


def definition(kind: str = "Ship", *, group: str = "sea.example.com", versions: Sequence[str] = ("v1",)) -> dict[str, object]:
    """A CustomResourceDefinition that takes any content."""
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = [{"name": name, "served": True, "storage": name == versions[0], "schema": schema} for name in versions]
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": served},
    }


def service(name: str = "web", *, namespace: str = "shop", app: str | None = None) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": app or name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def smi_route(root: str = "web", *, matches: Sequence[str] = (), canary: str = "") -> RoutePlan:
    """`canary`: a Service of the user's for the new version."""
    return RoutePlan(
        name=root,
        kind=RouterKind.SMI,
        workload=root,
        root_service=root,
        stable_service=f"{root}-stable",
        canary_service=canary or f"{root}-canary",
        split=root,
        adopts_canary_service=bool(canary),
        match_groups=tuple(matches),
    )


def istio_route(name: str = "web", http_route: str = "", *, workload: str = "web", rule: str = "web") -> RoutePlan:
    """By subsets of the DestinationRule `web`."""
    place = IstioRoute(name, http_route=http_route, destination_rule=rule, active_subset="active", canary_subset="canary")
    return RoutePlan(f"{name}/{http_route}" if http_route else name, RouterKind.ISTIO, workload, istio=place)


def _with_services(route: RoutePlan, root: str = "web") -> RoutePlan:
    return replace(route, root_service=root, stable_service=f"{root}-stable", canary_service=f"{root}-canary")


def ingress_route(name: str = "web") -> RoutePlan:
    plan = RoutePlan(f"ingress/{name}", RouterKind.INGRESS_NGINX, "web", split=f"{name}-canary", ingress=name)
    return _with_services(plan)


def traefik_route(name: str = "web", *, sticky: Sticky | None = None) -> RoutePlan:
    return _with_services(RoutePlan(f"traefik/{name}", RouterKind.TRAEFIK, "web", split=name, sticky=sticky))


def gateway_route(
    name: str = "web",
    *,
    kind: str = "HTTPRoute",
    rule: str = "",
    parents: Sequence[GatewayParent] = (),
    hostnames: Sequence[str] = (),
    sticky: Sticky | None = None,
) -> RoutePlan:
    """The user's own route, or with parents one that is made."""
    place = GatewayRoute(kind, name, tuple(parents), tuple(hostnames), rule=rule)
    return _with_services(RoutePlan(f"{kind.lower()}/{name}", RouterKind.GATEWAY_API, "web", gateway=place, sticky=sticky))


WEIGHTED_ROUTE = CustomRoute(
    "sea.example.com/v1",
    "WeightedRoute",
    "web",
    "/spec/backends/0/weight",
    "/spec/backends/1/weight",
    stable_service="/spec/backends/0/service",
    canary_service="/spec/backends/1/service",
)


def custom_route(custom: CustomRoute = WEIGHTED_ROUTE) -> RoutePlan:
    return _with_services(RoutePlan(f"weightedroute/{custom.name}", RouterKind.CUSTOM, "web", custom=custom))


def pod_ratio_route(workload: str = "web") -> RoutePlan:
    return RoutePlan(name=workload, kind=RouterKind.POD_RATIO, workload=workload)


def service_route(active: str = "web", preview: str = "") -> RoutePlan:
    return RoutePlan(
        name=active,
        kind=RouterKind.SERVICE,
        workload=active,
        root_service=active,
        canary_service=preview,
        adopts_canary_service=bool(preview),
    )


def watched(
    limit: float = 0.01, *, interval: float = 10.0, budget: int = 0, no_data: NoDataPolicy = NoDataPolicy.EXTEND
) -> Analysis:
    """An analysis in the background."""
    query = Query("error-rate", "metrics", "errors", upper=limit, no_data=no_data)
    return Analysis(queries=(query,), interval_seconds=interval, runs=0, failure_budget=budget, patience_seconds=60.0)


def target_plan(
    steps: Sequence[Step] = (),
    *,
    target: str = "production",
    account: str = "embedded",
    namespace: str = "shop",
    workload: str = "web",
    image: str = "web:2",
    replicas: int = 3,
    route: RoutePlan | None = None,
    routes: Sequence[RoutePlan] = (),
    manifests: Sequence[dict[str, object]] = (),
    depends_on: Sequence[str] = (),
    ready_timeout: float = 60.0,
    settle: float = 1.0,
    freeze: Freeze = Freeze.FROM_START,
    before: Sequence[GateStep] = (),
    after: Sequence[GateStep] = (),
    on_failure: OnFailure = OnFailure.LEAVE,
    background: Sequence[Analysis] = (),
) -> TargetPlan:
    body = deployment(workload, image=image, replicas=replicas, namespace=namespace)
    return TargetPlan(
        version=PLAN_VERSION,
        target=target,
        account=account,
        namespace=namespace,
        workloads=(WorkloadPlan(workload, json.dumps(body)),),
        manifests=tuple(manifest_plan(manifest) for manifest in manifests),
        routes=tuple(routes) or (route or smi_route(workload),),
        steps=tuple(steps),
        depends_on=tuple(depends_on),
        ready_timeout_seconds=ready_timeout,
        settle_seconds=settle,
        freeze=freeze,
        before=tuple(before),
        after=tuple(after),
        on_failure=on_failure,
        background=tuple(background),
    )


def together(*plans: TargetPlan) -> TargetPlan:
    """One target that ships all the workloads of several."""
    workloads = tuple(one for plan in plans for one in plan.workloads)
    routes = tuple(one for plan in plans for one in plan.routes)
    return replace(plans[0], workloads=workloads, routes=routes)


def manifest_plan(body: dict[str, object]) -> ManifestPlan:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    awaited = body["kind"] in ("StatefulSet", "DaemonSet", "Job")
    return ManifestPlan(f"{body['kind']}/{metadata['name']}", json.dumps(body), awaited)


def objects_plan(*manifests: dict[str, object], ready_timeout: float = 60.0) -> TargetPlan:
    """A target that ships no Deployment."""
    plan = target_plan(manifests=manifests, ready_timeout=ready_timeout)
    return replace(plan, workloads=(), routes=())


def release_plan(
    *targets: TargetPlan, application: str = "shop", concurrency: ConcurrencyPolicy = ConcurrencyPolicy.REJECT
) -> ReleasePlan:
    return ReleasePlan(version=PLAN_VERSION, application=application, targets=targets, concurrency=concurrency)


def rollout_spec(plan: TargetPlan, *, rollout: str = "r1.production", release: str = "r1") -> RolloutSpec:
    return RolloutSpec(rollout, release, "shop", plan, START, "a secret")


def waiting() -> Snapshot:
    return Snapshot(State.WAITING, START)


class Names:
    """Ids for tests: r1, r2, ... and secrets that can be looked for."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._secrets = count(1)

    def new_id(self) -> str:
        return f"r{next(self._ids)}"

    def new_secret(self) -> str:
        return f"planted-secret-{next(self._secrets)}"

"""What the manifests of a target must be together: no object twice, a strategy where there is a Deployment, and
Services that lead to one. Works on files that do not fit the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from strategies.gateway_checks import check_shipped_routes
from strategies.istio_manifests import check_shipped_istio
from strategies.kubernetes_kinds import (
    CALLS_A_SERVICE,
    CLUSTER_ROLE_BINDING,
    DEPLOYMENT,
    SERVICE,
    TRAFFIC_SPLIT,
    ObjectKind,
)
from strategies.manifest_objects import ManifestObject, labels_of, texts_of
from strategies.places import Place
from strategies.problems import FileReport
from strategies.router_checks import ROUTER_BLOCKS
from strategies.router_manifests import check_shipped_custom, check_shipped_ingresses, check_shipped_traefik
from strategies.suggestions import listed, quote
from strategies.traffic_checks import blocks_of, service_pairs, smi_blocks, targets_of
from strategies.traffic_matching import DeploymentFacts, NoMatch, ServiceFacts, find_workload, missing_ports


def check_manifests(root: Place, objects: Sequence[ManifestObject], say: FileReport) -> None:
    """`objects` are those that could be read; `say` is for the deploy file."""
    everywhere = [name for name, _ in root.entries("targets")]
    chosen: dict[str, list[ManifestObject]] = {name: [] for name in everywhere}
    for item in objects:
        for name in item.targets & chosen.keys():
            chosen[name].append(item)
    sources: dict[str, list[Place]] = {name: [] for name in everywhere}
    for source in root.items("manifests"):
        for name in targets_of(source, everywhere):
            sources[name].append(source)
    _check_shared(root, objects)
    blocks, pairs, istio = smi_blocks(root), service_pairs(root), blocks_of(root, "istio")
    routed = {kind: blocks_of(root, kind) for kind in ROUTER_BLOCKS}
    for name, target in root.entries("targets"):
        _check_twice(chosen[name])
        if _has_sources(root, name, target, sources[name], say) and _check_target(name, target, chosen[name], say):
            if name in pairs:
                _check_pairs(name, target, pairs[name], chosen[name], say)
            else:
                splits = list(blocks.get(name, ()))
                _check_services(splits, chosen[name], say)
                _check_splits(splits, chosen[name], say)
                _check_services([one for kind in ROUTER_BLOCKS for one in routed[kind].get(name, ())], chosen[name], say)
                check_shipped_ingresses(routed["ingressNginx"].get(name, ()), chosen[name], say)
                check_shipped_traefik(routed["traefik"].get(name, ()), chosen[name], say)
                check_shipped_custom(routed["custom"].get(name, ()), chosen[name], say)
                deployments, services = deployment_facts(chosen[name]), service_facts(chosen[name])
                check_shipped_routes(routed["gatewayApi"].get(name, ()), chosen[name], services, say)
                check_shipped_istio(istio.get(name, ()), chosen[name], deployments, services, say)


def deployments_of(objects: Iterable[ManifestObject]) -> list[ManifestObject]:
    return [item for item in objects if item.kind == DEPLOYMENT]


def deployment_facts(objects: Iterable[ManifestObject]) -> list[DeploymentFacts]:
    return [DeploymentFacts(item.name, labels_of(item)) for item in deployments_of(objects)]


def service_facts(objects: Iterable[ManifestObject]) -> dict[str, ServiceFacts]:
    services: dict[str, ServiceFacts] = {}
    for item in objects:
        if item.kind != SERVICE:
            continue
        spec = item.place.get("spec")
        numbers = [port.at("port") for port in item.place.items("spec", "ports")]
        services[item.name] = ServiceFacts(
            item.name,
            texts_of(spec.get("selector") if spec is not None else None),
            frozenset(int(port.number) for port in numbers if port is not None and isinstance(port.number, int)),
            headless=spec is not None and (ip := spec.get("clusterIP")) is not None and ip.text == "None",
            external=spec is not None and (kind := spec.get("type")) is not None and kind.text == "ExternalName",
        )
    return services


def _check_shared(root: Place, objects: Iterable[ManifestObject]) -> None:
    """Each target makes it another object, and a cluster has only one of them."""
    accounts = {name: place.text for name, target in root.entries("targets") if (place := target.get("account")) is not None}
    for item in objects:
        if not _names_a_namespace(item):
            continue
        for account in dict.fromkeys(accounts.values()):
            sharing = [name for name in accounts if accounts[name] == account and name in item.targets]
            if len(sharing) > 1:
                item.say.warn(
                    item.name_mark,
                    f"the {item.kind.kind} {quote(item.name)} is for the targets {listed(sharing)} of one account, but a cluster "
                    "has only one, which names the namespace of the target that came last; give each target its own",
                )


def _names_a_namespace(item: ManifestObject) -> bool:
    if item.kind == CLUSTER_ROLE_BINDING:
        kinds = [kind.text for subject in item.place.items("subjects") if (kind := subject.get("kind")) is not None]
        return "ServiceAccount" in kinds
    return item.kind in CALLS_A_SERVICE


def _check_twice(objects: Iterable[ManifestObject]) -> None:
    seen: dict[tuple[ObjectKind, str], ManifestObject] = {}
    for item in objects:
        first = seen.setdefault((item.kind, item.name), item)
        if first is item:
            continue
        message = (
            f"a second {item.kind.kind} is called {quote(item.name)}, the first is at {first.where}; remove one of the "
            "two"
        )
        if first.where == item.where:
            message = (
                f"the {item.kind.kind} {quote(item.name)} is deployed twice; two entries of manifests name this file, "
                "remove one"
            )
        item.say.error(item.name_mark, message)


def _has_sources(root: Place, name: str, target: Place, sources: Sequence[Place], say: FileReport) -> bool:
    """Whether all that a target gets is known, so that something can be said about the whole of it."""
    if not sources and not _names_unknown_targets(root):
        message = f"no manifest is for the target {quote(name)}; add it to the targets of one of the manifests"
        say.error(target.key_mark, message)
    return bool(sources)


def _check_target(name: str, place: Place, objects: Sequence[ManifestObject], say: FileReport) -> bool:
    """Whether the target ships a Deployment."""
    deployments = deployments_of(objects)
    strategy = place.get("strategy")
    if not deployments:
        if objects and strategy is not None and all(item.kind.kind != "Deployment" for item in objects):
            say.warn(
                strategy.key_mark,
                f"the target {quote(name)} ships no Deployment, so its objects are applied and its strategy is not "
                "used",
            )
        return False
    if strategy is None and place.is_mapping:
        say.error(
            place.key_mark,
            f"the target {quote(name)} ships the Deployment {quote(deployments[0].name)}, but has no "
            '"strategy"; add one',
        )
    return True


def _names_unknown_targets(root: Place) -> bool:
    """Whether some manifest is for a target that does not exist, or for none, which is reported there."""
    targets = {name for name, _ in root.entries("targets")}
    named = [
        [item.text for item in source.items("targets")]
        for source in root.items("manifests")
        if source.get("targets") is not None
    ]
    return not named or any(not names or not targets.issuperset(map(str, names)) for names in named)


def _check_services(blocks: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    deployments, services = deployment_facts(objects), service_facts(objects)
    for block in blocks:
        name = block.get("rootServiceName")
        if name is None or name.text is None:
            continue
        workload = find_workload(name.text, deployments, services)
        if isinstance(workload, NoMatch):
            say.error(name.mark, workload.message)
            continue
        _check_canary_service(block, name.text, services, say)
        _check_made_here(block, name.text, objects, say)


def _check_pairs(name: str, target: Place, pairs: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    """Every Deployment of a blue/green target needs an active Service, and every preview the same pods to choose from."""
    deployments, services = deployment_facts(objects), service_facts(objects)
    left = {one.name for one in deployments}
    for pair in pairs:
        active = pair.get("activeService")
        if active is None or active.text is None:
            continue
        workload = find_workload(active.text, deployments, services)
        if isinstance(workload, NoMatch):
            say.error(active.mark, workload.message)
            return
        left.discard(workload)
        _check_preview(pair, workload, deployments, services, say)
    strategy = target.get("strategy") or target
    for missing in sorted(left):
        say.error(
            strategy.mark,
            f"the blue/green strategy of the target {quote(name)} has no Service to redirect for the Deployment "
            f'{quote(missing)}; add an "activeService" to trafficManagement[].kubernetes',
        )


def _check_preview(
    pair: Place,
    workload: str,
    deployments: Sequence[DeploymentFacts],
    services: Mapping[str, ServiceFacts],
    say: FileReport,
) -> None:
    preview = pair.get("previewService")
    if preview is None or preview.text is None or preview.text not in services:
        return
    found = find_workload(preview.text, deployments, services)
    if isinstance(found, NoMatch):
        say.error(preview.mark, found.message)
    elif found != workload:
        say.error(
            preview.mark,
            f"the preview Service {quote(preview.text)} selects the pods of the Deployment {quote(found)}, and the active one "
            f"those of {quote(workload)}; correct its selector",
        )


def _check_canary_service(block: Place, root: str, services: Mapping[str, ServiceFacts], say: FileReport) -> None:
    given = block.get("canaryServiceName")
    backend = services.get(given.text) if given is not None and given.text is not None else None
    if given is None or backend is None or root not in services:
        return
    if missing := missing_ports(services[root], backend):
        ports = ", ".join(str(port) for port in missing)
        say.error(
            given.mark,
            f"the Service {quote(backend.name)} lacks port {ports} of {quote(root)}, and traffic to it would be lost; "
            "add it",
        )


def _check_splits(blocks: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    for block in blocks:
        root = block.get("rootServiceName")
        if root is not None and root.text is not None:
            made = ("trafficSplitName", TRAFFIC_SPLIT, root.text, "leave it out, or give another")
            _check_not_shipped(block, (made,), objects, say)


def _check_made_here(block: Place, root: str, objects: Iterable[ManifestObject], say: FileReport) -> None:
    stable = ("stableServiceName", SERVICE, f"{root}-stable", "leave it out, or give another")
    canary = ("canaryServiceName", SERVICE, f"{root}-canary", "leave it out, or name it with")
    _check_not_shipped(block, (stable, canary), objects, say)


def _check_not_shipped(
    block: Place, made: Iterable[tuple[str, ObjectKind, str, str]], objects: Iterable[ManifestObject], say: FileReport
) -> None:
    """Objects that a rollout makes and removes cannot be among those that it leaves behind."""
    shipped = {(item.kind, item.name) for item in objects}
    for field, kind, default, advice in made:
        given = block.get(field)
        name = given.text if given is not None else default
        is_theirs = field == "canaryServiceName" and given is not None
        if name is not None and (kind, name) in shipped and not is_theirs:
            place = given if given is not None else block
            say.error(
                place.mark,
                f"the {kind.kind} {quote(name)} is among the manifests, but the rollout makes and removes one of that "
                f"name; {advice} {field}",
            )

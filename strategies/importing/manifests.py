"""The objects of the input that the deploy file ships, and those that are made for it. What the old controller alone
understands, and what a rollout of Headgate makes by itself, is not among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from strategies.importing.input_file import InputFile, InputObject
from strategies.importing.remarks import RemarkKind
from strategies.kubernetes_kinds import CLUSTER_SCOPED, DEPLOYMENT, SERVICE, TRAFFIC_SPLIT, ObjectKind, group_of
from strategies.manifest_checks import deployment_facts, service_facts
from strategies.manifest_objects import ManifestObject, read_document
from strategies.places import Place
from strategies.suggestions import quote
from strategies.traffic_matching import DeploymentFacts, NoMatch, ServiceFacts, find_workload, missing_ports
from strategies.yaml_document import to_plain

JsonObject = dict[str, Any]

_OF_THE_CONTROLLERS = ("argoproj.io", "flagger.app")
_SCALERS = (("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject"))


@dataclass(slots=True)
class Manifests:
    """What is shipped, by kind and name."""

    kept: dict[tuple[ObjectKind, str], JsonObject] = field(default_factory=dict)
    made: set[tuple[ObjectKind, str]] = field(default_factory=set)
    """Those that stand nowhere else than in the Rollout or Canary itself."""
    _objects: dict[tuple[ObjectKind, str], ManifestObject] = field(default_factory=dict)

    def leave_out(self, kind: ObjectKind, name: str) -> None:
        self.kept.pop((kind, name), None)
        self._objects.pop((kind, name), None)

    def add(self, body: JsonObject) -> None:
        """An object that the import makes."""
        key = (ObjectKind(group_of(body["apiVersion"]), body["kind"]), body["metadata"]["name"])
        self.kept[key] = body
        self.made.add(key)

    def deployment(self, name: str) -> JsonObject | None:
        return self.kept.get((DEPLOYMENT, name))

    def services(self) -> dict[str, ServiceFacts]:
        return service_facts(self._objects.values())

    def why_not_root(self, service: str, pods: DeploymentFacts | None) -> str:
        """What keeps a Service from being a root Service; empty when nothing does, as far as the input tells."""
        deployments = [pods] if pods is not None else deployment_facts(self._objects.values())
        found = find_workload(service, deployments, self.services()) if deployments else ""
        return found.message if isinstance(found, NoMatch) else ""

    def lacks_ports(self, root: str, backend: str) -> bool:
        services = self.services()
        return root in services and backend in services and bool(missing_ports(services[root], services[backend]))

    def follow_workload(self, kind: str, name: str, deployment: str) -> list[str]:
        """Point autoscalers of `kind` `name` to the Deployment; returns which."""
        moved: list[str] = []
        for (object_kind, scaler), body in self.kept.items():
            target = inside(body, "spec", "scaleTargetRef") if object_kind in _SCALERS else None
            if isinstance(target, dict) and target.get("kind") == kind and target.get("name") == name:
                target.update(apiVersion="apps/v1", kind="Deployment", name=deployment)
                moved.append(f"{object_kind.kind} {scaler}")
        return moved


def gather(file: InputFile, subject: InputObject, workload: str, *, made_here: bool) -> Manifests:
    """The objects beside `subject`. `workload` is the Deployment that it rolls out, `made_here` whether the import makes
    it. What is wrong with an object as a manifest is an error of the input."""
    manifests = Manifests()
    for item in file.objects:
        reason = _why_left_out(item, subject, workload, made_here)
        if reason is not None:
            _say(file, item, *reason)
            continue
        if item is subject or item.kind.group in _OF_THE_CONTROLLERS:
            continue
        key = (item.kind, item.name)
        if key in manifests.kept:
            file.ledger.say.error(
                item.place.mark, f"a second {item.kind.kind} is called {quote(item.name)}; remove one of the two"
            )
            continue
        for read in read_document(item.place, file.ledger.say, frozenset()):
            manifests._objects[key] = read
            manifests.kept[key] = to_plain(item.place.node)
    return manifests


def _why_left_out(item: InputObject, subject: InputObject, workload: str, made_here: bool) -> tuple[str, str] | None:
    """What there is to say about an object that is left out; None for one that is shipped, or not worth a word."""
    if item is subject or item.kind.group in _OF_THE_CONTROLLERS:
        return None
    if item.kind in (("", "Pod"), ("apps", "ReplicaSet")):
        return "a bare one cannot be rolled out or back", "leave it to its controller, or make a Deployment of it"
    if item.kind == TRAFFIC_SPLIT:
        return "is left out: a rollout makes its TrafficSplit by itself", "remove it from the cluster before the first run"
    if item.kind == DEPLOYMENT and item.name == workload and made_here:
        return "is left out: the Rollout's own template makes a Deployment of that name", "see which of them is right"
    if item.kind == DEPLOYMENT and item.name != workload:
        return "is left out: a target rolls out one Deployment", "give it a deploy file of its own"
    foreign = item.namespace is not None and subject.namespace is not None and item.namespace != subject.namespace
    if foreign and item.kind not in CLUSTER_SCOPED:
        return (
            f"is left out: it is in the namespace {quote(item.namespace or '')}, and a target deploys to one namespace",
            "deploy it by a target, or a deploy file, of its own",
        )
    return None


def _say(file: InputFile, item: InputObject, meaning: str, instead: str) -> None:
    place = Place(item.place.node, (f"{item.kind.kind} {item.name}",), item.place.mark)
    file.ledger.add(RemarkKind.LOST, place, f"{item.kind.kind} {item.name}", meaning, instead)


def pods_of(name: str, labels: object) -> DeploymentFacts:
    found = labels if isinstance(labels, Mapping) else {}
    return DeploymentFacts(name, {str(key): str(value) for key, value in found.items()})


def inside(body: object, *keys: str) -> object:
    """What is at the end of a chain of keys; None where an object has another shape than it should."""
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def pod_labels(deployment: JsonObject) -> object:
    return inside(deployment, "spec", "template", "metadata", "labels")


def selector_of(deployment: JsonObject) -> dict[str, str]:
    """The labels that a Service of a Deployment selects by."""
    labels = inside(deployment, "spec", "selector", "matchLabels")
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def container_ports(deployment: JsonObject) -> Iterator[JsonObject]:
    containers = inside(deployment, "spec", "template", "spec", "containers")
    for container in containers if isinstance(containers, list) else ():
        ports = inside(container, "ports")
        yield from (port for port in ports if isinstance(port, dict)) if isinstance(ports, list) else ()


def knows_service(manifests: Manifests, name: str) -> bool:
    return (SERVICE, name) in manifests.kept

"""The file to import: its objects, without what a cluster adds to an object that it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from strategies.importing.subjects import Ledger, Subject
from strategies.kubernetes_kinds import ObjectKind, group_of
from strategies.manifest_objects import LIMITS, check_numbers
from strategies.places import Place
from strategies.problems import FileReport
from strategies.yaml_document import MappingNode, Mark, compose, decode
from strategies.yaml_scalars import Dialect

ROLLOUT = ObjectKind("argoproj.io", "Rollout")
CANARY = ObjectKind("flagger.app", "Canary")
ANALYSIS_TEMPLATE = ObjectKind("argoproj.io", "AnalysisTemplate")
CLUSTER_ANALYSIS_TEMPLATE = ObjectKind("argoproj.io", "ClusterAnalysisTemplate")
METRIC_TEMPLATE = ObjectKind("flagger.app", "MetricTemplate")

_OF_CLUSTERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_OF_CONTROLLERS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "rollout.argoproj.io/",
    "flagger.app/",
)
HASH_OF_ARGO = "rollouts-pod-template-hash"


@dataclass(slots=True)
class InputObject:
    kind: ObjectKind
    name: str
    namespace: str | None
    place: Place


@dataclass(slots=True)
class InputFile:
    objects: list[InputObject]
    ledger: Ledger
    _subjects: dict[int, Subject] = field(default_factory=dict)

    def find(self, kind: ObjectKind, name: str, namespace: str | None = None) -> InputObject | None:
        """The object of that name; with `namespace`, one that is in another namespace is not it."""
        for item in self.objects:
            if item.kind == kind and item.name == name and namespace in (None, item.namespace or namespace):
                return item
        return None

    def of_kind(self, kind: ObjectKind) -> list[InputObject]:
        return [item for item in self.objects if item.kind == kind]

    def subject(self, item: InputObject) -> Subject:
        """The same for the same object, so that it remembers what was read of it."""
        called = "" if item.kind in (ROLLOUT, CANARY) else f"{item.kind.kind} {item.name}:"
        return self._subjects.setdefault(id(item), Subject(item.place, self.ledger, called))

    def subjects(self) -> list[Subject]:
        return list(self._subjects.values())


def read_input(content: str | bytes, say: FileReport) -> InputFile:
    """What is wrong with the file as YAML or as objects is reported to `say`."""
    file = InputFile([], Ledger(say))
    text = content
    if isinstance(text, bytes):
        text, fault = decode(text)
        if fault is not None:
            say.error(fault.mark, fault.message)
            return file
    composed = compose(text, dialect=Dialect.KUBERNETES, limits=LIMITS, single=False)
    for found in composed.faults:
        say.error(found.mark, found.describe(lambda mark: Mark(*say.locate(mark)[1:])))
    for document in composed.documents:
        check_numbers(document, say)
        file.objects.extend(_read(Place.root(document), say))
    return file


def _read(place: Place, say: FileReport) -> Iterator[InputObject]:
    kind, version = place.get("kind"), place.get("apiVersion")
    if kind is None or kind.text is None or version is None or version.text is None:
        say.error(place.mark, 'this is not a Kubernetes object; expected "apiVersion", "kind" and "metadata"')
        return
    named = ObjectKind(group_of(version.text), kind.text)
    if named.kind.endswith("List") and any(True for _ in place.items("items")):
        for item in place.items("items"):
            yield from _read(Place.root(item.node), say)
        return
    name, namespace = place.at("metadata", "name"), place.at("metadata", "namespace")
    if name is None or name.text is None:
        say.error(kind.mark, f"this {kind.text} has no metadata.name; add it, as text")
        return
    _clean(place, named)
    yield InputObject(named, name.text, namespace.text if namespace is not None else None, place)


def _clean(place: Place, kind: ObjectKind) -> None:
    """Take out what a cluster or a controller wrote: it refuses some of it when it comes back."""
    metadata = place.get("metadata")
    came_from_cluster = metadata is not None and metadata.get("uid") is not None
    for key in _OF_CLUSTERS:
        _remove(metadata, key)
    annotations = metadata.get("annotations") if metadata is not None else None
    for key in annotations.names if annotations is not None else ():
        if key.startswith(_OF_CONTROLLERS):
            _remove(annotations, key)
    _remove(place, "status")
    _remove(place.at("spec", "template", "metadata"), "creationTimestamp")
    if kind == ObjectKind("", "Service"):
        _remove(place.at("spec", "selector"), HASH_OF_ARGO)
        address = place.at("spec", "clusterIP")
        if came_from_cluster and address is not None and address.text != "None":
            for key in ("clusterIP", "clusterIPs", "ipFamilies"):
                _remove(place.get("spec"), key)


def _remove(owner: Place | None, key: str) -> None:
    if owner is not None and isinstance(owner.node, MappingNode):
        owner.node.entries.pop(key, None)

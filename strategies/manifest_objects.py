"""Kubernetes objects from manifest text, with their places, and what is wrong with each of them by itself."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass

from strategies.kubernetes_kinds import DEPLOYMENT, SERVICE, ObjectKind, group_of
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote
from strategies.yaml_document import Limits, Mark, Node, ScalarNode, compose, walk
from strategies.yaml_scalars import Dialect

LIMITS = Limits(bytes=4 << 20, values=250_000, depth=200)
_REFUSED = {
    ObjectKind("", "Pod"): "a bare Pod cannot be rolled out or back; put it into a Deployment",
    ObjectKind("apps", "ReplicaSet"): "a bare ReplicaSet cannot be rolled out or back; write a Deployment instead",
}
_GIVEN_BY_CLUSTERS = ("uid", "resourceVersion", "managedFields")
_HASH = "pod-template-hash"
_SECRET = ObjectKind("", "Secret")
# Values of manifests are not repeated: they may be those of a Secret.
_UNHOLDABLE = "this is a number that Kubernetes cannot hold; put it in quotes if it is text"
_LARGEST, _SMALLEST = 2**64 - 1, -(2**63)


@dataclass(frozen=True, slots=True)
class ManifestObject:
    kind: ObjectKind
    api_version: str
    name: str
    place: Place
    """The object in its file."""
    say: FileReport
    """For what there is to say about this object."""
    targets: frozenset[str]

    @property
    def where(self) -> str:
        """`path:line` of its name."""
        mark = self.name_mark
        path, line, _ = self.say.locate(mark)
        return f"{path}:{line}"

    @property
    def name_mark(self) -> Mark:
        name = self.place.at("metadata", "name")
        return name.mark if name is not None else self.place.mark


def read_objects(text: str, say: FileReport, targets: frozenset[str]) -> list[ManifestObject]:
    """All objects of a text of one or more documents, without those that are not objects."""
    composed = compose(text, dialect=Dialect.KUBERNETES, limits=LIMITS, single=False)
    for fault in composed.faults:
        say.error(fault.mark, fault.describe(lambda mark: Mark(*say.locate(mark)[1:])))
    for warning in composed.warnings:
        say.warn(warning.mark, warning.message)
    if not composed.documents and not composed.faults:
        say.warn(Mark(1, 1), "this holds no objects; remove it from the manifests")
    objects: list[ManifestObject] = []
    for document in composed.documents:
        check_numbers(document, say)
        objects.extend(read_document(Place.root(document), say, targets))
    return objects


def check_numbers(document: Node, say: FileReport) -> None:
    for scalar in walk(document):
        match scalar.value:
            case float() as value if not math.isfinite(value) or scalar.text.lstrip("+-").isdigit():
                say.error(scalar.mark, _UNHOLDABLE)
            case int() as value if not _SMALLEST <= value <= _LARGEST:
                say.error(scalar.mark, _UNHOLDABLE)
            case _:
                pass


def read_document(place: Place, say: FileReport, targets: frozenset[str]) -> Iterator[ManifestObject]:
    """The object of one document, or those of a `List`."""
    if not place.is_mapping:
        say.error(place.mark, 'this is not a Kubernetes object; expected "apiVersion", "kind" and "metadata"')
        return
    kind, version = place.get("kind"), place.get("apiVersion")
    if kind is None or kind.text is None or version is None or version.text is None:
        missing = "kind" if kind is None or kind.text is None else "apiVersion"
        say.error(place.mark, f'this object has no "{missing}"; add it, as text')
        return
    named = ObjectKind(group_of(version.text), kind.text)
    if named == ("", "List"):
        for item in place.items("items"):
            yield from read_document(item, say, targets)
        return
    if named in _REFUSED:
        say.error(kind.mark, _REFUSED[named])
        return
    name = _read_name(place, kind, say)
    if name is None:
        return
    _check_metadata(place, say)
    read = ManifestObject(named, version.text, name, place, say, targets)
    if named.kind == "Deployment":
        _check_deployment(read)
    if named == SERVICE:
        _are_texts(place.at("spec", "selector"), say)
    if named == _SECRET:
        _check_secret(place, say)
    yield read


def _check_secret(place: Place, say: FileReport) -> None:
    """Before an API server does, whose errors repeat the value."""
    for name in ("data", "stringData"):
        content = place.get(name)
        if content is not None and not content.is_mapping:
            say.error(content.mark, f"{name} of a Secret has to be a mapping; write a key in front of each value")
        for key, value in place.entries(name):
            is_single = isinstance(value.node, ScalarNode)
            if not is_single or (name == "data" and not value.is_empty and not isinstance(value.value, str)):
                say.error(value.mark, f"{name}.{key} of a Secret has to be text; put it in quotes")
            elif name == "data" and isinstance(value.value, str) and not _is_base64(value.value):
                say.error(value.mark, f"data.{key} of a Secret is not base64; encode it, or write it into stringData as it is")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.splitlines()), validate=True)
    except ValueError:
        return False
    return True


def _read_name(place: Place, kind: Place, say: FileReport) -> str | None:
    name = place.at("metadata", "name")
    if name is not None and name.text is not None:
        return name.text
    if kind.text == "Kustomization":
        say.error(kind.mark, 'this is a kustomize file, not an object; run "kustomize build" and deploy what it prints')
    elif name is not None:
        say.error(name.mark, "metadata.name has to be text; put it in quotes")
    elif place.at("metadata", "generateName") is not None:
        mark = (place.get("metadata") or place).mark_of("generateName")
        say.error(mark, "generateName makes a new object with every release; write metadata.name instead")
    else:
        say.error(kind.mark, f"this {kind.text} has no metadata.name; add it")
    return None


def _check_metadata(place: Place, say: FileReport) -> None:
    metadata = place.get("metadata")
    for field in _GIVEN_BY_CLUSTERS if metadata is not None else ():
        if metadata is not None and (given := metadata.get(field)) is not None:
            message = f"metadata.{field} was given by a cluster, which refuses it when it comes back; remove it"
            say.error(given.key_mark, message)


# --- Deployments ------------------------------------------------------------------------------------------------------


def _check_deployment(item: ManifestObject) -> None:
    place, say = item.place, item.say
    if item.kind.group == "extensions" or (item.kind == DEPLOYMENT and item.api_version != "apps/v1"):
        say.error(place.mark_of("apiVersion"), f"Deployments are apps/v1 today, not {item.api_version}; change it")
        return
    if item.kind != DEPLOYMENT:
        return
    what = f"the Deployment {quote(item.name)}"
    selector = place.at("spec", "selector")
    labels = place.at("spec", "template", "metadata", "labels")
    if place.at("spec", "template", "spec") is None:
        say.error(item.name_mark, f"{what} has no spec.template.spec; add its containers")
    if labels is None or not labels.is_mapping:
        say.error(item.name_mark, f"{what} has no spec.template.metadata.labels; add those that its selector asks for")
        return
    if selector is None or not selector.is_mapping or not selector.names:
        say.error(item.name_mark, f"{what} has no spec.selector; add matchLabels")
        return
    for mapping in (labels, selector.get("matchLabels")):
        if mapping is not None and _HASH in mapping.names:
            say.error(
                mapping.mark_of(_HASH), f"{_HASH} is the label by which Kubernetes tells versions apart; remove it"
            )
    if _are_texts(labels, say) and _are_texts(selector.get("matchLabels"), say):
        _check_selector(what, selector, labels_of(item), say)


def _are_texts(labels: Place | None, say: FileReport) -> bool:
    good = True
    for key, value in labels.entries() if labels is not None else ():
        if not isinstance(value.value, str):
            shown = getattr(value.node, "text", "")
            say.error(
                value.mark,
                f"the label {quote(key)} has to be text; put its value in quotes" + (f', "{shown}"' if shown else ""),
            )
            good = False
    return good


def _check_selector(what: str, selector: Place, labels: dict[str, str], say: FileReport) -> None:
    for key, value in selector.entries("matchLabels"):
        if labels.get(key) != value.value:
            has = f"has {key}={labels[key]}" if key in labels else "does not have it"
            say.error(
                value.mark,
                f"{what} selects {key}={value.value}, but its template {has}; make the template's labels match",
            )
    for expression in selector.items("matchExpressions"):
        if not _holds(expression, labels):
            say.error(
                expression.mark, f"{what} does not select its own template by this expression; make its labels match"
            )


def _holds(expression: Place, labels: dict[str, str]) -> bool:
    """Whether labels satisfy one of `matchExpressions`, as the Kubernetes API defines its operators."""
    key = (expression.get("key") or expression).value
    operator = (expression.get("operator") or expression).value
    values = [item.value for item in expression.items("values")]
    found = labels.get(str(key))
    match operator:
        case "In":
            return found is not None and found in values
        case "NotIn":
            return found is None or found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case _:
            return False


def labels_of(item: ManifestObject) -> dict[str, str]:
    """The labels of the pods of a Deployment."""
    return texts_of(item.place.at("spec", "template", "metadata", "labels"))


def texts_of(mapping: Place | None) -> dict[str, str]:
    found = {key: value.value for key, value in mapping.entries()} if mapping is not None else {}
    return {key: value for key, value in found.items() if isinstance(value, str)}

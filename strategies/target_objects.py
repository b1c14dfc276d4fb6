"""An object of the manifests -> the object that one target gets: in its namespace, and with what it refers to there. Pure.

The target's namespace takes the place of those in the manifests, so whatever names one of these from inside of an object has to
follow: a binding that still named the ServiceAccount of another namespace would give that one the rights.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from strategies.kubernetes_kinds import (
    CLUSTER_SCOPED,
    CUSTOM_RESOURCE_DEFINITION,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    ObjectKind,
)
from strategies.manifest_objects import ManifestObject
from strategies.yaml_document import to_plain

JsonObject = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_BINDINGS = (ObjectKind(_RBAC, "RoleBinding"), ObjectKind(_RBAC, "ClusterRoleBinding"))


class TargetObjects:
    """The objects of one target, each as it is applied there."""

    def __init__(self, objects: Sequence[ManifestObject], namespace: str) -> None:
        self._namespace = namespace
        self._cluster_scoped = _cluster_scoped(objects)
        self._replaced = {found for item in objects if (found := _namespace_of(item))}
        self._shipped = {(item.kind, item.name): _namespace_of(item) for item in objects}

    def to_json(self, item: ManifestObject) -> str:
        content: JsonObject = to_plain(item.place.node)
        if item.kind not in self._cluster_scoped:
            content["metadata"]["namespace"] = self._namespace
        for kind, reference in _references(item.kind, content):
            if self._follows(kind, reference):
                reference["namespace"] = self._namespace
        if item.kind == SECRET:
            _encode_texts(content)
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def _follows(self, kind: ObjectKind, reference: JsonObject) -> bool:
        """What the target ships itself, or what is in a namespace that the target's takes the place of. Others' stay others'."""
        namespace = reference.get("namespace")
        if not namespace or namespace in self._replaced:
            return True
        return self._shipped.get((kind, str(reference.get("name"))), namespace) is None


def _namespace_of(item: ManifestObject) -> str | None:
    place = item.place.at("metadata", "namespace")
    return place.text if place is not None else None


def _references(kind: ObjectKind, content: JsonObject) -> Iterator[tuple[ObjectKind, JsonObject]]:
    """The objects that name another one together with its namespace."""
    if kind in _BINDINGS:
        for subject in _mappings(content.get("subjects")):
            if subject.get("kind") == "ServiceAccount":
                yield SERVICE_ACCOUNT, subject
    for place in (*_mappings(content.get("webhooks")), _mapping(_mapping(_spec(content).get("conversion")).get("webhook"))):
        if service := _mapping(_mapping(place.get("clientConfig")).get("service")):
            yield SERVICE, service
    if kind.kind == "APIService" and (service := _mapping(_spec(content).get("service"))):
        yield SERVICE, service


def _spec(content: JsonObject) -> JsonObject:
    return _mapping(content.get("spec"))


def _encode_texts(secret: JsonObject) -> None:
    """`stringData` as the API server would store it; but then it would not forget a key that is left out later."""
    texts = secret.pop("stringData", None)
    if isinstance(texts, dict):
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}
        secret["data"] = {**_mapping(secret.get("data")), **encoded}


def _cluster_scoped(objects: Iterable[ManifestObject]) -> frozenset[ObjectKind]:
    """The kinds without a namespace: Kubernetes' own, and those that the manifests themselves define so."""
    defined: set[ObjectKind] = set()
    for item in objects:
        if item.kind != CUSTOM_RESOURCE_DEFINITION:
            continue
        group, scope = item.place.at("spec", "group"), item.place.at("spec", "scope")
        kind = item.place.at("spec", "names", "kind")
        if group is not None and kind is not None and scope is not None and scope.text == "Cluster":
            defined.add(ObjectKind(group.text or "", kind.text or ""))
    return CLUSTER_SCOPED | defined


def _mapping(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

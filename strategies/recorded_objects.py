"""An object as a rollout found it in a cluster -> as somebody would have declared it, to be applied again. Pure.

What the API server and the controllers fill in is theirs: it would be refused, or be claimed for a manifest that never said it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

_SERVER_FIELDS = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CONTROLLERS_PREFIX = "deployment.kubernetes.io/"
_OWN_PREFIX = "headgate.dev/"
_MANAGED_BY, _MANAGER = "app.kubernetes.io/managed-by", "headgate"
_ADDRESSES = ("clusterIP", "clusterIPs")
_HEADLESS = "None"


def as_declared(found: JsonObject) -> JsonObject:
    """The object without its status, without what the API server and the controllers write, and without marks of ours."""
    body = {key: value for key, value in found.items() if key not in ("status", "metadata")}
    if body.get("kind") == "Service" and "spec" in body:
        body["spec"] = _without_addresses(body["spec"])
    return {**body, "metadata": _declared_metadata(found["metadata"])}


def _declared_metadata(found: JsonObject) -> JsonObject:
    metadata = {key: value for key, value in found.items() if key not in _SERVER_FIELDS}
    annotations: Mapping[str, str] = metadata.pop("annotations", None) or {}
    labels: dict[str, str] = dict(metadata.pop("labels", None) or {})
    kept = {key: value for key, value in annotations.items() if not _is_written_by_programs(key)}
    if any(key.startswith(_OWN_PREFIX) for key in annotations) and labels.get(_MANAGED_BY) == _MANAGER:
        del labels[_MANAGED_BY]
    return metadata | ({"annotations": kept} if kept else {}) | ({"labels": labels} if labels else {})


def _is_written_by_programs(annotation: str) -> bool:
    return annotation == _LAST_APPLIED or annotation.startswith((_CONTROLLERS_PREFIX, _OWN_PREFIX))


def _without_addresses(spec: JsonObject) -> JsonObject:
    """An address belongs to the object that has it: a Service that was made anew since has another, for good."""
    is_headless = spec.get("clusterIP") == _HEADLESS
    return {key: value for key, value in spec.items() if is_headless or key not in _ADDRESSES}


def is_changed_by(declared: JsonObject, found: JsonObject) -> bool:
    """Whether applying `declared` over the object that was found has changed it: by what it says differently, or by what it
    says no more and an earlier release of ours did (server-side apply removes that)."""
    return not (_says_the_same(declared, found) and all(_is_still_said(fields, declared) for fields in _applied_by_us(found)))


def _says_the_same(declared: object, found: object) -> bool:
    """Whether everything in `declared` is so already; what was found may say more, such as defaults."""
    if isinstance(declared, dict):
        return isinstance(found, dict) and all(
            _says_the_same(value, found.get(key)) for key, value in declared.items() if value is not None
        )
    if isinstance(declared, list):
        return (
            isinstance(found, list)
            and len(found) == len(declared)
            and all(_says_the_same(one, other) for one, other in zip(declared, found, strict=True))
        )
    return declared == found


def _applied_by_us(found: JsonObject) -> list[JsonObject]:
    """The fields, as the API server writes sets of them (`f:name`, `k:{...}`), that a release of ours applied before."""
    entries = found["metadata"].get("managedFields") or []
    return [one["fieldsV1"] for one in entries if one.get("manager") == _MANAGER and one.get("operation") == "Apply"]


def _is_still_said(fields: JsonObject, declared: object) -> bool:
    """Items of a list are counted by `_says_the_same`; here one that still says the field is enough."""
    for key, inner in fields.items():
        if key.startswith("f:"):
            name = key.removeprefix("f:")
            if not isinstance(declared, dict) or name not in declared or not _is_still_said(inner, declared[name]):
                return False
        elif key.startswith("k:") and not (
            isinstance(declared, list) and any(_is_still_said(inner, one) for one in declared)
        ):
            return False
    return True


def parse_recorded(text: str) -> JsonObject:
    found: JsonObject = json.loads(text)
    return found

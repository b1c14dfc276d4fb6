"""The scale subresource: how many replicas a workload should have, in a form that is the same for every kind."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.conform import UnfitValue, conform
from adapters.embedded.errors import BadRequest, Cause, Invalid
from adapters.embedded.json_objects import JsonObject, copy_json, metadata_of, value_at
from adapters.embedded.json_paths import find_by_path, set_by_path
from adapters.embedded.options import WriteOptions
from adapters.embedded.patches import APPLY_PATCH, patch_object
from adapters.embedded.routes import Target, not_found
from adapters.embedded.selectors import tell_label_selector
from adapters.embedded.storage import Storage
from adapters.embedded.writing import Written, decode_body


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a kind keeps what its scale says."""

    desired: str = ".spec.replicas"
    actual: str = ".status.replicas"
    selector: str = ".spec.selector"


def paths_of(storage: Storage, target: Target) -> ScalePaths:
    """The paths of a built-in or of a custom kind."""
    if not target.resource.custom:
        return ScalePaths()
    told = storage.custom_kinds.version_of(target.resource).scale
    return ScalePaths(
        told.get("specReplicasPath", ".spec.replicas"),
        told.get("statusReplicasPath", ".status.replicas"),
        told.get("labelSelectorPath", ""),
    )


def get_scale(storage: Storage, target: Target) -> JsonObject:
    """The scale of an object.

    Raises:
        NotFound: there is no such object.
    """
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    return scale_of(stored.object, paths_of(storage, target))


def scale_of(obj: JsonObject, paths: ScalePaths) -> JsonObject:
    """An object's scale."""
    metadata = metadata_of(obj)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    desired, actual = find_by_path(obj, paths.desired), find_by_path(obj, paths.actual)
    selector = find_by_path(obj, paths.selector) if paths.selector else []
    told = selector[0] if selector and isinstance(selector[0], str) else tell_label_selector(next(iter(selector), None))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": desired[0]} if desired and desired[0] else {},
        "status": {"replicas": actual[0] if actual else 0, **({"selector": told} if told else {})},
    }


def update_scale(storage: Storage, target: Target, body: bytes, media_type: str, options: WriteOptions) -> Written:
    """Scale an object by a whole Scale."""
    scale = decode_body(body, media_type)
    if not isinstance(scale, dict):
        raise BadRequest("the body of the request must be a Scale")
    return _write(storage, target, scale, options)


def patch_scale(storage: Storage, target: Target, body: bytes, media_type: str, options: WriteOptions) -> Written:
    """Scale an object by a patch of its Scale.

    Raises:
        BadRequest: server-side apply, which this cluster does not offer for scales, or a patch that does not fit.
    """
    if media_type == APPLY_PATCH:
        raise BadRequest("server-side apply of a Scale is not offered: apply the object, or patch its scale")
    scale = patch_object(schema_of_kind("Scale"), get_scale(storage, target), body, media_type)
    return _write(storage, target, scale, options)


def _write(storage: Storage, target: Target, scale: JsonObject, options: WriteOptions) -> Written:
    try:
        scale, _ = conform(schema_of_kind("Scale"), scale)
    except UnfitValue as error:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {error.message}') from error
    replicas = value_at(scale, "spec", "replicas") or 0
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        causes = [Cause("FieldValueInvalid", "spec.replicas", why)]
        message = f'Scale.autoscaling "{target.name}" is invalid: spec.replicas: {why}'
        raise Invalid(message, details={"kind": "Scale", "causes": [cause.to_json() for cause in causes]})
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    changed: JsonObject = copy_json(stored.in_version(target.resource.api_version))
    set_by_path(changed, paths_of(storage, target).desired, replicas)
    for name in ("resourceVersion", "uid"):
        changed["metadata"].pop(name, None)
        if metadata_of(scale).get(name):
            changed["metadata"][name] = scale["metadata"][name]
    return Written(
        storage.replace(
            target.resource, changed, subresource="scale", manager=options.manager, dry_run=options.dry_run
        )
    )

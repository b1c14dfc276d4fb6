"""The scale subresource: how many replicas a workload should have, in a form that is the same for every kind."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.conform import UnfitValue, conform
from adapters.embedded.errors import BadRequest, Cause, Invalid
from adapters.embedded.json_objects import JsonObject, format_time, metadata_of, value_at
from adapters.embedded.json_paths import find_by_path, set_by_path
from adapters.embedded.managed_fields import ManagedFields, Manager, Operation, compare_content
from adapters.embedded.options import WriteOptions
from adapters.embedded.patches import APPLY_PATCH, patch_object
from adapters.embedded.routes import Target, not_found
from adapters.embedded.scale_ownership import SCALE_VERSION, managers_of_object, managers_of_scale
from adapters.embedded.selectors import tell_label_selector
from adapters.embedded.server_side_apply import apply
from adapters.embedded.storage import Storage
from adapters.embedded.writing import Written, check_configuration, decode_body, decode_configuration


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
    present = _with_managers(storage, target)
    return _write(storage, target, present, {**scale, "metadata": dict(metadata_of(scale))}, options, None)


def patch_scale(storage: Storage, target: Target, body: bytes, media_type: str, options: WriteOptions) -> Written:
    """Scale an object by a patch of its Scale.

    Raises:
        BadRequest: the patch does not fit.
        ApplyConflict: somebody else owns the number, and the apply is not forced.
    """
    present = _with_managers(storage, target)
    schema = schema_of_kind("Scale")
    if media_type != APPLY_PATCH:
        return _write(storage, target, present, patch_object(schema, present, body, media_type), options, None)
    configuration = check_configuration(decode_configuration(body), SCALE_VERSION, "Scale")
    manager = Manager(options.manager, Operation.APPLY, SCALE_VERSION, "scale")
    now = format_time(storage.now)
    applied = apply(schema, present, configuration, manager, force=options.force, time=now)
    return _write(storage, target, present, applied, options, ManagedFields.of(applied))


def _with_managers(storage: Storage, target: Target) -> JsonObject:
    """An object's scale with those who own it."""
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    paths = paths_of(storage, target)
    scale = scale_of(stored.object, paths)
    managed = managers_of_scale(ManagedFields.of(stored.object), _names(paths.desired))
    scale["metadata"]["managedFields"] = managed.to_json()
    return scale


def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split(".") if name)


def _write(
    storage: Storage,
    target: Target,
    present: JsonObject,
    scale: JsonObject,
    options: WriteOptions,
    managed: ManagedFields | None,
) -> Written:
    """`managed`: the owners of the scale after an apply; None has them follow from what is changed."""
    schema = schema_of_kind("Scale")
    try:
        scale, _ = conform(schema, scale)
    except UnfitValue as error:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {error.message}') from error
    if managed is None:
        writer = Manager(options.manager, Operation.UPDATE, SCALE_VERSION, "scale")
        made = compare_content(schema, {"spec": present["spec"]}, {"spec": scale.get("spec") or {}})
        managed = ManagedFields.of(present)
        managed.record_update(writer, made, format_time(storage.now))
    replicas = value_at(scale, "spec", "replicas") or 0
    _check_replicas(target, replicas)
    return _store(storage, target, scale, replicas, managed, options)


def _check_replicas(target: Target, replicas: int) -> None:
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        causes = [Cause("FieldValueInvalid", "spec.replicas", why).to_json()]
        details = {"name": target.name, "group": "autoscaling", "kind": "Scale", "causes": causes}
        raise Invalid(f'Scale.autoscaling "{target.name}" is invalid: spec.replicas: {why}', details=details)


def _store(
    storage: Storage, target: Target, scale: JsonObject, replicas: int, managed: ManagedFields, options: WriteOptions
) -> Written:
    resource = target.resource
    changed = storage.get(resource, target.namespace, target.name)
    path = paths_of(storage, target).desired
    set_by_path(changed, path, replicas)
    for name in ("resourceVersion", "uid"):
        changed["metadata"].pop(name, None)
        if metadata_of(scale).get(name):
            changed["metadata"][name] = scale["metadata"][name]
    owners = managers_of_object(ManagedFields.of(changed), managed, _names(path), resource.api_version)
    changed["metadata"]["managedFields"] = owners.to_json()
    return Written(
        storage.replace(resource, changed, subresource="scale", manager=None, dry_run=options.dry_run)
    )

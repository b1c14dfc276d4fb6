"""Create, update, patch, apply and delete, as requests ask for them: bodies decoded and checked, then stored.

It knows the storage and the formats of bodies; it knows no HTTP beyond media types and status codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from adapters.embedded import protobuf
from adapters.embedded import resources as known
from adapters.embedded.conform import UnfitValue
from adapters.embedded.errors import ApiError, BadRequest, Cause, Conflict, Invalid, UnclassifiedError, UnsupportedMediaType
from adapters.embedded.history import StoredObject
from adapters.embedded.json_objects import JsonObject, decode_json, encode_json, format_time, metadata_of, name_of, namespace_of
from adapters.embedded.managed_fields import Manager, Operation
from adapters.embedded.options import WriteOptions
from adapters.embedded.patches import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, patch_object
from adapters.embedded.routes import Target, not_found
from adapters.embedded.server_side_apply import apply
from adapters.embedded.storage import Storage
from adapters.embedded.yaml_bodies import decode_yaml

_CREATED_BY_UPDATE = frozenset({
    known.ENDPOINTS.storage_key,
    known.EVENTS.storage_key,
    known.LEASES.storage_key,
    known.LIMIT_RANGES.storage_key,
    known.SERVICE_ACCOUNTS.storage_key,
    known.ROLES.storage_key,
    known.ROLE_BINDINGS.storage_key,
    known.CLUSTER_ROLES.storage_key,
    known.CLUSTER_ROLE_BINDINGS.storage_key,
})


@dataclass(frozen=True, slots=True)
class Written:
    """What a write led to, and what its sender should be warned of."""

    stored: StoredObject
    created: bool = False
    warnings: list[str] = field(default_factory=list)


def decode_body(body: bytes, media_type: str) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON or YAML body as plain values.

    Raises:
        UnsupportedMediaType: it is in another format.
        BadRequest: it cannot be decoded.
    """
    if media_type in {"", "application/json"}:
        try:
            return decode_json(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    if media_type in {"application/yaml", "text/yaml", APPLY_PATCH}:
        return _decode_yaml(body)
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode_protobuf(body)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def _decode_yaml(body: bytes) -> Any:  # noqa: ANN401
    if body[:1] == b"{":
        try:
            return decode_json(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # YAML's flow mappings look like JSON and may be looser
    try:
        return decode_yaml(body)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"error decoding patch: {error}") from error


def decode_object(target: Target, body: bytes, media_type: str) -> JsonObject:
    """The object in a body, checked against what the path says it is.

    Raises:
        BadRequest: it is no object, or of another kind, version, namespace or name than the path names.
    """
    obj = decode_body(body, media_type)
    if not isinstance(obj, dict):
        raise BadRequest("the body of the request must be an object")
    resource = target.resource
    for name in ("kind", "apiVersion"):
        if resource.custom and not obj.get(name):
            raise BadRequest(f"Object '{name[0].upper()}{name[1:]}' is missing in the body of the request")
    api_version, kind = obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind
    if kind != resource.kind:
        raise BadRequest(
            f'{kind} in version "{api_version}" cannot be handled as a {resource.kind}: '
            f"the path is that of {resource.qualified_name}"
        )
    if api_version != resource.api_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    return _placed(target, obj)


def _placed(target: Target, obj: JsonObject) -> JsonObject:
    """The object with the namespace of the path; its own must not be another one."""
    metadata = obj.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    if target.resource.namespaced:
        if (metadata.get("namespace") or target.namespace) != target.namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = target.namespace
    return {**obj, "metadata": metadata}


def _check_name(target: Target, obj: JsonObject) -> None:
    if name_of(obj) and name_of(obj) != target.name:
        raise BadRequest(
            f"the name of the object ({name_of(obj)}) does not match the name on the URL ({target.name})"
        )


def create(storage: Storage, target: Target, obj: JsonObject, options: WriteOptions) -> Written:
    """Store a new object."""
    if metadata_of(obj).get("resourceVersion"):
        raise UnclassifiedError("resourceVersion should not be set on objects to be created")
    unknown = _UnknownFields(target, options)
    stored = _typed(
        target,
        lambda: storage.insert(
            target.resource, obj, manager=options.manager, dry_run=options.dry_run, unknown=unknown
        ),
    )
    return Written(stored, True, unknown.warnings)


def update(storage: Storage, target: Target, obj: JsonObject, options: WriteOptions) -> Written:
    """Replace an object, or its status."""
    _check_name(target, obj)
    metadata = metadata_of(obj)
    if not metadata.get("name"):
        metadata["name"] = target.name
    resource = target.resource
    if storage.find_stored(resource, target.namespace, target.name) is None:
        if resource.storage_key in _CREATED_BY_UPDATE and not target.subresource:
            return create(storage, target, obj, options)
        raise not_found(target)
    if resource.custom and not metadata.get("resourceVersion"):
        why = "Invalid value: 0: must be specified for an update"
        raise Invalid.of(resource, target.name, [Cause("FieldValueInvalid", "metadata.resourceVersion", why)])
    return _replace(storage, target, obj, options, options.manager, is_patch=False)


def _replace(
    storage: Storage, target: Target, obj: JsonObject, options: WriteOptions, manager: str | None, *, is_patch: bool
) -> Written:
    unknown = _UnknownFields(target, options, patched=obj if is_patch else None)
    stored = _typed(
        target,
        lambda: storage.replace(
            target.resource,
            obj,
            subresource=target.subresource,
            manager=manager,
            dry_run=options.dry_run,
            unknown=unknown,
        ),
    )
    return Written(stored, warnings=unknown.warnings)


def patch(storage: Storage, target: Target, body: bytes, media_type: str, options: WriteOptions) -> Written:
    """Change an object, or its status, by a patch in one of the formats that fit its kind.

    Raises:
        UnsupportedMediaType: the format does not fit.
    """
    _check_patch_type(target, media_type)
    if media_type == APPLY_PATCH:
        return _apply(storage, target, decode_body(body, media_type), options)
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    schema = storage.schema_of(target.resource)
    patched = patch_object(schema, stored.in_version(target.resource.api_version), body, media_type)
    _check_identity(target, patched)
    return _replace(storage, target, patched, options, options.manager, is_patch=True)


def _check_patch_type(target: Target, media_type: str) -> None:
    fitting = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if not target.resource.custom:
        fitting.insert(2, STRATEGIC_MERGE_PATCH)
    if media_type not in fitting:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(fitting)
        )


def _check_identity(target: Target, obj: JsonObject) -> None:
    """A patch must not make another object of an object."""
    _check_name(target, obj)
    if target.resource.namespaced and namespace_of(obj) != target.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if (obj.get("apiVersion"), obj.get("kind")) != (target.resource.api_version, target.resource.kind):
        raise BadRequest(
            f"a patch must not change apiVersion and kind of {target.resource.api_version} {target.resource.kind}"
        )


def _apply(storage: Storage, target: Target, configuration: object, options: WriteOptions) -> Written:
    if not isinstance(configuration, dict):
        raise BadRequest("error decoding patch: the configuration to apply must be an object")
    resource = target.resource
    if configuration.get("apiVersion") != resource.api_version:
        raise BadRequest(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{configuration.get('apiVersion')}, expected: {resource.api_version}"
        )
    configuration = _placed(target, _applicable_part(target, configuration))
    _check_name(target, configuration)
    configuration["metadata"]["name"] = target.name
    _check_declared(storage, target, configuration)
    stored = storage.find_stored(resource, target.namespace, target.name)
    if stored is None and target.subresource:
        raise not_found(target)
    live = stored.in_version(resource.api_version) if stored else storage.blank(resource)
    manager = Manager(options.manager, Operation.APPLY, resource.api_version, target.subresource)
    now = format_time(storage.now)
    merged = apply(storage.schema_of(resource), live, configuration, manager, force=options.force, time=now)
    if stored is not None:
        return _replace(storage, target, merged, options, None, is_patch=True)
    for precondition in ("uid", "resourceVersion"):
        if metadata_of(configuration).get(precondition):
            raise Conflict.of(resource, target.name, "the applied object names a uid or version, and no object exists")
    unknown = _UnknownFields(target, options)
    created = _typed(
        target, lambda: storage.insert(resource, merged, manager=None, dry_run=options.dry_run, unknown=unknown)
    )
    return Written(created, True, unknown.warnings)


def _applicable_part(target: Target, configuration: JsonObject) -> JsonObject:
    """The part of a configuration that its path may change: the status, or everything but the status."""
    has_status = "status" in target.resource.subresources
    wanted = {"apiVersion", "kind", "metadata", "status"} if target.subresource == "status" else set(configuration)
    if has_status and target.subresource != "status":
        wanted.discard("status")
    return {name: value for name, value in configuration.items() if name in wanted}


def _check_declared(storage: Storage, target: Target, configuration: JsonObject) -> None:
    """What is applied must be of the kind's type; the real server answers 500 where it is not."""
    try:
        unknown = storage.unknown_fields(target.resource, configuration)
        fault = f".{unknown[0]}: field not declared in schema" if unknown else ""
    except UnfitValue as error:
        fault = error.message
    if fault:
        place = "/".join(part for part in (target.namespace, target.name) if part)
        resource = target.resource
        raise UnclassifiedError(
            f"failed to create typed patch object ({place}; {resource.api_version}, Kind={resource.kind}): {fault}"
        )


class _UnknownFields:
    """What happens to fields that a kind does not have: refused, warned of or ignored, as the request says."""

    def __init__(self, target: Target, options: WriteOptions, *, patched: JsonObject | None = None) -> None:
        self._target = target
        self._validation = options.field_validation
        self._patched = patched
        self.warnings: list[str] = []

    def __call__(self, paths: list[str]) -> None:
        told = [f'unknown field "{path}"' for path in paths]
        if self._validation == "Warn":
            self.warnings.extend(told)
        elif self._validation == "Strict":
            raise self._refusal("strict decoding error: " + ", ".join(told))

    def _refusal(self, why: str) -> ApiError:
        if self._patched is not None:
            shown = encode_json(encode_json(self._patched).decode()).decode()
            cause = Cause("FieldValueInvalid", "patch", f"Invalid value: {shown}: {why}")
            return Invalid(f' "" is invalid: patch: {cause.message}', details={"causes": [cause.to_json()]})
        return _unfit(self._target, why)


def _typed(target: Target, write: Callable[[], StoredObject]) -> StoredObject:
    """Do a write; a value of the wrong type is told with the kind that it was meant for."""
    try:
        return write()
    except UnfitValue as error:
        raise _unfit(target, error.message) from error


def _unfit(target: Target, why: str) -> BadRequest:
    resource = target.resource
    return BadRequest(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'
    )


def media_type_of(headers: Mapping[str, str]) -> str:
    """The media type of a body, without parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()

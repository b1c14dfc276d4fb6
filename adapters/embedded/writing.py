"""Create, update, patch, apply and delete, as requests ask for them: bodies decoded and checked, then stored.

It knows the storage and the formats of bodies; it knows no HTTP beyond media types and status codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from adapters.embedded import protobuf
from adapters.embedded import resources as known
from adapters.embedded.conform import UnfitValue
from adapters.embedded.decoding import NotJson, decode_text, name_in_go, show_in_go
from adapters.embedded.errors import (
    ApiError,
    BadRequest,
    Cause,
    Conflict,
    Invalid,
    UnclassifiedError,
    UnsupportedMediaType,
    describe,
)
from adapters.embedded.history import StoredObject
from adapters.embedded.json_objects import JsonObject, encode_json, format_time, metadata_of, name_of, namespace_of
from adapters.embedded.lifecycle import check_uid
from adapters.embedded.managed_fields import Manager, Operation
from adapters.embedded.object_warnings import warnings_of
from adapters.embedded.options import WriteOptions
from adapters.embedded.patches import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, patch_object
from adapters.embedded.resources import Registry, Resource
from adapters.embedded.routes import Target, not_found
from adapters.embedded.server_side_apply import apply
from adapters.embedded.storage import Storage
from adapters.embedded.yaml_bodies import decode_yaml

_SHOWN_BYTES = 30
"""How much of a body that is no object a message shows."""

_CREATED_BY_UPDATE = frozenset({
    known.ENDPOINTS.storage_key,
    known.EVENTS.storage_key,
    known.LEASES.storage_key,
    known.LIMIT_RANGES.storage_key,
    known.SERVICES.storage_key,
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
            return decode_text(body)
        except NotJson as error:
            raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    if media_type in {"application/yaml", "text/yaml", APPLY_PATCH}:
        return _decode_yaml(body)
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode_protobuf(body)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )


def decode_mapping(body: bytes, media_type: str) -> JsonObject:
    """A body that must be a mapping.

    Raises:
        BadRequest: it is none.
    """
    found = decode_body(body, media_type)
    if isinstance(found, dict):
        return found
    wanted = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
    told = f"json: cannot unmarshal {name_in_go(found)} into Go value of type {wanted}"
    raise BadRequest(f"couldn't get version/kind; json parse error: {told}")


def decode_configuration(body: bytes) -> Any:  # noqa: ANN401
    """What somebody applies, in YAML or JSON; an empty body is an empty object.

    Raises:
        BadRequest: it cannot be decoded.
    """
    found = _decode_yaml(body)
    return {} if found is None else found


def _decode_yaml(body: bytes) -> Any:  # noqa: ANN401
    if body[:1] == b"{":
        try:
            return decode_text(body)
        except NotJson:
            pass  # YAML's flow mappings look like JSON and may be looser
    try:
        return decode_yaml(body)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = str(error.problem) if isinstance(error, yaml.MarkedYAMLError) else str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None and error.problem_mark.line:
            told = f"line {error.problem_mark.line}: {told}"
        raise BadRequest(f"error decoding YAML: error converting YAML to JSON: yaml: {told}") from error


def decode_object(registry: Registry, target: Target, body: bytes, media_type: str) -> JsonObject:
    """The object in a body, checked against what the path says it is.

    Raises:
        BadRequest: it is no object, or of another kind, version, namespace or name than the path names.
    """
    resource = target.resource
    try:
        obj = decode_mapping(body, media_type)
    except BadRequest as error:
        told = f"{error.message} ({_summary(body)})"
        raise BadRequest(f"the object provided is unrecognized (must be of type {resource.kind}): {told}") from error
    if resource.custom:
        _check_custom_kind(resource, obj, body)
    given = obj.get("apiVersion") or resource.api_version, obj.get("kind") or resource.kind
    if given != (resource.api_version, resource.kind):
        raise _of_another_kind(registry, resource, *given)
    return _placed(target, obj)


def _check_custom_kind(resource: Resource, obj: JsonObject, body: bytes) -> None:
    if not obj.get("kind"):
        told = f"Object 'Kind' is missing in '{body.decode('utf-8', 'replace')}' ({_summary(body)})"
        raise BadRequest(f"the object provided is unrecognized (must be of type {resource.kind}): {told}")
    if obj.get("apiVersion") != resource.api_version:
        given, wanted = obj.get("apiVersion") or "", resource.api_version
        raise BadRequest(f"the API version in the data ({given}) does not match the expected API version ({wanted})")
    if obj["kind"] != resource.kind:
        raise _not_of_kind(resource, obj, "kind", resource.kind)


def _not_of_kind(resource: Resource, obj: JsonObject, field: str, wanted: str) -> Invalid:
    """The error for a custom object of another kind or version, which is told under the kind that it says it is."""
    cause = Cause("FieldValueInvalid", field, f'Invalid value: "{obj.get(field)}": must be {wanted}')
    kind = str(obj.get("kind") or resource.kind)
    message = f'{kind}.{resource.group} "{name_of(obj)}" is invalid: {field}: {cause.message}'
    details = {"name": name_of(obj), "group": resource.group, "kind": kind, "causes": [cause.to_json()]}
    return Invalid(message, details=details)


def _summary(body: bytes) -> str:
    """The beginning of a body that is no object, as messages show it."""
    if not body:
        return "<empty>"
    more = " ..." if len(body) > _SHOWN_BYTES else ""
    shown = body[:_SHOWN_BYTES]
    return (shown.decode("utf-8", "replace") if body.startswith(b"{") else shown.hex()) + more


def _of_another_kind(registry: Registry, resource: Resource, api_version: str, kind: str) -> BadRequest:
    version = api_version.rpartition("/")[2]
    known = any(one.api_version == api_version and one.kind == kind for one in registry.kinds())
    if known and kind != resource.kind:
        internal = resource.group.partition(".")[0] or "core"
        why = f"converting ({version}.{kind}) to ({internal}.{resource.kind}): unknown conversion"
    elif known:
        why = f"the API version in the data ({api_version}) does not match the expected API version ({resource.api_version})"
        return BadRequest(why)
    else:
        why = _unregistered(api_version, kind)
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {resource.kind}: {why}')


def _unregistered(api_version: str, kind: str) -> str:
    return f'no kind "{kind}" is registered for version "{api_version}" in scheme "pkg/runtime/scheme.go:111"'


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
    if not name_of(obj):
        why = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        raise BadRequest(why)
    if name_of(obj) != target.name:
        raise BadRequest(
            f"the name of the object ({name_of(obj)}) does not match the name on the URL ({target.name})"
        )


def create(
    storage: Storage, target: Target, obj: JsonObject, options: WriteOptions, repeated: list[str] | None = None
) -> Written:
    """Store a new object; `repeated`: the fields that its body gave more than once."""
    if str(metadata_of(obj).get("resourceVersion") or "0").lstrip("0").isdigit():
        raise UnclassifiedError("resourceVersion should not be set on objects to be created")
    unknown = _UnknownFields(target, options)
    unknown.refuse([f'duplicate field "{path}"' for path in repeated or ()])
    stored = _typed(
        target,
        unknown,
        lambda: storage.insert(
            target.resource, obj, manager=options.manager, dry_run=options.dry_run, unknown=unknown
        ),
    )
    return Written(stored, True, unknown.warnings + warnings_of(target.resource, stored.object, created=True))


def update(
    storage: Storage, target: Target, obj: JsonObject, options: WriteOptions, repeated: list[str] | None = None
) -> Written:
    """Replace an object, or its status; `repeated`: the fields that its body gave more than once."""
    _check_name(target, obj)
    metadata = metadata_of(obj)
    resource = target.resource
    stored = storage.find_stored(resource, target.namespace, target.name)
    if stored is None:
        if resource.storage_key in _CREATED_BY_UPDATE and not target.subresource:
            if metadata.get("resourceVersion") not in {None, "", "0"}:
                raise Conflict.of(resource, target.name)
            return create(storage, target, obj, options, repeated)
        raise not_found(target)
    check_uid(resource, stored.object, metadata.get("uid"))
    if resource.custom and metadata.get("resourceVersion") in {None, "", "0"}:
        raise _without_version(resource, target.name)
    return _replace(storage, target, obj, options, options.manager, "", repeated or [])


def _without_version(resource: Resource, name: str) -> Invalid:
    """The error for an update that must name a version; the real server writes the plural where others have the kind."""
    cause = Cause("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
    message = f'{resource.qualified_name} "{name}" is invalid: {cause.field}: {cause.message}'
    return Invalid(message, details={**describe(resource, name), "causes": [cause.to_json()]})


def _replace(
    storage: Storage,
    target: Target,
    obj: JsonObject,
    options: WriteOptions,
    manager: str | None,
    patched: str,
    repeated: Sequence[str] = (),
) -> Written:
    """`patched`: what a patch has led to, as messages show it; empty for an update."""
    unknown = _UnknownFields(target, options, patched)
    unknown.refuse([f'duplicate field "{path}"' for path in repeated])
    former = storage.peek(target.resource, target.namespace, target.name)
    stored = _typed(
        target,
        unknown,
        lambda: storage.replace(
            target.resource,
            obj,
            subresource=target.subresource,
            manager=manager,
            dry_run=options.dry_run,
            unknown=unknown,
        ),
    )
    warnings = unknown.warnings
    if former is None or metadata_of(former).get("generation") != metadata_of(stored.object).get("generation"):
        warnings = warnings + warnings_of(target.resource, stored.object, created=False)
    return Written(stored, warnings=warnings)


def patch(storage: Storage, target: Target, body: bytes, media_type: str, options: WriteOptions) -> Written:
    """Change an object, or its status, by a patch in one of the formats that fit its kind.

    Raises:
        UnsupportedMediaType: the format does not fit.
    """
    _check_patch_type(target, media_type)
    if media_type == APPLY_PATCH:
        return _apply(storage, target, decode_configuration(body), options)
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    schema = storage.schema_of(target.resource)
    resource = target.resource
    patched = patch_object(schema, stored.in_version(resource.api_version), body, media_type)
    shown = encode_json(patched).decode()
    if media_type == STRATEGIC_MERGE_PATCH:
        shown = show_in_go(decode_text(body))
    api_version, kind = patched.get("apiVersion") or resource.api_version, patched.get("kind") or resource.kind
    if resource.custom:
        for field, wanted in (("kind", resource.kind), ("apiVersion", resource.api_version)):
            if patched.get(field) != wanted:
                raise _not_of_kind(resource, patched, field, wanted)
    elif (api_version, kind) != (resource.api_version, resource.kind):
        raise _unfit_patch(shown, _unregistered(api_version, kind))
    _check_name(target, patched)
    if resource.namespaced and namespace_of(patched) != target.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return _replace(storage, target, patched, options, options.manager, shown)


def _check_patch_type(target: Target, media_type: str) -> None:
    fitting = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if not target.resource.custom:
        fitting.insert(2, STRATEGIC_MERGE_PATCH)
    if media_type == STRATEGIC_MERGE_PATCH and target.resource.custom:
        told = "the body of the request was in an unknown format - accepted media types include: "
        raise UnsupportedMediaType(told + ", ".join(fitting))
    if media_type not in fitting:
        raise UnsupportedMediaType("415: Unsupported Media Type", details={})


def _apply(storage: Storage, target: Target, configuration: object, options: WriteOptions) -> Written:
    resource = target.resource
    configuration = check_configuration(configuration, resource.api_version, resource.kind)
    stored = storage.find_stored(resource, target.namespace, target.name)
    if stored is None and target.subresource:
        raise not_found(target)
    live = stored.in_version(resource.api_version) if stored else storage.blank(resource)
    manager = Manager(options.manager, Operation.APPLY, resource.api_version, target.subresource)
    now = format_time(storage.now)
    schema, applied = storage.schema_of(resource), _applicable_part(target, configuration)
    merged = apply(schema, live, applied, manager, force=options.force, time=now)
    metadata = metadata_of(merged)
    if stored is None and metadata.get("uid"):
        given = f"the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise Conflict.of(resource, target.name, f"uid mismatch: {given}")
    merged = _placed(target, merged)
    _check_name(target, merged)
    if stored is not None:
        return _replace(storage, target, merged, options, None, encode_json(merged).decode())
    unknown = _UnknownFields(target, options)
    created = _typed(
        target, unknown, lambda: storage.insert(resource, merged, manager=None, dry_run=options.dry_run, unknown=unknown)
    )
    return Written(created, True, unknown.warnings + warnings_of(resource, created.object, created=True))


def _applicable_part(target: Target, configuration: JsonObject) -> JsonObject:
    """The part of a configuration that its path may change: the status, or everything but the status."""
    has_status = "status" in target.resource.subresources
    wanted = {"apiVersion", "kind", "metadata", "status"} if target.subresource == "status" else set(configuration)
    if has_status and target.subresource != "status":
        wanted.discard("status")
    return {name: value for name, value in configuration.items() if name in wanted}


def check_configuration(configuration: object, api_version: str, kind: str) -> JsonObject:
    """What somebody applies, which must be an object of the kind that the path says.

    Raises:
        BadRequest: it is not.
    """
    if not isinstance(configuration, dict):
        wanted = "map[string]interface {}"
        told = f"json: cannot unmarshal {name_in_go(configuration)} into Go value of type {wanted}"
        raise BadRequest(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {told}")
    given = configuration.get("apiVersion") or "", configuration.get("kind") or ""
    if given != (api_version, kind):
        group = "" if "/" in given[0] else "/"
        raise BadRequest(f"invalid object type: {group}{given[0]}, Kind={given[1]}")
    return configuration


class _UnknownFields:
    """What happens to fields that a kind does not have: refused, warned of or ignored, as the request says."""

    def __init__(self, target: Target, options: WriteOptions, patched: str = "") -> None:
        self._target = target
        self._validation = options.field_validation
        self.patched = patched
        self.warnings: list[str] = []

    def __call__(self, paths: list[str]) -> None:
        self.refuse([f'unknown field "{path}"' for path in paths])

    def refuse(self, told: list[str]) -> None:
        """Refuse what is told, warn of it, or pass over it."""
        if not told:
            return
        if self._validation == "Warn":
            self.warnings.extend(told)
        elif self._validation == "Strict":
            raise self._refusal("strict decoding error: " + ", ".join(told))

    def _refusal(self, why: str) -> ApiError:
        return _unfit_patch(self.patched, why) if self.patched else _unfit(self._target, why)


def _typed(target: Target, unknown: _UnknownFields, write: Callable[[], StoredObject]) -> StoredObject:
    """Do a write; a value of the wrong type is told with the kind that it was meant for, or with the patched object."""
    patched = unknown.patched
    try:
        return write()
    except UnfitValue as error:
        if not patched:
            raise _unfit(target, error.message) from error
        raise _unfit_patch(patched, error.merged_message if patched.startswith("map[") else error.message) from error
    except ApiError as error:
        error.warnings = tuple(unknown.warnings)
        raise


def _unfit_patch(patched: str, why: str) -> Invalid:
    cause = Cause("FieldValueInvalid", "patch", f"Invalid value: {encode_json(patched).decode()}: {why}")
    return Invalid(f' "" is invalid: patch: {cause.message}', details={"causes": [cause.to_json()]})


def _unfit(target: Target, why: str) -> BadRequest:
    resource = target.resource
    return BadRequest(
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'
    )


def media_type_of(headers: Mapping[str, str]) -> str:
    """The media type of a body, without parameters."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()

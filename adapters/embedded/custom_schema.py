"""The structural schema of a custom kind at work: pruning, defaults, and the shape that merging and applying need.

A structural schema is OpenAPI v3 with the `x-kubernetes-*` extensions, as CustomResourceDefinitions carry it. The checks
of values are in `custom_validation`; nothing here knows objects as wholes.
"""

from __future__ import annotations

from typing import Any

from adapters.embedded.json_objects import JsonObject, copy_json
from adapters.embedded.schema import ANY, FieldSchema, Presence, Schema, Shape

PRESERVE_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
EMBEDDED_RESOURCE = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"

_OBJECT_FIELDS = ("apiVersion", "kind", "metadata")


def merge_schema(json_schema: JsonObject | None, metadata: Schema) -> Schema:
    """The shape of objects of a custom kind, for merging and applying; without a schema, whatever they are."""
    shape = _shape(json_schema) if json_schema else Schema(Shape.STRUCT, element=ANY)
    fields = dict(shape.fields)
    text = Schema(Shape.SCALAR, scalar="string")
    fields["apiVersion"] = fields["kind"] = FieldSchema(text)
    fields["metadata"] = FieldSchema(metadata, Presence.ALWAYS)
    return Schema(Shape.STRUCT, fields=fields, element=shape.element)


def _shape(json_schema: JsonObject) -> Schema:
    kind = json_schema.get("type")
    if kind == "array":
        return _list_shape(json_schema)
    if kind == "object" or "properties" in json_schema:
        return _mapping_shape(json_schema)
    if kind is None and not json_schema.get(INT_OR_STRING):
        return ANY
    return Schema(Shape.SCALAR, scalar=str(kind or "intstr"))


def _list_shape(json_schema: JsonObject) -> Schema:
    element = _shape(json_schema.get("items") or {})
    how = json_schema.get(LIST_TYPE, "atomic")
    keys = tuple(json_schema.get(LIST_MAP_KEYS) or ()) if how == "map" else ()
    return Schema(Shape.LIST, element=element, keys=keys, is_set=how == "set", atomic=how == "atomic")


def _mapping_shape(json_schema: JsonObject) -> Schema:
    atomic = json_schema.get(MAP_TYPE) == "atomic"
    additional = json_schema.get("additionalProperties")
    properties = json_schema.get("properties") or {}
    if isinstance(additional, dict) and not properties:
        return Schema(Shape.MAP, element=_shape(additional), atomic=atomic)
    fields = {
        name: FieldSchema(_shape(child), Presence.OPTIONAL, child.get("default")) for name, child in properties.items()
    }
    open_ended = bool(json_schema.get(PRESERVE_UNKNOWN)) or additional is True or not properties
    return Schema(Shape.STRUCT, fields=fields, element=ANY if open_ended else None, atomic=atomic)


def prune(json_schema: JsonObject, obj: JsonObject, unknown: list[str]) -> None:
    """Take out of an object the fields that its schema does not know, noting their paths; in place."""
    kept = {name: obj.pop(name) for name in _OBJECT_FIELDS if name in obj}
    _prune_mapping(json_schema, obj, "", unknown)
    rest = dict(obj)
    obj.clear()
    obj.update(kept)
    obj.update(rest)


def _prune_value(json_schema: JsonObject, value: Any, path: str, unknown: list[str]) -> None:  # noqa: ANN401
    if isinstance(value, dict):
        _prune_mapping(json_schema, value, path, unknown)
    elif isinstance(value, list):
        items = json_schema.get("items") or {}
        for index, item in enumerate(value):
            _prune_value(items, item, f"{path}[{index}]", unknown)


def _prune_mapping(json_schema: JsonObject, value: JsonObject, path: str, unknown: list[str]) -> None:
    properties = json_schema.get("properties") or {}
    additional = json_schema.get("additionalProperties")
    keeps_all = bool(json_schema.get(PRESERVE_UNKNOWN)) or additional is True
    embedded = _OBJECT_FIELDS if json_schema.get(EMBEDDED_RESOURCE) else ()
    for name in list(value):
        below = f"{path}.{name}" if path else name
        if name in properties:
            _prune_value(properties[name], value[name], below, unknown)
        elif isinstance(additional, dict):
            _prune_value(additional, value[name], below, unknown)
        elif not keeps_all and name not in embedded:
            unknown.append(below)
            del value[name]


def fill_defaults(json_schema: JsonObject, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Put in the defaults where an object has nothing, and take out nulls that may not be null; in place."""
    if isinstance(value, dict):
        for name, child in (json_schema.get("properties") or {}).items():
            if name in value and value[name] is None and not child.get("nullable"):
                del value[name]
            if "default" in child and name not in value:
                value[name] = copy_json(child["default"])
            if name in value:
                fill_defaults(child, value[name])
        additional = json_schema.get("additionalProperties")
        if isinstance(additional, dict):
            for item in value.values():
                fill_defaults(additional, item)
    elif isinstance(value, list):
        for item in value:
            fill_defaults(json_schema.get("items") or {}, item)

"""Bringing an object of a built-in kind into the form in which a server that knows its type holds it.

That server decodes into typed structures: unknown fields vanish (or are refused), a value of the wrong type is refused,
null and empty values vanish where the type says so, and some fields are always there. It knows no defaults beyond that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from adapters.embedded.errors import BadRequest
from adapters.embedded.json_objects import JsonObject, copy_json
from adapters.embedded.schema import FieldSchema, Presence, Schema, Shape

Path: TypeAlias = "tuple[Path, str] | None"
"""A path as nested pairs, so that a step down costs one small tuple; None is the root."""

_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_NAMES_IN_GO = {"string": "string", "int32": "int32", "int64": "int64", "float": "float64", "bool": "bool"}


class UnfitValue(BadRequest):
    """400: a value has the wrong type."""


def conform(schema: Schema, obj: JsonObject) -> tuple[JsonObject, list[str]]:
    """A deep copy of the object as its type holds it, and the paths of the unknown fields that it lost.

    Raises:
        UnfitValue: a value has the wrong type.
    """
    unknown: list[str] = []
    return _conform_struct(schema, obj, None, unknown), unknown


def _conform(schema: Schema, value: Any, path: Path, unknown: list[str]) -> Any:  # noqa: ANN401
    shape = schema.shape
    if shape is Shape.SCALAR:
        return _conform_scalar(schema.scalar, value, path)
    if shape is Shape.ANY:
        return copy_json(value)
    if shape is Shape.LIST:
        if not isinstance(value, list):
            raise _unfit(value, "[]" + _describe(schema.element), path)
        element = schema.element
        assert element is not None  # lists always describe their items
        return [_conform(element, item, (path, f"[{i}]"), unknown) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise _unfit(value, _describe(schema), path)
    if shape is Shape.MAP:
        element = schema.element
        assert element is not None  # mappings always describe their values
        return {key: _conform(element, item, (path, key), unknown) for key, item in value.items() if item is not None}
    return _conform_struct(schema, value, path, unknown)


def _conform_struct(schema: Schema, value: Mapping[str, Any], path: Path, unknown: list[str]) -> JsonObject:
    result: JsonObject = {}
    fields = schema.fields
    for key, item in value.items():
        known = fields.get(key)
        if known is None:
            unknown.append(tell_path((path, key)))
        elif item is not None:
            fitting = _conform(known.schema, item, (path, key), unknown)
            if fitting or _is_kept_when_empty(known):
                result[key] = fitting
    for key in _always_there(schema):
        if key not in result:
            result[key] = _zero(fields[key].schema)
    return result


@cache
def _always_there(schema: Schema) -> tuple[str, ...]:
    return tuple(name for name, known in schema.fields.items() if _is_always_there(known))


def _is_kept_when_empty(known: FieldSchema) -> bool:
    return known.presence is not Presence.NOT_EMPTY or known.schema.shape in {Shape.STRUCT, Shape.ANY}


def _is_always_there(known: FieldSchema) -> bool:
    """Structures that are values and not pointers are given out even when they are empty."""
    if known.presence is Presence.ALWAYS:
        return known.schema.scalar in _ZEROS or known.schema.shape is Shape.STRUCT
    return known.presence is Presence.NOT_EMPTY and known.schema.shape is Shape.STRUCT


_ZEROS: Mapping[str, object] = {"string": "", "int32": 0, "int64": 0, "float": 0, "bool": False}


def _zero(schema: Schema) -> Any:  # noqa: ANN401
    if schema.shape is Shape.STRUCT:
        return _conform_struct(schema, {}, None, [])
    return _ZEROS[schema.scalar]


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_quantity(value: object) -> bool:
    return _is_int(value) or isinstance(value, float) or (isinstance(value, str) and bool(_QUANTITY.fullmatch(value)))


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "int32": _is_int,
    "int64": _is_int,
    "float": lambda value: _is_int(value) or isinstance(value, float),
    "bool": lambda value: isinstance(value, bool),
    "time": lambda value: isinstance(value, str),
    "microtime": lambda value: isinstance(value, str),
    "bytes": lambda value: isinstance(value, str),
    "quantity": _is_quantity,
    "intstr": lambda value: _is_int(value) or isinstance(value, str),
}


def _conform_scalar(scalar: str, value: Any, path: Path) -> Any:  # noqa: ANN401
    if _CHECKS[scalar](value):
        return str(value) if scalar == "quantity" else value
    if scalar == "quantity" and isinstance(value, str):
        raise UnfitValue(f"{tell_path(path)}: quantities must match the regular expression {_QUANTITY.pattern!r}")
    if isinstance(value, float) and value.is_integer() and scalar in {"int32", "int64"}:
        return int(value)
    raise _unfit(value, _NAMES_IN_GO.get(scalar, scalar), path)


def _unfit(value: object, wanted: str, path: Path) -> UnfitValue:
    found = "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "string"
    if isinstance(value, (dict, list)):
        found = "object" if isinstance(value, dict) else "array"
    elif value is None:
        found = "null"
    return UnfitValue(f"json: cannot unmarshal {found} into Go struct field {tell_path(path)} of type {wanted}")


def _describe(schema: Schema | None) -> str:
    if schema is None or schema.shape in {Shape.STRUCT, Shape.ANY}:
        return "object"
    if schema.shape is Shape.SCALAR:
        return _NAMES_IN_GO.get(schema.scalar, schema.scalar)
    inner = _describe(schema.element)
    return f"[]{inner}" if schema.shape is Shape.LIST else f"map[string]{inner}"


def tell_path(path: Path) -> str:
    """A path as messages write it: `spec.template.spec.containers[0].image`."""
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(part)
    text = ""
    for part in reversed(parts):
        text += part if part.startswith("[") or not text else f".{part}"
    return text

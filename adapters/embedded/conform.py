"""Bringing an object of a built-in kind into the form in which a server that knows its type holds it.

That server decodes into typed structures: unknown fields vanish (or are refused), a value of the wrong type is refused,
null and empty values vanish where the type says so, and some fields are always there. It knows no defaults beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeAlias

from adapters.embedded.decoding import name_in_go
from adapters.embedded.errors import BadRequest
from adapters.embedded.json_objects import JsonObject, copy_json, decode_json, encode_json, parse_time
from adapters.embedded.quantities import canonical, is_quantity
from adapters.embedded.schema import ANY, FieldSchema, Presence, Schema, Shape

Path: TypeAlias = "tuple[Path, str] | None"
"""A path as nested pairs, so that a step down costs one small tuple; None is the root."""
_SPEC: Path = (None, "spec")

_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")
_QUANTITY_RULE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_NAMES_IN_GO = {"string": "string", "int32": "int32", "int64": "int64", "float": "float64", "bool": "bool", "intstr": "int32"}


class UnfitValue(BadRequest):
    """400: a value has the wrong type. `merged_message` says it as a strategic merge patch is told."""

    def __init__(self, message: str, merged_message: str = "") -> None:
        super().__init__(message)
        self.merged_message = merged_message or message


class _Misfit(Exception):
    """A value at a path is not what its type wants."""

    def __init__(self, value: object, wanted: str, path: Path) -> None:
        super().__init__(wanted)
        self.value = value
        self.wanted = wanted
        self.path = path


def conform(schema: Schema, obj: JsonObject) -> tuple[JsonObject, list[str]]:
    """A deep copy of the object as its type holds it, and the paths of the unknown fields that it lost.

    Raises:
        UnfitValue: a value has the wrong type.
    """
    unknown: list[str] = []
    try:
        return _conform_struct(schema, obj, None, unknown), unknown
    except _Misfit as misfit:
        raise _tell(schema, misfit) from None


def _conform(schema: Schema, value: Any, path: Path, unknown: list[str]) -> Any:  # noqa: ANN401
    shape = schema.shape
    if shape is Shape.SCALAR:
        return _conform_scalar(schema.scalar, value, path)
    if shape is Shape.ANY:
        return copy_json(value)
    if shape is Shape.LIST:
        if not isinstance(value, list):
            raise _Misfit(value, "[]" + _describe(schema.element), path)
        element = schema.element
        assert element is not None  # lists always describe their items
        return [_conform(element, item, (path, f"[{i}]"), unknown) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise _Misfit(value, _describe(schema), path)
    if shape is Shape.MAP:
        element = schema.element
        assert element is not None  # mappings always describe their values
        return {
            key: _conform(element, item, (path, key), unknown) if item is not None else _zero(element)
            for key, item in value.items()
        }
    if path == _SPEC:
        encoded, lost = _conform_spec(schema, encode_json(value))
        unknown.extend(lost)
        return decode_json(encoded)
    return _conform_struct(schema, value, path, unknown)


@lru_cache(maxsize=1_024)
def _conform_spec(schema: Schema, encoded: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The greater part of most objects, and the same at most of their writes."""
    unknown: list[str] = []
    return encode_json(_conform_struct(schema, decode_json(encoded), _SPEC, unknown)), tuple(unknown)


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
                result[key] = fitting if fitting != [] or known.presence is not Presence.ALWAYS else None
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
        return known.schema.shape is not Shape.ANY
    return known.presence is Presence.NOT_EMPTY and known.schema.shape is Shape.STRUCT


_ZEROS: Mapping[str, object] = {"string": "", "int32": 0, "int64": 0, "float": 0, "bool": False}


def _zero(schema: Schema) -> Any:  # noqa: ANN401
    if schema.shape is Shape.STRUCT:
        return _conform_struct(schema, {}, None, [])
    return _ZEROS.get(schema.scalar)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_int32(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _is_quantity(value: object) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool) and is_quantity(str(value))


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "int32": _is_int32,
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
    if not _CHECKS[scalar](value):
        if scalar == "quantity":
            raise UnfitValue(_QUANTITY_RULE)
        raise _Misfit(value, _NAMES_IN_GO.get(scalar, scalar), path)
    if scalar in {"time", "microtime"} and value:
        _check_time(value)
    if scalar == "bytes":
        _check_base64(value)
    return canonical(str(value)) if scalar == "quantity" else value


def _check_time(value: str) -> None:
    try:
        parse_time(value)
    except ValueError:
        layout = "2006-01-02T15:04:05Z07:00"
        told = f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
        raise UnfitValue(told) from None


def _check_base64(value: str) -> None:
    fault = next((index for index, one in enumerate(value) if one not in _BASE64), None)
    if fault is None and len(value.rstrip("=")) % 4 != 0 and len(value) % 4 != 0:
        fault = len(value) - len(value) % 4
    if fault is not None:
        raise UnfitValue(f"illegal base64 data at input byte {fault}")


def _tell(root: Schema, misfit: _Misfit) -> UnfitValue:
    """What is wrong, with the innermost structure and the names of the fields that lead to the value."""
    schema, structure, fields = root, root.name, []
    for part in _parts(misfit.path):
        if schema.shape is Shape.STRUCT:
            structure = schema.name
            fields.append(part)
            schema = schema.of_field(part)
        else:
            schema = schema.element or ANY
    found, wanted = name_in_go(misfit.value), misfit.wanted
    place = ".".join([structure, *fields])
    number = f" {misfit.value}" if found == "number" and wanted.startswith("int") else ""
    message = f"json: cannot unmarshal {found}{number} into Go struct field {place} of type {wanted}"
    return UnfitValue(message, _tell_merged(misfit.value, schema))


def _tell_merged(value: object, schema: Schema) -> str:
    """What the conversion of a patched object says, which is another than the decoder's."""
    kind = "int64" if isinstance(value, int) and not isinstance(value, bool) else _GO_KINDS[name_in_go(value)]
    if schema.shape is Shape.SCALAR:
        wanted = _NAMES_IN_GO.get(schema.scalar, schema.scalar)
        convertible = (kind == "int64" and wanted != "bool") or (kind == "float64" and wanted.startswith("int"))
        return f"cannot convert {kind} to {wanted}" if convertible else f"unrecognized type: {wanted}"
    if schema.shape is Shape.STRUCT:
        return f"cannot restore struct from: {kind}"
    return f"cannot restore {'slice' if schema.shape is Shape.LIST else 'map'} from {kind}"


_GO_KINDS: Mapping[str, str] = {
    "bool": "bool",
    "number": "float64",
    "string": "string",
    "object": "map",
    "array": "slice",
    "null": "invalid",
}


def _describe(schema: Schema | None) -> str:
    if schema is None or schema.shape is Shape.ANY:
        return "object"
    if schema.shape is Shape.STRUCT:
        return f"v1.{schema.name}"
    if schema.shape is Shape.SCALAR:
        return _NAMES_IN_GO.get(schema.scalar, schema.scalar)
    inner = _describe(schema.element)
    return f"[]{inner}" if schema.shape is Shape.LIST else f"map[string]{inner}"


def _parts(path: Path) -> list[str]:
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(part)
    return parts[::-1]


def tell_path(path: Path) -> str:
    """A path as messages write it: `spec.template.spec.containers[0].image`."""
    text = ""
    for part in _parts(path):
        text += part if part.startswith("[") or not text else f".{part}"
    return text

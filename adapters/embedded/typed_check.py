"""Checking what somebody applies against the types of its kind, in the words of sigs.k8s.io/structured-merge-diff.

Server-side apply takes no field that its kind does not declare, and no value of another type; the real server answers 500
then. It knows no objects as wholes and no managers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapters.embedded.decoding import show_in_go
from adapters.embedded.errors import BadRequest
from adapters.embedded.field_sets import field, tell_element
from adapters.embedded.json_objects import encode_json
from adapters.embedded.schema import Schema, Shape
from adapters.embedded.structured_merge import item_element

_NUMBERS = frozenset({"int32", "int64", "float", "integer", "number"})
_TEXTS = frozenset({"string", "bytes"})
_TRUTHS = frozenset({"bool", "boolean"})


def tell_type_faults(schema: Schema, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """What is wrong with the types in a value, path by path; empty when nothing is."""
    faults = [f"{path}: {what}" if path else what for path, what in _faults(schema, value, "")]
    if len(faults) < 2:
        return "".join(faults)
    return "\n".join(["errors:", *(f"  {fault}" for fault in faults)])


def _faults(schema: Schema, value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if value is None or schema.shape is Shape.ANY:
        return
    if schema.shape is Shape.SCALAR:
        fault = _fault_of_scalar(schema.scalar, value)
        if fault:
            yield path, fault
    elif schema.shape is Shape.LIST:
        if isinstance(value, list):
            yield from _faults_of_items(schema, value, path)
        else:
            yield path, f"expected list, got {_shown(value)}"
    elif isinstance(value, dict):
        yield from _faults_of_fields(schema, value, path)
    else:
        yield path, f"expected map, got {_shown(value)}"


def _faults_of_fields(schema: Schema, value: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, child in value.items():
        below = path + tell_element(field(name))
        if name not in schema.fields and schema.element is None:
            yield below, "field not declared in schema"
        else:
            yield from _faults(schema.of_field(name), child, below)


def _faults_of_items(schema: Schema, items: list[Any], path: str) -> Iterator[tuple[str, str]]:
    element = schema.element
    assert element is not None  # lists always describe their items
    seen: set[str] = set()
    for index, item in enumerate(items):
        place = f"[{index}]"
        if schema.is_associative:
            try:
                identity = item_element(schema, item)
            except BadRequest as error:
                yield path, f"element {index}: {error.message}"
                return
            place = tell_element(identity)
            if identity in seen:
                yield path, f"duplicate entries for key {place}"
            seen.add(identity)
        yield from _faults(element, item, path + place)


def _fault_of_scalar(scalar: str, value: object) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if scalar in _NUMBERS:
        return "" if is_number else f"expected numeric (int or float), got {_type_in_go(value)}"
    if scalar in _TEXTS:
        shown = encode_json(value).decode()
        return "" if isinstance(value, str) else f"expected string, got &value.valueUnstructured{{Value:{shown}}}"
    if scalar in _TRUTHS:
        return "" if isinstance(value, bool) else f"expected boolean, got {_shown(value)}"
    return f"expected any scalar, got {_shown(value)}" if isinstance(value, (dict, list)) else ""


def _type_in_go(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
    return "bool" if isinstance(value, bool) else "string"


def _shown(value: object) -> str:
    return f"&{{{show_in_go(value)}}}"

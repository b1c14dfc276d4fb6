"""Checking the values of a custom object against its structural schema.

The words are those of k8s.io/kube-openapi/pkg/validation, in which the API server's messages are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from adapters.embedded.custom_schema import INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE
from adapters.embedded.errors import Cause
from adapters.embedded.json_objects import JsonObject, encode_json


def check_object(json_schema: JsonObject, obj: JsonObject) -> list[Cause]:
    """Everything that is wrong with an object, its metadata aside."""
    body = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind", "metadata"}}
    required = [name for name in json_schema.get("required") or () if name not in {"apiVersion", "kind", "metadata"}]
    causes: list[Cause] = []
    _check({**json_schema, "required": required}, body, "", causes)
    return causes


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    """A number that has not 64 bits is read as a floating one, and such a one is whole only where it says every whole number."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return not isinstance(value, bool)
    return _is_number(value) and abs(float(value)) < 2**53 and float(value).is_integer()  # type: ignore[arg-type]


_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}
"""Those that are looked at: a definition may name others, which say nothing."""
_LARGEST_FLOAT = (2 - 2**-23) * 2.0**127

_TYPE_TESTS: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
}


def _name_of_type(value: object) -> str:
    for name in ("object", "array", "string", "boolean", "integer", "number"):
        if _TYPE_TESTS[name](value):
            return name
    return "null"


def _check(schema: JsonObject, value: Any, path: str, causes: list[Cause]) -> None:  # noqa: ANN401
    if value is None and schema.get("nullable"):
        return
    if schema.get(INT_OR_STRING):
        if not (isinstance(value, str) or _is_integer(value)):
            _refuse_type(causes, path, value, "integer,string")
        return
    kind = schema.get("type")
    if kind and not _TYPE_TESTS[kind](value):
        _refuse_misfit(schema, causes, path, value)
        if _is_number(value):
            _check_number(schema, value, path, causes)
        return
    _check_enumeration(schema, value, path, causes)
    if isinstance(value, str):
        _check_text(schema, value, path, causes)
    elif _is_number(value):
        _check_number(schema, value, path, causes)
    elif isinstance(value, list):
        _check_list(schema, value, path, causes)
    elif isinstance(value, dict):
        _check_mapping(schema, value, path, causes)
    _check_combinations(schema, value, path, causes)


def _refuse_misfit(schema: JsonObject, causes: list[Cause], path: str, value: object) -> None:
    """The real server names the format in the place of the type, where there is one and the value is no text, list or null."""
    named = _format_of(schema)
    if not named or value is None or isinstance(value, (str, list)):
        _refuse_type(causes, path, value, schema["type"])
        return
    found = "float64" if _is_number(value) else ""
    message = f'Invalid value: "{found}": {path} in body must be of type {named}: "{found}"'
    causes.append(Cause("FieldValueTypeInvalid", path, message))


def _format_of(schema: JsonObject) -> str:
    named = str(schema.get("format") or "")
    return named if named in _FORMATS.get(str(schema.get("type")), ()) else ""


def _refuse_type(causes: list[Cause], path: str, value: object, wanted: str) -> None:
    found = _name_of_type(value)
    message = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    causes.append(Cause("FieldValueTypeInvalid", path, message))


def _refuse(causes: list[Cause], path: str, value: object, why: str) -> None:
    shown = encode_json(value).decode()
    causes.append(Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {path} in body {why}"))


def _check_enumeration(schema: JsonObject, value: object, path: str, causes: list[Cause]) -> None:
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        shown, told = encode_json(value).decode(), ", ".join(encode_json(choice).decode() for choice in choices)
        message = f"Unsupported value: {shown}: supported values: {told}"
        causes.append(Cause("FieldValueNotSupported", path, message))


def _check_text(schema: JsonObject, value: str, path: str, causes: list[Cause]) -> None:
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(pattern, value):
        _refuse(causes, path, value, f"should match '{pattern}'")
    if len(value) < schema.get("minLength", 0):
        _refuse(causes, path, value, f"should be at least {schema['minLength']} chars long")
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        causes.append(Cause("FieldValueTooLong", path, f"Too long: may not be more than {longest} bytes"))


def _check_number(schema: JsonObject, value: Any, path: str, causes: list[Cause]) -> None:  # noqa: ANN401
    _check_format(schema, value, path, causes)
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        relation = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        _refuse(causes, path, value, f"should be {relation} {least}")
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        relation = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        _refuse(causes, path, value, f"should be {relation} {most}")
    step = schema.get("multipleOf")
    if step and value % step:
        _refuse(causes, path, value, f"should be a multiple of {step}")


def _check_format(schema: JsonObject, value: Any, path: str, causes: list[Cause]) -> None:  # noqa: ANN401
    """Whole numbers have a size, 64 bits if nothing is said; other numbers have one only as `float`. The real server comes upon
    what is no whole number here once more, and has no path to name."""
    kind, named = schema.get("type"), _format_of(schema)
    if kind == "integer":
        most = 2**31 if named == "int32" else 2**63
        fits = -most <= value < most and float(value).is_integer()
    else:
        fits = named != "float" or abs(value) <= _LARGEST_FLOAT
    if not fits:
        how = f"with format {named}" if named else "(default format)"
        told = f"Checked value must be of type {kind} {how} in {path}"
        causes.append(Cause("FieldValueInvalid", "<nil>", f'Invalid value: "": {told}'))


def _check_list(schema: JsonObject, value: list[Any], path: str, causes: list[Cause]) -> None:
    if len(value) < schema.get("minItems", 0):
        _refuse(causes, path, len(value), f"should have at least {schema['minItems']} items")
    most = schema.get("maxItems")
    if most is not None and len(value) > most:
        causes.append(Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {most} items"))
    _check_distinct(schema, value, path, causes)
    items = schema.get("items") or {}
    for index, item in enumerate(value):
        _check(items, item, f"{path}[{index}]", causes)


def _check_distinct(schema: JsonObject, value: list[Any], path: str, causes: list[Cause]) -> None:
    how = schema.get(LIST_TYPE)
    if how not in {"map", "set"}:
        return
    seen: list[object] = []
    for index, item in enumerate(value):
        identity = item
        if how == "map":
            keys = schema.get(LIST_MAP_KEYS) or ()
            identity = {key: item.get(key) for key in keys} if isinstance(item, dict) else item
        if identity in seen:
            message = f"Duplicate value: {encode_json(identity).decode()}"
            causes.append(Cause("FieldValueDuplicate", f"{path}[{index}]", message))
        seen.append(identity)


def _check_mapping(schema: JsonObject, value: JsonObject, path: str, causes: list[Cause]) -> None:
    missing = [name for name in schema.get("required") or () if name not in value]
    causes.extend(Cause("FieldValueRequired", _join(path, name), "Required value") for name in missing)
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            _check(properties[name], item, _join(path, name), causes)
        elif isinstance(additional, dict):
            _check(additional, item, _join(path, name), causes)
    most = schema.get("maxProperties")
    if most is not None and len(value) > most:
        causes.append(Cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {most} items"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_combinations(schema: JsonObject, value: Any, path: str, causes: list[Cause]) -> None:  # noqa: ANN401
    for part in schema.get("allOf") or ():
        _check(part, value, path, causes)
    if "anyOf" in schema and not any(_fits(part, value, path) for part in schema["anyOf"]):
        _refuse(causes, path, value, "must validate at least one schema (anyOf)")
    if "oneOf" in schema and sum(_fits(part, value, path) for part in schema["oneOf"]) != 1:
        _refuse(causes, path, value, "must validate one and only one schema (oneOf)")
    if "not" in schema and _fits(schema["not"], value, path):
        _refuse(causes, path, value, "must not validate the schema (not)")


def _fits(schema: JsonObject, value: Any, path: str) -> bool:  # noqa: ANN401
    causes: list[Cause] = []
    _check(schema, value, path, causes)
    return not causes

"""Bodies in the protobuf encoding of Kubernetes, in which newer clients send the built-in kinds.

Only decoding: answers are always JSON, which every client accepts. The numbers of the fields are in
`protobuf_numbers.yaml`, their types in the schemas.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from adapters.embedded.builtin_schema import knows_kind, schema_of_kind
from adapters.embedded.errors import BadRequest, UnsupportedMediaType
from adapters.embedded.json_objects import JsonObject, decode_json, format_time
from adapters.embedded.schema import Schema, Shape
from adapters.embedded.yaml_bodies import decode_yaml

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Wire: TypeAlias = "tuple[int, int | bytes]"
"""The number of a field and its value as it travels."""


def decode_protobuf(body: bytes) -> JsonObject:
    """The object in a protobuf body.

    Raises:
        BadRequest: it is no such body.
        UnsupportedMediaType: it holds a kind whose encoding is not known here.
    """
    if not body.startswith(_MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_read_fields(body[len(_MAGIC) :]))
        described = dict(_read_fields(_as_bytes(envelope.get(1, b""))))
        kind = _as_bytes(described.get(2, b"")).decode()
        if kind not in _numbers() or not knows_kind(kind):
            raise UnsupportedMediaType(f"the protobuf encoding of the kind {kind!r} is not known: send it as JSON")
        obj = _decode_struct(kind, schema_of_kind(kind), _as_bytes(envelope.get(2, b"")))
    except (IndexError, ValueError, UnicodeDecodeError, struct.error) as error:
        raise BadRequest(f"the protobuf body cannot be decoded: {error}") from error
    return {"apiVersion": _as_bytes(described.get(1, b"")).decode(), "kind": kind, **obj}


@cache
def _numbers() -> dict[str, dict[tuple[int, ...], str]]:
    """The fields of each type by the numbers on the way to them."""
    text = files("adapters.embedded").joinpath("protobuf_numbers.yaml").read_text("utf-8")
    definitions: dict[str, str] = decode_yaml(text)
    found: dict[str, dict[tuple[int, ...], str]] = {}
    for name, definition in definitions.items():
        pairs = (entry.split() for entry in definition.split(","))
        found[name] = {tuple(int(part) for part in number.split(".")): field for field, number in pairs}
    return found


def _read_fields(data: bytes) -> Iterator[_Wire]:
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, position = _read_varint(data, position)
        elif kind == _BYTES:
            length, position = _read_varint(data, position)
            value, position = data[position : position + length], position + length
            if len(value) != length:
                raise ValueError("a field is cut off")
        elif kind in {_FIXED32, _FIXED64}:
            length = 4 if kind == _FIXED32 else 8
            value, position = data[position : position + length], position + length
        else:
            raise ValueError(f"unknown wire type {kind}")
        yield tag >> 3, value


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _decode_struct(type_name: str, schema: Schema, data: bytes) -> JsonObject:
    result: JsonObject = {}
    _decode_level(schema, _numbers().get(type_name, {}), (), data, result)
    return result


def _decode_level(
    schema: Schema, names: dict[tuple[int, ...], str], prefix: tuple[int, ...], data: bytes, result: JsonObject
) -> None:
    """The fields of one message; those of a nested one that JSON shows flat go into the same mapping."""
    for number, value in _read_fields(data):
        path = (*prefix, number)
        name = names.get(path)
        if name is not None and name in schema.fields:
            _take(schema.fields[name].schema, name, value, result)
        elif any(other[: len(path)] == path for other in names):
            _decode_level(schema, names, path, _as_bytes(value), result)


def _take(schema: Schema, name: str, value: int | bytes, result: JsonObject) -> None:
    if schema.shape is Shape.LIST and schema.element is not None:
        items = result.setdefault(name, [])
        if schema.element.scalar in {"int32", "int64"} and isinstance(value, bytes):
            items.extend(_packed(value))
        else:
            items.append(_decode(schema.element, value))
    elif schema.shape is Shape.MAP and schema.element is not None:
        entry = dict(_read_fields(_as_bytes(value)))
        key = _as_bytes(entry.get(1, b"")).decode()
        result.setdefault(name, {})[key] = _decode(schema.element, entry.get(2, b""))
    else:
        result[name] = _decode(schema, value)


def _packed(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _read_varint(data, position)
        yield _signed(value)


def _decode(schema: Schema, value: int | bytes) -> Any:  # noqa: ANN401 - any JSON value
    if schema.shape is Shape.STRUCT:
        return _decode_struct(schema.name, schema, _as_bytes(value))
    if schema.shape is Shape.ANY:
        return decode_json(_as_bytes(dict(_read_fields(_as_bytes(value))).get(1, b"null")))
    scalar = schema.scalar
    if scalar == "string":
        return _as_bytes(value).decode()
    if scalar == "bytes":
        return base64.b64encode(_as_bytes(value)).decode()
    if scalar == "bool":
        return bool(value)
    if scalar in {"int32", "int64"}:
        return _signed(_as_int(value))
    if scalar == "float":
        return struct.unpack("<d", _as_bytes(value))[0]
    return _decode_wrapped(scalar, dict(_read_fields(_as_bytes(value))))


def _decode_wrapped(scalar: str, fields: dict[int, int | bytes]) -> str | int | None:
    """The scalars that travel as messages: quantities, numbers or names, times."""
    if scalar == "quantity":
        return _as_bytes(fields.get(1, b"")).decode()
    if scalar == "intstr":
        if _as_int(fields.get(1, 0)):
            return _as_bytes(fields.get(3, b"")).decode()
        return _signed(_as_int(fields.get(2, 0)))
    if not fields:
        return None  # the zero time
    return format_time(_EPOCH + timedelta(seconds=_signed(_as_int(fields.get(1, 0)))))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("a message or text was expected where a number stands")


def _as_int(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    raise ValueError("a number was expected where a message or text stands")

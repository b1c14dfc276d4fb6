"""JSON in bodies: decoded, and what is wrong with it told in the words of a server that is written in Go.

Users and their tools read these words; nothing here knows what the JSON means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.embedded.json_objects import decode_json

_REPEATED = "\0repeated"
"""A key that no JSON text has by accident."""

_PLACES: Mapping[str, str] = {
    "Expecting value": "looking for beginning of value",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


class NotJson(ValueError):
    """A text is no JSON; the message says where it stops being it."""


def decode_text(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The value that a body holds.

    Raises:
        NotJson: none.
    """
    try:
        return decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotJson(_what_is_wrong(body.decode("utf-8", "replace"))) from None


def repeated_fields(body: bytes) -> list[str]:
    """The paths of the fields that JSON text gives more than once; of text that is no JSON, none."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        repeated = dict.fromkeys(name for name in names if names.count(name) > 1)
        return {**dict(pairs), **({_REPEATED: list(repeated)} if repeated else {})}

    def look(value: Any, path: str) -> None:  # noqa: ANN401
        if isinstance(value, dict):
            found.extend(f"{path}{name}" for name in value.get(_REPEATED, ()))
            for name, child in value.items():
                look(child, f"{path}{name}." if isinstance(child, dict) else f"{path}{name}")
        elif isinstance(value, list):
            for index, child in enumerate(value):
                look(child, f"{path}[{index}].")

    try:
        look(json.loads(body, object_pairs_hook=note), "")
    except ValueError:
        return []
    return found


def _what_is_wrong(text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg == "Unterminated string starting at":
            return "unexpected end of JSON input"
        if error.msg == "Expecting ',' delimiter":
            inside = "object key:value pair" if _is_in_object(text[: error.pos]) else "array element"
            return f"invalid character {text[error.pos]!r} after {inside}"
        place = next((told for start, told in _PLACES.items() if error.msg.startswith(start)), "in JSON")
        return f"invalid character {text[error.pos]!r} {place}"
    return "invalid JSON"


def _is_in_object(text: str) -> bool:
    """Whether the innermost bracket that is open at the end of a text is that of an object."""
    opened = []
    in_string = False
    for index, character in enumerate(text):
        if character == '"' and text[index - 1 : index] != "\\":
            in_string = not in_string
        elif not in_string and character in "{[":
            opened.append(character)
        elif not in_string and character in "}]" and opened:
            opened.pop()
    return opened[-1:] == ["{"]


def name_in_go(value: object) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, (dict, list)):
        return "object" if isinstance(value, dict) else "array"
    return "null" if value is None else "string"


def show_in_go(value: object) -> str:
    """A value as Go's %v prints it: `map[data:map[a:1]]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show_in_go(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(show_in_go, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)

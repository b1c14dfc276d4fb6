"""JSON patch (RFC 6902) as API servers apply it, which is not quite as the RFC says.

`replace` may make a field that was not there, `test` takes a missing field for null, indices may count from the end, and
a field that is copied from nowhere becomes null: so does gopkg.in/evanphx/json-patch.v4. It knows no objects of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from adapters.embedded.json_objects import JsonObject, copy_json

Document: TypeAlias = "JsonObject | list[Any]"
"""Any mapping or list."""


class PatchDoesNotFit(Exception):
    """An operation cannot be done; the message says why."""


def apply_operations(document: JsonObject, operations: list[JsonObject]) -> Any:  # noqa: ANN401 - any JSON value
    """A copy of the document after all operations, in order.

    Raises:
        PatchDoesNotFit: one of them cannot be done, a failed `test` among the reasons.
    """
    found: Document = copy_json(document)
    for operation in operations:
        act = _ACTS.get(str(operation.get("op")))
        if act is None:
            raise PatchDoesNotFit(f"Unexpected kind: {operation.get('op')}")
        found = act(found, operation)
    return found


def _text(operation: JsonObject, name: str) -> str:
    value = operation.get(name)
    if not isinstance(value, str):
        raise PatchDoesNotFit(f"operation missing {name} field: missing value")
    return value


def _find(document: Document, path: str) -> tuple[Document, str]:
    """What holds the place that a path names, and the place's key in it."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    if len(parts) < 2:
        raise PatchDoesNotFit(f"doc is missing path: {path}: missing value")
    place: Any = document
    for part in parts[1:-1]:
        place = _get(place, part)
        if not isinstance(place, (dict, list)):
            raise PatchDoesNotFit(f"doc is missing path: {path}: missing value")
    return place, parts[-1]


def _index(holder: list[Any], key: str, length: int) -> int:
    """The index that a key names; below zero it counts from the end."""
    try:
        index = int(key)
    except ValueError:
        raise PatchDoesNotFit(f"value was not a proper array index: '{key}'") from None
    if not -length <= index < length:
        raise PatchDoesNotFit(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + length if index < 0 else index


def _get(holder: Document, key: str) -> Any:  # noqa: ANN401
    if isinstance(holder, dict):
        return holder.get(key)
    return holder[_index(holder, key, len(holder))]


def _put(holder: Document, key: str, value: Any) -> None:  # noqa: ANN401
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        holder.insert(_index(holder, key, len(holder) + 1), value)


def _take(holder: Document, key: str) -> None:
    if isinstance(holder, list):
        del holder[_index(holder, key, len(holder))]
    elif key in holder:
        del holder[key]
    else:
        raise PatchDoesNotFit(f"Unable to remove nonexistent key: {key}: missing value")


def _add(document: Document, operation: JsonObject) -> Document:
    holder, key = _find(document, _text(operation, "path"))
    _put(holder, key, operation.get("value"))
    return document


def _remove(document: Document, operation: JsonObject) -> Document:
    holder, key = _find(document, _text(operation, "path"))
    _take(holder, key)
    return document


def _replace(document: Document, operation: JsonObject) -> Document:
    path, value = _text(operation, "path"), operation.get("value")
    if path == "":
        if not isinstance(value, (dict, list)):
            raise PatchDoesNotFit("replace operation value must be object or array")
        return value
    holder, key = _find(document, path)
    if isinstance(holder, dict):
        holder[key] = value
    else:
        holder[_index(holder, key, len(holder))] = value
    return document


def _move(document: Document, operation: JsonObject) -> Document:
    holder, key = _find(document, _text(operation, "from"))
    value = _get(holder, key)
    _take(holder, key)
    holder, key = _find(document, _text(operation, "path"))
    _put(holder, key, value)
    return document


def _copy(document: Document, operation: JsonObject) -> Document:
    holder, key = _find(document, _text(operation, "from"))
    value = copy_json(_get(holder, key))
    holder, key = _find(document, _text(operation, "path"))
    _put(holder, key, value)
    return document


def _test(document: Document, operation: JsonObject) -> Document:
    path, value = _text(operation, "path"), operation.get("value")
    found: Any = document
    if path:
        holder, key = _find(document, path)
        found = _get(holder, key)
    if not _equal(found, value):
        raise PatchDoesNotFit(f"testing value {path} failed: test failed")
    return document


def _equal(left: Any, right: Any) -> bool:  # noqa: ANN401
    """Python's equality, except that true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


_ACTS: Mapping[str, Callable[[Document, JsonObject], Document]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}

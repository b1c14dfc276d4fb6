"""The three patch formats that change an object as a document: JSON patch, merge patch, strategic merge patch."""

from __future__ import annotations

from typing import Any

from adapters.embedded.decoding import NotJson, decode_text, name_in_go
from adapters.embedded.errors import BadRequest, Invalid, RequestTooLarge
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.json_patch import PatchDoesNotFit, apply_operations
from adapters.embedded.schema import Schema
from adapters.embedded.strategic_merge import strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_MOST_OPERATIONS = 10_000
_IDENTITY = ("apiVersion", "kind")
"""A strategic merge patch cannot change these: it is merged into a value of a fixed type."""


def patch_object(schema: Schema, obj: JsonObject, body: bytes, media_type: str) -> JsonObject:
    """The object as a patch changes it; the given object is not changed.

    Raises:
        BadRequest: the body is not a patch of that format.
        Invalid: a JSON patch does not fit the object, a failed `test` among the reasons.
    """
    patch = _decode(body, media_type)
    if media_type == JSON_PATCH:
        result = _apply_json_patch(obj, patch)
    elif media_type == MERGE_PATCH:
        result = merge_patch(obj, patch)
    else:
        result = {**strategic_merge(schema, obj, patch), **{name: obj[name] for name in _IDENTITY if name in obj}}
    if not isinstance(result, dict):
        raise BadRequest("the patch leaves something that is no object")
    return result


def _decode(body: bytes, media_type: str) -> Any:  # noqa: ANN401 - a list of operations, or a mapping
    context = "" if media_type == STRATEGIC_MERGE_PATCH else "error decoding patch: "
    try:
        patch = decode_text(body)
    except NotJson as error:
        raise BadRequest(f"{context}{error}") from error
    if patch is None:
        raise BadRequest("Invalid JSON Patch")
    if media_type == JSON_PATCH:
        wanted, fits = "[]handlers.jsonPatchOp", isinstance(patch, list)
    else:
        wanted, fits = "map[string]interface {}", isinstance(patch, dict)
    if not fits:
        raise BadRequest(f"{context}json: cannot unmarshal {name_in_go(patch)} into Go value of type {wanted}")
    return patch


def merge_patch(original: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON values
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(original) if isinstance(original, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def _apply_json_patch(obj: JsonObject, operations: list[Any]) -> Any:  # noqa: ANN401 - any JSON value
    if len(operations) > _MOST_OPERATIONS:
        limit = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(operations)}"
        raise RequestTooLarge(limit)
    for operation in operations:
        if not isinstance(operation, dict):
            wanted = "handlers.jsonPatchOp"
            what = f"json: cannot unmarshal {name_in_go(operation)} into Go value of type {wanted}"
            raise BadRequest(f"error decoding patch: {what}")
    try:
        return apply_operations(obj, operations)
    except PatchDoesNotFit as error:
        # the real server does not say which operation failed, nor why
        raise Invalid("the server rejected our request due to an error in our request", details={}) from error

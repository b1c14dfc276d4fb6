"""The three patch formats that change an object as a document: JSON patch, merge patch, strategic merge patch."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from adapters.embedded.errors import ApiError, BadRequest, Invalid, RequestTooLarge
from adapters.embedded.json_objects import JsonObject, copy_json, decode_json
from adapters.embedded.schema import Schema
from adapters.embedded.strategic_merge import strategic_merge

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_MOST_OPERATIONS = 10_000


def patch_object(schema: Schema, obj: JsonObject, body: bytes, media_type: str) -> JsonObject:
    """The object as a patch changes it; the given object is not changed.

    Raises:
        BadRequest: the body is not a patch of that format.
        Invalid: a JSON patch does not fit the object, a failed `test` among the reasons.
    """
    patch = _decode(body)
    if media_type == JSON_PATCH:
        result = _apply_json_patch(obj, patch)
    elif not isinstance(patch, dict):
        raise BadRequest("the patch must be a JSON object")
    elif media_type == MERGE_PATCH:
        result = merge_patch(obj, patch)
    else:
        result = strategic_merge(schema, obj, patch)
    if not isinstance(result, dict):
        raise BadRequest("the patch leaves something that is no object")
    return result


def _decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"error decoding patch: {error}") from error


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


def _apply_json_patch(obj: JsonObject, patch: Any) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(patch, list):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(patch) > _MOST_OPERATIONS:
        limit = f"The allowed maximum operations in a JSON patch is {_MOST_OPERATIONS}, got {len(patch)}"
        raise RequestTooLarge(limit)
    try:
        return jsonpatch.JsonPatch(patch).apply(copy_json(obj), in_place=True)
    except jsonpatch.InvalidJsonPatch as error:
        raise BadRequest(str(error)) from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError) as error:
        raise _rejected() from error


def _rejected() -> ApiError:
    """What the real server answers for a patch that does not fit: it does not say which operation failed."""
    return Invalid("the server rejected our request due to an error in our request")

"""Strategic merge patches: merge patches that merge lists of the built-in kinds item by item.

The rules are those of k8s.io/apimachinery/pkg/util/strategicpatch, directives included ($patch, $retainKeys,
$deleteFromPrimitiveList/..., $setElementOrder/...). Which lists merge, and by which key, the schema says.
"""

from __future__ import annotations

from typing import Any

from adapters.embedded.decoding import show_in_go
from adapters.embedded.errors import BadRequest, UnclassifiedError
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.schema import Schema

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER_OF = "$setElementOrder/"


def strategic_merge(schema: Schema, original: JsonObject, patch: JsonObject) -> JsonObject:
    """The original as the patch changes it. Neither argument is changed; the result shares parts with both.

    Raises:
        BadRequest: the list of the keys to retain is no list, or lacks some that the patch sets.
        UnclassifiedError: the patch has an unknown directive, or a list item without its merge key.
    """
    directive = patch.get(_PATCH)
    if directive is not None:
        return _obey_map_directive(directive, patch)
    result = _retain_keys(original, patch)
    ordered = {name.removeprefix(_ORDER_OF): order for name, order in patch.items() if name.startswith(_ORDER_OF)}
    for name, order in ordered.items():
        if name in patch:
            _merge_field(schema, result, name, patch[name], order)
        elif isinstance(result.get(name), list):
            result[name] = _in_order(schema.of_field(name), result[name], result[name], order)
    for name, value in patch.items():
        if not name.startswith("$") and name not in ordered:
            _merge_field(schema, result, name, value, None)
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            field = name.removeprefix(_DELETE_FROM)
            if isinstance(result.get(field), list) and isinstance(value, list):
                result[field] = [item for item in result[field] if item not in value]
    return result


def _obey_map_directive(directive: object, patch: JsonObject) -> JsonObject:
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    raise _unknown_directive(patch)


def _unknown_directive(patch: JsonObject) -> UnclassifiedError:
    return UnclassifiedError(f"unknown patch type: {patch[_PATCH]} in map: {show_in_go(patch)}")


def _retain_keys(original: JsonObject, patch: JsonObject) -> JsonObject:
    retained = patch.get(_RETAIN_KEYS)
    if retained is None:
        return dict(original)
    foreign = [name for name, value in patch.items() if not name.startswith("$") and value is not None]
    if not isinstance(retained, list) or not set(foreign) <= set(retained):
        raise BadRequest("invalid patch format of retainKeys")
    return {name: value for name, value in original.items() if name in retained}


def _merge_field(schema: Schema, result: JsonObject, name: str, value: Any, order: Any) -> None:  # noqa: ANN401
    if value is None:
        result.pop(name, None)
        return
    present = result.get(name)
    below = schema.of_field(name)
    if isinstance(value, dict) and isinstance(present, dict):
        result[name] = strategic_merge(below, present, value)
    elif isinstance(value, list) and isinstance(present, list):
        result[name] = _merge_list(below, present, value, order) if below.patch_merges else value
    else:
        kept = _without_directives(value)
        if kept is None:
            result.pop(name, None)
        else:
            result[name] = kept if order is None else _in_order(below, kept, [], order)


def _without_directives(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A part of a patch that meets nothing to merge with: its nulls and directives say nothing; None if nothing is left."""
    if isinstance(value, dict):
        if _PATCH in value:
            return None
        cleaned = {name: _without_directives(child) for name, child in value.items()}
        return {name: child for name, child in cleaned.items() if child is not None}
    if isinstance(value, list):
        return [kept for item in value if (kept := _without_directives(item)) is not None]
    return value


def _merge_list(schema: Schema, original: list[Any], patch: list[Any], order: Any) -> list[Any]:  # noqa: ANN401
    if not schema.patch_merge_key:
        merged = original + [item for item in patch if item not in original]
        return _in_order(schema, merged, original, order if order is not None else patch)
    key = schema.patch_merge_key
    wanted = [item for item in patch if _PATCH not in _as_map(item)]
    _check_order(key, wanted, order)
    directives = [item for item in patch if _PATCH in _as_map(item)]
    kept = _obey_list_directives(key, original, directives)
    merged = list(kept)
    for item in wanted:
        _merge_item(schema, merged, item)
    return _in_order(schema, merged, kept, order if order is not None else wanted)


def _check_order(key: str, wanted: list[Any], order: Any) -> None:  # noqa: ANN401
    """The items of a patch must stand in the order that the patch itself prescribes."""
    if not order or not wanted:
        return
    remaining = iter([_identity(key, _as_map(item)) for item in order])
    if not all(_identity(key, item) in remaining for item in wanted):
        listed, marker = f"The order in patch list:\n{show_in_go(wanted)}\n", _ORDER_OF.rstrip("/")
        raise UnclassifiedError(f"{listed} doesn't match {marker} list:\n{show_in_go(order)}\n")


def _obey_list_directives(key: str, original: list[Any], directives: list[JsonObject]) -> list[Any]:
    kept = list(original)
    for item in directives:
        if item[_PATCH] == "replace":
            kept = []
        elif item[_PATCH] == "delete":
            identity = _identity(key, item)
            kept = [other for other in kept if _as_map(other).get(key) != identity]
        else:
            raise _unknown_directive(item)
    return kept


def _merge_item(schema: Schema, merged: list[Any], item: JsonObject) -> None:
    key = schema.patch_merge_key
    identity = _identity(key, item)
    element = schema.element
    assert element is not None  # a list with a merge key always describes its items
    for index, other in enumerate(merged):
        if _as_map(other).get(key) == identity:
            merged[index] = strategic_merge(element, other, item)
            return
    merged.append(item)  # as it is: the real one does not look for directives in it


def _identity(key: str, item: JsonObject) -> Any:  # noqa: ANN401 - any JSON value
    if key not in item:
        raise UnclassifiedError(f"map: {show_in_go(item)} does not contain declared merge key: {key}")
    return item[key]


def _as_map(item: Any) -> JsonObject:  # noqa: ANN401 - any JSON value
    if not isinstance(item, dict):
        raise UnclassifiedError(f"list element types are not identical: a merged list has mappings, not {show_in_go(item)}")
    return item


def _in_order(schema: Schema, merged: list[Any], server: list[Any], order: list[Any]) -> list[Any]:
    """The merged items: those that the patch orders in its order, the others before what they stood in front of."""
    key = schema.patch_merge_key

    def identify(item: Any) -> Any:  # noqa: ANN401
        return _as_map(item).get(key) if key else item

    wanted_order = [identify(item) for item in order]
    server_order = [identify(item) for item in server]
    by_patch = [item for item in merged if identify(item) in wanted_order]
    by_patch.sort(key=lambda item: wanted_order.index(identify(item)))
    others = [item for item in merged if identify(item) not in wanted_order]
    result: list[Any] = []
    for item in by_patch:
        identity = identify(item)
        if identity in server_order:
            place = server_order.index(identity)
            while others and server_order.index(identify(others[0])) < place:
                result.append(others.pop(0))
        result.append(item)
    return result + others

"""Merging and comparing objects field by field along a schema: the arithmetic under server-side apply.

The rules are those of sigs.k8s.io/structured-merge-diff: which fields two objects differ in, which fields an applied
configuration names, what a merge of the two is, and what is left when fields are taken away. It knows no managers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.embedded.errors import BadRequest
from adapters.embedded.field_sets import (
    EMPTY,
    LEAF,
    FieldSet,
    children,
    difference,
    field,
    intersection,
    is_member,
    item_by_keys,
    item_by_value,
    make_node,
    union,
)
from adapters.embedded.schema import Schema, Shape, settle

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where the new object differs from the old one."""

    added: FieldSet
    removed: FieldSet
    modified: FieldSet

    @property
    def written(self) -> FieldSet:
        """What the writer of the new object has set."""
        return union(self.added, self.modified)


def item_element(schema: Schema, item: Any) -> str:  # noqa: ANN401 - any JSON value
    """The path element of an item of an associative list.

    Raises:
        BadRequest: the item has none of the keys, or is no scalar where a set needs one.
    """
    if schema.is_set:
        if isinstance(item, (dict, list)):
            raise BadRequest("a set may hold strings, numbers and booleans only")
        return item_by_value(item)
    if not isinstance(item, dict):
        raise BadRequest("associative list with keys may not have non-map elements")
    fields = schema.element.fields if schema.element else {}
    found = {}
    for key in schema.keys:
        if key in item:
            found[key] = item[key]
        elif key in fields and fields[key].default is not None:
            found[key] = fields[key].default
    if not found:
        keys = " ".join(f'"{key}"' for key in schema.keys)
        raise BadRequest(
            f"associative list with keys has an element that omits all key fields [{keys}] "
            "(and doesn't have default values for any key fields)"
        )
    return item_by_keys(found)


def _index(schema: Schema, items: list[Any]) -> dict[str, Any]:
    """The items by their path element; of a repeated one, the first."""
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(item_element(schema, item), item)
    return found


# The fields that a configuration names


def fields_of(schema: Schema, value: Any) -> FieldSet:  # noqa: ANN401 - any JSON value
    """The set of all fields of a value."""
    node = _named_node(schema, value)
    return children(node) if node else EMPTY


def _named_node(schema: Schema, value: Any) -> FieldSet | None:  # noqa: ANN401
    """A value's node: a leaf unless it is a mapping or a list that merges; None when it names nothing."""
    schema = settle(schema, value)
    if schema.atomic or value is None or value == {}:
        return LEAF
    below: FieldSet = {}
    if isinstance(value, dict) and schema.shape in {Shape.STRUCT, Shape.MAP}:
        for name, child in value.items():
            node = _named_node(schema.of_field(name), child)
            if name not in schema.fields:
                node = _self_and(node)
            if node is not None:
                below[field(name)] = node
    elif isinstance(value, list) and schema.is_associative and schema.element is not None:
        for element, item in _index(schema, value).items():
            below[element] = _self_and(_named_node(schema.element, item))
    else:
        return LEAF
    return below or None


def _self_and(node: FieldSet | None) -> FieldSet:
    if not node:
        return LEAF
    return node if is_member(node) else {".": LEAF, **node}


# The fields that differ


def compare(schema: Schema, old: Any, new: Any) -> Comparison:  # noqa: ANN401 - any JSON values
    """The fields in which the new value differs from the old one."""
    added: FieldSet = {}
    removed: FieldSet = {}
    modified: FieldSet = {}
    for element, below, before, after in _pairs(schema, old, new):
        _compare_at(element, below, before, after, (added, removed, modified))
    return Comparison(added, removed, modified)


def _compare_at(
    element: str,
    schema: Schema,
    before: Any,  # noqa: ANN401
    after: Any,  # noqa: ANN401
    found: tuple[FieldSet, FieldSet, FieldSet],
) -> None:
    added, removed, modified = found
    if before is after or (before == after and before is not _MISSING):
        return
    if before is _MISSING or after is _MISSING:
        (added if before is _MISSING else removed)[element] = _whole_node(schema, after if before is _MISSING else before)
        return
    settled = settle(schema, before, after)
    before, after = _null_as_empty(before, after), _null_as_empty(after, before)
    if not _merges(settled, before, after):
        modified[element] = LEAF
        if schema.shape is Shape.ANY and type(before) is not type(after):
            _note_change_of_type(element, schema, before, after, found)
        return
    below: tuple[FieldSet, FieldSet, FieldSet] = ({}, {}, {})
    for child, child_schema, old_child, new_child in _pairs(settled, before, after):
        _compare_at(child, child_schema, old_child, new_child, below)
    for total, part in zip(found, below, strict=True):
        if part:
            total[element] = part


def _note_change_of_type(
    element: str,
    schema: Schema,
    before: Any,  # noqa: ANN401
    after: Any,  # noqa: ANN401
    found: tuple[FieldSet, FieldSet, FieldSet],
) -> None:
    """Where nothing says what a value is and it becomes another kind of value, what was in it goes and comes, too."""
    added, removed, _ = found
    for total, value in ((removed, before), (added, after)):
        below = children(_whole_node(schema, value))
        if below:
            total[element] = below


def _null_as_empty(value: Any, other: Any) -> Any:  # noqa: ANN401
    """A null that stands where the other value has content is an empty mapping or list."""
    return type(other)() if value is None and other and isinstance(other, (dict, list)) else value


def _whole_node(schema: Schema, value: Any) -> FieldSet:  # noqa: ANN401
    """Everything in a value that is new or gone, each of its containers included."""
    schema = settle(schema, value)
    if schema.atomic or not value:
        return LEAF
    if isinstance(value, dict) and schema.shape in {Shape.STRUCT, Shape.MAP}:
        return {".": LEAF, **{field(name): _whole_node(schema.of_field(name), child) for name, child in value.items()}}
    if isinstance(value, list) and schema.is_associative and schema.element is not None:
        items = _index(schema, value)
        return {".": LEAF, **{element: _whole_node(schema.element, item) for element, item in items.items()}}
    return LEAF


def _merges(schema: Schema, before: Any, after: Any) -> bool:  # noqa: ANN401
    """Whether a difference between the two lies within them, and not in the values as wholes."""
    if schema.atomic or not (before or after):
        return False
    if isinstance(before, dict) and isinstance(after, dict):
        return schema.shape in {Shape.STRUCT, Shape.MAP}
    return isinstance(before, list) and isinstance(after, list) and schema.is_associative


def _pairs(schema: Schema, old: Any, new: Any) -> list[tuple[str, Schema, Any, Any]]:  # noqa: ANN401
    schema = settle(schema, old, new)
    if isinstance(old, list) and schema.element is not None:
        before, after = _index(schema, old), _index(schema, new)
        elements = [*before, *(element for element in after if element not in before)]
        item = schema.element
        return [(key, item, before.get(key, _MISSING), after.get(key, _MISSING)) for key in elements]
    names = [*old, *(name for name in new if name not in old)]
    return [(field(n), schema.of_field(n), old.get(n, _MISSING), new.get(n, _MISSING)) for n in names]


# The merge of a configuration into an object


def merge(schema: Schema, live: Any, applied: Any) -> Any:  # noqa: ANN401 - any JSON values
    """The live value with everything in it that the applied value says."""
    schema = settle(schema, live, applied)
    if not _merges(schema, live, applied):
        keeps_live = applied is None and isinstance(live, (dict, list)) and not schema.atomic
        return live if keeps_live else applied
    if isinstance(applied, dict):
        result = dict(live)
        for name, value in applied.items():
            result[name] = merge(schema.of_field(name), live[name], value) if name in live else value
        return result
    return _merge_items(schema, live, applied)


def _merge_items(schema: Schema, live: list[Any], applied: list[Any]) -> list[Any]:
    wanted: dict[str, Any] = {}
    for item in applied:
        element = item_element(schema, item)
        if element in wanted:
            raise BadRequest(f"duplicate entries for key {element[2:]}")
        wanted[element] = item
    present = _index(schema, live)
    element_schema = schema.element
    assert element_schema is not None  # an associative list always describes its items

    def take(element: str) -> Any:  # noqa: ANN401
        if element not in wanted:
            return present[element]
        if element not in present:
            return wanted[element]
        return merge(element_schema, present[element], wanted[element])

    return [take(element) for element in _merge_order(list(present), list(wanted))]


def _merge_order(live: list[str], applied: list[str]) -> list[str]:
    """The order of the merged list: that of the applied one, with items that only live has kept before the next shared.

    The real order is the same (`visitListItems` of structured-merge-diff): live-only items stay in front of the shared
    item that they stood in front of, and shared items follow the applied order.
    """
    wanted, present = set(applied), set(live)
    order: list[str] = []
    rest = iter(applied)
    shared = [element for element in applied if element in present]
    for element in live:
        if element not in wanted:
            order.append(element)
        elif shared and element == shared[0]:
            for following in rest:
                order.append(following)
                if following == shared[0]:
                    break
            shared.pop(0)
            continue
    order.extend(rest)
    return order


# Taking fields away


def remove_fields(schema: Schema, value: Any, unwanted: FieldSet) -> Any:  # noqa: ANN401 - any JSON value
    """The value without the fields of the set. A mapping or list in it that loses everything becomes null."""
    schema = settle(schema, value)
    if schema.atomic or not unwanted:
        return value
    if isinstance(value, dict):
        return _remove_from(
            value.items(), lambda name: (field(name), schema.of_field(name)), unwanted, lambda kept: dict(kept)
        )
    if isinstance(value, list) and schema.is_associative and schema.element is not None:
        item_schema = schema.element
        pairs = [(item_element(schema, item), item) for item in value]
        return _remove_from(
            pairs, lambda element: (element, item_schema), unwanted, lambda kept: [item for _, item in kept]
        )
    return value


def _remove_from(
    pairs: Any,  # noqa: ANN401 - the items of a mapping, or of a list by their elements
    locate: Callable[[str], tuple[str, Schema]],
    unwanted: FieldSet,
    build: Callable[[list[tuple[str, Any]]], Any],
) -> Any:  # noqa: ANN401
    kept = []
    for name, child in pairs:
        element, schema = locate(name)
        node = unwanted.get(element)
        if node is None:
            kept.append((name, child))
        elif not is_member(node):
            rest = remove_fields(schema, child, children(node))
            kept.append((name, None if child and not rest else rest))
    return build(kept)


def with_named_fields(schema: Schema, fields: FieldSet) -> FieldSet:
    """The set and, in it, every named field that has members below it: so that an emptied one goes, too."""
    result = {}
    for element, node in fields.items():
        if element == ".":
            continue
        below, named = _below(schema, element)
        inner = with_named_fields(below, children(node)) if children(node) else EMPTY
        made = make_node(is_member(node) or named, inner)
        if made is not None:
            result[element] = made
    return result


def _below(schema: Schema, element: str) -> tuple[Schema, bool]:
    """The schema under a path element, and whether that is a field with a name of its own."""
    if element.startswith("f:"):
        name = element[2:]
        return schema.of_field(name), name in schema.fields
    return schema.element or schema, False


def prune(schema: Schema, merged: Any, last: FieldSet, owned: FieldSet) -> Any:  # noqa: ANN401
    """The merged object without what its applier applied the last time, applies no more and nobody owns.

    Args:
        last: what the applier owned before.
        owned: what all managers own now, the applier's new configuration included.
    """
    if not last:
        return merged
    formerly = with_named_fields(schema, last)
    owned = with_named_fields(schema, owned)
    if not difference(formerly, owned):
        return merged
    everything = with_named_fields(schema, fields_of(schema, merged))
    left = with_named_fields(schema, fields_of(schema, remove_fields(schema, merged, formerly)))
    kept = union(left, owned)
    pruned = remove_fields(schema, merged, difference(everything, kept))
    left = with_named_fields(schema, fields_of(schema, pruned))
    gone = difference(everything, left)
    return remove_fields(schema, merged, intersection(gone, formerly))


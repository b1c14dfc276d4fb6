"""Sets of field paths, in the form in which the API writes them (FieldsV1), and the algebra on them.

A set is a tree of mappings: `f:name` is a field, `k:{...}` a list item by its keys, `v:...` one by its value. A path is in
the set when its node is empty or holds ".". Sets are shared and never changed. Nothing here knows schemas or managers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from adapters.embedded.json_objects import decode_json, encode_json

FieldSet: TypeAlias = dict[str, Any]

EMPTY: FieldSet = {}
LEAF: FieldSet = {}
_SELF = "."


def field(name: str) -> str:
    """The path element of a mapping's field."""
    return f"f:{name}"


def item_by_keys(keys: dict[str, object]) -> str:
    """The path element of a list item that is told apart by its fields."""
    return f"k:{encode_json(dict(sorted(keys.items()))).decode()}"


def item_by_value(value: object) -> str:
    """The path element of a member of a set."""
    return f"v:{encode_json(value).decode()}"


def is_member(node: FieldSet) -> bool:
    """Whether the path that leads to this node is itself in the set."""
    return not node or _SELF in node


def children(node: FieldSet) -> FieldSet:
    """The part of the set below a node, as a set of its own."""
    if _SELF not in node:
        return node
    return {element: child for element, child in node.items() if element != _SELF}


def make_node(member: bool, below: FieldSet) -> FieldSet | None:
    """A node from its two parts; None when there is nothing in it."""
    if not below:
        return LEAF if member else None
    return {_SELF: LEAF, **below} if member else below


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in either."""
    if left is right or not right:
        return left
    if not left:
        return right
    result = dict(left)
    for element, node in right.items():
        former = result.get(element)
        result[element] = node if former is None else _unite_nodes(former, node)
    return result


def _unite_nodes(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right or left == right:
        return left
    node = make_node(is_member(left) or is_member(right), union(children(left), children(right)))
    assert node is not None  # a union of two nodes is never empty
    return node


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in the left and not in the right."""
    if not right or not left:
        return left
    result = {}
    for element, node in left.items():
        other = right.get(element)
        rest = node if other is None else _subtract_node(node, other)
        if rest is not None:
            result[element] = rest
    return result


def _subtract_node(left: FieldSet, right: FieldSet) -> FieldSet | None:
    member = is_member(left) and not is_member(right)
    return make_node(member, difference(children(left), children(right)))


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both."""
    result = {}
    for element, node in left.items():
        other = right.get(element)
        if other is not None:
            member = is_member(node) and is_member(other)
            common = make_node(member, intersection(children(node), children(other)))
            if common is not None:
                result[element] = common
    return result


def without(fields: FieldSet, path: tuple[str, ...]) -> FieldSet:
    """The set without this very path; what lies below the path stays."""
    element, rest = path[0], path[1:]
    node = fields.get(element)
    if node is None:
        return fields
    kept = make_node(is_member(node), without(children(node), rest)) if rest else make_node(False, children(node))
    result = {other: child for other, child in fields.items() if other != element}
    if kept is not None:
        result[element] = kept
    return result


def has_path(fields: FieldSet, path: tuple[str, ...]) -> bool:
    """Whether a path of field names is in the set."""
    for name in path:
        below = fields.get(field(name))
        if below is None:
            return False
        fields = below
    return is_member(fields)


def leaves(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """The paths of the set that have no other below them, as messages write them: shallow ones first, else in order."""
    parents = []
    for element in sorted(fields):
        if element == _SELF:
            continue
        if children(fields[element]):
            parents.append(element)
        else:
            yield prefix + tell_element(element)
    for element in parents:
        yield from leaves(children(fields[element]), prefix + tell_element(element))


def tell_element(element: str) -> str:
    """A path element as messages write it: `.name`, `[name="app"]`, `[="value"]`."""
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "k:":
        keys = decode_json(text)
        return "[" + ",".join(f"{key}={encode_json(value).decode()}" for key, value in keys.items()) + "]"
    if kind == "v:":
        return f"[={text}]"
    return f"[{text}]"

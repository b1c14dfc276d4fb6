"""How the fields of a kind are shaped and merged: the one description that decoding, merging and applying work from.

Built-in kinds get it from `builtin_types.yaml`, custom kinds from the schema of their CustomResourceDefinition. It
knows no objects and no operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Shape(Enum):
    """What a value is."""

    SCALAR = "scalar"
    STRUCT = "struct"
    """A mapping with named fields."""
    MAP = "map"
    """A mapping from any string to values of one shape."""
    LIST = "list"
    ANY = "any"
    """Whatever it is found to be; mappings merge by key, lists are replaced."""


class Presence(Enum):
    """When a field is given out."""

    NOT_EMPTY = ""
    """Only with a value that is not zero, "", false or empty."""
    OPTIONAL = "?"
    """With any value but null."""
    ALWAYS = "!"


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """The shape of one value.

    Args:
        name: the name of a built-in type, for a STRUCT; empty for the shapes of custom kinds.
        scalar: the name of the scalar type (`string`, `int32`, `quantity` ...), for a SCALAR.
        fields: for a STRUCT.
        element: for a MAP or LIST; for a STRUCT, the shape of fields that it does not name, None when there are none.
        atomic: server-side apply replaces the value as a whole.
        keys: for a LIST, the fields that tell its items apart; empty for a set or an atomic list.
        is_set: for a LIST of scalars, that order and repetition mean nothing.
        patch_merges: for a LIST, that a strategic merge patch merges it instead of replacing it.
        patch_merge_key: for such a LIST of mappings, the field that tells the items apart.
        retain_keys: a strategic merge patch may name the keys to retain.
    """

    shape: Shape
    name: str = ""
    scalar: str = ""
    fields: Mapping[str, FieldSchema] = field(default_factory=dict)
    element: Schema | None = None
    atomic: bool = False
    keys: tuple[str, ...] = ()
    is_set: bool = False
    patch_merges: bool = False
    patch_merge_key: str = ""
    retain_keys: bool = False

    @property
    def is_associative(self) -> bool:
        """Whether the items of this LIST are told apart by key or by value."""
        return bool(self.keys) or self.is_set

    def of_field(self, name: str) -> Schema:
        """The shape of a field of this mapping; ANY for one that is not described."""
        named = self.fields.get(name)
        if named is not None:
            return named.schema
        return self.element or ANY


@dataclass(frozen=True, slots=True, eq=False)
class FieldSchema:
    """One named field of a STRUCT. `default` is what server-side apply assumes where a list key is missing."""

    schema: Schema
    presence: Presence = Presence.OPTIONAL
    default: object = None


ANY = Schema(Shape.ANY)
ANY_MAP = Schema(Shape.MAP, element=ANY)
ATOMIC_LIST = Schema(Shape.LIST, element=ANY, atomic=True)


def settle(schema: Schema, *values: object) -> Schema:
    """The schema that holds for these values: ANY becomes a mapping, an atomic list or a scalar, as the values are."""
    if schema.shape is not Shape.ANY:
        return schema
    if any(isinstance(value, dict) for value in values):
        return ANY_MAP
    if any(isinstance(value, list) for value in values):
        return ATOMIC_LIST
    return schema

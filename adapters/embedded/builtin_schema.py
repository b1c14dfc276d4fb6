"""The schemas of the built-in kinds, read from `builtin_types.yaml`, whose head explains the notation."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib.resources import files

from adapters.embedded.schema import ANY, FieldSchema, Presence, Schema, Shape
from adapters.embedded.yaml_bodies import decode_yaml

SCALARS = frozenset(
    {"string", "int32", "int64", "float", "bool", "time", "microtime", "quantity", "intstr", "bytes"}
)

_ZEROS = {"string": "", "int32": 0, "int64": 0}
"""What a list key is taken for that is missing although it is always given out."""

_FIELD = re.compile(r"(?P<name>\w+)(?P<presence>[?!]?) (?P<type>[^=]+)(?:=(?P<default>.+))?")
_LIST = re.compile(r"\[(?P<element>\w+)(?::(?P<keys>[\w+]+))?(?P<merge>~\w*)?\](?P<retain>\+?)")
_SET = re.compile(r"\{(?P<element>\w+)(?P<merge>~\w*)?\}")
_MAP = re.compile(r"<(?P<element>\w+|\[\w+\])>(?P<atomic>\*?)")
_NAMED = re.compile(r"(?P<name>\w+)(?P<retain>(?:~retainKeys)?)")


@cache
def schema_of_kind(kind: str) -> Schema:
    """The schema of a built-in kind or of one of the types that it is made of.

    Raises:
        KeyError: there is no such type.
    """
    words = [word.strip() for word in _definitions()[kind].split(",") if word.strip()]
    atomic = words[:1] == ["atomic"]
    fields = dict(_parse_field(word) for word in words[1 if atomic else 0 :])
    return Schema(Shape.STRUCT, name=kind, fields=fields, atomic=atomic)


def knows_kind(kind: str) -> bool:
    """Whether there is a schema for this kind."""
    return kind in _definitions()


@cache
def _definitions() -> dict[str, str]:
    text = files("adapters.embedded").joinpath("builtin_types.yaml").read_text("utf-8")
    definitions: dict[str, str] = decode_yaml(text)
    return definitions


def _parse_field(text: str) -> tuple[str, FieldSchema]:
    found = _FIELD.fullmatch(text)
    if found is None:
        raise ValueError(f"not a field of the form 'name type': {text!r}")
    schema, presence = _parse_type(found["type"]), Presence(found["presence"])
    default = found["default"]
    if default is None and presence is Presence.ALWAYS:
        default = _ZEROS.get(schema.scalar)
    return found["name"], FieldSchema(schema, presence, default)


def _parse_type(text: str) -> Schema:
    if found := _LIST.fullmatch(text):
        keys = tuple((found["keys"] or "").split("+")) if found["keys"] else ()
        merge = found["merge"]
        return Schema(
            Shape.LIST,
            element=_parse_type(found["element"]),
            atomic=not keys,
            keys=keys,
            patch_merges=merge is not None,
            patch_merge_key=(merge or "~")[1:],
            retain_keys=bool(found["retain"]),
        )
    if found := _SET.fullmatch(text):
        element = _parse_type(found["element"])
        return Schema(Shape.LIST, element=element, is_set=True, patch_merges=found["merge"] is not None)
    if found := _MAP.fullmatch(text):
        return Schema(Shape.MAP, element=_parse_type(found["element"]), atomic=bool(found["atomic"]))
    return _parse_name(text)


@cache
def _parse_name(text: str) -> Schema:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(f"not a type: {text!r}")
    name = found["name"]
    if name == "any":
        return ANY
    if name in SCALARS:
        return Schema(Shape.SCALAR, scalar=name)
    schema = schema_of_kind(name)
    if not found["retain"]:
        return schema
    return replace(schema, retain_keys=True)

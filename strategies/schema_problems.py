"""Where a file does not fit the models: the validator's findings, each at its place and in our words.

The validator's own sentences are never shown; every kind of finding has one of ours here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from strategies.deployfile_models import DeployFile
from strategies.field_types import SENTENCE
from strategies.places import Place
from strategies.problems import MOST
from strategies.suggestions import listed, nearest, quote
from strategies.yaml_document import MappingNode, Mark, ScalarNode, SequenceNode, to_plain
from strategies.yaml_scalars import OLD_BOOLEANS

Say = Callable[[Mark, str], None]

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a number that is not infinite",
    "bool_type": "true or false",
    "list_type": 'a list, with "- " in front of each entry',
    "dict_type": "a mapping, with one key and value per line",
    "model_type": "a mapping, with one key and value per line",
    "model_attributes_type": "a mapping, with one key and value per line",
}
_LAMBDA_FIELDS = frozenset({"artifacts", "providerOptions", "deployAsIamRole", "region", "alias"})
_GIVEN_UP_FIELDS = {
    ("bodyTemplate", "path"): 'put the text itself under "inline"',
}
"""Fields of earlier versions of the format, by the list or object that they stood in, and what holds now."""
_CANARY_STEPS = frozenset({"setWeight", "setHeaderRoute", "setMirror"})


def check_schema(root: Place, say: Say) -> DeployFile | None:
    """The file as a `DeployFile`, or None after saying what does not fit."""
    try:
        return DeployFile.model_validate(to_plain(root.node))
    except ValidationError as error:
        findings = error.errors(include_url=False, include_context=True, include_input=False)[: MOST + 20]
        meant = {name for details in findings if (name := _meant_field(root, details)) is not None}
        for details in findings:
            if details["type"] != "missing" or details["loc"] not in meant:
                say(*_explain(root, details))
        return None


def _meant_field(root: Place, details: ErrorDetails) -> tuple[int | str, ...] | None:
    """The field that an unknown field was meant to be, so that it is not reported as missing as well."""
    if details["type"] != "extra_forbidden":
        return None
    *owner, name = details["loc"]
    found = _nearest_field(root.deepest(owner), str(name), tuple(owner))
    return (*owner, found) if found is not None else None


def _explain(root: Place, details: ErrorDetails) -> tuple[Mark, str]:
    path = details["loc"]
    kind = details["type"]
    place = root.deepest(path)
    context: Mapping[str, Any] = details.get("ctx", {})
    if kind == "missing":
        return _owner_mark(place), _explain_missing(place, str(path[-1]), path)
    if kind == "extra_forbidden":
        return place.key_mark, _explain_unknown(root.deepest(path[:-1]), str(path[-1]), path)
    if place.is_empty:
        removable = "" if _is_required(path) else ", or remove the key"
        return place.key_mark, f"{place.label} is empty; {_expect(kind, path)}{removable}"
    if kind == SENTENCE:
        said = str(context.get("sentence", ""))
        return place.mark, f"{place.label} {said}" if said.startswith(
            "is "
        ) else f"{place.label} is {_seen(place)}; {said}"
    if kind in _EXPECTED:
        return place.mark, f"{place.label} is {_seen(place)}; expected {_EXPECTED[kind]}{_advise(kind, place)}"
    return place.mark, f"{place.label} is {_seen(place)}; {_expect_range(kind, context, path)}"


def _expect(kind: str, path: tuple[int | str, ...]) -> str:
    return f"expected {_EXPECTED[kind]}" if kind in _EXPECTED else f"expected {_purpose(path)}"


def _expect_range(kind: str, context: Mapping[str, Any], path: tuple[int | str, ...]) -> str:
    match kind:
        case "greater_than_equal":
            return f"expected {context['ge']:g} or more"
        case "less_than_equal":
            return f"expected {context['le']:g} or less"
        case "too_short":
            removable = "" if _is_required(path) else " or remove the key"
            return f"expected at least one entry; add one{removable}"
        case _:
            return f"expected {_purpose(path)}"


def _explain_missing(place: Place, name: str, path: tuple[int | str, ...]) -> str:
    return f'{_owner(place)} has no "{name}"; add {_purpose(path)}'


def _owner(place: Place) -> str:
    return place.label if place.path else "the deploy file"


def _owner_mark(place: Place) -> Mark:
    return place.key_mark if place.path else place.mark


def _explain_unknown(owner: Place, name: str, path: tuple[int | str, ...]) -> str:
    where = _owner(owner)
    if name in _LAMBDA_FIELDS:
        return f"{quote(name)} belongs to AWS Lambda, which Headgate does not deploy to; remove it"
    given_up = _GIVEN_UP_FIELDS.get((_last_name(path[:-1]), name))
    if given_up is not None:
        return f"{quote(name)} is no longer a field of {where}; {given_up}"
    if name in _CANARY_STEPS and "blueGreen" in path:
        return f"{quote(name)} is a step of canary strategies; a blue/green strategy moves all traffic at once"
    if (parent := _parent_not_indented(owner, name, path)) is not None:
        return f"{quote(name)} belongs to {quote(parent)}, which is empty; indent it further than {quote(parent)}"
    found = _nearest_field(owner, name, path[:-1])
    known = _plain_list(fields_of(model_at(path[:-1])))
    advice = f"did you mean {quote(found)}?" if found is not None else f"known here: {known}"
    return f"unknown field {quote(name)} in {where}; {advice}"


def _nearest_field(owner: Place, name: str, path: tuple[int | str, ...]) -> str | None:
    valid = fields_of(model_at(path))
    unused = [field for field in valid if field not in owner.names]
    return nearest(name, unused) or nearest(name, valid)


def _parent_not_indented(owner: Place, name: str, path: tuple[int | str, ...]) -> str | None:
    """An empty field beside an unknown one that it would know: the lines below it are not indented enough."""
    for sibling, place in owner.entries():
        if place.is_empty and name in fields_of(model_at((*path[:-1], sibling))):
            return sibling
    return None


def _plain_list(names: list[str]) -> str:
    return listed(names, most=30).replace('"', "")


def _last_name(path: tuple[int | str, ...]) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _seen(place: Place) -> str:
    match place.node:
        case MappingNode(entries=entries):
            return "a mapping" if entries else "an empty mapping"
        case SequenceNode(items=items):
            return "a list" if items else "an empty list"
        case ScalarNode(value=bool() as value):
            return str(value).lower()
        case ScalarNode(value=str() as value):
            return f"the text {quote(value)}" if value.strip() else "blank text"
        case ScalarNode(text=text):
            return f"the number {text[:40]}"


def _advise(kind: str, place: Place) -> str:
    """What to write instead, where it can be told."""
    value = place.value
    if kind == "bool_type" and isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in OLD_BOOLEANS or lowered in ("true", "false"):
            return f": write {'true' if lowered in ('y', 'yes', 'on', 'true') else 'false'} without quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        return _advise_number(value.strip())
    if kind == "string_type" and isinstance(place.node, ScalarNode):
        return f': put it in quotes, "{place.node.text[:40]}"'
    return ""


def _advise_number(text: str) -> str:
    digits = text.lstrip("0") or "0"
    if text.startswith("0") and text.isascii() and text.isdigit() and len(text) > 1:
        return f": a leading zero has two meanings in YAML, so write {digits[:40]}"
    return ": write it without quotes" if text.isascii() and text.isdigit() else ""


def _purpose(path: tuple[int | str, ...]) -> str:
    """What a field is there for, from its description: its first sentence as the object of a sentence."""
    field = _field_at(path)
    if field is None or not field.description:
        return "a value that fits"
    first = re.split(r"\. |; ", field.description)[0].rstrip(".").replace("`", "")
    return first[0].lower() + first[1:]


def _is_required(path: tuple[int | str, ...]) -> bool:
    field = _field_at(path)
    return field is not None and field.is_required()


def _field_at(path: tuple[int | str, ...]) -> FieldInfo | None:
    owner = model_at(path[:-1])
    for name, field in owner.model_fields.items() if owner is not None else ():
        if (field.alias or name) == path[-1]:
            return field
    return None


def fields_of(model: type[BaseModel] | None) -> list[str]:
    """The names that a model's object may have in a deploy file."""
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the object at a path of a deploy file; None where there is no model."""
    current: Any = DeployFile
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            named = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = _unwrap(named.get(str(part)))
        else:
            arguments = get_args(current)
            current = _unwrap(arguments[-1]) if arguments else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _unwrap(annotation: Any) -> Any:  # noqa: ANN401  type annotations are values of any type
    """`X` of `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation

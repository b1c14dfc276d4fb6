"""JSON pointers (RFC 6901): ways to one place of an object, such as `/spec/routes/0/weight`. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias

from strategies.suggestions import listed, quote

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_MOST_NAMES = 8


class LeadsNowhere(Exception):
    """The object has no such place; the message says how far it goes, and what is there instead."""


def check_pointer(pointer: str) -> str:
    """What is wrong with the text of a pointer to a place inside of an object; empty when nothing is."""
    if not pointer.startswith("/"):
        return 'does not begin with "/"; expected a JSON pointer such as /spec/routes/0/weight'
    if any(part.replace("~0", "").replace("~1", "").count("~") for part in pointer.split("/")):
        return 'has a "~" that is neither "~0" (for "~") nor "~1" (for "/"); write one of these'
    return ""


def tokens_of(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def find_at(body: Json, pointer: str) -> Json:
    """What stands there. Raises `LeadsNowhere`."""
    place, walked = body, ""
    for part, token in zip(pointer.split("/")[1:], tokens_of(pointer), strict=True):
        match place:
            case dict() if token in place:
                place = place[token]
            case list() if token.isdecimal() and int(token) < len(place):
                place = place[int(token)]
            case _:
                raise LeadsNowhere(f"{pointer} leads nowhere: {_instead(place, walked, token)}")
        walked = f"{walked}/{part}"
    return place


def _instead(place: Json, walked: str, token: str) -> str:
    where = walked or "the object"
    match place:
        case dict():
            names = [*place][:_MOST_NAMES]
            return f"{where} has no {quote(token)}, but {listed(names) if names else 'nothing'}"
        case list():
            return f"{where} is a list of {len(place)}, counted from 0, and has no {quote(token)}"
        case _:
            return f"{where} is a single value, with nothing in it"


def with_values(body: dict[str, Json], values: dict[str, Json]) -> dict[str, Json]:
    """A copy with other values at places that there are. Raises `LeadsNowhere`."""
    changed = copy.deepcopy(body)
    for pointer, value in values.items():
        find_at(changed, pointer)
        *above, last = tokens_of(pointer)
        owner = _owner(changed, above)
        if isinstance(owner, list):
            owner[int(last)] = value
        elif isinstance(owner, dict):
            owner[last] = value
    return changed


def with_places(body: dict[str, Json], values: dict[str, Json]) -> dict[str, Json]:
    """A copy with these values, for which places are made where there are none: a number stands for the index of a list."""
    made: Json = copy.deepcopy(body)
    for pointer, value in values.items():
        made = _with_place(made, tokens_of(pointer), value)
    assert isinstance(made, dict)
    return made


def _with_place(place: Json, tokens: Sequence[str], value: Json) -> Json:
    if not tokens:
        return value
    token, rest = tokens[0], tokens[1:]
    if isinstance(place, list) or (place is None and token.isdecimal()):
        items = list(place) if isinstance(place, list) else []
        items += [None] * (int(token) + 1 - len(items)) if token.isdecimal() else []
        items[int(token)] = _with_place(items[int(token)], rest, value)
        return [{} if item is None else item for item in items]
    fields = dict(place) if isinstance(place, dict) else {}
    return {**fields, token: _with_place(fields.get(token), rest, value)}


def _owner(body: Json, tokens: Sequence[str]) -> Json:
    place = body
    for token in tokens:
        if isinstance(place, list):
            place = place[int(token)]
        elif isinstance(place, dict):
            place = place[token]
    return place

"""Taking our change of an object back where somebody else has changed it since: a merge of three states. Pure.

What we have changed is what differs between the object as it was found and as we made it. Where the live object still says what
we said, it says again what was found; what somebody else has changed stays. Where both have changed the same place, nobody knows
what is right, and nothing is taken back.
"""

from __future__ import annotations

from typing import cast

from adapters.kubernetes.templates import JsonObject

_ABSENT = object()


class Entangled(Exception):
    """Somebody else has changed what we have changed; the message names the place."""


def take_back(found: JsonObject, made: JsonObject, live: JsonObject) -> JsonObject:
    """The live object without our change. Raises `Entangled`."""
    return cast(JsonObject, _merge(found, made, live, ""))


def _merge(found: object, made: object, live: object, place: str) -> object:
    if live == made:
        return found
    if found in (made, live):
        return live
    if all(one is _ABSENT or isinstance(one, dict) for one in (found, made, live)):
        return _merge_fields(_fields(found), _fields(made), _fields(live), place)
    if isinstance(found, list) and isinstance(made, list) and isinstance(live, list) and _are_alike(found, made, live):
        entries = zip(found, made, live, strict=True)
        return [_merge(*each, f"{place}[{number}]") for number, each in enumerate(entries)]
    if place.startswith(".metadata."):
        return live
    raise Entangled(place.lstrip("."))


def _fields(side: object) -> JsonObject:
    return side if isinstance(side, dict) else {}


def _merge_fields(found: JsonObject, made: JsonObject, live: JsonObject, place: str) -> JsonObject:
    merged = {
        name: _merge(found.get(name, _ABSENT), made.get(name, _ABSENT), live.get(name, _ABSENT), f"{place}.{name}")
        for name in dict.fromkeys([*live, *found, *made])
    }
    return {name: value for name, value in merged.items() if value is not _ABSENT}


def _are_alike(*lists: list[object]) -> bool:
    """Lists of the same objects, told by their names, in the same order."""
    names = [[entry.get("name") if isinstance(entry, dict) else None for entry in one] for one in lists]
    return names[0] == names[1] == names[2] and None not in names[0]

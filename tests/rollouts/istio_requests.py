"""Requests, followed through a VirtualService as a proxy follows them: the first route that one of its matches fits has it.

Source: the reference of VirtualService. Regular expressions have to fit the whole value; those of these tests mean the same to
RE2 and to Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.embedded.json_objects import JsonObject


@dataclass(frozen=True)
class Request:
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    method: str = "GET"


def follow(virtual_service: JsonObject, request: Request) -> JsonObject | None:
    """The route that the request takes; None where there is none."""
    for route in virtual_service["spec"]["http"]:
        matches = route.get("match")
        if not matches or any(_fits(one, request) for one in matches):
            found: JsonObject = route
            return found
    return None


def shares(virtual_service: JsonObject, request: Request) -> dict[str, int]:
    """How many of a hundred requests come to each subset or host."""
    route = follow(virtual_service, request)
    found = route["route"] if route is not None else []
    weights = [one.get("weight", 100 if len(found) == 1 else 0) for one in found]
    names = [one["destination"].get("subset") or one["destination"]["host"] for one in found]
    return {name: round(100 * weight / sum(weights)) for name, weight in zip(names, weights, strict=True) if weight}


def _fits(match: JsonObject, request: Request) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    wanted: list[tuple[JsonObject | None, str | None]] = [(match.get("uri"), request.path), (match.get("method"), request.method)]
    wanted += [(value, headers.get(name)) for name, value in (match.get("headers") or {}).items()]
    return all(_fits_value(value, text) for value, text in wanted if value is not None)


def _fits_value(value: JsonObject, text: str | None) -> bool:
    if text is None:
        return False
    match value:
        case {"exact": exact}:
            return bool(text == exact)
        case {"prefix": prefix}:
            return text.startswith(prefix)
        case {"regex": regex}:
            return re.fullmatch(regex, text) is not None
        case _:
            return True

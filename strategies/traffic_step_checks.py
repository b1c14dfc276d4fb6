"""What the steps that single out requests must be in themselves, and in the order of their strategy. Works on files that do not
fit the schema; whether a router can do it is asked in `strategies.capability_checks`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.traffic import FULL_WEIGHT
from strategies.places import Place
from strategies.problems import FileReport
from strategies.request_patterns import find_fault
from strategies.suggestions import listed, nearest, quote, suggest
from strategies.weights import WeightError, to_basis_points

KINDS = ("exact", "prefix", "regex")
FIELDS = ("header", "cookie", "path", "method")
MOST_MATCHES = 64
"""Of one route: what the Gateway API takes in a rule."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header or a cookie, and a method. Source: RFC 9110, section 5.6.2."""


def check_traffic_steps(root: Place, say: FileReport) -> None:
    for _, strategy in root.entries("strategies"):
        steps = list(strategy.items("canary", "steps"))
        for step in steps:
            if (route := step.get("setHeaderRoute")) is not None:
                _check_route(route, say)
        _check_order(steps, say)


def matches_of(step: Place) -> Iterator[Place]:
    yield from step.items("setHeaderRoute", "match")


def values_of(match: Place) -> Iterator[tuple[str, Place]]:
    """What a request is told by, each with the field that it stands in; without the method, which is plain text."""
    for field in ("header", "cookie"):
        yield from ((field, one) for one in match.items(field))
    if (path := match.get("path")) is not None:
        yield "path", path


def kind_of(value: Place) -> Place | None:
    """The `exact`, `prefix` or `regex` of a value."""
    return next((found for kind in KINDS if (found := value.get(kind)) is not None), None)


# --- one route ---------------------------------------------------------------------------------------------------------


def _check_route(route: Place, say: FileReport) -> None:
    matches = list(route.items("match"))
    if len(matches) > MOST_MATCHES:
        message = f"a route has at most {MOST_MATCHES} matches, this one {len(matches)}; make two of it"
        say.error(matches[MOST_MATCHES].mark, message)
    for match in matches:
        if match.is_mapping and not match.names:
            say.error(match.mark, f"this match is empty, which would be all requests; write {listed(FIELDS, joint='or')} in it")
        for field, value in values_of(match):
            _check_value(field, value, say)
        for field in ("header", "cookie"):
            _check_names(field, list(match.items(field)), say)
        if (method := match.get("method")) is not None:
            check_token("method", method, say)


def _check_value(field: str, value: Place, say: FileReport) -> None:
    if not value.is_mapping:
        return
    given = [kind for kind in KINDS if kind in value.names]
    if len(given) > 1:
        say.error(value.mark, f"this {field} is matched by {listed(given)} at once; keep one of them")
    elif not given and not any(nearest(name, KINDS) for name in value.names if name != "name"):
        say.error(value.mark, f"this {field} says nothing of its value; write {listed(KINDS, joint='or')} in it")
    pattern = value.get("regex")
    if pattern is not None and pattern.text is not None and (fault := find_fault(pattern.text)):
        say.error(pattern.mark, f"{pattern.label} {fault}")
    for kind in KINDS:
        found = value.get(kind)
        if found is not None and found.text is not None and not found.text.isprintable():
            say.error(found.mark, f"{found.label} holds a control character, which no {field} has; remove it")


def _check_names(field: str, values: list[Place], say: FileReport) -> None:
    first: dict[str, Place] = {}
    for value in values:
        name = value.get("name")
        if name is None or name.text is None:
            continue
        check_token(field, name, say)
        key = name.text.lower() if field == "header" else name.text
        if first.setdefault(key, name) is not name:
            say.error(name.mark, f"the {field} {quote(name.text)} is matched twice in one entry; write one expression for both")
        if field == "header" and key == "cookie":
            say.error(name.mark, 'a cookie is one part of this header; write "cookie" with its name instead of "header"')


def check_token(field: str, place: Place, say: FileReport) -> None:
    """The name of a header or a cookie, or a method."""
    if place.text is None or is_token(place.text):
        return
    what = "a method" if field == "method" else f"the name of a {field}"
    instead = " (the host is no header of a match)" if place.text.startswith(":") else ""
    message = f"{place.label} is {quote(place.text)}, which cannot be {what}{instead}; expected letters, digits and dashes"
    say.error(place.mark, message)


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


# --- the order ---------------------------------------------------------------------------------------------------------


def _check_order(steps: list[Place], say: FileReport) -> None:
    """Names that are taken away have to stand; and what is singled out has to stand for a while."""
    standing: dict[str, Place] = {}
    for index, step in enumerate(steps):
        if _ends_all(step):
            standing = {}
        if (route := step.get("setHeaderRoute")) is not None:
            _follow_route(route, standing, say)
            if route.get("match") is not None:
                _check_lasts(route, "header route", steps[index + 1 :], say)
        if (share := step.at("setMirror", "weight")) is not None and _points(share):
            _check_lasts(share, "mirror", steps[index + 1 :], say)


def _follow_route(route: Place, standing: dict[str, Place], say: FileReport) -> None:
    name = route.get("name")
    if name is None or name.text is None:
        return
    if "match" in route.names:
        standing[name.text] = name
        if route.get("match") is None:
            message = '"match" is empty; write the requests in it, or remove the key to take the route away'
            say.error(route.mark_of("match"), message)
    elif standing.pop(name.text, None) is None:
        advice = f"; {suggest(name.text, standing)}" if standing else '; write "match" to set one'
        say.error(name.mark, f"no header route {quote(name.text)} stands here that could be taken away{advice}")


def _check_lasts(place: Place, what: str, later: list[Place], say: FileReport) -> None:
    """Steps that move traffic follow each other at once; only what waits lets anything be seen."""
    for step in later:
        if _ends_all(step):
            break
        if not {"setWeight", "setHeaderRoute", "setMirror"} & set(step.names):
            return
    say.error(
        place.mark,
        f"nothing waits between this {what} and the moment when all traffic is the new version's, so nothing would come of it; "
        "put a pause or an analysis after it",
    )


def _ends_all(step: Place) -> bool:
    weight = step.at("setWeight", "weight")
    return weight is not None and _points(weight) == FULL_WEIGHT


def _points(weight: Place) -> int:
    try:
        return to_basis_points(weight.value)
    except WeightError:
        return 0

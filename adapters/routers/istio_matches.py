"""Which requests, as a VirtualService says it: a step's matches in Istio's words, joined with those of the user's route.

Pure. A header route stands in front of the user's own route, and must never take a request that would not have come to that one.
So each of its matches is one of the route's own *and* one of the step's. Istio has no "and" for two conditions on one
header, path or method; they are made one where that can be said exactly, and refused where it cannot.

Source: the reference of VirtualService (HTTPMatchRequest, StringMatch): entries of the list are alternatives, all fields of one
are asked for, a regular expression (RE2) has to match the whole value, and header names are in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import permutations

from adapters.kubernetes.templates import JsonObject
from engine.traffic import MatchKind, NamedMatch, RequestMatch, ValueMatch

MOST_COOKIES = 3
"""Of one entry: their order in the header is open, so all orders are written out."""
_COOKIE = "cookie"
_PLAIN = re.compile(r"(?:[\w/.*+?|()\[\]^$, -]|\\[.\-/dws])*")
"""Expressions that mean the same to RE2 and to Python, but for a group that asks for something."""


class Unjoinable(ValueError):
    """Two conditions on one thing that Istio cannot ask for together; the message says which, in words that follow a route's."""


def joined(own: Sequence[JsonObject], matches: Iterable[RequestMatch]) -> list[JsonObject]:
    """The list of matches for the requests that fit any of the route's own and any of the step's. Empty where none can fit both.

    Raises `Unjoinable`."""
    found = [_both(theirs, match) for theirs in own or [{}] for match in matches]
    return [one for one in found if one is not None]


def _both(theirs: JsonObject, match: RequestMatch) -> JsonObject | None:
    both = dict(theirs)
    if match.path is not None:
        if theirs.get("ignoreUriCase") and not _is_any_path(theirs.get("uri")):
            raise Unjoinable("matches its path whatever its case, which no path of a step can be joined with; take one out")
        path = _intersect("its path", {} if _is_any_path(theirs.get("uri")) else theirs["uri"], write_value(match.path))
        if path is None:
            return None
        both = {**{key: value for key, value in both.items() if key != "ignoreUriCase"}, "uri": path}
    if match.method:
        method = _intersect("its method", theirs.get("method") or {}, {"exact": match.method})
        if method is None:
            return None
        both["method"] = method
    headers = dict(theirs.get("headers") or {})
    for name, value in _headers(match).items():
        header = _intersect(f"the header {name}", headers.get(name) or {}, value)
        if header is None:
            return None
        headers[name] = header
    return {**both, "headers": headers} if headers else both


def _is_any_path(uri: JsonObject | None) -> bool:
    return not uri or uri.get("prefix") in ("", "/")


def _intersect(what: str, theirs: JsonObject, ours: JsonObject) -> JsonObject | None:
    """One condition for both; None where nothing fits both."""
    if not theirs or theirs == ours:
        return ours
    kinds = {next(iter(one), ""): one for one in (theirs, ours)}
    text = {kind: str(one.get(kind, "")) for kind, one in kinds.items()}
    if len(kinds) == 1 and "regex" not in kinds:
        return _of_one_kind(next(iter(kinds)), str(next(iter(theirs.values()))), str(next(iter(ours.values()))))
    if kinds.keys() == {"exact", "prefix"}:
        return kinds["exact"] if text["exact"].startswith(text["prefix"]) else None
    if kinds.keys() == {"exact", "regex"} and _PLAIN.fullmatch(text["regex"]) and "(?" not in text["regex"]:
        return kinds["exact"] if _fits(text["regex"], text["exact"]) else None
    raise Unjoinable(
        f"matches {what} by {_words(theirs)}, which Istio cannot ask for together with {_words(ours)}; let one of them be exact"
    )


def _fits(pattern: str, text: str) -> bool:
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return False


def _of_one_kind(kind: str, theirs: str, ours: str) -> JsonObject | None:
    if kind == "exact":
        return None
    longer, shorter = sorted((theirs, ours), key=len, reverse=True)
    return {kind: longer} if longer.startswith(shorter) else None


def _words(value: JsonObject) -> str:
    kind, text = next(iter(value.items()), ("", ""))
    return f'{kind} "{text}"'


# --- values ------------------------------------------------------------------------------------------------------------


def write_value(match: ValueMatch) -> JsonObject:
    return {match.kind.value: match.value}


def _headers(match: RequestMatch) -> dict[str, JsonObject]:
    headers = {one.name.lower(): write_value(one.value) for one in match.headers}
    return {**headers, _COOKIE: {"regex": cookie_pattern(match.cookies)}} if match.cookies else headers


def cookie_pattern(cookies: Sequence[NamedMatch]) -> str:
    """The expression that the `cookie` header fits if it holds all of these, in any order and among others."""
    orders = (";(?:.*;)?\\s*".join(map(_cookie, order)) for order in permutations(cookies))
    return f"(?:.*;\\s*)?(?:{'|'.join(orders)})(?:;.*)?"


def _cookie(cookie: NamedMatch) -> str:
    value = cookie.value
    written = {
        MatchKind.EXACT: _quoted(value.value),
        MatchKind.PREFIX: f"{_quoted(value.value)}[^;]*",
        MatchKind.REGEX: f"(?:{_within_cookie(value.value)})",
    }
    return f"{_quoted(cookie.name)}={written[value.kind]}"


def _quoted(text: str) -> str:
    """As RE2 takes it: every sign with a backslash, and no letter."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def _within_cookie(pattern: str) -> str:
    """What is meant for one cookie's value must not run on into the next one."""
    parts = re.findall(r"\\.|\[\^?|\]|.", pattern, re.DOTALL)
    inside, written = False, []
    for part in parts:
        if inside:
            inside = part != "]"
        elif part in ("[", "[^"):
            inside = True
            part = "[^;" if part == "[^" else part
        elif part == ".":
            part = "[^;]"
        written.append(part)
    return "".join(written)

"""Which requests, as a VirtualService says it: a step's matches in Istio's words, joined with those of the user's route.

Pure. A header route stands in front of the user's own route, and must never take a request that would not have come to that one.
So each of its matches is one of the route's own *and* one of the step's. Istio has no "and" for two conditions on one
header, path or method; they are made one where that can be said exactly, and refused where it cannot.

Source: the reference of VirtualService (HTTPMatchRequest, StringMatch): entries of the list are alternatives, all fields of one
are asked for, a regular expression (RE2) has to match the whole value, and header names are in lower case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.kubernetes.templates import JsonObject
from adapters.routers.request_values import Unjoinable, can_tell, cookie_pattern, fits
from engine.traffic import RequestMatch, ValueMatch

_COOKIE = "cookie"


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
    if kinds.keys() == {"exact", "regex"} and can_tell(text["regex"], text["exact"]):
        return kinds["exact"] if fits(text["regex"], text["exact"]) else None
    raise Unjoinable(
        f"matches {what} by {_words(theirs)}, which Istio cannot ask for together with {_words(ours)}; let one of them be exact"
    )


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

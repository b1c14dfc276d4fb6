"""Which requests, as an HTTPRoute or a GRPCRoute says it: a step's matches in the Gateway API's words, joined with those of the
rule that they narrow; and which of two rules a proxy takes. Pure.

A header route must take the requests that it is for from the rule that it narrows, and from no other. Its matches are the
rule's own *and* the step's, joined into one condition for each thing, as a route knows no other "and"; what cannot be joined
exactly is refused. And it is not the order of the rules that decides among those that fit, but how exact their matches are (the
order is the last resort), so a joined match, which is more exact than the one it narrows, might also go before another rule
that went before that one until now. That is looked for, and refused.

Source: the reference of `gateway.networking.k8s.io/v1` (HTTPRouteRule.matches, GRPCRouteRule.matches). It leaves open which goes
first of a path by expression and one by another path, so no step's path is written as an expression of an HTTPRoute. Whether an
expression has to match the whole value is open too, so ours are tied to both ends.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.kubernetes.templates import JsonObject
from adapters.routers.request_values import Unjoinable, can_tell, cookie_pattern, fits, fits_within, quoted
from engine.traffic import MatchKind, RequestMatch, ValueMatch

GRPC = "GRPCRoute"
EXACT, PREFIX, REGEX = "Exact", "PathPrefix", "RegularExpression"
MOST_MATCHES, MOST_RULES = 64, 16
_ANY_PATH: JsonObject = {"type": PREFIX, "value": "/"}
_COOKIE = "cookie"


def joined(kind: str, own: Sequence[JsonObject], matches: Iterable[RequestMatch]) -> list[JsonObject]:
    """The matches for the requests that fit any of a rule's own and any of a step's. Empty where none can fit both.

    Raises `Unjoinable`."""
    join = _join_grpc if kind == GRPC else _join_http
    found = [join(theirs, match) for theirs in own or [{}] for match in matches]
    return [one for one in found if one is not None]


# --- one match ---------------------------------------------------------------------------------------------------------


def _join_http(theirs: JsonObject, match: RequestMatch) -> JsonObject | None:
    both = dict(theirs)
    if match.path is not None:
        path = _join_paths(path_of(theirs), _written_path(match.path))
        if path is None:
            return None
        both["path"] = path
    if match.method:
        if theirs.get("method", match.method) != match.method:
            return None
        both["method"] = match.method
    return _with_headers(both, theirs, match)


def _join_grpc(theirs: JsonObject, match: RequestMatch) -> JsonObject | None:
    method: JsonObject | None = theirs.get("method")
    if match.path is not None or match.method:
        method = _join_methods(method or {}, match)
        if method is None:
            return None
    return _with_headers({**theirs, "method": method} if method else dict(theirs), theirs, match)


def _with_headers(both: JsonObject, theirs: JsonObject, match: RequestMatch) -> JsonObject | None:
    headers: list[JsonObject] = list(theirs.get("headers") or ())
    for name, ours in _headers(match).items():
        index = next((at for at, one in enumerate(headers) if str(one["name"]).lower() == name), None)
        if index is None:
            headers.append({"type": ours["type"], "name": name, "value": ours["value"]})
            continue
        value = _join_values(f"the header {name}", headers[index], ours)
        if value is None:
            return None
        headers[index] = {**headers[index], **value}
    return {**both, "headers": headers} if headers else both


def _headers(match: RequestMatch) -> dict[str, JsonObject]:
    headers = {one.name.lower(): _written_value(one.value) for one in match.headers}
    return {**headers, _COOKIE: _tied(cookie_pattern(match.cookies))} if match.cookies else headers


def _written_value(match: ValueMatch) -> JsonObject:
    match match.kind:
        case MatchKind.EXACT:
            return {"type": EXACT, "value": match.value}
        case MatchKind.PREFIX:
            return _tied(f"{quoted(match.value)}.*")
        case MatchKind.REGEX:
            return _tied(match.value)


def _tied(pattern: str) -> JsonObject:
    return {"type": REGEX, "value": f"^(?:{pattern})$"}


def _join_values(what: str, theirs: JsonObject, ours: JsonObject) -> JsonObject | None:
    """One condition for both; None where nothing fits both."""
    one, other = ({"type": value.get("type", EXACT), "value": str(value["value"])} for value in (theirs, ours))
    if one == other:
        return one
    if one["type"] == other["type"] == EXACT:
        return None
    by_kind = {one["type"]: one["value"], other["type"]: other["value"]}
    if by_kind.keys() == {EXACT, REGEX} and can_tell(by_kind[REGEX].replace("(?:", "("), by_kind[EXACT]):
        return _exact_within(what, by_kind[EXACT], by_kind[REGEX])
    raise _unjoinable(what, one, other)


def _exact_within(what: str, text: str, pattern: str) -> JsonObject | None:
    """A whole value of which an expression that is not tied fits a part only: proxies do not agree on it."""
    is_whole, is_part = fits(pattern, text), fits_within(pattern, text)
    if is_whole != is_part and not (pattern.startswith("^") and pattern.endswith("$")):
        raise _unjoinable(what, {"type": EXACT, "value": text}, {"type": REGEX, "value": pattern})
    return {"type": EXACT, "value": text} if is_whole else None


def _unjoinable(what: str, one: Mapping[str, str], other: Mapping[str, str]) -> Unjoinable:
    told = " together with ".join(f'{value["type"]} "{value["value"]}"' for value in (one, other))
    return Unjoinable(f"matches {what} already, and no route can ask for {told}; let one of them be exact")


# --- paths, and the methods of gRPC ------------------------------------------------------------------------------------


def path_of(match: JsonObject) -> JsonObject:
    """A match that says no path is for any."""
    found = match.get("path") or {}
    return {"type": found.get("type", PREFIX), "value": found.get("value", "/")}


def _written_path(match: ValueMatch) -> JsonObject:
    if match.kind is MatchKind.REGEX:
        raise Unjoinable(f"would need the path {match.value} as an expression, and whether it goes first is open; write a prefix")
    return {"type": EXACT if match.kind is MatchKind.EXACT else PREFIX, "value": match.value}


def _join_paths(theirs: JsonObject, ours: JsonObject) -> JsonObject | None:
    if theirs in (ours, _ANY_PATH):
        return ours
    if theirs["type"] == REGEX:
        if ours["type"] == EXACT:
            return _join_values("its path", theirs, ours)
        raise _unjoinable("its path", theirs, ours)
    longer, shorter = sorted((theirs, ours), key=lambda one: len(_elements(one["value"])), reverse=True)
    if EXACT in (theirs["type"], ours["type"]):
        longer = theirs if theirs["type"] == EXACT else ours
        shorter = ours if longer is theirs else theirs
        if shorter["type"] == EXACT:
            return None
    return longer if is_below(longer["value"], shorter["value"]) else None


def is_below(path: str, prefix: str) -> bool:
    """Prefixes count by whole elements: `/abc` is not below `/ab`."""
    wanted = _elements(prefix)
    return _elements(path)[: len(wanted)] == wanted


def _elements(path: str) -> list[str]:
    trimmed = path.rstrip("/")
    return trimmed.split("/") if trimmed else [""]


def _join_methods(theirs: JsonObject, match: RequestMatch) -> JsonObject | None:
    """A service's name is the step's path, and both parts are asked for in one way."""
    service = _written_value(match.path) if match.path is not None else None
    method: JsonObject | None = {"type": EXACT, "value": match.method} if match.method else None
    kind = theirs.get("type", EXACT)
    found: dict[str, JsonObject] = {}
    for name, ours in (("service", service), ("method", method)):
        own = {"type": kind, "value": theirs[name]} if theirs.get(name) else None
        value = _join_values(f"its {name}", own, ours) if own is not None and ours is not None else own or ours
        if value is None and own is not None:
            return None
        if value is not None:
            found[name] = value
    kinds = {value["type"] for value in found.values()}
    if len(kinds) == 1:
        return {"type": kinds.pop(), **{name: value["value"] for name, value in found.items()}}
    alike = {name: _tied(quoted(one["value"])) if one["type"] == EXACT else one for name, one in found.items()}
    return {"type": REGEX, **{name: value["value"] for name, value in alike.items()}}


# --- which of two goes first -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rank:
    place: tuple[int, int] | None
    """Of a path: its type and length; of a gRPC method: the lengths of service and method. None for one that cannot be
    compared."""
    of: object
    """What has this place, as two of the same are equal whether or not they can be compared."""
    counts: tuple[int, ...]


def _rank(kind: str, match: JsonObject) -> _Rank:
    headers = len(match.get("headers") or ())
    if kind == GRPC:
        method = match.get("method") or {}
        texts = (method.get("service") or "", method.get("method") or "")
        place = None if method.get("type") == REGEX else (len(texts[0]), len(texts[1]))
        return _Rank(place, (method.get("type", EXACT), *texts), (headers,))
    path = path_of(match)
    place = {EXACT: (2, 0), PREFIX: (1, len(path["value"].rstrip("/")))}.get(path["type"])
    counts = (int(bool(match.get("method"))), headers, len(match.get("queryParams") or ()))
    return _Rank(place, (path["type"], path["value"]), counts)


def _compare(one: _Rank, other: _Rank) -> int | None:
    """Above 0 where the first goes first, 0 where their places in the list decide, None where it is open."""
    if one.of != other.of:
        if one.place is None or other.place is None:
            return None
        if one.place != other.place:
            return 1 if one.place > other.place else -1
    return (one.counts > other.counts) - (one.counts < other.counts)


def find_theft(
    kind: str, rules: Sequence[JsonObject], index: int, divided: Container[int], matches: Sequence[RequestMatch]
) -> int | None:
    """Another rule of the list that would lose requests to a header route in front of the rule at `index`; None where none does.

    Not one of those that are divided between the versions too: the header route is meant for their requests as well."""
    others = [(at, other) for at, rule in enumerate(rules) if at not in divided for other in rule.get("matches") or [{}]]
    for theirs in rules[index].get("matches") or [{}]:
        for ours in joined(kind, [theirs], matches):
            for at, other in others:
                if _loses(kind, other, at, theirs, index, ours):
                    return at
    return None


def _loses(kind: str, other: JsonObject, at: int, theirs: JsonObject, index: int, ours: JsonObject) -> bool:
    """Whether requests that went to `other`, before the rule that is narrowed, would go to the header route."""
    rival, narrowed, made = _rank(kind, other), _rank(kind, theirs), _rank(kind, ours)
    before, after = _compare(rival, narrowed), _compare(rival, made)
    if before is None and made.of == narrowed.of:
        return False  # Whatever decides between their paths decides as before.
    went_first = before is None or before > 0 or (before == 0 and at < index)
    goes_first = after is not None and (after > 0 or (after == 0 and at < index))
    return went_first and not goes_first and _may_meet(kind, other, ours)


def _may_meet(kind: str, one: JsonObject, other: JsonObject) -> bool:
    """Whether a request could fit both, as far as that can be told; if in doubt, it could."""
    if kind != GRPC and not _paths_meet(path_of(one), path_of(other)):
        return False
    if kind == GRPC and not _methods_meet(one.get("method") or {}, other.get("method") or {}):
        return False
    if kind != GRPC and one.get("method") and other.get("method") and one["method"] != other["method"]:
        return False
    return _values_meet(one, other, "headers") and _values_meet(one, other, "queryParams")


def _paths_meet(one: JsonObject, other: JsonObject) -> bool:
    if REGEX in (one["type"], other["type"]):
        return True
    if one["type"] == other["type"] == EXACT:
        return bool(one["value"] == other["value"])
    if EXACT in (one["type"], other["type"]):
        exact, prefix = (one, other) if one["type"] == EXACT else (other, one)
        return is_below(exact["value"], prefix["value"])
    return is_below(one["value"], other["value"]) or is_below(other["value"], one["value"])


def _methods_meet(one: JsonObject, other: JsonObject) -> bool:
    if REGEX in (one.get("type"), other.get("type")):
        return True
    return all(not one.get(name) or not other.get(name) or one[name] == other[name] for name in ("service", "method"))


def _values_meet(one: JsonObject, other: JsonObject, field: str) -> bool:
    asked = {str(value["name"]).lower(): value for value in one.get(field) or ()}
    for value in other.get(field) or ():
        also = asked.get(str(value["name"]).lower())
        kinds = {value.get("type", EXACT), also.get("type", EXACT)} if also is not None else set()
        if also is not None and kinds == {EXACT} and also["value"] != value["value"]:
            return False
    return True

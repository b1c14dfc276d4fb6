"""Requests that were singled out, as Argo and Flagger write them (in Istio's words) -> matches of a deploy file; and the steps
that single them out, as far as something is waited for while they do.

What cannot be said here to the letter is not said at all: another set of requests would be sent to the new version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from strategies.importing.draft import Part, Step
from strategies.importing.writing import Flow, Value
from strategies.places import Place
from strategies.request_patterns import find_fault
from strategies.step_checks import TRAFFIC_STEPS
from strategies.traffic_step_checks import KINDS, MOST_MATCHES, is_token

_ONE_COOKIE = re.compile(r"\^?\(\.\*\??;(?:\\s\*| )?\)\?\(?(?P<name>[\w-]+)=(?P<value>[\w-]+)\)?\(;\.\*\)\?\$?")
"""How the documentation of Istio and of Flagger asks for one cookie."""
SINGLE_OUT = ("istio", "gatewayApi")
"""The routers of a deploy file that can be asked for what Argo and Flagger asked of Istio."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


def read_matches(entries: Sequence[Place]) -> list[Value] | str:
    """The entries of a `match`; or why they cannot be said here. A header is written `headerName` and `headerValue` (Argo), or as
    a key of `headers` (Istio)."""
    if not 0 < len(entries) <= MOST_MATCHES:
        return f"has {len(entries)} entries; here a header route has 1 to {MOST_MATCHES}"
    found: list[Value] = []
    for entry in entries:
        match = _read_match(entry)
        if isinstance(match, str):
            return match
        found.append(match)
    return found


def _read_match(entry: Place) -> Part | str:
    unknown = sorted(set(entry.names) - {"headers", "headerName", "headerValue", "method", "uri", "path"})
    if unknown or not entry.is_mapping:
        return f"asks for {', '.join(unknown) or 'nothing that is known'}, which no step here can ask for"
    headers: list[Value] = []
    names: set[str] = set()
    match: Part = {}
    for name, value in _headers(entry):
        cookie = _ONE_COOKIE.fullmatch(value.node_text("regex")) if name.lower() == "cookie" else None
        if cookie is not None:
            match["cookie"] = Flow({"name": cookie["name"], "exact": cookie["value"]})
            continue
        read = value.read()
        is_told_twice = name.lower() in names
        names.add(name.lower())
        if read is None or not is_token(name) or name.lower() == "cookie" or is_told_twice:
            return f"asks the header {name[:60]} for something that cannot be asked for here"
        headers.append(Flow({"name": name, **read}))
    if headers:
        match["header"] = headers[0] if len(headers) == 1 else headers
    if (path := entry.get("uri") or entry.get("path")) is not None:
        read = _Value(path).read()
        if read is None or not str(next(iter(read.values()))).startswith("/"):
            return "asks for a path in a way that is not known here"
        match["path"] = Flow(read)
    if (method := entry.get("method")) is not None:
        read = _Value(method).read()
        if read is None or read.get("exact") not in _METHODS:
            return "asks for a method other than by its name"
        match["method"] = read["exact"]
    return match if match else "asks for nothing, which would be all requests"


def _headers(entry: Place) -> Iterator[tuple[str, _Value]]:
    name, value = entry.get("headerName"), entry.get("headerValue")
    if name is not None or value is not None:
        yield (name.text or "" if name is not None else ""), _Value(value)
    for key, one in entry.entries("headers"):
        yield key, _Value(one)


class _Value:
    """A value as Istio asks for it."""

    def __init__(self, place: Place | None) -> None:
        self._place = place

    def node_text(self, kind: str) -> str:
        found = self._place.get(kind) if self._place is not None else None
        return (found.text if found is not None else None) or ""

    def read(self) -> dict[str, str] | None:
        if self._place is None or len(self._place.names) != 1:
            return None
        (kind,) = self._place.names
        text = self.node_text(kind)
        if not text or not text.isprintable():
            return None
        if kind == "suffix":
            kind, text = "regex", ".*" + re.sub(r"([^\w\s])", r"\\\1", text)
        if kind not in KINDS or (kind == "regex" and find_fault(text)):
            return None
        return {kind: text}


def fit_to(router: str, matches: Sequence[Value]) -> list[Value] | str:
    """The matches as this router of a deploy file can ask for them; or why it cannot. An HTTPRoute knows no beginning of a
    header, which an expression says as well, and no expression for a path."""
    if router != "gatewayApi":
        return list(matches)
    found: list[Value] = []
    for match in matches:
        assert isinstance(match, dict)
        path, headers = match.get("path"), match.get("header")
        if isinstance(path, Flow) and "regex" in path.values:
            return "asks for a path by an expression, and of an HTTPRoute's rules it is open which one goes first then"
        listed = headers if isinstance(headers, list) else [headers] if headers is not None else []
        told = [_as_expression(one) if isinstance(one, Flow) else one for one in listed]
        found.append({**match, **({"header": told[0] if len(told) == 1 else told} if told else {})})
    return found


def _as_expression(header: Flow) -> Flow:
    if "prefix" not in header.values:
        return header
    beginning = re.sub(r"([^\w\s])", r"\\\1", str(header.values["prefix"]))
    return Flow({"name": header.values["name"], "regex": f"{beginning}.*"})


# --- steps -------------------------------------------------------------------------------------------------------------


def set_header_route(name: str, matches: list[Value]) -> Part:
    return {"setHeaderRoute": {"name": name, "match": matches}}


def end_header_route(name: str) -> Part:
    return {"setHeaderRoute": Flow({"name": name})}


def set_mirror(percent: float) -> Part:
    return {"setMirror": Flow({"weight": percent})}


def without_idle(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The steps without those that single out requests while nothing is waited for, or end what was not begun; and these."""
    kept: list[Step] = []
    idle: list[Step] = []
    standing: set[str] = set()
    for index, step in enumerate(steps):
        route, mirror = _inner(step, "setHeaderRoute"), _inner(step, "setMirror")
        begins = (route is not None and "match" in route) or (mirror is not None and bool(mirror.get("weight")))
        name = str(route["name"]) if route is not None else ""
        if _moves_all(step):
            standing.clear()
        if (begins and not _is_waited_for(steps[index + 1 :])) or (route is not None and not begins and name not in standing):
            idle.append(step)
            continue
        if route is not None:
            standing = standing | {name} if begins else standing - {name}
        kept.append(step)
    return kept, idle


def _is_waited_for(later: Sequence[Step]) -> bool:
    for step in later:
        if _moves_all(step):
            return False
        if not set(step.body) & set(TRAFFIC_STEPS):
            return True
    return False


def _moves_all(step: Step) -> bool:
    weight = _inner(step, "setWeight")
    return weight is not None and weight.get("weight") == 100


def _inner(step: Step, kind: str) -> Part | None:
    found = step.body.get(kind)
    if isinstance(found, Flow):
        return dict(found.values)
    return found if isinstance(found, dict) else None

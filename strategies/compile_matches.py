"""The requests that a step singles out, as a deploy file writes them -> as the engine hands them to a router. Pure."""

from __future__ import annotations

from engine.traffic import MatchKind, NamedMatch, RequestMatch, SetHeaderRoute, ValueMatch
from strategies.traffic_step_models import HeaderOrCookie, PathMatch, SetHeaderRouteStep
from strategies.traffic_step_models import RequestMatch as WrittenMatch


def compile_header_route(step: SetHeaderRouteStep) -> SetHeaderRoute:
    """The file has been checked: each value is matched in exactly one way."""
    return SetHeaderRoute(step.name, tuple(map(_request, step.match or ())))


def _request(match: WrittenMatch) -> RequestMatch:
    return RequestMatch(
        method=match.method or "",
        path=_value(match.path) if match.path is not None else None,
        headers=tuple(NamedMatch(one.name.lower(), _value(one)) for one in match.header or ()),
        cookies=tuple(NamedMatch(one.name, _value(one)) for one in match.cookie or ()),
    )


def _value(written: HeaderOrCookie | PathMatch) -> ValueMatch:
    values = {MatchKind.EXACT: written.exact, MatchKind.PREFIX: written.prefix, MatchKind.REGEX: written.regex}
    kind, value = next((kind, value) for kind, value in values.items() if value is not None)
    return ValueMatch(kind, value)

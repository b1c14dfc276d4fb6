"""What one canary Ingress of ingress-nginx can say of requests beside its weight, and how. Pure; knows nothing of Kubernetes.

Source: the controller's documentation of its canary annotations. Its rules are alternatives, looked at in this order: one header,
one cookie, then the weight. There can be one canary Ingress for a host and path, so there is one header and one cookie.
A pattern is looked for anywhere in the value, so it is tied to both ends here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.traffic import MatchKind, NamedMatch, RequestMatch, SetHeaderRoute, Shape, ValueMatch

PREFIX = "nginx.ingress.kubernetes.io/"
BY_HEADER, BY_VALUE, BY_PATTERN, BY_COOKIE = (
    f"{PREFIX}canary-by-{name}" for name in ("header", "header-value", "header-pattern", "cookie")
)
CONDITIONS = (BY_HEADER, BY_VALUE, BY_PATTERN, BY_COOKIE)
ALWAYS = "always"
"""The only value of a cookie that leads to the canary; `never` leads away from it, and any other counts for nothing."""


def refuse_shape(shape: Shape) -> str:
    """Why a canary Ingress cannot say this, with what to do instead; empty where it can."""
    return refuse_mirror(shape.mirror) or refuse_header_routes(shape.header_routes)


def refuse_mirror(share: int) -> str:
    if not share:
        return ""
    return "ingress-nginx copies all requests of an Ingress or none, and never a rollout's share of them; leave the mirror out"


def refuse_header_routes(routes: Sequence[SetHeaderRoute]) -> str:
    """For the routes that are set at the same time."""
    matches = [match for route in routes for match in route.matches]
    for match in matches:
        if why := refuse_match(match):
            return why
    for kind, count in (("header", _count(matches, "headers")), ("cookie", _count(matches, "cookies"))):
        if count > 1:
            return f"a canary Ingress looks at one {kind}, and there are {count} at the same time; keep one"
    return ""


def refuse_match(match: RequestMatch) -> str:
    if match.method or match.path is not None:
        return "a canary Ingress looks at no path and no method, but at one header and one cookie; leave the others out"
    if len(match.headers) + len(match.cookies) != 1:
        return "a canary Ingress takes a header or a cookie, and never both together; match one of them"
    for cookie in match.cookies:
        if cookie.value != ValueMatch(MatchKind.EXACT, ALWAYS):
            return f'a canary Ingress takes a cookie whose value is "{ALWAYS}", and no other; match exactly that'
    return ""


def _count(matches: Sequence[RequestMatch], field: str) -> int:
    return len({one for match in matches for one in getattr(match, field)})


def conditions_of(shape: Shape) -> dict[str, str]:
    """The annotations that say it. Only for a shape that is not refused."""
    return dict(_conditions(shape))


def _conditions(shape: Shape) -> Iterator[tuple[str, str]]:
    for match in (match for route in shape.header_routes for match in route.matches):
        for header in match.headers:
            yield BY_HEADER, header.name
            yield _value_of(header)
        for cookie in match.cookies:
            yield BY_COOKIE, cookie.name


def _value_of(header: NamedMatch) -> tuple[str, str]:
    match header.value.kind:
        case MatchKind.EXACT:
            return BY_VALUE, header.value.value
        case MatchKind.PREFIX:
            return BY_PATTERN, f"^{re.escape(header.value.value)}"
        case MatchKind.REGEX:
            return BY_PATTERN, f"^(?:{header.value.value})$"

"""Matches of steps in Istio's words, and joined with those of the route that they narrow: never more, never other requests."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_matches import joined
from adapters.routers.request_values import Unjoinable, cookie_pattern
from engine.traffic import MatchKind, NamedMatch, RequestMatch, ValueMatch
from tests.rollouts.istio_requests import Request, follow

KINDS = {kind.value: kind for kind in MatchKind}


def value(**given: str) -> ValueMatch:
    ((kind, text),) = given.items()
    return ValueMatch(KINDS[kind], text)


def path(**given: str) -> RequestMatch:
    return RequestMatch(path=value(**given))


def header(name: str, **given: str) -> RequestMatch:
    return RequestMatch(headers=(NamedMatch(name, value(**given)),))


def test_what_is_asked_for_is_written_as_istio_asks_for_it() -> None:
    match = RequestMatch(
        "GET",
        value(prefix="/v2"),
        (NamedMatch("X-User", value(exact="anna")), NamedMatch("x-team", value(regex="a|b"))),
    )
    assert joined([], [match, path(exact="/")]) == [
        {
            "uri": {"prefix": "/v2"},
            "method": {"exact": "GET"},
            "headers": {"x-user": {"exact": "anna"}, "x-team": {"regex": "a|b"}},
        },
        {"uri": {"exact": "/"}},
    ]


def test_each_of_the_routes_own_matches_is_joined_with_each_of_the_steps() -> None:
    own: list[JsonObject] = [{"uri": {"prefix": "/a"}, "gateways": ["mesh"]}, {"port": 80}]
    assert joined(own, [header("x", exact="1"), RequestMatch("PUT")]) == [
        {"uri": {"prefix": "/a"}, "gateways": ["mesh"], "headers": {"x": {"exact": "1"}}},
        {"uri": {"prefix": "/a"}, "gateways": ["mesh"], "method": {"exact": "PUT"}},
        {"port": 80, "headers": {"x": {"exact": "1"}}},
        {"port": 80, "method": {"exact": "PUT"}},
    ]


JOINED: list[tuple[JsonObject, RequestMatch, JsonObject | None]] = [
    ({"prefix": "/"}, path(regex="/users/[0-9]+"), {"regex": "/users/[0-9]+"}),
    ({"prefix": "/api"}, path(prefix="/api/v2"), {"prefix": "/api/v2"}),
    ({"prefix": "/api/v2"}, path(prefix="/api"), {"prefix": "/api/v2"}),
    ({"prefix": "/api"}, path(prefix="/shop"), None),
    ({"exact": "/api"}, path(prefix="/a"), {"exact": "/api"}),
    ({"exact": "/api"}, path(prefix="/b"), None),
    ({"exact": "/api"}, path(exact="/api"), {"exact": "/api"}),
    ({"exact": "/api"}, path(exact="/apis"), None),
    ({"regex": "/users/[0-9]+"}, path(exact="/users/17"), {"exact": "/users/17"}),
    ({"regex": "/users/[0-9]+"}, path(exact="/users/anna"), None),
    ({"regex": "/u.*"}, path(regex="/u.*"), {"regex": "/u.*"}),
]


@pytest.mark.parametrize(("theirs", "ours", "both"), JOINED)
def test_two_conditions_on_a_path_become_one(theirs: JsonObject, ours: RequestMatch, both: JsonObject | None) -> None:
    assert joined([{"uri": theirs}], [ours]) == ([{"uri": both}] if both is not None else [])


def test_a_header_that_only_has_to_be_there_is_one_that_has_the_value() -> None:
    assert joined([{"headers": {"x": {}}}], [header("x", prefix="a")]) == [{"headers": {"x": {"prefix": "a"}}}]


def test_the_method_of_a_step_is_one_of_those_that_the_route_takes() -> None:
    own: list[JsonObject] = [{"method": {"regex": "GET|HEAD"}}]
    assert joined(own, [RequestMatch("GET")]) == [{"method": {"exact": "GET"}}]
    assert joined(own, [RequestMatch("POST")]) == []


UNJOINABLE: list[tuple[JsonObject, RequestMatch, str]] = [
    ({"uri": {"regex": "/a.*"}}, path(prefix="/a"), 'matches its path by regex "/a.*", which Istio cannot ask for together'),
    ({"uri": {"prefix": "/a"}}, path(regex=".*b"), 'together with regex ".*b"; let one of them be exact'),
    ({"uri": {"prefix": "/a"}, "ignoreUriCase": True}, path(prefix="/a/b"), "whatever its case"),
    ({"headers": {"cookie": {"regex": "a=.*"}}}, RequestMatch(cookies=(NamedMatch("b", value(exact="1")),)), "the header cookie"),
    ({"uri": {"regex": r"/\pL+"}}, path(exact="/a"), "let one of them be exact"),
]


@pytest.mark.parametrize(("own", "ours", "why"), UNJOINABLE)
def test_what_cannot_be_said_at_once_is_refused(own: JsonObject, ours: RequestMatch, why: str) -> None:
    with pytest.raises(Unjoinable, match=re.escape(why)):
        joined([own], [ours])


def test_a_case_that_is_ignored_is_no_matter_where_any_path_will_do() -> None:
    both = joined([{"uri": {"prefix": "/"}, "ignoreUriCase": True, "port": 80}], [path(exact="/A")])
    assert both == [{"uri": {"exact": "/A"}, "port": 80}]


# --- cookies -----------------------------------------------------------------------------------------------------------


def cookies(**given: ValueMatch) -> str:
    return cookie_pattern([NamedMatch(name, match) for name, match in given.items()])


@pytest.mark.parametrize(
    ("match", "fits", "does_not"),
    [
        (value(exact="a.b"), ["c=a.b", "x=1; c=a.b", "c=a.b; x=1", "x=1;c=a.b;y=2"], ["c=axb", "xc=a.b", "c=a.b1", "x=c=a.b"]),
        (value(prefix="a"), ["c=a", "c=abc; x=1"], ["c=ba", "x=1; d=a"]),
        (value(regex="a.*z"), ["c=az", "c=abcz; x=1"], ["c=a; x=z", "c=ab; y=1; x=z"]),
        (value(regex="[^a]+"), ["c=bcd"], ["c=a", "c=;a"]),
        (value(regex="a|b"), ["c=a", "x=2; c=b"], ["c=ab", "b"]),
    ],
)
def test_a_cookie_is_found_among_others_and_ends_where_it_ends(match: ValueMatch, fits: list[str], does_not: list[str]) -> None:
    pattern = cookies(c=match)
    assert [text for text in fits if re.fullmatch(pattern, text) is None] == []
    assert [text for text in does_not if re.fullmatch(pattern, text) is not None] == []


def test_several_cookies_may_come_in_any_order() -> None:
    pattern = cookies(a=value(exact="1"), b=value(exact="2"), c=value(exact="3"))
    for text in ("a=1; b=2; c=3", "c=3; b=2; a=1", "x=9; b=2; y=8; a=1; c=3; z=7"):
        assert re.fullmatch(pattern, text), text
    for text in ("a=1; b=2", "a=1; b=2; c=4", "a=1b=2; c=3"):
        assert re.fullmatch(pattern, text) is None, text


# --- whatever is joined ------------------------------------------------------------------------------------------------

TEXTS = st.sampled_from(["/", "/a", "/ab", "/a/b", "/b"])
VALUES = st.builds(ValueMatch, st.sampled_from([MatchKind.EXACT, MatchKind.PREFIX]), TEXTS)
NAMES = st.sampled_from(["x", "y"])
HEADERS = st.lists(st.builds(NamedMatch, NAMES, VALUES), max_size=2, unique_by=lambda one: one.name).map(tuple)
MATCHES = st.builds(RequestMatch, st.sampled_from(["", "GET", "PUT"]), st.none() | VALUES, HEADERS)
REQUESTS = st.builds(Request, TEXTS, st.dictionaries(NAMES, TEXTS), st.sampled_from(["GET", "PUT", "HEAD"]))


def takes(matches: list[JsonObject], request: Request) -> bool:
    routes = [{"match": matches}] if matches else []
    return follow({"spec": {"http": routes}}, request) is not None


@given(st.lists(MATCHES, min_size=1, max_size=3), st.lists(MATCHES, min_size=1, max_size=3), REQUESTS)
def test_a_request_fits_both_if_and_only_if_it_fits_what_both_are_joined_to(
    own: list[RequestMatch], ours: list[RequestMatch], request: Request
) -> None:
    theirs = joined([], own)
    assert takes(joined(theirs, ours), request) == (takes(theirs, request) and takes(joined([], ours), request))

"""The rules of a route of the Gateway API: weights in them, and requests that are singled out, followed as a gateway follows
them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.kubernetes.templates import JsonObject
from adapters.routers.gateway_backends import MOST_WEIGHT, Shares, find_shares, weight_of
from adapters.routers.gateway_matches import find_theft, joined
from adapters.routers.gateway_obstacles import all_at_once, find_division
from adapters.routers.gateway_rules import Division
from adapters.routers.gateway_status import find_refusal, refusing_parents, why_not_accepted, why_not_seen
from adapters.routers.istio_http import Ordered
from adapters.routers.request_values import Unjoinable
from engine.traffic import (
    FULL_WEIGHT,
    MatchKind,
    NamedMatch,
    RequestMatch,
    SetHeaderRoute,
    SetMirror,
    Shape,
    Sticky,
    ValueMatch,
)
from tests.builders import target_plan
from tests.rollouts.routed import backend_ref, http_route, parent, path_match, rule

WEIGHTS = st.integers(0, FULL_WEIGHT)
LISTS = st.lists(st.integers(0, MOST_WEIGHT), max_size=4)


def shares_of(root: int, others: Sequence[int] = (), at: int = 0) -> Shares:
    names = [backend_ref(f"other-{index}", weight) for index, weight in enumerate(others)]
    found = [*names[:at], backend_ref(weight=root), *names[at:]]
    made = find_shares(found, "web", "web-stable", "web-canary", "shop")
    assert isinstance(made, Shares)
    return made


def division_of(*rules: JsonObject, kind: str = "HTTPRoute", rule_name: str = "") -> Division:
    made = find_division(kind, rules, "web", "web-stable", "web-canary", "shop", rule_name)
    assert isinstance(made, Division)
    return made


# --- weights -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, MOST_WEIGHT), LISTS, st.integers(0, 4), WEIGHTS)
def test_whatever_the_weight_everybody_else_keeps_their_share_and_the_way_back_is_to_the_letter(
    root: int, others: list[int], at: int, weight: int
) -> None:
    made = shares_of(root, others, at)
    now = made.at(weight)
    assert made.is_intact(now)
    assert all(0 <= weight_of(one) <= MOST_WEIGHT for one in now)
    total, before = sum(map(weight_of, now)), sum(map(weight_of, made.found))
    for one in made.found:
        if one["name"] != "web":
            after = next(other for other in now if other["name"] == one["name"])
            assert weight_of(after) * before == weight_of(one) * total, "a share of somebody else's is never rounded"
    assert made.as_found(now) == list(made.found)
    read = made.read(now)
    assert read is not None
    assert (read == FULL_WEIGHT) is (weight == FULL_WEIGHT) or read < FULL_WEIGHT


@given(st.integers(1, 100), st.lists(st.integers(0, 100), max_size=3), WEIGHTS)
def test_weights_as_people_write_them_are_exact(root: int, others: list[int], weight: int) -> None:
    made = shares_of(root, others)
    assert made.read(made.at(weight)) == made.reached(weight) == weight


def test_the_whole_share_is_never_given_before_all_is_asked_for() -> None:
    made = shares_of(1, [MOST_WEIGHT])
    assert [made.reached(weight) for weight in (1, 9_999, FULL_WEIGHT)] == [0, 0, FULL_WEIGHT]


def test_what_an_abort_finds_edited_goes_to_the_old_version_and_the_rest_is_left() -> None:
    made = shares_of(100, [30])
    edited = [backend_ref("web-canary", 7), backend_ref("theirs", 5), backend_ref("web-stable", 3)]
    assert made.without_canary(edited) == [backend_ref("web-stable", 10), backend_ref("theirs", 5)]
    assert made.as_found(edited) == [backend_ref("web", 10), backend_ref("theirs", 5)]
    assert made.as_found([backend_ref("theirs", 5)]) == [backend_ref("theirs", 5)]


def test_a_service_of_another_namespace_or_kind_is_somebody_elses() -> None:
    theirs = [backend_ref("web-canary", namespace="far"), {**backend_ref("web-stable"), "group": "x.io", "kind": "Bucket"}]
    made = find_shares([*theirs, backend_ref()], "web", "web-stable", "web-canary", "shop")
    assert isinstance(made, Shares)
    assert made.at(2_500)[:2] == [{**one, "weight": 4} for one in theirs]


# --- which rule a request comes to -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


def fits(match: JsonObject, request: Request) -> bool:
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    if path["type"] == "Exact" and request.path != path["value"]:
        return False
    below = request.path.rstrip("/").split("/"), path["value"].rstrip("/").split("/")
    if path["type"] == "PathPrefix" and below[0][: len(below[1])] != below[1]:
        return False
    if path["type"] == "RegularExpression" and not re.fullmatch(path["value"], request.path):
        return False
    if match.get("method", request.method) != request.method:
        return False
    return all(_has(request, one) for one in match.get("headers") or ())


def _has(request: Request, asked: JsonObject) -> bool:
    value = request.headers.get(asked["name"])
    if value is None:
        return False
    return bool(re.search(asked["value"], value)) if asked["type"] == "RegularExpression" else value == asked["value"]


def follow(rules: Sequence[JsonObject], request: Request) -> int | None:
    """The index of the rule that a gateway takes, by the order of the Gateway API: not the list's, but that of exactness."""
    found = []
    for index, one in enumerate(rules):
        for match in one["matches"]:
            if fits(match, request):
                path = match.get("path") or {"type": "PathPrefix", "value": "/"}
                rank = (path["type"] == "Exact", len(path["value"].rstrip("/")) if path["type"] == "PathPrefix" else 0)
                found.append((*rank, "method" in match, len(match.get("headers") or ()), -index))
    return -max(found)[-1] if found else None


PATHS = ["/", "/a", "/a/b", "/ab"]
NAMES, VALUES = ["x", "y"], ["1", "2"]
REQUESTS = [
    Request(at, method, {name: value for name, value in zip(NAMES, values, strict=True) if value})
    for at, method, values in product([*PATHS, "/a/b/c"], ["GET", "PUT"], product(["", *VALUES], repeat=2))
]


@st.composite
def matches(draw: st.DrawFn) -> JsonObject:
    made: JsonObject = path_match(draw(st.sampled_from(PATHS)), draw(st.sampled_from(["Exact", "PathPrefix"])))
    if draw(st.booleans()):
        made["method"] = draw(st.sampled_from(["GET", "PUT"]))
    asked = [
        {"type": "Exact", "name": name, "value": draw(st.sampled_from(VALUES))} for name in NAMES if draw(st.booleans())
    ]
    return made | ({"headers": asked} if asked else {})


@st.composite
def step_matches(draw: st.DrawFn) -> RequestMatch:
    kinds = st.sampled_from([MatchKind.EXACT, MatchKind.PREFIX])
    where = draw(st.none() | st.builds(ValueMatch, kinds, st.sampled_from(PATHS)))
    asked = tuple(
        NamedMatch(name, ValueMatch(MatchKind.EXACT, draw(st.sampled_from(VALUES)))) for name in NAMES if draw(st.booleans())
    )
    return RequestMatch(draw(st.sampled_from(["", "GET", "PUT"])), where, asked)


def is_asked_for(match: RequestMatch, request: Request) -> bool:
    if match.path is not None:
        kind = "Exact" if match.path.kind is MatchKind.EXACT else "PathPrefix"
        if not fits(path_match(match.path.value, kind), request):
            return False
    return match.method in ("", request.method) and all(request.headers.get(one.name) == one.value.value for one in match.headers)


@given(st.lists(st.lists(matches(), min_size=1, max_size=2), min_size=1, max_size=4), st.data(), step_matches())
def test_a_header_route_gets_the_requests_of_its_rule_that_it_asks_for_and_nobody_elses(
    asked: list[list[JsonObject]], data: st.DataObject, match: RequestMatch
) -> None:
    ours = data.draw(st.integers(0, len(asked) - 1))
    rules = [rule(backend_ref("web" if at == ours else f"other-{at}"), matches=one) for at, one in enumerate(asked)]
    assume(find_theft("HTTPRoute", rules, ours, [ours], [match]) is None)
    division = division_of(*rules)
    arranged = division.arrange(rules, Ordered(0, Shape((SetHeaderRoute("beta", (match,)),))))
    for request in REQUESTS:
        before, after = follow(rules, request), follow(arranged, request)
        assert (before is None) is (after is None)
        if before is None or after is None:
            continue
        is_singled_out = before == ours and is_asked_for(match, request)
        names = [one["name"] for one in arranged[after]["backendRefs"]]
        versions = ["web-stable", "web-canary"] if before == ours else [f"other-{before}"]
        assert names == (["web-canary"] if is_singled_out else versions), request


def test_a_more_exact_rule_of_somebody_elses_is_noticed_where_it_would_lose_requests() -> None:
    rules = [rule(), rule(backend_ref("other"), matches=[{**path_match(), "headers": [{"name": "x", "value": "1"}]}])]
    both = RequestMatch(headers=tuple(NamedMatch(name, ValueMatch(MatchKind.EXACT, "1")) for name in ("y", "z")))
    assert find_theft("HTTPRoute", rules, 0, [0], [both]) == 1
    assert find_theft("HTTPRoute", rules, 0, [0, 1], [both]) is None
    excluded = RequestMatch(headers=(*both.headers, NamedMatch("x", ValueMatch(MatchKind.EXACT, "2"))))
    assert find_theft("HTTPRoute", rules, 0, [0], [excluded]) is None


# --- matches -----------------------------------------------------------------------------------------------------------


def asked(kind: MatchKind, text: str, *, name: str = "x") -> RequestMatch:
    return RequestMatch(headers=(NamedMatch(name, ValueMatch(kind, text)),))


def header(kind: str, text: str, name: str = "x") -> JsonObject:
    return {"type": kind, "name": name, "value": text}


def test_cookies_and_expressions_are_tied_to_both_ends() -> None:
    cookie = RequestMatch(cookies=(NamedMatch("seat", ValueMatch(MatchKind.EXACT, "beta")),))
    (made,) = joined("HTTPRoute", [], [cookie])
    (pattern,) = made["headers"]
    assert (pattern["type"], pattern["name"]) == ("RegularExpression", "cookie")
    wanted = {"seat=beta": True, "a=1; seat=beta; b=2": True, "seat=betas": False, "xseat=beta": False}
    assert {text: bool(re.search(pattern["value"], text)) for text in wanted} == wanted
    assert joined("HTTPRoute", [], [asked(MatchKind.REGEX, "a|b")]) == [{"headers": [header("RegularExpression", "^(?:a|b)$")]}]


JOINED: list[tuple[JsonObject, RequestMatch, JsonObject | None]] = [
    ({"headers": [header("Exact", "1")]}, asked(MatchKind.EXACT, "1"), {"headers": [header("Exact", "1")]}),
    ({"headers": [header("Exact", "1", "X")]}, asked(MatchKind.EXACT, "2"), None),
    ({"headers": [header("RegularExpression", "^a+$")]}, asked(MatchKind.EXACT, "aa"), {"headers": [header("Exact", "aa")]}),
    ({"headers": [header("RegularExpression", "^a+$")]}, asked(MatchKind.EXACT, "b"), None),
    ({"headers": [header("Exact", "aa")]}, asked(MatchKind.REGEX, "a+"), {"headers": [header("Exact", "aa")]}),
    ({"method": "GET"}, RequestMatch("PUT"), None),
    ({"queryParams": [header("Exact", "1")]}, RequestMatch("PUT"), {"queryParams": [header("Exact", "1")], "method": "PUT"}),
    (path_match("/a/b"), RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/a")), path_match("/a/b")),
    (path_match("/ab"), RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/a")), None),
    (path_match("/a"), RequestMatch(path=ValueMatch(MatchKind.EXACT, "/a/b")), path_match("/a/b", "Exact")),
    (path_match("/a", "Exact"), RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/")), path_match("/a", "Exact")),
    (path_match("/a.*", "RegularExpression"), RequestMatch(path=ValueMatch(MatchKind.EXACT, "/ab")), path_match("/ab", "Exact")),
]


@pytest.mark.parametrize(("theirs", "match", "both"), JOINED)
def test_two_conditions_on_one_thing_become_one(theirs: JsonObject, match: RequestMatch, both: JsonObject | None) -> None:
    assert joined("HTTPRoute", [theirs], [match]) == ([both] if both is not None else [])


BELOW_A = RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/a"))


@pytest.mark.parametrize(
    ("theirs", "match", "sentence"),
    [
        ({"headers": [header("RegularExpression", "a+")]}, asked(MatchKind.REGEX, "b+"), "matches the header x already"),
        ({"headers": [header("RegularExpression", "a")]}, asked(MatchKind.EXACT, "ab"), "matches the header x already"),
        ({"headers": [header("RegularExpression", "(?i)a")]}, asked(MatchKind.EXACT, "a"), "matches the header x already"),
        (path_match("/.", "RegularExpression"), BELOW_A, "matches its path already"),
        ({}, RequestMatch(path=ValueMatch(MatchKind.REGEX, "/a.*")), "whether it goes first is open; write a prefix"),
    ],
)
def test_what_cannot_be_joined_exactly_is_refused(theirs: JsonObject, match: RequestMatch, sentence: str) -> None:
    with pytest.raises(Unjoinable, match=re.escape(sentence)):
        joined("HTTPRoute", [theirs], [match])


GRPC_JOINED: list[tuple[JsonObject, RequestMatch, list[JsonObject]]] = [
    ({}, RequestMatch("Check"), [{"method": {"type": "Exact", "method": "Check"}}]),
    (
        {"method": {"service": "fleet.Health"}},
        RequestMatch("Check"),
        [{"method": {"type": "Exact", "service": "fleet.Health", "method": "Check"}}],
    ),
    ({"method": {"type": "Exact", "service": "a"}}, RequestMatch(path=ValueMatch(MatchKind.EXACT, "b")), []),
    (
        {"method": {"type": "Exact", "service": "a.B"}},
        RequestMatch(path=ValueMatch(MatchKind.PREFIX, "a.")),
        [{"method": {"type": "Exact", "service": "a.B"}}],
    ),
    (
        {},
        RequestMatch("Check", ValueMatch(MatchKind.PREFIX, "a.")),
        [{"method": {"type": "RegularExpression", "service": "^(?:a\\..*)$", "method": "^(?:Check)$"}}],
    ),
    ({}, asked(MatchKind.EXACT, "1"), [{"headers": [header("Exact", "1")]}]),
]


@pytest.mark.parametrize(("theirs", "match", "both"), GRPC_JOINED)
def test_calls_are_told_by_service_and_method(theirs: JsonObject, match: RequestMatch, both: list[JsonObject]) -> None:
    assert joined("GRPCRoute", [theirs] if theirs else [], [match]) == both


# --- the list ----------------------------------------------------------------------------------------------------------


def test_what_was_ordered_is_read_back_and_taken_out_again_to_the_letter() -> None:
    rules = [rule(name="a", timeouts={"request": "1s"}), rule(backend_ref("other")), rule(backend_ref(weight=3))]
    division, before = division_of(*rules), deepcopy(rules)
    shape = Shape((SetHeaderRoute("beta", (asked(MatchKind.EXACT, "1"),)),), 1_250)
    ordered = Ordered(2_500, shape, Sticky("seat"), "abc")
    arranged = division.arrange(rules, ordered)
    assert division.weigh(arranged, ordered) == 2_500
    assert division.is_arranged(arranged, ordered) and not division.is_bare(arranged)
    assert division.arrange(arranged, ordered) == arranged, "written again, it is the same"
    assert all("name" not in one for one in arranged if len(one["backendRefs"]) == 1 and one is not arranged[2])
    left = division.as_found(arranged, ordered)
    assert left == rules == before
    assert division.is_as_found(left) and division.is_bare(left)


def test_only_the_named_rule_is_divided() -> None:
    rules = [rule(name="a"), rule(name="b")]
    division = division_of(*rules, rule_name="b")
    assert [len(one["backendRefs"]) for one in division.arrange(rules, Ordered(1))] == [1, 2]


def test_the_most_that_steps_ask_for_is_the_finest_mirror_and_all_header_routes() -> None:
    beta = SetHeaderRoute("beta", (asked(MatchKind.EXACT, "1"),))
    plan = target_plan([SetMirror(FULL_WEIGHT), SetMirror(50), beta, SetMirror(2_000), SetHeaderRoute("beta")])
    assert all_at_once(plan, None).shape == Shape((beta,), 50)


# --- the status --------------------------------------------------------------------------------------------------------


def condition(kind: str, status: str = "True", generation: int = 3, reason: str = "Because", message: str = "") -> JsonObject:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": reason, "message": message}


def told(*conditions: JsonObject, at: JsonObject | None = None, by: str = "a/b") -> JsonObject:
    return {"parentRef": at or parent(), "controllerName": by, "conditions": list(conditions)}


def route(*statuses: JsonObject, parents: Sequence[JsonObject] = ()) -> JsonObject:
    body = http_route(parents=parents)
    body["metadata"]["generation"] = 3
    return {**body, "status": {"parents": list(statuses)}}


def undated(kind: str, status: str = "True", reason: str = "Because") -> JsonObject:
    """As Linkerd says it: of no generation."""
    return {"type": kind, "status": status, "reason": reason, "message": ""}


ACCEPTED = told(condition("Accepted"), condition("ResolvedRefs"))
STALE = told(condition("Accepted", generation=2), condition("ResolvedRefs", generation=2))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (route(ACCEPTED), ""),
        (route(), "no controller says anything of it; see that the parent is there"),
        (route(STALE), "a/b has come to generation 2, and it is at 3"),
        (route(STALE, {**ACCEPTED, "controllerName": "c/d"}), ""),
        (route(told(condition("Accepted"), condition("ResolvedRefs", generation=2))), "has come to generation 2"),
        (route(told(condition("Accepted"))), "a/b says ResolvedRefs nothing"),
        (route(told(condition("Accepted", "False", reason="No", message="why"))), "says Accepted False (No: why)"),
        (route(told(condition("Accepted"), condition("ResolvedRefs", "False", reason="BackendNotFound"))), "(BackendNotFound)"),
        (route({**ACCEPTED, "parentRef": {"name": "shop"}}), ""),
        (route(ACCEPTED, parents=[parent(), parent(name="other")]), "at Gateway other: no controller says anything"),
        (route(told(condition("Accepted", "Unknown"))), "says Accepted Unknown"),
    ],
)
def test_what_a_written_weight_waits_for(body: JsonObject, said: str) -> None:
    waits = why_not_accepted(body)
    assert (said in waits) if said else waits == ""


MESH = parent("Service", "web", port=80)
LINKERDS = {"group": "core", "kind": "Service", "name": "web", "namespace": "shop", "port": 80}
FINE = (undated("Accepted"), undated("ResolvedRefs"))
UNDATED = told(*FINE, at=LINKERDS, by="linkerd.io/policy-controller")
STALE_IN_THE_MESH = {**STALE, "parentRef": MESH}


@pytest.mark.parametrize("written", [MESH, {**MESH, "group": "core"}, {**MESH, "group": "Core"}, LINKERDS])
def test_the_group_of_services_has_two_names(written: JsonObject) -> None:
    assert why_not_accepted(route(UNDATED, parents=[written])) == ""
    other = route(UNDATED, parents=[{**written, "name": "other"}])
    assert "at Service other, port 80: no controller says anything" in why_not_accepted(other)


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([], "no controller says anything of it"),
        ([UNDATED], ""),
        ([told(undated("Accepted"), at=LINKERDS)], "a/b says ResolvedRefs nothing"),
        ([told(at=LINKERDS)], "a/b says Accepted nothing"),
        ([told(undated("Accepted", "False", "Conflicted"), FINE[1], at=LINKERDS)], "says Accepted False (Conflicted)"),
        ([told(FINE[0], undated("ResolvedRefs", "False", "BackendNotFound"), at=LINKERDS)], "(BackendNotFound)"),
        ([told(*FINE, condition("Programmed", generation=2), at=MESH)], "has come to generation 2"),
        ([told(undated("Accepted"), condition("ResolvedRefs"), at=MESH)], ""),
        ([told(undated("Accepted"), condition("ResolvedRefs", generation=2), at=MESH)], "has come to generation 2"),
        ([told(condition("Accepted", generation=2), undated("ResolvedRefs"), at=MESH)], "has come to generation 2"),
    ],
)
def test_what_is_never_said_of_a_version_counts_as_it_stands(statuses: list[JsonObject], said: str) -> None:
    waits = why_not_accepted(route(*statuses, parents=[MESH]))
    assert (said in waits) if said else waits == ""


def test_who_says_of_which_version_is_waited_for_whatever_is_said_beside_it() -> None:
    """Else what is left of a controller that is gone would stand for one that has not come to the route yet."""
    assert "a/b has come to generation 2" in why_not_accepted(route(UNDATED, STALE_IN_THE_MESH, parents=[MESH]))
    assert "a/b has come to 2" in why_not_seen(route(UNDATED, STALE_IN_THE_MESH, parents=[MESH]))


def test_a_parent_that_refuses_without_a_version_does_not_matter_either() -> None:
    refusing = told(undated("Accepted", "False", "NoMatchingParent"), undated("ResolvedRefs"), at=LINKERDS)
    body = route(ACCEPTED, refusing, parents=[parent(), MESH])
    assert refusing_parents(body) == ["Service web, port 80"]
    assert find_refusal(body) == ""
    assert "says Accepted False (NoMatchingParent)" in find_refusal(route(refusing, parents=[MESH]))


def test_a_parent_that_refuses_does_not_matter_as_long_as_another_one_accepts() -> None:
    refusing = told(condition("Accepted", "False"), condition("ResolvedRefs"), at=parent(name="old"))
    body = route(ACCEPTED, refusing, parents=[parent(), parent(name="old")])
    assert refusing_parents(body) == ["Gateway old"]
    assert find_refusal(body) == ""
    assert why_not_accepted(body, refusing_parents(body)) == ""
    alone = route(refusing, parents=[parent(name="old")])
    assert "a/b says Accepted False" in find_refusal(alone)


def test_on_the_way_back_it_is_enough_to_be_seen_whatever_is_said() -> None:
    assert why_not_seen(route(told(condition("Accepted", "False"), condition("ResolvedRefs", "False")))) == ""
    assert why_not_seen(route()) == "", "nobody is waited for who has never said anything"
    assert why_not_seen(route(UNDATED)) == "", "who never says of which version it speaks would be waited for without an end"
    assert why_not_seen(route(STALE)) == "HTTPRoute web is at generation 3, and a/b has come to 2"

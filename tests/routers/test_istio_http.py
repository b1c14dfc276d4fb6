"""The list of http routes as it is arranged for a rollout, and as it is without it: other people's routes are as they were."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_http import Ordered, arrange, is_arranged, is_bare, version_of, without_ours
from adapters.routers.istio_places import Side, find_index, is_ours
from adapters.routers.istio_weights import Division, find_division
from engine.traffic import IstioRoute, SetHeaderRoute, Shape, Sticky
from tests.builders import header_match, header_route
from tests.rollouts.istio_objects import destination, http_route, virtual_service

MAIN = IstioRoute("web", http_route="main")
STICKY = Sticky("version", 60.0)


def division_of(route: JsonObject) -> Division:
    found = find_division(route["route"], Side("web", "active"), Side("web", "canary"), "shop", exact=True)
    assert isinstance(found, Division)
    return found


def names(http: list[JsonObject]) -> list[str]:
    return [str(one.get("name")) for one in http]


def test_what_was_arranged_is_taken_away_to_the_letter() -> None:
    http = [http_route(name="first"), http_route(name="main"), http_route(name="last")]
    before, division = deepcopy(http), division_of(http[1])
    ordered = Ordered(2_500, Shape((header_route(),), 1_000), STICKY, "abc")
    arranged = arrange(http, MAIN, 1, division, ordered)
    assert http == before
    assert names(arranged) == ["first", "headgate/main/route/beta", "headgate/main/staying-clients", "main", "last"]
    assert is_arranged(arranged, MAIN, 3, division, ordered)
    assert without_ours(arranged, MAIN, 3, division) == before


def test_arranging_again_replaces_what_was_arranged_before() -> None:
    http = [http_route(name="main")]
    division = division_of(http[0])
    once = arrange(http, MAIN, 0, division, Ordered(0, Shape((header_route(), header_route("gamma")), 500)))
    again = arrange(once, MAIN, 2, division, Ordered(1_000, Shape((header_route("gamma"),))))
    assert names(again) == ["headgate/main/route/gamma", "main"]
    assert "mirror" not in again[1]
    assert not is_arranged(again, MAIN, 1, division, Ordered(1_000, Shape()))
    assert not is_bare(again, MAIN, 1, division)


def test_nobody_is_kept_where_all_or_none_are_the_new_versions() -> None:
    http = [http_route(name="main")]
    division = division_of(http[0])
    kept = {weight: names(arrange(http, MAIN, 0, division, Ordered(weight, sticky=STICKY))) for weight in (0, 1, 9_999, 10_000)}
    assert {weight: len(found) for weight, found in kept.items()} == {0: 1, 1: 2, 9_999: 2, 10_000: 1}


def test_the_users_own_headers_of_a_destination_stay_beside_the_cookie() -> None:
    theirs = {"request": {"set": {"x": "y"}}, "response": {"add": {"a": "b"}, "remove": ["c"]}}
    http = [http_route(destination(subset="active", headers=theirs), name="main")]
    old, new = arrange(http, MAIN, 0, division_of(http[0]), Ordered(1_000, sticky=STICKY, version="abc"))[1]["route"]
    cookie = "version=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"
    assert old["headers"] == theirs
    assert new["headers"] == {**theirs, "response": {"add": {"a": "b", "set-cookie": cookie}, "remove": ["c"]}}


def test_a_cookies_value_tells_rollouts_apart_and_says_nothing_of_them() -> None:
    assert version_of("r1.production") != version_of("r2.production")
    assert "production" not in version_of("r1.production")


@pytest.mark.parametrize("name", ["", "main", "a/b", "a~1b"])
def test_ours_are_known_by_the_name_of_the_route_that_they_stand_in_front_of(name: str) -> None:
    place = IstioRoute("web", http_route=name)
    http = [http_route(name=name)]
    arranged = arrange(http, place, 0, division_of(http[0]), Ordered(0, Shape((header_route(),))))
    others = [IstioRoute("web", http_route=other) for other in ("", "main", "a/b", "a~1b", "a") if other != name]
    assert is_ours(arranged[0], place)
    assert not any(is_ours(arranged[0], other) for other in others)
    assert find_index(virtual_service(*arranged), place) == 1


ROUTES = st.lists(st.sampled_from(["first", "second", "third"]), unique=True)
SHAPES = st.builds(
    lambda chosen, mirror: Shape(tuple(SetHeaderRoute(name, (header_match("x", name),)) for name in chosen), mirror),
    st.lists(st.sampled_from(["beta", "gamma"]), unique=True),
    st.integers(0, 10_000),
)
ORDERS = st.builds(Ordered, st.integers(0, 10_000), SHAPES, st.none() | st.just(STICKY), st.just("abc"))


@given(ROUTES, ROUTES, st.lists(ORDERS, min_size=1, max_size=4))
def test_whatever_is_ordered_one_after_another_other_routes_stay_and_nothing_is_left(
    before: list[str], after: list[str], orders: list[Ordered]
) -> None:
    http = [http_route(name=name) for name in (*before, "main", *(f"{name}-after" for name in after))]
    division = division_of(http[len(before)])
    now = http
    for ordered in orders:
        index = find_index(virtual_service(*now), MAIN)
        assert isinstance(index, int)
        now = arrange(now, MAIN, index, division, ordered)
        index = names(now).index("main")
        assert is_arranged(now, MAIN, index, division, ordered)
        assert [one for one in now if not is_ours(one, MAIN) and one["name"] != "main"] == [
            one for one in http if one["name"] != "main"
        ]
    assert without_ours(now, MAIN, names(now).index("main"), division) == http

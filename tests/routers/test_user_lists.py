"""The arithmetic of a TraefikService's list, of a canary Ingress and of leaves by pointers, for any shares and any weight."""

from __future__ import annotations

from copy import deepcopy
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from adapters.kubernetes.templates import JsonObject
from adapters.routers.custom_leaves import Leaves, waits_for
from adapters.routers.ingress_objects import (
    canary_annotations,
    canary_spec,
    names,
    places_of,
    read_conditions,
    read_weight,
    renaming,
    repeated_annotations,
    weight_annotations,
)
from adapters.routers.traefik_lists import WeightedList, find_list, weight_of
from engine.traffic import MatchKind, NamedMatch, RequestMatch, SetHeaderRoute, Shape, ValueMatch
from strategies.json_pointers import Json, LeadsNowhere, check_pointer, find_at, with_places, with_values
from strategies.nginx_limits import conditions_of, refuse_shape
from tests.builders import WEIGHTED_ROUTE, custom_route
from tests.rollouts.routed import entry, ingress, path, weighted_route

WEIGHTS = some.integers(0, 10_000)
ENTRIES = some.lists(some.one_of(some.none(), some.integers(0, 50)), max_size=3)


# --- Traefik's list ----------------------------------------------------------------------------------------------------


def listed(share: int | None, others: list[int | None], before: int) -> list[JsonObject]:
    theirs = [entry(f"other-{number}", weight) for number, weight in enumerate(others)]
    return [*theirs[:before], entry(weight=share, passHostHeader=True), *theirs[before:]]


def divided(found: list[JsonObject]) -> WeightedList:
    made = find_list(found, "web", "web-stable", "web-canary", "shop")
    assert isinstance(made, WeightedList), made
    return made


def parts(entries: list[JsonObject]) -> dict[str, Fraction]:
    total = sum(map(weight_of, entries))
    return {one["name"]: Fraction(weight_of(one), total) for one in entries if weight_of(one)}


@given(some.one_of(some.none(), some.integers(1, 100)), ENTRIES, some.integers(0, 3), WEIGHTS)
def test_a_list_is_divided_exactly_and_others_keep_their_part(
    share: int | None, others: list[int | None], before: int, weight: int
) -> None:
    found = listed(share, others, before)
    made = divided(found)
    now = made.at(weight)
    whole = parts(found)
    ours = {name: part for name, part in parts(now).items() if name.startswith("web")}
    assert {name: part for name, part in parts(now).items() if name not in ours} == {
        name: part for name, part in whole.items() if name != "web"
    }
    assert sum(ours.values()) == whole["web"]
    assert ours.get("web-canary", 0) == whole["web"] * Fraction(weight, 10_000)
    assert made.read(now) == weight
    assert made.is_intact(now) and made.put_back(now) == found
    assert ("web-canary" in ours) == (weight > 0) and ("web-stable" in ours) == (weight < 10_000)
    assert len([one for one in now if one["name"].startswith("web")]) == len(ours)


@given(WEIGHTS)
def test_what_somebody_has_added_to_the_list_stays(weight: int) -> None:
    made = divided([entry(weight=10)])
    now = [*made.at(weight), entry("beta", 7)]
    assert not made.is_intact(now)
    assert [one["name"] for one in made.put_back(now)] == ["web", "beta"]
    assert [one["name"] for one in made.without_canary(now)] == ["web-stable", "beta"]
    assert made.put_back([entry("beta", 7)]) == [entry("beta", 7)]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([entry("shop")], "does not name the Service web; those that it names are: shop"),
        ([entry(kind="TraefikService")], "does not name the Service web"),
        ([entry(namespace="depot")], "does not name the Service web"),
        ([entry(), entry()], "names the Service web 2 times"),
        ([entry(), entry("web-canary", 0)], "names the Service web-canary already"),
        ([entry(weight=0), entry("shop")], "sends nothing to the Service web, so there is no share to divide"),
    ],
)
def test_a_list_that_cannot_be_divided(found: list[JsonObject], sentence: str) -> None:
    said = find_list(found, "web", "web-stable", "web-canary", "shop")
    assert isinstance(said, str) and sentence in said


# --- Ingresses ---------------------------------------------------------------------------------------------------------


@given(WEIGHTS)
def test_a_canary_ingress_says_every_weight_and_whole_percents_without_a_total(weight: int) -> None:
    body = ingress(annotations=canary_annotations(weight, {}))
    assert read_weight(body) == weight
    total = weight_annotations(weight).get("nginx.ingress.kubernetes.io/canary-weight-total")
    assert total == (None if weight % 100 == 0 else "1000" if weight % 10 == 0 else "10000")


NO_WEIGHTS: list[dict[str, str]] = [
    {},
    {"canary": "true"},
    {"canary-weight": "5"},
    {"canary": "true", "canary-weight": "much"},
]


@pytest.mark.parametrize("annotations", NO_WEIGHTS)
def test_annotations_that_say_no_weight(annotations: dict[str, str]) -> None:
    prefix = "nginx.ingress.kubernetes.io/"
    assert read_weight(ingress(annotations={f"{prefix}{name}": value for name, value in annotations.items()})) is None


def test_the_canary_has_the_places_of_the_root_service_and_no_others() -> None:
    tls = [{"hosts": ["shop.example.com"], "secretName": "shop-tls"}]
    body = ingress(path("/"), path("/api", "api"), path("/v2"), tls=tls, defaultBackend=path()["backend"])
    before = deepcopy(body)
    made = {"metadata": {}, "spec": canary_spec(body, "web", "web-canary")}
    assert body == before
    assert places_of(made, "web-canary") == {("", ""), ("shop.example.com", "/"), ("shop.example.com", "/v2")}
    assert not names(made, "api") and not names(made, "web")
    assert (made["spec"]["tls"], made["spec"]["ingressClassName"]) == (tls, "nginx")


def test_only_leaves_are_renamed_and_back_again() -> None:
    body = ingress(path("/"), path("/api", "api"), path("/v2"))
    changes = renaming(body, "web", "web-stable")
    assert [change["path"] for change in changes] == [
        f"/spec/rules/0/http/paths/{index}/backend/service/name" for index in (0, 2)
    ]
    assert {change["value"] for change in changes} == {"web-stable"}


def test_a_canary_repeats_what_counts_for_its_own_pods_and_nothing_else() -> None:
    prefix = "nginx.ingress.kubernetes.io/"
    kept = {f"{prefix}{name}": "x" for name in ("load-balance", "session-cookie-name", "affinity", "service-upstream")}
    left = {f"{prefix}rewrite-target": "/$1", f"{prefix}ssl-redirect": "true", "cert-manager.io/issuer": "letters"}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    old = {"kubernetes.io/ingress.class": "nginx"}
    body = ingress(annotations={**kept, **left, **applied, **old})
    assert repeated_annotations(body) == kept
    del body["spec"]["ingressClassName"]
    assert repeated_annotations(body) == {**kept, **old}


def by(*matches: RequestMatch, mirror: int = 0) -> Shape:
    return Shape((SetHeaderRoute("beta", matches),), mirror)


def header(kind: MatchKind, value: str, name: str = "x-user") -> RequestMatch:
    return RequestMatch(headers=(NamedMatch(name, ValueMatch(kind, value)),))


def cookie(value: str = "always", name: str = "beta") -> RequestMatch:
    return RequestMatch(cookies=(NamedMatch(name, ValueMatch(MatchKind.EXACT, value)),))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (by(header(MatchKind.EXACT, "anna")), {"header": "x-user", "header-value": "anna"}),
        (by(header(MatchKind.PREFIX, "a.n")), {"header": "x-user", "header-pattern": r"^a\.n"}),
        (by(header(MatchKind.REGEX, "a|b")), {"header": "x-user", "header-pattern": "^(?:a|b)$"}),
        (by(cookie()), {"cookie": "beta"}),
        (by(cookie(), header(MatchKind.EXACT, "a")), {"cookie": "beta", "header": "x-user", "header-value": "a"}),
        (Shape(), {}),
    ],
)
def test_what_one_canary_ingress_can_say_of_requests(shape: Shape, said: dict[str, str]) -> None:
    assert refuse_shape(shape) == ""
    wanted = {f"nginx.ingress.kubernetes.io/canary-by-{name}": value for name, value in said.items()}
    assert conditions_of(shape) == wanted
    assert read_conditions(ingress(annotations=canary_annotations(0, wanted))) == wanted


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (by(RequestMatch(method="GET")), "looks at no path and no method"),
        (by(RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/v2"))), "looks at no path and no method"),
        (by(RequestMatch(headers=header(MatchKind.EXACT, "a").headers, cookies=cookie().cookies)), "never both together"),
        (by(cookie("1")), 'takes a cookie whose value is "always"'),
        (by(header(MatchKind.EXACT, "a"), header(MatchKind.EXACT, "b")), "looks at one header, and there are 2"),
        (by(cookie(), cookie(name="gamma")), "looks at one cookie, and there are 2"),
        (by(cookie(), mirror=100), "copies all requests of an Ingress or none"),
    ],
)
def test_what_it_cannot_say(shape: Shape, sentence: str) -> None:
    assert sentence in refuse_shape(shape)


# --- leaves by pointers ------------------------------------------------------------------------------------------------


@given(some.integers(1, 20_000), WEIGHTS)
def test_whole_weights_are_the_nearest_and_all_only_when_all_is_asked_for(total: int, weight: int) -> None:
    leaves = Leaves(custom_route(replace(WEIGHTED_ROUTE, total=total)))
    values = leaves.at(weight)
    stable, fresh = values[WEIGHTED_ROUTE.stable_weight], values[WEIGHTED_ROUTE.canary_weight]
    assert isinstance(stable, int) and isinstance(fresh, int)
    assert stable + fresh == total
    assert (stable == 0) == (weight == 10_000)
    assert abs(Fraction(fresh, total) - Fraction(weight, 10_000)) <= Fraction(1, total)
    body = with_values(weighted_route(), values)
    assert leaves.find(body) == values
    assert leaves.weight(values) == leaves.reached(weight)


def test_where_a_pointer_leads_and_where_it_stops() -> None:
    body: Json = {"spec": {"a/b": [{"w": 1}], "~": "x"}}
    assert find_at(body, "/spec/a~1b/0/w") == 1
    assert find_at(body, "/spec/~0") == "x"
    for pointer, said in {
        "/spec/c": '/spec/c leads nowhere: /spec has no "c", but "a/b" and "~"',
        "/spec/a~1b/1": '/spec/a~1b is a list of 1, counted from 0, and has no "1"',
        "/spec/a~1b/-": 'has no "-"',
        "/spec/~0/x": "is a single value, with nothing in it",
        "/stats": 'the object has no "stats", but "spec"',
    }.items():
        with pytest.raises(LeadsNowhere) as told:
            find_at(body, pointer)
        assert said in str(told.value)
    assert check_pointer("spec") and check_pointer("/a~b") and not check_pointer("/a~0~1/b")


PARTS = some.lists(some.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4)
POINTERS = PARTS.map(lambda parts: "/" + "/".join(["x", *parts]))


@given(POINTERS, some.integers())
def test_a_place_that_is_made_is_there(pointer: str, value: int) -> None:
    assert find_at(with_places({}, {pointer: value}), pointer) == value


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "WeightedRoute web is at generation 3, and its status says nothing yet (/status/seen)"),
        ({"seen": 2}, "WeightedRoute web is at generation 3, and its status speaks of generation 2"),
        ({"seen": 3, "ok": "False"}, 'WeightedRoute web has "False" at /status/ok instead of "True"'),
        ({"seen": 3}, 'has null at /status/ok instead of "True"'),
        ({"seen": 3, "ok": True}, 'has true at /status/ok instead of "True"'),
        ({"seen": 3, "ok": "True"}, ""),
    ],
)
def test_what_a_written_weight_waits_for(status: JsonObject, said: str) -> None:
    custom = replace(WEIGHTED_ROUTE, accepted="/status/ok", accepted_value='"True"', observed_generation="/status/seen")
    told = waits_for(custom, {"metadata": {"generation": 3}, "status": status})
    assert said in told and bool(said) == bool(told)

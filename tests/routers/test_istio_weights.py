"""The arithmetic of a list of destinations, for any shares and any weight."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as some

from adapters.kubernetes.templates import JsonObject
from adapters.routers.istio_places import Side, service_of
from adapters.routers.istio_weights import Division, find_division

STABLE, CANARY = Side("web", "active"), Side("web", "canary")
SHARES = some.integers(1, 100)
OTHERS = some.lists(some.integers(0, 100), max_size=3)
WEIGHTS = some.integers(0, 10_000)


def listed(share: int, others: list[int], before: int) -> list[JsonObject]:
    theirs = [{"destination": {"host": f"other-{number}"}, "weight": weight} for number, weight in enumerate(others)]
    ours = {"destination": {"host": "web", "subset": "active"}, "weight": share, "headers": {"request": {"set": {"a": "b"}}}}
    return [*theirs[:before], ours, *theirs[before:]]


def division(found: list[JsonObject], *, exact: bool = True) -> Division:
    made = find_division(found, STABLE, CANARY, "shop", exact=exact)
    assert isinstance(made, Division), made
    return made


def parts(destinations: list[JsonObject]) -> dict[tuple[str, str], Fraction]:
    total = sum(one["weight"] for one in destinations)
    named = ((one["destination"]["host"], one["destination"].get("subset", ""), one["weight"]) for one in destinations)
    return {(host, subset): Fraction(weight, total) for host, subset, weight in named}


@given(SHARES, OTHERS, some.integers(0, 3), WEIGHTS)
def test_every_weight_is_exact_and_others_keep_their_part(share: int, others: list[int], before: int, weight: int) -> None:
    found = listed(share, others, before)
    divided = division(found).at(weight)
    was, now = parts(found), parts(divided)
    assert now["web", "canary"] == was["web", "active"] * Fraction(weight, 10_000)
    assert now["web", "active"] + now["web", "canary"] == was["web", "active"]
    assert all(now[name] == part for name, part in was.items() if name[0] != "web")
    assert division(found).read(divided) == weight


@given(SHARES, OTHERS, some.integers(0, 3), WEIGHTS)
def test_whole_weights_leave_the_sum_and_the_others_as_they_are(share: int, others: list[int], before: int, weight: int) -> None:
    found = listed(share, others, before)
    divided = division(found, exact=False).at(weight)
    assert sum(one["weight"] for one in divided) == sum(one["weight"] for one in found)
    assert [one for one in divided if one["destination"]["host"] != "web"] == [
        one for one in found if one["destination"]["host"] != "web"
    ]
    canary = next(one["weight"] for one in divided if one["destination"].get("subset") == "canary")
    assert abs(canary * 10_000 - share * weight) <= 10_000
    assert (canary == share) == (weight == 10_000)


@given(SHARES, OTHERS, some.integers(0, 3), WEIGHTS, some.booleans())
def test_the_list_is_as_it_was_found_in_the_end(share: int, others: list[int], before: int, weight: int, exact: bool) -> None:
    found = listed(share, others, before)
    divided = division(found, exact=exact)
    assert divided.without_canary(divided.at(weight)) == found


def test_an_only_destination_without_a_weight_has_everything() -> None:
    found: list[JsonObject] = [{"destination": {"host": "web", "subset": "active"}}]
    assert [one["weight"] for one in division(found).at(2_500)] == [75, 25]
    assert division(found).without_canary(division(found).at(2_500)) == found


def test_hosts_are_read_as_istio_reads_them() -> None:
    assert service_of("web", "shop") == ("web", "shop")
    assert service_of("web.shop.svc.cluster.local", "depot") == ("web", "shop")
    assert service_of("web.shop.svc.example.org", "depot") == ("web", "shop")
    assert [service_of(host, "shop") for host in ("web.shop", "web.shop.svc", "web.example.com", "*.shop")] == [None] * 4

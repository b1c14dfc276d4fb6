"""Every router has a case."""

from __future__ import annotations

from engine.traffic import RouterKind
from tests.conformance.routers.cases import CASES
from tests.conformance.routers.deploy_files import routes_of

NOT_YET = {RouterKind.GATEWAY_API}


def test_every_kind_of_router_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(RouterKind) - NOT_YET


def test_a_case_is_of_the_kind_that_it_says() -> None:
    for case in CASES:
        assert {route.kind for route in routes_of(case)} == {case.kind}, case
    assert len({case.name for case in CASES}) == len(CASES)

"""Every router has a case, and the page of routers says what the tables say."""

from __future__ import annotations

from engine.traffic import RouterKind
from tests.conformance.routers import test_beside, test_meddling, test_rollouts
from tests.conformance.routers.cases import CASES
from tests.conformance.routers.deploy_files import routes_of
from tests.conformance.routers.documentation import PAGE, STORIES, static


def test_every_kind_of_router_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(RouterKind)


def test_a_case_is_of_the_kind_that_it_says() -> None:
    for case in CASES:
        assert {route.kind for route in routes_of(case)} == {case.kind}, case
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_page_of_routers_is_current() -> None:
    """All of it but the counts, which are those of the last whole run; and each router stands in their table."""
    page = PAGE.read_text("utf-8")
    assert page.startswith(static())
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.partition("## What was shown")[2].splitlines()]
    assert [one for one in rows if one in {case.name for case in CASES}] == [case.name for case in CASES]
    assert f"| router | {' | '.join(STORIES.values())} |" in page


def test_the_page_has_a_column_for_every_story() -> None:
    told = {name for module in (test_rollouts, test_meddling, test_beside) for name in vars(module) if name.startswith("test_")}
    beside_the_cluster = {name for name in told if "refused_with_the_place" in name or "table_of_what" in name}
    assert told - beside_the_cluster == STORIES.keys()

"""A few of the stories, in the fast suite; `python -m tests.simulation` tells as many as anyone likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.simulation.cluster import Routing
from tests.simulation.crash_points import Ending, all_places, run, try_place
from tests.simulation.dice import Trouble
from tests.simulation.mutations import MUTATIONS, catch
from tests.simulation.sums import Sums
from tests.simulation.telling import needed_troubles, tell

STORIES = int(os.environ.get("HEADGATE_SIMULATIONS", "100"))


@pytest.mark.timeout(300)
def test_many_stories_end_well_whatever_happens_in_them() -> None:
    outcomes = [tell(seed) for seed in range(STORIES)]
    for wrong in [one for one in outcomes if one.wrong][:1]:
        needed = ", ".join(needed_troubles(wrong.seed)) or "no trouble"
        pytest.fail(f"{wrong.wrong}\nit needs: {needed}\nagain: python -m tests.simulation --seed {wrong.seed}")
    ends = {end for one in outcomes for end in one.ends}
    assert {"succeeded", "rolled_back", "failed", "cancelled"} <= ends, "the stories are all alike"
    assert {trouble for one in outcomes for trouble in one.faults} >= {Trouble.KILLS, Trouble.LOST, Trouble.PARTITION}


@pytest.mark.parametrize("routing", Routing)
def test_every_router_goes_through_a_story_without_trouble(routing: Routing) -> None:
    for seed in range(3):
        outcome = tell(seed, without=Trouble, routing=routing)
        assert not outcome.wrong
        assert outcome.ends.keys() <= {"succeeded", "rolled_back", "failed", "cancelled"}


def test_the_same_seed_tells_the_same_story() -> None:
    assert tell(21).digest == tell(21).digest
    assert tell(21).digest != tell(22).digest


def test_sums_that_were_kept_go_on_where_they_were(tmp_path: Path) -> None:
    kept, at_once = tmp_path / "told.json", Sums()
    for seed in range(4):
        sums = Sums.read(kept)
        assert sums.stories == seed
        for one in (sums, at_once):
            one.add(tell(seed))
        sums.keep(kept)
    assert vars(Sums.read(kept)) == vars(at_once)


def test_a_crash_at_any_point_leads_to_the_same_end() -> None:
    """Some of the points, as many as are quick; `python -m tests.simulation --crash-points` tries all."""
    wrong = [f"{place}: {found}" for place, found in map(try_place, all_places(every=97, first=11)) if found]
    assert not wrong


def test_a_run_that_nobody_kills_passes_many_points() -> None:
    passed = run(Routing.SMI, Ending.GOOD).passed
    assert len(passed) > 150
    assert {"before a commit", "after a commit", "before PATCH deployments.apps shop/web"} <= set(passed)


QUICKLY_FOUND = (
    "an action is performed before its decision is on the disk",
    "an abort removes the pods, and leaves the weight",
    "Services go before the route that names them",
    "a canary Service is left behind",
)


@pytest.mark.parametrize("name", QUICKLY_FOUND)
def test_a_planted_bug_is_found(name: str) -> None:
    """`python -m tests.simulation --mutations` plants all of them."""
    assert name in MUTATIONS
    assert catch(name, range(60))

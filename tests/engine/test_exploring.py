"""Every stand of a small plan, by every event: none has no way on, and each event has an answer.

Two plans here; `python -m tests.engine.exploration_page` goes through all of them.
"""

from __future__ import annotations

from functools import cache

import pytest

from engine.model import FINAL_STATES, UNDOING_STATES, State
from tests.engine.exploration_page import HEADING, PAGE, PLANS, problems
from tests.engine.exploring import Explored, explore

CHOSEN = ("canary with a weight, by the ratio of pods", "an approval before the deployment, a pause after it")


@cache
def explored(name: str) -> Explored:
    return explore(PLANS[name])


@pytest.mark.parametrize("name", CHOSEN)
def test_from_every_stand_there_is_a_way_to_an_end_and_the_way_back_needs_nobody(name: str) -> None:
    found = explored(name)
    assert len(found.stands) > 1_000
    assert problems(found) == []


@pytest.mark.parametrize("name", CHOSEN)
def test_an_abort_is_taken_wherever_it_is_not_under_way_already(name: str) -> None:
    found = explored(name)
    for key, ways in found.ways.items():
        state = found.stands[key].snapshot.state
        after = {found.stands[way.to].snapshot.state for way in ways if way.event.startswith("command abort")}
        if state in FINAL_STATES or state in UNDOING_STATES:
            assert not after
        else:
            assert after <= {State.ABORTING, State.CANCELLED, State.REJECTED}, state
            assert after, f"{state} takes no abort"


@pytest.mark.parametrize("name", CHOSEN)
def test_every_event_has_an_answer_in_every_state(name: str) -> None:
    found = explored(name)
    states = {one.snapshot.state for one in found.stands.values()} - FINAL_STATES
    answered = found.handled.keys() | found.ignored.keys() | found.refused.keys()
    kinds = {kind for _, kind in answered if not kind.startswith(("callback", "measurements"))}
    assert len(kinds) >= 16
    assert {(state, kind) for state in states for kind in kinds} <= answered


def test_a_stand_without_a_way_on_would_be_found() -> None:
    found = explored(CHOSEN[0])
    stuck = next(key for key, one in found.stands.items() if one.snapshot.state is State.RESTORING)
    kept, found.ways[stuck] = found.ways[stuck], []
    try:
        assert any("restoring" in one for one in problems(found))
    finally:
        found.ways[stuck] = kept


def test_the_page_tells_of_every_plan() -> None:
    section = PAGE.read_text("utf-8").partition(HEADING)[2]
    assert section, "run: python -m tests.engine.exploration_page"
    assert [name for name in PLANS if f"| {name} |" not in section] == []

"""The table of states: total, without dead ends, and the document made of it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from engine.document_states import render
from engine.machine import EDGES, IllegalTransition, Trigger, destinations, fire
from engine.model import FINAL_STATES, State


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_every_pair_of_state_and_trigger_is_in_the_table_or_refused(state: State, trigger: Trigger) -> None:
    allowed = destinations(state, trigger)
    for wanted in State:
        if wanted in allowed:
            assert fire(state, trigger, wanted) is wanted
    if not allowed:
        with pytest.raises(IllegalTransition):
            fire(state, trigger)


def test_final_states_have_no_way_out_and_all_others_have_one_to_an_end() -> None:
    ways = {state: {edge.destination for edge in EDGES if edge.source is state} for state in State}
    for state in State:
        if state in FINAL_STATES:
            assert not ways[state]
            continue
        reached, new = {state}, {state}
        while new:
            new = {after for before in new for after in ways[before]} - reached
            reached |= new
        assert reached & FINAL_STATES, f"{state} is a dead end"


def test_every_state_can_be_reached_from_the_first() -> None:
    reached = {State.WAITING}
    for _ in State:
        reached |= {edge.destination for edge in EDGES if edge.source in reached}
    assert reached == set(State)


def test_an_abort_is_possible_from_every_state_that_can_have_changed_anything() -> None:
    cannot = {state for state in State if not destinations(state, Trigger.ABORT)}
    assert cannot == {State.WAITING, State.ABORTING, State.RESTORING, *FINAL_STATES}


def test_the_document_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "states.md"
    assert written.read_text("utf-8").startswith(render()), "python -m tests.engine.exploration_page"

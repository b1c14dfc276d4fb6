"""How long the past is kept: what may be removed, and when that is done."""

from __future__ import annotations

from datetime import timedelta

import anyio
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.model import Release, ReleaseStatus
from engine.retention import EndedRelease, Retention, removable
from engine.sweeping import EVERY_SECONDS, FIRST_SECONDS, Sweep
from tests.clocks import START, LoopClock, run_in_virtual_time

TWO = Retention(timedelta(days=90), completed=2)


def ended(name: str, days: float, *, completed: bool = True, application: str = "shop") -> EndedRelease:
    """So many days ago."""
    return EndedRelease(name, application, START - timedelta(days=days), completed)


def gone(*releases: EndedRelease, referred: frozenset[str] = frozenset()) -> list[str]:
    return removable(releases, referred, TWO, START)


# --- the choice --------------------------------------------------------------------------------------------------------


def test_what_is_old_goes_but_for_the_newest_that_can_be_taken_back() -> None:
    assert gone(ended("a", 400), ended("b", 300), ended("c", 200), ended("d", 100)) == ["a", "b"]


def test_what_is_young_stays_however_much_of_it_there_is() -> None:
    assert gone(*(ended(f"r{number}", 89) for number in range(50))) == []


def test_a_release_that_brought_nothing_takes_nobodys_place_and_goes_by_its_age_alone() -> None:
    failed = [ended(f"f{number}", 200, completed=False) for number in range(3)]
    assert gone(ended("a", 300), ended("b", 250), *failed) == ["f0", "f1", "f2"]


def test_each_application_has_its_own_past() -> None:
    assert gone(ended("a", 400), ended("x", 400, application="mail"), ended("b", 400), ended("c", 400)) == ["a"]


def test_what_an_unfinished_release_takes_back_stays_and_so_does_all_that_came_after_it() -> None:
    """Without the later ones nobody could tell that they have changed what the earlier one has left."""
    story = [ended("a", 400), ended("b", 390), ended("c", 380), ended("d", 370), ended("e", 360)]
    assert gone(*story, referred=frozenset({"b"})) == ["a"]


def test_one_that_lasted_long_is_judged_by_its_end_and_keeps_what_came_after_it() -> None:
    assert gone(ended("a", 10), *(ended(f"r{number}", 100) for number in range(5))) == []


histories = st.lists(
    st.builds(
        EndedRelease,
        st.integers(0, 10**6).map(str),
        st.sampled_from(["shop", "mail"]),
        st.integers(0, 200).map(lambda days: START - timedelta(days=days)),
        st.booleans(),
    ),
    unique_by=lambda one: one.id,
    max_size=40,
)


@given(histories, st.data())
def test_in_any_history_what_is_kept_can_be_taken_back_as_before(history: list[EndedRelease], data: st.DataObject) -> None:
    referred = data.draw(st.frozensets(st.sampled_from([one.id for one in history]), max_size=3)) if history else frozenset()
    removed = set(removable(history, referred, TWO, START))
    assert not removed & referred
    for application in ("shop", "mail"):
        completed = [one for one in history if one.application == application and one.completed]
        kept = [one for one in completed if one.id not in removed]
        assert kept == completed[len(completed) - len(kept) :], "one is gone that is later than one that is kept"
        assert len(kept) >= min(len(completed), TWO.completed)
    assert all(START - one.ended_at >= TWO.age for one in history if one.id in removed)


@given(histories)
def test_a_second_look_finds_nothing_more(history: list[EndedRelease]) -> None:
    removed = set(removable(history, frozenset(), TWO, START))
    assert removable([one for one in history if one.id not in removed], frozenset(), TWO, START) == []


# --- the task ----------------------------------------------------------------------------------------------------------


class Past:
    """Implements `engine.ports.Archive`."""

    def __init__(self, *releases: EndedRelease, unfinished: tuple[Release, ...] = ()) -> None:
        self.releases = list(releases)
        self.unfinished = unfinished
        self.failing = 0
        self.given_back = 0

    async def unfinished_releases(self) -> list[Release]:
        return list(self.unfinished)

    async def ended_releases(self) -> list[EndedRelease]:
        if self.failing:
            self.failing -= 1
            raise StoreError("the disk is away")
        return list(self.releases)

    async def remove_release(self, release_id: str) -> None:
        self.releases = [one for one in self.releases if one.id != release_id]

    async def give_space_back(self) -> None:
        self.given_back += 1


OLD = [ended(name, 300 - number) for number, name in enumerate("abcd")]


def ids(past: Past) -> str:
    return "".join(one.id for one in past.releases)


def run_sweep(past: Past, clock: LoopClock, seconds: float, *, jump_at: tuple[float, float] | None = None) -> int:
    """How many were removed in that time. `jump_at`: when the wall's clock jumps, and by how much."""
    removed = 0

    def count() -> None:
        nonlocal removed
        removed += 1

    async def story() -> None:
        sweep = Sweep(past, clock, TWO, count)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sweep.run)
            if jump_at is not None:
                await anyio.sleep(jump_at[0])
                clock.jump(jump_at[1])
            await anyio.sleep(seconds - (jump_at[0] if jump_at is not None else 0.0))
            tasks.cancel_scope.cancel()

    run_in_virtual_time(story, limit_seconds=seconds + 60)
    return removed


def test_the_first_sweep_is_not_at_the_start_and_then_there_is_one_each_hour() -> None:
    past = Past(*OLD)
    assert run_sweep(past, LoopClock(), FIRST_SECONDS - 1) == 0
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + 1) == 2
    assert (ids(past), past.given_back) == ("cd", 1)
    assert run_sweep(past, LoopClock(), 10 * EVERY_SECONDS) == 0
    assert past.given_back == 1


def test_what_an_unfinished_release_tries_again_stays() -> None:
    retry = Release("z", "shop", "", ReleaseStatus.RUNNING, START, "ada", "", retry_of="b")
    past = Past(*OLD, unfinished=(retry,))
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + 1) == 1
    assert ids(past) == "bcd"


def test_a_store_that_cannot_be_read_is_asked_again_an_hour_later() -> None:
    past = Past(*OLD)
    past.failing = 1
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + 1) == 0
    past.failing = 1
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + EVERY_SECONDS + 1) == 2


def test_a_clock_that_has_jumped_removes_nothing_before_it_has_shown_the_same_day_for_an_hour() -> None:
    """A host that wakes up in another year must not forget what happened in this one."""
    young = [ended(name, 1) for name in "abcd"]
    past, year = Past(*young), 365 * 86_400.0
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + 1, jump_at=(60.0, year)) == 0
    past, clock = Past(*young), LoopClock()

    async def corrected() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Sweep(past, clock, TWO).run)
            await anyio.sleep(60)
            clock.jump(year)
            await anyio.sleep(FIRST_SECONDS)
            clock.jump(-year)
            await anyio.sleep(5 * EVERY_SECONDS)
            tasks.cancel_scope.cancel()

    run_in_virtual_time(corrected, limit_seconds=7 * EVERY_SECONDS)
    assert ids(past) == "abcd"
    assert run_sweep(past, LoopClock(), FIRST_SECONDS + EVERY_SECONDS + 1, jump_at=(60.0, year)) == 2

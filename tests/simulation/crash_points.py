"""Every crash point of a rollout: the daemon is killed before and after each request to the cluster and each commit of the store,
each in a run of its own, and its successor goes on.

The end, the writes to the cluster (one that is repeated at once counts once) and the states that were gone through are those of
the run that nobody killed. Between two of these points a process does nothing that anybody outside could see, so a kill at any
other instant comes to the same as at the next point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import groupby, islice, zip_longest
from random import Random

import anyio
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import Approval, ReleasePlan, State, Step
from engine.orders import awaits_answer
from engine.traffic import SetMirror
from strategies.blue_green import compile_switch
from tests.builders import Names, error_rate, header_route, percent, release_plan, target_plan
from tests.engine.troubled_world import Broken
from tests.simulation.cluster import MIRRORED, NAMESPACE, ROUTES, SINGLED_OUT, SWITCHES, Place, Routing
from tests.simulation.dice import Trouble
from tests.simulation.loop import simulate
from tests.simulation.process import Process
from tests.simulation.story import Story
from tests.simulation.telling import broken

LIMIT_SECONDS = 7_200.0


class Ending(StrEnum):
    GOOD = "good"
    BAD = "bad"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Run:
    """What is left of a run, and what it has done on the way."""

    passed: tuple[str, ...]
    """The points that the killed process has gone past, or all of them."""
    crashed: bool
    wrong: str
    picture: dict[str, JsonObject]
    writes: tuple[str, ...]
    states: tuple[State, ...]


class PlainStory(Story):
    """One release, no trouble, and a process that dies where it is told to."""

    def __init__(self, routing: Routing, ending: Ending, is_fatal: Callable[[str], bool]) -> None:
        super().__init__(0, Trouble, routing)
        self._ending = ending
        self.plot.versions = [("web:2", 0.5 if ending is Ending.BAD else 0.0)]
        self.plot.places = [Place("embedded", "production", routing, 2, autoscaled=routing is Routing.POD_RATIO)]
        self._plan = plan_of(routing)
        self.plot.plans = [self._plan]
        self.is_fatal = is_fatal

    async def tell(self) -> None:
        async with self.set():
            while not self._has_ended():
                process = Process(self.is_fatal)
                self.names = Names()
                with process.scope:
                    await self._live_on(process)
                process.alive = False
                await anyio.sleep(0.5)
            await anyio.sleep(30.0)
            self._judge_the_outcome()
            self.found = self.scenes["embedded"].cluster.picture()

    async def _live_on(self, process: Process) -> None:
        async with self.daemon(process) as engine:
            if not await engine._store.releases():
                await engine.submit(self._plan, by="a test", source="test")
            while not self._has_ended() or not await self._are_releases_final(engine):
                for rollout, snapshot in self._unfinished():
                    if awaits_answer(self.judge.specs[rollout], snapshot):
                        aborted = self._ending is Ending.ABORTED
                        await self._order(engine, rollout, CommandKind.ABORT if aborted else CommandKind.APPROVE)
                await anyio.sleep(0.5)

    def _has_ended(self) -> bool:
        return bool(self.judge.snapshots) and not self._unfinished()

    def _judge_the_outcome(self) -> None:
        expected = State.SUCCEEDED if self._ending is Ending.GOOD else State.ROLLED_BACK
        for rollout, snapshot in self.judge.snapshots.items():
            if snapshot.state is not expected:
                raise Broken(f"{rollout} is {snapshot.state}, not {expected}: {snapshot.reason}")
        self.judge_the_end()


def plan_of(routing: Routing) -> ReleasePlan:
    shapes: list[Step] = [header_route()] if routing in SINGLED_OUT else []
    shapes += [SetMirror(2_500)] if routing in MIRRORED else []
    steps: list[Step] = [*shapes, percent(25), error_rate(runs=1, interval=5.0), percent(50), Approval()]
    if routing in SWITCHES:
        steps = list(compile_switch([error_rate(runs=1, interval=5.0)], [Approval()]))
    plan = target_plan(steps, namespace=NAMESPACE, replicas=2, routes=ROUTES[routing], settle=1.0)
    return release_plan(replace(plan, context={}))


def run(routing: Routing, ending: Ending, is_fatal: Callable[[str], bool] = lambda point: False) -> Run:
    passed: list[str] = []
    crashed = False

    def look(point: str) -> bool:
        nonlocal crashed
        passed.append(point)
        dies = is_fatal(point)
        crashed = crashed or dies
        return dies

    story, wrong = PlainStory(routing, ending, look), ""
    try:
        simulate(story.tell, limit_seconds=LIMIT_SECONDS)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        wrong = broken(error)
    finally:
        story.disk.close()
    entries = [entry.destination for entries in story.judge.entries.values() for entry in entries]
    return Run(
        tuple(passed),
        crashed,
        wrong,
        getattr(story, "found", {}),
        tuple(write for write, _ in groupby(story.writes)),
        tuple(state for state, _ in groupby(entries)),
    )


def at(*numbers: int) -> Callable[[str], bool]:
    """Dies at these points, counted over all lives."""
    count = 0

    def is_fatal(_: str) -> bool:
        nonlocal count
        count += 1
        return count in numbers

    return is_fatal


def difference(unkilled: Run, killed: Run) -> str:
    """In what a run differs from the one that nobody killed; empty for nothing."""
    if killed.wrong:
        return killed.wrong
    if killed.states != unkilled.states:
        return f"went through {[str(one) for one in killed.states]}"
    if killed.writes != unkilled.writes:
        pairs = zip_longest(unkilled.writes, killed.writes, fillvalue="nothing")
        wanted, wrote = next(pair for pair in pairs if pair[0] != pair[1])
        return f"wrote {wrote} instead of {wanted} ({len(killed.writes)} writes, not {len(unkilled.writes)})"
    return "" if killed.picture == unkilled.picture else "another end"


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a daemon is killed: the number of a point, or of several, counted over all its lives."""

    routing: Routing
    ending: Ending
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.routing}, {self.ending}, point {' and '.join(map(str, self.numbers))}"


@cache
def unkilled_run(routing: Routing, ending: Ending) -> Run:
    found = run(routing, ending)
    if found.wrong:
        raise AssertionError(f"{routing}, {ending}, without any crash: {found.wrong}")
    return found


def all_places(*, every: int = 1, first: int = 1) -> Iterator[Crash]:
    """Every point of every router's rollouts; or every so many of them, all rollouts taken as one row."""
    places = (
        Crash(routing, ending, (number,))
        for routing in Routing
        for ending in Ending
        for number in range(1, len(unkilled_run(routing, ending).passed) + 1)
    )
    return islice(places, first - 1, None, every)


def random_pairs(count: int, *, seed: int) -> Iterator[Crash]:
    """Two crashes in one run; the second may be one of the successor's first steps."""
    random = Random(f"{seed}/pairs")
    for _ in range(count):
        routing, ending = random.choice(list(Routing)), random.choice(list(Ending))
        first = random.randint(1, len(unkilled_run(routing, ending).passed))
        yield Crash(routing, ending, (first, first + random.randint(1, 60)))


def try_place(place: Crash) -> tuple[Crash, str]:
    """What is wrong with what follows from a crash there; empty for nothing."""
    return place, difference(unkilled_run(place.routing, place.ending), run(place.routing, place.ending, at(*place.numbers)))

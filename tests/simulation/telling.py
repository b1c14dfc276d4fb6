"""Runs one story, and says what is wrong with it."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from tests.simulation.cluster import Routing
from tests.simulation.dice import Trouble
from tests.simulation.loop import simulate
from tests.simulation.story import Story

LIMIT_SECONDS = 400_000.0
YOUNG_OBJECTS = 50_000
"""So many are made before Python looks for cycles among them: a story makes a hundred times the 700 after which it looks else."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    wrong: str = ""
    """What is wrong; empty for a good story."""
    digest: str = ""
    seconds: float = 0.0
    """Of simulated time."""
    events: int = 0
    """Decisions of the engine and changes of the cluster."""
    lives: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    routings: tuple[str, ...] = ()
    """Of each cluster."""
    ends: Counter[str] = field(default_factory=Counter)
    """The states in which the rollouts have ended."""


def tell(seed: int, without: Iterable[str] = (), *, routing: Routing | None = None) -> Outcome:
    return tell_story(Story(seed, without, routing), seed)


def tell_story(story: Story, seed: int) -> Outcome:
    wrong = ""
    try:
        simulate(story.tell, limit_seconds=LIMIT_SECONDS)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        wrong = broken(error)
    finally:
        story.disk.close()
    decisions = sum(map(len, story.judge.entries.values()))
    for entries in story.judge.entries.values():
        for entry in entries:
            story.digest.add(entry.rollout, entry.seq, entry.at, entry.text)
    for write in story.writes:
        story.digest.add(write)
    faults = story.faults + story.disk.faults + story.outside.faults
    changes = 0
    for scene in story.scenes.values():
        changes += scene.oracle.changes
        faults += scene.cluster.network.faults + Counter({"ill pods": scene.cluster.pods.troubled})
    routings = tuple(str(place.routing) for place in story.plot.places)
    ends = Counter(str(at.state) for at in story.judge.snapshots.values())
    return Outcome(
        seed, wrong, str(story.digest), story.seconds, decisions + changes, story.lives, faults, routings, ends
    )


def broken(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(broken, error.exceptions)), "")
    return f"{type(error).__name__}: {error}"


def needed_troubles(seed: int) -> tuple[str, ...]:
    """The kinds of trouble without which the story would be a good one."""
    without: tuple[str, ...] = ()
    for trouble in Trouble:
        if tell(seed, (*without, trouble)).wrong:
            without = (*without, trouble)
    return tuple(one for one in Trouble if one not in without)


def silence() -> None:
    """The logs of a thousand stories tell nobody anything."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def settle() -> None:
    """In a process that tells stories and nothing else."""
    silence()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def lines_of(story: Story) -> list[str]:
    """The story's journal, and what others did in between."""
    entries = [one for entries in story.judge.entries.values() for one in entries]
    lines = [(one.at, f"{one.rollout} {one.seq} {one.event}: {one.destination}: {one.text}") for one in entries]
    return [f"{at:%H:%M:%S.%f} {line}" for at, line in sorted([*lines, *story.notes], key=lambda told: told[0])]

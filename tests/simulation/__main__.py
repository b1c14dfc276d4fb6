"""The command: many stories, or one of them again.

    python -m tests.simulation --seeds 1000 [--from 0] [--jobs 2]
    python -m tests.simulation --seed 4711 [--without pods,kills]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context

from tests.simulation.dice import Trouble
from tests.simulation.story import Story
from tests.simulation.telling import Outcome, lines_of, needed_troubles, silence, tell, tell_story

HASH_SEED = "0"
"""Sets of texts are walked through in an order that Python draws anew in each process, if it is not told."""


def main(arguments: list[str]) -> int:
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *arguments])
    silence()
    given = _read(arguments)
    if given.seed is not None:
        return _tell_again(given.seed, [Trouble(one) for one in given.without.split(",") if one])
    return _tell_many(range(given.first, given.first + given.seeds), given.jobs)


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Deterministic simulation of Headgate.")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many stories (default 1000)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)")
    parser.add_argument("--seed", type=int, help="tell this one again, line by line")
    parser.add_argument("--without", default="", help=f"kinds of trouble to leave out of --seed: {', '.join(Trouble)}")
    return parser.parse_args(arguments)


def _tell_again(seed: int, without: list[Trouble]) -> int:
    story = Story(seed, without)
    plot, troubles = story.plot, ", ".join(sorted(story.dice.troubles)) or "nothing"
    say(f"{plot.routing}, {plot.replicas} replicas, versions {plot.versions}, trouble with {troubles}")
    outcome = tell_story(story, seed)
    for line in lines_of(story):
        say(line)
    say(f"\n{outcome.wrong or 'a good story'} (digest {outcome.digest})")
    return 1 if outcome.wrong else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _tell_many(seeds: range, jobs: int) -> int:
    began, failed = time.monotonic(), 0
    sums = Sums()
    for outcome in _told(seeds, jobs):
        sums.add(outcome)
        if outcome.wrong:
            failed += 1
            say(f"seed {outcome.seed} ({outcome.routing}): {outcome.wrong}")
            if failed <= 3:
                say(f"  it needs: {', '.join(needed_troubles(outcome.seed)) or 'no trouble'}")
                say(f"  again: python -m tests.simulation --seed {outcome.seed}")
    say(sums.describe(time.monotonic() - began))
    say(f"{failed} of {len(seeds)} stories break a rule")
    return 1 if failed else 0


def _told(seeds: range, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(tell, seeds)
        return
    with get_context("spawn").Pool(jobs, initializer=silence) as pool:
        yield from pool.imap_unordered(tell, seeds, chunksize=8)


class Sums:
    def __init__(self) -> None:
        self.stories = self.events = self.lives = 0
        self.seconds = 0.0
        self.faults: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.routings: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.stories += 1
        self.events += outcome.events
        self.lives += outcome.lives
        self.seconds += outcome.seconds
        self.faults += outcome.faults
        self.ends += outcome.ends
        self.routings[outcome.routing] += 1

    def describe(self, seconds: float) -> str:
        hours, speed = self.seconds / 3_600, self.stories / seconds
        return (
            f"{self.stories} stories, {hours:.0f} simulated hours, {self.events} events, {self.lives} lives of a daemon, "
            f"{self.faults.total()} faults; {speed:.1f} stories per second\n"
            f"ends: {_listed(self.ends)}\nrouters: {_listed(self.routings)}\nfaults: {_listed(self.faults)}"
        )


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counted.most_common())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

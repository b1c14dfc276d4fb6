"""The command: many stories or one of them again, every crash point, or every planted bug.

    python -m tests.simulation --seeds 1000 [--from 0] [--keep FILE]
    python -m tests.simulation --seed 4711 [--without pods,kills]
    python -m tests.simulation --crash-points [--every 10] [--pairs 500]
    python -m tests.simulation --mutations
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tests.simulation.cluster import Routing
from tests.simulation.crash_points import Ending, all_places, random_pairs, try_place
from tests.simulation.dice import Trouble
from tests.simulation.document import table, write_part
from tests.simulation.mutations import MOST_SEEDS, MUTATIONS, try_mutation
from tests.simulation.story import Story
from tests.simulation.sums import Sums
from tests.simulation.telling import Outcome, lines_of, needed_troubles, settle, silence, tell, tell_story

HASH_SEED = "0"
"""Sets of texts are walked through in an order that Python draws anew in each process, if it is not told."""

BLOCK = 1_000
"""After how many stories something is said, for whoever waits, and the sums are kept."""
MOST_REDUCED = 3
"""For how many stories it is found out which kinds of trouble they need."""

Given = TypeVar("Given")
Found = TypeVar("Found")


def main(arguments: list[str]) -> int:
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *arguments])
    silence()
    given = _read(arguments)
    if given.seed is not None:
        return _tell_again(given.seed, [Trouble(one) for one in given.without.split(",") if one])
    if given.crash_points:
        return _try_crash_points(given)
    if given.mutations:
        return _try_mutations(given)
    return _tell_many(range(given.first, given.first + given.seeds), given)


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Deterministic simulation of Headgate.")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many stories (default 1000)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--keep", type=Path, help="a file for the sums: the same command goes on where it was stopped")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)")
    parser.add_argument("--seed", type=int, help="tell this one again, line by line")
    parser.add_argument("--without", default="", help=f"kinds of trouble to leave out of --seed: {', '.join(Trouble)}")
    parser.add_argument("--crash-points", action="store_true", help="kill the daemon at every point of every router's rollouts")
    parser.add_argument("--every", type=int, default=1, help="with --crash-points: only every so many (default 1: all)")
    parser.add_argument("--pairs", type=int, default=0, help="with --crash-points: also so many pairs of points, drawn")
    parser.add_argument("--mutations", action="store_true", help="plant bugs, and see which stories find them")
    parser.add_argument("--document", action="store_true", help="write the figures into docs/simulation.md")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _each(work: Callable[[Given], Found], given: Iterable[Given], jobs: int) -> Iterator[Found]:
    if jobs == 1:
        yield from map(work, given)
        return
    with get_context("spawn").Pool(jobs, initializer=settle) as pool:
        yield from pool.imap(work, given, chunksize=4)


# --- stories -----------------------------------------------------------------------------------------------------------


def _tell_again(seed: int, without: list[Trouble]) -> int:
    story = Story(seed, without)
    plot, troubles = story.plot, ", ".join(sorted(story.dice.troubles)) or "nothing"
    where = " and ".join(f"{place.target} by {place.routing}, {place.replicas} replicas" for place in plot.places)
    say(f"{where}; versions {plot.versions}, trouble with {troubles}")
    outcome = tell_story(story, seed)
    for line in lines_of(story):
        say(line)
    say(f"\n{outcome.wrong or 'a good story'} (digest {outcome.digest})")
    return 1 if outcome.wrong else 0


def _tell_many(seeds: range, given: argparse.Namespace) -> int:
    sums = Sums.read(given.keep) if given.keep else Sums()
    if sums.stories:
        say(f"{sums.stories} of {len(seeds)} stories were told before, {len(sums.failed)} of them break a rule")
    began = time.monotonic() - sums.told
    for outcome in _each(tell, seeds[sums.stories :], given.jobs):
        sums.add(outcome)
        if outcome.wrong:
            _say_wrong(outcome, is_reduced=len(sums.failed) <= MOST_REDUCED)
        sums.told = time.monotonic() - began
        if given.keep and (sums.stories % BLOCK == 0 or sums.stories == len(seeds)):
            sums.keep(given.keep)
        if sums.stories % BLOCK == 0:
            say(f"{sums.stories} of {len(seeds)} stories, {len(sums.failed)} of them break a rule")
    say(sums.describe())
    if given.document:
        write_part("stories", f"Seeds {seeds.start} to {seeds.stop - 1}:\n\n```\n{sums.describe()}\n```")
    return 1 if sums.failed else 0


def _say_wrong(outcome: Outcome, *, is_reduced: bool) -> None:
    say(f"seed {outcome.seed} ({', '.join(outcome.routings)}): {outcome.wrong}")
    if is_reduced:
        say(f"  it needs: {', '.join(needed_troubles(outcome.seed)) or 'no trouble'}")
        say(f"  again: python -m tests.simulation --seed {outcome.seed}")


# --- crash points ------------------------------------------------------------------------------------------------------


def _try_crash_points(given: argparse.Namespace) -> int:
    places = [*all_places(every=given.every, first=given.first % given.every + 1), *random_pairs(given.pairs, seed=given.first)]
    tried: Counter[tuple[Routing, Ending]] = Counter()
    failed: Counter[tuple[Routing, Ending]] = Counter()
    pairs = 0
    for place, wrong in _each(try_place, places, given.jobs):
        pairs += len(place.numbers) > 1
        tried[place.routing, place.ending] += len(place.numbers) == 1
        if wrong:
            failed[place.routing, place.ending] += 1
            say(f"{place}: {wrong}")
    rows = [
        [routing, *(f"{tried[routing, ending] - failed[routing, ending]} of {tried[routing, ending]}" for ending in Ending)]
        for routing in Routing
    ]
    described = table(["router", *Ending], [*rows, ["all", *(_sum(tried, failed, ending) for ending in Ending)]])
    said = f"{described}\n\n{tried.total()} crash points and {pairs} pairs of them; {failed.total()} with another end."
    say(said)
    if given.document:
        write_part("crash points", said)
    return 1 if failed else 0


def _sum(tried: Counter[tuple[Routing, Ending]], failed: Counter[tuple[Routing, Ending]], ending: Ending) -> str:
    all_of = sum(tried[routing, ending] for routing in Routing)
    return f"{all_of - sum(failed[routing, ending] for routing in Routing)} of {all_of}"


# --- planted bugs ------------------------------------------------------------------------------------------------------


def _try_mutations(given: argparse.Namespace) -> int:
    rows: dict[str, tuple[str, str]] = {}
    for name, caught in _each(try_mutation, MUTATIONS, given.jobs):
        rows[name] = (str(caught[0]), _short(caught[1])) if caught else ("none", f"not found in {MOST_SEEDS} stories")
        say(f"{name}: seed {rows[name][0]}: {rows[name][1]}")
    missed = [name for name, (seed, _) in rows.items() if seed == "none"]
    said = table(["planted bug", "seed", "what was noticed"], [[name, *rows[name]] for name in MUTATIONS])
    if given.document:
        write_part("planted bugs", f"{said}\n\n{len(rows) - len(missed)} of {len(rows)} are found.")
    return 1 if missed else 0


def _short(text: str) -> str:
    """One sentence of it, for a table."""
    first = text.removeprefix("Broken: ").partition("; ")[0].partition(": [")[0].replace("|", "/")
    return first if len(first) <= 110 else f"{first[:110]} ..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

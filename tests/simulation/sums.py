"""What many stories came to, added up; kept in a file, so that a run of many hours can be stopped and go on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.simulation.telling import Outcome


class Sums:
    def __init__(self) -> None:
        self.stories = self.events = self.lives = 0
        self.told = self.seconds = 0.0
        """Seconds that went by for whoever waited, and in the stories."""
        self.failed: list[int] = []
        """The seeds that broke a rule."""
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
        self.routings.update(outcome.routings)
        if outcome.wrong:
            self.failed.append(outcome.seed)

    def describe(self) -> str:
        hours, speed = self.seconds / 3_600, self.stories / max(self.told, 0.001)
        return (
            f"{self.stories} stories, {len(self.failed)} of them break a rule; {hours:.0f} simulated hours,"
            f" {self.events} events,\n"
            f"{self.lives} lives of a daemon, {self.faults.total()} faults; {speed:.1f} stories per second\n"
            f"ends: {_listed(self.ends)}\nrouters: {_listed(self.routings)}\nfaults: {_listed(self.faults)}"
        )

    def keep(self, path: Path) -> None:
        """All at once: whoever is stopped here finds the former sums."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(vars(self), indent=1, sort_keys=True) + "\n", "utf-8")
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> Sums:
        """The sums that were kept; those of no story where there is no such file."""
        sums = cls()
        if path.exists():
            for name, value in json.loads(path.read_text("utf-8")).items():
                setattr(sums, name, Counter(value) if isinstance(value, dict) else value)
        return sums


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counted.most_common())

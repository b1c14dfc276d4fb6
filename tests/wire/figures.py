"""What was measured, and what it says: shares against chance, and times as medians and tails. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Split:
    """One weight, and what was served. Shares are 0 to 1."""

    asked: float
    served: int
    """Answers of the new version."""
    answers: int
    recounted: bool = False
    """The first count was too far away, and these are the second."""

    @property
    def share(self) -> float:
        return self.served / self.answers

    @property
    def deviations(self) -> float:
        """How far the served share is from the asked one, in standard errors of so many draws; of a certainty, which knows no
        chance, 0 or infinitely many."""
        error = math.sqrt(self.asked * (1 - self.asked) / self.answers)
        difference = self.share - self.asked
        if not error:
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / error

    @property
    def holds(self) -> bool:
        return abs(self.deviations) <= MOST_DEVIATIONS


@dataclass(slots=True)
class Measured:
    """One way to move traffic, over all of its stories."""

    way: str
    plane: str
    splits: list[Split] = field(default_factory=list)
    beside: list[Split] = field(default_factory=list)
    """Of copies, and of a weight beside a header route."""
    changes: list[float] = field(default_factory=list)
    """Seconds from a decision to the changed split on the wire."""
    rollbacks: list[float] = field(default_factory=list)
    """Seconds from the order to abort to the last answer of the new version."""
    stories: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Requests and failures of each."""
    findings: list[str] = field(default_factory=list)
    """What failed in which way, how often and when (UTC), in words."""
    broken: str = ""
    """What became of the story that could not be told to its end; empty when all could."""

    @property
    def requests(self) -> int:
        return sum(requests for requests, _ in self.stories.values())

    @property
    def is_well(self) -> bool:
        """Told to its end, without a failure, and each share as asked for."""
        return not self.broken and not self.failures and all(one.holds for one in (*self.splits, *self.beside))

    @property
    def failures(self) -> int:
        return sum(failures for _, failures in self.stories.values())


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share (0 to 1) of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)

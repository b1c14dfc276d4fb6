"""The port of metric providers: what the engine asks, and the five things that can come of it.

No data, not a number, several series and an error are four different outcomes, because they mean different things for a
rollout and each has a policy of its own. A provider only says which of them it met; it never guesses a value and never
judges one. This module must not know any provider; it depends on nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class OutcomeKind(StrEnum):
    """What came of a query."""

    VALUE = "value"
    """One finite number."""
    NO_DATA = "no_data"
    """The source works, but has nothing to measure in this window: no series, no requests, too few samples yet."""
    NOT_A_NUMBER = "not_a_number"
    """The answer is NaN or infinite, for instance 0 / 0."""
    SEVERAL_SERIES = "several_series"
    """The query yields more than one value, so it does not say which one is meant."""
    ERROR = "error"
    """The source could not be asked, or refuses the query."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one query.

    `value` is a finite number for VALUE and None otherwise. `detail` is a sentence for the journal: what was seen or
    what went wrong and what to do about it; it never contains credentials.
    """

    kind: OutcomeKind
    value: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class Query:
    """A rendered query text and the window of the sample it is for. Both ends are aware datetimes, in UTC. `hidden` are
    parts of the text that no message may show.

    Raises ValueError for naive datetimes and for a window that ends before it starts.
    """

    text: str
    start: datetime
    end: datetime
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("the window of a query needs aware datetimes (UTC)")
        if self.end < self.start:
            raise ValueError(f"the window of a query ends ({self.end}) before it starts ({self.start})")


class MetricProvider(Protocol):
    """A source of measurements."""

    async def measure(self, query: Query) -> Outcome:
        """Answer a query. Never raises except for cancellation: whatever goes wrong is an Outcome."""

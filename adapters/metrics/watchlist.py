"""The expressions that somebody asks for, and what follows: which series to look for and how long to remember them.

Query texts name one rollout's objects, so a daemon that lives for months meets ever new ones; an expression that nobody
asked for in a while is forgotten. This module must not know HTTP or tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.metrics.expression import Expression, selectors_of
from adapters.metrics.expression_parser import parse_expression
from adapters.metrics.selector import Selector

MAX_EXPRESSIONS = 2000
"""The one that was asked for least recently makes room for a new one."""
IDLE_S = 900.0
MIN_RETENTION_S = 300.0
MAX_RETENTION_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One expression, the longest window it was asked for (seconds) and when it was asked for last (monotonic)."""

    expression: Expression
    selectors: frozenset[Selector]
    window_s: float
    asked_at: float

    @property
    def wanted_until(self) -> float:
        """When it is forgotten: later for long windows, whose next measurement may be as far away."""
        return self.asked_at + max(IDLE_S, 2 * min(self.window_s, MAX_RETENTION_S))


class Watchlist:
    """Expressions by their text."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._selectors: frozenset[Selector] = frozenset()

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    @property
    def selectors(self) -> frozenset[Selector]:
        """Everything that has to be looked for."""
        return self._selectors

    @property
    def retention_s(self) -> float:
        """How long scrapes are kept: twice the longest window, because a window that grows must keep its beginning."""
        longest = max((watched.window_s for watched in self), default=0.0)
        return min(max(2 * longest, MIN_RETENTION_S), MAX_RETENTION_S)

    def add(self, text: str, window_s: float, now: float) -> Watched:
        """Note that an expression is asked for, for a window of this length. Raises ExpressionError."""
        known = self._watched.pop(text, None)
        if known is None:
            expression = parse_expression(text)
            known = Watched(expression, frozenset(selectors_of(expression)), window_s, now)
        watched = Watched(known.expression, known.selectors, max(window_s, known.window_s), now)
        self._watched[text] = watched
        if len(self._watched) > MAX_EXPRESSIONS:
            del self._watched[next(iter(self._watched))]
        if not watched.selectors <= self._selectors:
            self._collect_selectors()
        return watched

    def forget_idle(self, now: float) -> None:
        """Drop what nobody asked for in a while."""
        wanted = {text: watched for text, watched in self._watched.items() if watched.wanted_until > now}
        if len(wanted) < len(self._watched):
            self._watched = wanted
            self._collect_selectors()

    def _collect_selectors(self) -> None:
        self._selectors = frozenset(selector for watched in self for selector in watched.selectors)

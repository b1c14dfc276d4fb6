"""Visits a group of endpoints in rounds and keeps what they said, for as long as it is needed and within bounds.

It must not know who asks, how often, or what expressions are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import anyio
import structlog

from adapters.metrics.endpoint import Endpoint, Visitor
from adapters.metrics.http_source import HttpSource
from adapters.metrics.selector import Selector
from adapters.metrics.window import Scrape
from engine.clock import Clock
from engine.errors import HeadgateError

MAX_SAMPLES = 300_000
"""Values that are remembered over all endpoints and times; beyond, the oldest scrapes are dropped."""
MAX_ENDPOINTS = 1000
MAX_VISITS_AT_ONCE = 20

EndpointSource: TypeAlias = Callable[[], Sequence[Endpoint]]
"""Gives the endpoints as they are now, for instance the pods of a version. It answers at once, from memory."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """One visit to all endpoints: when it began (monotonic) and what was looked for."""

    began: float
    selectors: frozenset[Selector]


class Sampler:
    """The endpoints of one group with their histories. `visit_timeout_s` bounds one visit."""

    def __init__(self, source: HttpSource, endpoints: EndpointSource, clock: Clock, visit_timeout_s: float) -> None:
        self.last_round: Round | None = None
        self._source = source
        self._list_endpoints = endpoints
        self._clock = clock
        self._visit_timeout_s = visit_timeout_s
        self._listed: tuple[Endpoint, ...] = ()
        self._listing_failure = ""
        self._visitors: dict[Endpoint, Visitor] = {}
        self._one_round_at_a_time = anyio.Lock()

    @property
    def histories(self) -> list[Sequence[Scrape]]:
        """The scrapes of each endpoint, also of those that are not listed any more."""
        return [visitor.history for visitor in self._visitors.values()]

    @property
    def listing_failure(self) -> str:
        """Why there is no endpoint to visit because the list cannot be had; empty otherwise."""
        return self._listing_failure if not self._listed else ""

    async def sample(self, selectors: frozenset[Selector], *, unless_younger_than_s: float) -> None:
        """Visit all endpoints, unless that was just done for all these selectors. Raises nothing but cancellation."""
        async with self._one_round_at_a_time:
            now = self._clock.monotonic()
            last = self.last_round
            if last is not None and selectors <= last.selectors and now - last.began < unless_younger_than_s:
                return
            self.last_round = Round(now, selectors)
            self._listed = self._current_endpoints()
            limiter = anyio.CapacityLimiter(MAX_VISITS_AT_ONCE)
            async with anyio.create_task_group() as visits:
                for endpoint in self._listed:
                    visits.start_soon(self._visit, endpoint, selectors, limiter)

    def _current_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that are listed now, or those that were listed last when the list cannot be had."""
        try:
            listed = tuple(dict.fromkeys(self._list_endpoints()))
            if len(listed) > MAX_ENDPOINTS:
                raise HeadgateError(
                    f"{len(listed)} endpoints are listed, at most {MAX_ENDPOINTS} can be read: list fewer"
                )
        except HeadgateError as error:
            self._listing_failure = str(error)
            return self._listed
        except Exception as error:
            # The list is made by somebody else's code; a mistake in it must not end all measuring.
            log.exception("endpoints.not_listed")
            self._listing_failure = f"the list of endpoints cannot be had: {type(error).__name__}, see the log"
            return self._listed
        self._listing_failure = ""
        return listed

    async def _visit(self, endpoint: Endpoint, selectors: frozenset[Selector], limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            if endpoint not in self._visitors:
                self._visitors[endpoint] = Visitor(self._source, endpoint, self._clock)
            await self._visitors[endpoint].visit(selectors, self._visit_timeout_s)

    def forget_before(self, monotonic: float) -> None:
        """Drop the scrapes that began before a time, and the oldest ones beyond what may be remembered."""
        for visitor in self._visitors.values():
            while visitor.history and visitor.history[0].monotonic < monotonic:
                visitor.history.popleft()
        excess = sum(len(scrape.values) for history in self.histories for scrape in history) - MAX_SAMPLES
        while excess > 0:
            oldest = min((visitor.history for visitor in self._visitors.values() if visitor.history), key=began)
            excess -= len(oldest.popleft().values)
        self._visitors = {
            endpoint: visitor
            for endpoint, visitor in self._visitors.items()
            if visitor.history or endpoint in self._listed
        }


def began(history: Sequence[Scrape]) -> float:
    return history[0].monotonic

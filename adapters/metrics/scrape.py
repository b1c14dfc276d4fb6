"""Measures without any metrics server: reads metric pages itself, remembers them for a while, calculates on them.

Used as `async with ScrapeProvider(session, endpoints, clock) as provider`. Sampling begins when an expression is first
asked for, by `prepare` or `measure`, and ends when none is asked for any more; the task that samples belongs to the
provider and ends with its block. This module must not know what expressions mean or how pages are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from anyio.abc import TaskGroup

from adapters.metrics.credentials import Access
from adapters.metrics.evaluation import evaluate
from adapters.metrics.expression_parser import ExpressionError
from adapters.metrics.http_source import HttpSource
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.sampler import EndpointSource, Sampler
from adapters.metrics.watchlist import Watched, Watchlist
from adapters.metrics.window import Window
from engine.clock import Clock

FRESH_INTERVALS = 0.5
"""A measurement takes a sample of its own when the last one is older than this part of an interval."""
MIN_PAUSE_INTERVALS = 0.1
"""Rounds that take longer than an interval are still this part of an interval apart."""
MIN_VISIT_TIMEOUT_S = 1.0


class ScrapeProvider:
    """Scrapes one group of endpoints every `interval_s` seconds while somebody asks for expressions on them.

    One visit takes at most `access.timeout_s`, and not longer than an interval (but a second at least), since a round
    ends with its slowest visit. Raises SourceMisconfigured for headers that cannot be sent, ValueError for an interval
    of 0 or less.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoints: EndpointSource,
        clock: Clock,
        *,
        interval_s: float = 5.0,
        access: Access | None = None,
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"the interval has to be longer than 0 s, not {interval_s:g}")
        access = access or Access()
        visit_timeout_s = min(access.timeout_s, max(interval_s, MIN_VISIT_TIMEOUT_S))
        self._sampler = Sampler(HttpSource(session, access), endpoints, clock, visit_timeout_s)
        self._watchlist = Watchlist()
        self._clock = clock
        self._interval_s = interval_s
        self._tasks: TaskGroup | None = None
        self._is_sampling = False
        self._pause: anyio.CancelScope | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        self._is_sampling = False
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # The block's own error is not handed over, or it would come out wrapped in a group.
            await tasks.__aexit__(None, None, None)

    def prepare(self, texts: Iterable[str], window: timedelta = timedelta(0)) -> None:
        """Begin to sample for expressions that will be measured soon. Call it when their window begins.

        A sample is taken at once, unless there is a fresh one: what counters count before the first sample of a window
        is not seen. `window` is the longest window they will be asked for, where it is known. A text that is no
        expression is passed over here: its measurement says what is wrong with it.
        """
        for text in texts:
            with suppress(ExpressionError):
                self._watch(text, window.total_seconds())
        if self._pause is not None:
            self._pause.cancel()

    async def measure(self, query: Query) -> Outcome:
        """Calculate an expression over the query's window. Takes a sample first where the window is just ending."""
        if self._tasks is None:
            return Outcome(OutcomeKind.ERROR, None, "the scraper is not running: measure inside of its block")
        try:
            watched = self._watch(query.text, (query.end - query.start).total_seconds())
        except ExpressionError as error:
            return Outcome(OutcomeKind.ERROR, None, str(error))
        if watched.selectors and self._clock.now() <= query.end + timedelta(seconds=self._interval_s):
            await self._sampler.sample(
                self._watchlist.selectors, unless_younger_than_s=FRESH_INTERVALS * self._interval_s
            )
        if watched.selectors and self._sampler.listing_failure:
            return Outcome(OutcomeKind.ERROR, None, self._sampler.listing_failure)
        window = Window(self._sampler.histories, watched.selectors, query.start, query.end, self._interval_s)
        return evaluate(watched.expression, window)

    def _watch(self, text: str, window_s: float) -> Watched:
        """Raises ExpressionError."""
        watched = self._watchlist.add(text, window_s, self._clock.monotonic())
        if not self._is_sampling and self._tasks is not None and self._watchlist.selectors:
            self._is_sampling = True
            self._tasks.start_soon(self._sample_while_wanted)
        return watched

    def _has_new_selectors(self) -> bool:
        last = self._sampler.last_round
        return last is None or not self._watchlist.selectors <= last.selectors

    async def _sample_while_wanted(self) -> None:
        while self._watchlist.selectors:
            await self._sampler.sample(
                self._watchlist.selectors, unless_younger_than_s=FRESH_INTERVALS * self._interval_s
            )
            self._sampler.forget_before(self._clock.monotonic() - self._watchlist.retention_s)
            # What was asked for during the round is not left waiting for the next one.
            if not self._has_new_selectors():
                await self._wait_for_next_round()
            self._watchlist.forget_idle(self._clock.monotonic())
        self._sampler.forget_before(self._clock.monotonic())
        self._is_sampling = False

    async def _wait_for_next_round(self) -> None:
        last = self._sampler.last_round
        now = self._clock.monotonic()
        due = now if last is None else last.began + self._interval_s
        with anyio.CancelScope() as self._pause:
            await self._clock.sleep(max(due - now, MIN_PAUSE_INTERVALS * self._interval_s))
        self._pause = None

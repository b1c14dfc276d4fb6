"""What the stories of scraping share: a provider with its pages and its clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import anyio

from adapters.metrics.credentials import Access
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Outcome, Query
from adapters.metrics.scrape import ScrapeProvider
from tests.metrics.scripted import START, Handler, Pages, SteppedClock, serving, until

INTERVAL_S = 5.0
RATIO = "ratio(requests_total{code=~'5..'}, requests_total)"


class Story:
    """A provider for some endpoints, its clock, and the pages they serve."""

    def __init__(self, provider: ScrapeProvider, pages: Pages, clock: SteppedClock) -> None:
        self.provider = provider
        self.pages = pages
        self.clock = clock

    async def measure(self, text: str, seconds: float = 60.0, end: float | None = None) -> Outcome:
        """Measure over the last seconds, or over those before `end` (seconds since the story began)."""
        until_second = self.clock.seconds if end is None else end
        last = START + timedelta(seconds=until_second)
        with anyio.fail_after(5.0):
            return await self.provider.measure(Query(text, last - timedelta(seconds=seconds), last))

    async def rest(self, visits: int) -> None:
        """Wait until so many visits were made in all, and the sampler sleeps."""
        await until(lambda: self.pages.visits >= visits and self.clock.sleepers == 1)
        assert self.pages.visits == visits

    async def pass_interval(self, visits: int) -> None:
        self.clock.advance(INTERVAL_S)
        await self.rest(visits)


@asynccontextmanager
async def one_pod(metrics: str | int | Handler = "up 1\n", access: Access | None = None) -> AsyncIterator[Story]:
    """One pod with a page at /metrics, scraped every five seconds."""
    pages, clock = Pages({"/metrics": metrics}), SteppedClock()
    async with serving(pages.answer) as pages.url, aiohttp.ClientSession() as session:
        endpoints = [Endpoint(f"{pages.url}/metrics")]
        async with ScrapeProvider(session, lambda: endpoints, clock, interval_s=INTERVAL_S, access=access) as provider:
            yield Story(provider, pages, clock)


def page(good: int, bad: int | None = None) -> str:
    failures = "" if bad is None else f'requests_total{{code="503"}} {bad}\n'
    return f'# TYPE requests_total counter\nrequests_total{{code="200"}} {good}\n{failures}other 1\n'

"""What is remembered of endpoints, and that it is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from adapters.metrics import sampler as sampler_module
from adapters.metrics.credentials import Access
from adapters.metrics.endpoint import MAX_SERIES, Endpoint
from adapters.metrics.http_source import HttpSource
from adapters.metrics.sampler import Sampler
from adapters.metrics.selector import Selector
from adapters.metrics.window import Scrape
from tests.metrics.scripted import Pages, SteppedClock, serving

EVERYTHING = frozenset({Selector("requests_total")})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    async with serving(pages.answer) as pages.url:
        yield pages


def page(series: int) -> str:
    return "".join(f'requests_total{{path="/{number}"}} {number}\n' for number in range(series))


async def sample_rounds(sampler: Sampler, clock: SteppedClock, rounds: int) -> None:
    for _ in range(rounds):
        await sampler.sample(EVERYTHING, unless_younger_than_s=0.0)
        clock.advance(1.0)


def times(history: Sequence[Scrape]) -> list[float]:
    return [scrape.monotonic for scrape in history]


async def test_old_scrapes_are_forgotten_and_then_pods_that_are_gone(
    session: aiohttp.ClientSession, pages: Pages
) -> None:
    clock = SteppedClock()
    pages.by_path |= {"/a": page(1), "/b": page(1)}
    pods = [Endpoint(f"{pages.url}/a"), Endpoint(f"{pages.url}/b")]
    sampler = Sampler(HttpSource(session, Access()), lambda: pods, clock, 5.0)
    await sample_rounds(sampler, clock, 3)
    del pods[1]
    await sample_rounds(sampler, clock, 2)
    assert [times(history) for history in sampler.histories] == [[0, 1, 2, 3, 4], [0, 1, 2]]
    sampler.forget_before(2.0)
    assert [times(history) for history in sampler.histories] == [[2, 3, 4], [2]]
    sampler.forget_before(3.0)
    assert [times(history) for history in sampler.histories] == [[3, 4]]


async def test_beyond_the_bound_the_oldest_scrapes_of_all_endpoints_are_dropped(
    session: aiohttp.ClientSession, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "MAX_SAMPLES", 60)
    clock = SteppedClock()
    pages.by_path |= {"/a": page(10), "/b": page(10)}
    pods = [Endpoint(f"{pages.url}/a"), Endpoint(f"{pages.url}/b")]
    sampler = Sampler(HttpSource(session, Access()), lambda: pods, clock, 5.0)
    await sample_rounds(sampler, clock, 5)
    sampler.forget_before(0.0)
    assert [times(history) for history in sampler.histories] == [[2, 3, 4], [2, 3, 4]]


async def test_a_selector_that_means_too_much_is_an_error(session: aiohttp.ClientSession, pages: Pages) -> None:
    pages.by_path["/a"] = page(MAX_SERIES + 1)
    sampler = Sampler(HttpSource(session, Access()), lambda: [Endpoint(f"{pages.url}/a")], SteppedClock(), 5.0)
    await sampler.sample(EVERYTHING, unless_younger_than_s=0.0)
    assert "more than 20000 series match: narrow the selectors" in sampler.histories[0][0].failure


async def test_only_what_is_looked_for_is_remembered(session: aiohttp.ClientSession, pages: Pages) -> None:
    clock = SteppedClock()
    pages.by_path["/a"] = page(3) + "other_total 1\n"
    sampler = Sampler(HttpSource(session, Access()), lambda: [Endpoint(f"{pages.url}/a")], clock, 5.0)
    await sample_rounds(sampler, clock, 2)
    first, second = sampler.histories[0]
    assert {series.name for series in second.values} == {"requests_total"}
    assert [one is other for one, other in zip(first.values, second.values, strict=True)] == [True] * 3

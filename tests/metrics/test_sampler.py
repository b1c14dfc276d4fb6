"""What is remembered of endpoints, and that it is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics import sampler as sampler_module
from adapters.metrics.credentials import Access
from adapters.metrics.endpoint import MAX_SERIES, Endpoint
from adapters.metrics.http_source import HttpSource
from adapters.metrics.sampler import Sampler
from adapters.metrics.selector import Selector
from adapters.metrics.window import Scrape
from tests.metrics.scripted import Pages, SteppedClock

EVERYTHING = frozenset({Selector("requests_total")})


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


async def test_an_endpoint_that_is_listed_twice_is_visited_once(session: aiohttp.ClientSession, pages: Pages) -> None:
    pages.by_path["/a"] = page(1)
    sampler = Sampler(HttpSource(session, Access()), lambda: [Endpoint(f"{pages.url}/a")] * 2, SteppedClock(), 5.0)
    await sampler.sample(EVERYTHING, unless_younger_than_s=0.0)
    assert pages.visits == 1


async def test_many_endpoints_are_visited_some_at_a_time(session: aiohttp.ClientSession, pages: Pages) -> None:
    open_now, most = 0, 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await anyio.sleep(0.01)
        open_now -= 1
        return web.Response(text=page(1))

    pods = [Endpoint(f"{pages.url}/{number}") for number in range(3 * sampler_module.MAX_VISITS_AT_ONCE)]
    pages.by_path |= {f"/{number}": answer for number in range(len(pods))}
    sampler = Sampler(HttpSource(session, Access()), lambda: pods, SteppedClock(), 5.0)
    await sampler.sample(EVERYTHING, unless_younger_than_s=0.0)
    assert len(sampler.histories) == len(pods)
    assert most == sampler_module.MAX_VISITS_AT_ONCE


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

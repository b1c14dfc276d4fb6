"""Measuring without a metrics server: when samples are taken, and what measurements see of them."""

from __future__ import annotations

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.scrape import ScrapeProvider
from adapters.metrics.watchlist import IDLE_S
from tests.metrics.scraping import INTERVAL_S, RATIO, one_pod, page
from tests.metrics.scripted import START, Pages, SteppedClock, until


async def test_the_story_of_a_canary_that_begins_to_fail() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare([RATIO])
        await story.rest(visits=1)

        story.pages.by_path["/metrics"] = page(150)
        await story.pass_interval(visits=2)
        healthy = await story.measure(RATIO)
        assert healthy.value == 0.0
        assert "the part counts as 0" in healthy.detail

        story.pages.by_path["/metrics"] = page(180, bad=20)
        await story.pass_interval(visits=3)
        failing = await story.measure(RATIO)
        assert failing.value == pytest.approx(0.2)
        assert failing.detail == "0.2; 3 scrapes of 1 endpoint over 10.0 of 60.0 s"


async def test_an_unknown_expression_takes_its_first_sample_when_it_is_measured() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        first = await story.measure("rate(requests_total)")
        assert first.kind is OutcomeKind.NO_DATA
        assert "one scrape in the window so far, and an increase needs two: one is made every 5 s" in first.detail
        await story.rest(visits=1)

        story.pages.by_path["/metrics"] = page(140)
        story.clock.advance(4.0)
        assert (await story.measure("rate(requests_total)")).value == 10.0
        assert story.pages.visits == 2


async def test_a_measurement_right_after_a_scrape_does_not_repeat_it() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare(["sum(requests_total)"])
        await story.rest(visits=1)
        story.clock.advance(INTERVAL_S * 0.4)
        assert (await story.measure("sum(requests_total)")).value == 100.0
        assert story.pages.visits == 1


async def test_many_measurements_at_once_share_one_scrape() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare(["sum(requests_total)"])
        await story.rest(visits=1)
        story.clock.seconds += 4.0
        async with anyio.create_task_group() as rollouts:
            for _ in range(20):
                rollouts.start_soon(story.measure, "sum(requests_total)")
        assert story.pages.visits == 2


async def test_a_new_expression_is_sampled_for_at_once() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare(["rate(requests_total)"])
        await story.rest(visits=1)
        story.provider.prepare(["rate(other)"])
        await story.rest(visits=2)
        assert story.clock.seconds == 0.0


async def test_preparing_when_a_window_begins_takes_its_first_sample() -> None:
    async with one_pod(page(0)) as story:
        story.provider.prepare(["increase(requests_total)"])
        await story.rest(visits=1)
        story.clock.seconds = 4.0
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare(["increase(requests_total)"])
        await story.rest(visits=2)
        story.provider.prepare(["increase(requests_total)"])
        await story.rest(visits=2)
        story.clock.seconds = 8.0
        story.pages.by_path["/metrics"] = page(130)
        assert (await story.measure("increase(requests_total)", seconds=4.0)).value == 30.0


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with one_pod() as story:
            await story.measure("up")
            raise KeyError


async def test_a_window_in_the_past_is_answered_from_memory() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(0)
        story.provider.prepare(["increase(requests_total)"])
        await story.rest(visits=1)
        for visit in range(2, 7):
            story.pages.by_path["/metrics"] = page(10 * visit)
            await story.pass_interval(visits=visit)
        # From 5 s to 15 s, and the scrape at 20 s closes it only where none was made at 15 s: 20, 30, 40 and then 50.
        story.clock.seconds += 4.0
        assert (await story.measure("increase(requests_total)", seconds=10.0, end=15.0)).value == 30.0
        assert story.pages.visits == 6


async def test_a_measurement_puts_off_the_next_round() -> None:
    async with one_pod(page(100)) as story:
        story.provider.prepare(["sum(requests_total)"])
        await story.rest(visits=1)
        story.clock.advance(4.0)
        await story.measure("sum(requests_total)")
        story.clock.advance(1.0)
        await story.rest(visits=2)
        story.clock.advance(4.0)
        await story.rest(visits=3)


async def test_rounds_that_take_longer_than_the_interval_still_leave_a_pause() -> None:
    async with one_pod() as story:

        async def slow(_: web.Request) -> web.Response:
            story.clock.seconds += 3 * INTERVAL_S
            return web.Response(text=page(100))

        story.pages.by_path["/metrics"] = slow
        story.provider.prepare(["rate(requests_total)"])
        await story.rest(visits=1)
        assert story.clock.next_due == story.clock.seconds + INTERVAL_S / 10


async def test_what_is_prepared_during_a_round_is_sampled_for_right_after_it() -> None:
    arrived, released = anyio.Event(), anyio.Event()

    async def slow(_: web.Request) -> web.Response:
        arrived.set()
        await released.wait()
        return web.Response(text=page(100))

    async with one_pod(slow) as story:
        story.provider.prepare(["rate(requests_total)"])
        await arrived.wait()
        story.provider.prepare(["rate(other)"])
        released.set()
        await story.rest(visits=2)


async def test_a_second_expression_is_not_answered_from_what_the_first_one_left_out() -> None:
    async with one_pod(page(100, bad=7)) as story:
        assert (await story.measure('sum(requests_total{code="200"})')).value == 100.0
        assert (await story.measure('sum(requests_total{code="503"})')).value == 7.0


async def test_scrapes_are_forgotten_when_no_window_reaches_back_to_them() -> None:
    async with one_pod(page(100)) as story:
        story.provider.prepare(["increase(requests_total)"])
        await story.rest(visits=1)
        for visit in range(2, 72):
            await story.pass_interval(visits=visit)
        outcome = await story.measure("increase(requests_total)", seconds=1000.0)
        assert outcome.detail == "0; 61 scrapes of 1 endpoint over 300.0 of 1000.0 s"


async def test_a_provider_can_be_used_again(session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock) -> None:
    pages.by_path["/metrics"] = "up 1\n"
    provider = ScrapeProvider(session, lambda: [Endpoint(f"{pages.url}/metrics")], clock)
    for _ in range(2):
        async with provider:
            provider.prepare(["up"])
            await until(lambda: clock.sleepers == 1)


async def test_sampling_ends_when_nobody_asks_and_begins_again() -> None:
    async with one_pod() as story:
        story.pages.by_path["/metrics"] = page(100)
        story.provider.prepare(["rate(requests_total)"])
        await story.rest(visits=1)
        story.clock.advance(IDLE_S + 1)
        await until(lambda: story.clock.sleepers == 0)
        assert story.pages.visits == 1
        await story.measure("rate(requests_total)")
        await story.rest(visits=2)


async def test_a_text_that_is_no_expression_is_an_error_with_the_place() -> None:
    async with one_pod() as story:
        story.provider.prepare(["rate("])
        outcome = await story.measure("rate(")
        assert outcome.kind is OutcomeKind.ERROR
        assert outcome.detail == "expression:1:6: expected a metric name, found the end of the text"
        assert story.pages.visits == 0


async def test_numbers_alone_need_no_endpoint() -> None:
    async with one_pod() as story:
        assert (await story.measure("6 * 7")).value == 42.0
        assert story.pages.visits == 0


async def test_a_provider_that_was_not_entered_says_so(session: aiohttp.ClientSession, clock: SteppedClock) -> None:
    outcome = await ScrapeProvider(session, list, clock).measure(Query("up", START, START))
    assert outcome == Outcome(OutcomeKind.ERROR, None, "the scraper is not running: measure inside of its block")


async def test_an_interval_has_to_be_positive(session: aiohttp.ClientSession, clock: SteppedClock) -> None:
    with pytest.raises(ValueError, match="longer than 0 s"):
        ScrapeProvider(session, list, clock, interval_s=0)


async def test_leaving_the_block_ends_the_sampling(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    pages.by_path["/metrics"] = "up 1\n"
    async with ScrapeProvider(session, lambda: [Endpoint(f"{pages.url}/metrics")], clock) as provider:
        provider.prepare(["up"])
        await until(lambda: clock.sleepers == 1)
    assert clock.sleepers == 0


async def test_cancellation_passes_through_a_measurement() -> None:
    async with one_pod() as story:
        arrived = anyio.Event()

        async def hang(_: web.Request) -> web.Response:
            arrived.set()
            await anyio.sleep(30)
            return web.Response()

        story.pages.by_path["/metrics"] = hang
        finished = False
        async with anyio.create_task_group() as tasks:

            async def measure() -> None:
                nonlocal finished
                await story.measure("up")
                finished = True

            tasks.start_soon(measure)
            await arrived.wait()
            tasks.cancel_scope.cancel()
        assert not finished

"""Measuring without a metrics server: pods with pages over real HTTP, and a clock that moves when told."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics import scrape as scrape_module
from adapters.metrics.credentials import Access, BearerAuthentication, SecretValue
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.sampler import MAX_ENDPOINTS
from adapters.metrics.scrape import ScrapeProvider
from adapters.metrics.watchlist import IDLE_S
from engine.errors import HeadgateError
from tests.metrics.scripted import START, Handler, Pages, SteppedClock, serving, until

INTERVAL_S = 5.0
RATIO = "ratio(requests_total{code=~'5..'}, requests_total)"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    async with serving(pages.answer) as pages.url:
        yield pages


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


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
async def one_pod(metrics: str | int | Handler = "up 1\n") -> AsyncIterator[Story]:
    """One pod with a page at /metrics, scraped every five seconds."""
    pages, clock = Pages({"/metrics": metrics}), SteppedClock()
    async with serving(pages.answer) as pages.url, aiohttp.ClientSession() as session:
        endpoints = [Endpoint(f"{pages.url}/metrics")]
        async with ScrapeProvider(session, lambda: endpoints, clock, interval_s=INTERVAL_S) as provider:
            yield Story(provider, pages, clock)


def page(good: int, bad: int | None = None) -> str:
    failures = "" if bad is None else f'requests_total{{code="503"}} {bad}\n'
    return f'# TYPE requests_total counter\nrequests_total{{code="200"}} {good}\n{failures}other 1\n'


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


async def test_pods_that_come_and_go_are_followed(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    pods: list[Endpoint] = []

    def list_pods() -> Sequence[Endpoint]:
        return pods

    async with ScrapeProvider(session, list_pods, clock, interval_s=INTERVAL_S) as provider:
        story = Story(provider, pages, clock)
        nobody = await story.measure("sum(requests_total)")
        assert (nobody.kind, nobody.detail) == (
            OutcomeKind.NO_DATA,
            "no endpoint was scraped for this expression in the window",
        )
        for name, count in (("a", 1), ("b", 10)):
            pods.append(Endpoint(f"{pages.url}/{name}", (("pod", name), ("version", "canary"))))
            pages.by_path[f"/{name}"] = page(count)
        clock.seconds += INTERVAL_S
        assert (await story.measure("sum(requests_total)")).value == 11.0
        assert (await story.measure('sum(requests_total{pod="b",version="canary"})')).value == 10.0
        stable = await story.measure('sum(requests_total{version="stable"})')
        assert stable.kind is OutcomeKind.NO_DATA
        assert "the metric is there, but not with these labels" in stable.detail

        del pods[0]
        clock.seconds += 4 * INTERVAL_S
        assert (await story.measure("sum(requests_total)")).value == 10.0


async def test_labels_of_the_endpoint_win_over_those_of_the_page(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    pages.by_path["/metrics"] = 'up{pod="somebody else",instance="here"} 1\n'
    endpoints = [Endpoint(f"{pages.url}/metrics", (("pod", "a"),))]
    async with ScrapeProvider(session, lambda: endpoints, clock) as provider:
        story = Story(provider, pages, clock)
        instance = pages.url.removeprefix("http://")
        selector = f'up{{pod="a",exported_pod="somebody else",instance="{instance}",exported_instance="here"}}'
        assert (await story.measure(selector)).value == 1.0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "answered 500"),
        (401, "answered 401: it wants credentials"),
        (404, "answered 404: is this the path of the metric page?"),
        ("<html><h1>Welcome</h1></html>\n", "sent no valid metric page: line 1: expected `name value`"),
        ("requests_total{x=1} 2\n", "sent no valid metric page: expected `label=\"value\"`, found 'x=1'"),
        ("requests_total 1\nrequests_total 2\n", "requests_total{instance="),
    ],
)
async def test_endpoints_that_all_fail_are_an_error_with_the_reason(answer: str | int, reason: str) -> None:
    async with one_pod(answer) as story:
        outcome = await story.measure(RATIO)
    assert outcome.kind is OutcomeKind.ERROR
    assert "the endpoint could not be read: " in outcome.detail
    assert reason in outcome.detail


async def test_a_value_that_is_too_long_for_a_pattern_fails_that_expression_only() -> None:
    async with one_pod(f'requests_total{{code="{"5" * 300}"}} 1\n') as story:
        outcome = await story.measure("sum(requests_total{code=~'5..'})")
        assert outcome.kind is OutcomeKind.ERROR
        assert "a regular expression is tried on at most 256: compare it with = or !=" in outcome.detail
        assert (await story.measure("sum(requests_total)")).value == 1.0


async def test_a_web_page_is_not_searched_for_metrics() -> None:
    async with one_pod() as story:

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="# looks like a comment", content_type="text/html")

        story.pages.by_path["/metrics"] = answer
        assert "sent text/html, expected a metric page" in (await story.measure("up")).detail


async def test_an_openmetrics_page_that_breaks_off_is_no_page() -> None:
    async with one_pod() as story:

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="up 1\n", headers={"Content-Type": "application/openmetrics-text; version=1.0.0"})

        story.pages.by_path["/metrics"] = answer
        assert "the page is cut short" in (await story.measure("up")).detail


async def test_pages_may_come_packed_but_not_endless() -> None:
    async with one_pod() as story:

        async def small(_: web.Request) -> web.Response:
            return web.Response(body=gzip.compress(b"up 1\n"), headers={"Content-Encoding": "gzip"})

        async def bomb(_: web.Request) -> web.Response:
            return web.Response(
                body=gzip.compress((b"#" * 9_999 + b"\n") * 2_000), headers={"Content-Encoding": "gzip"}
            )

        story.pages.by_path["/metrics"] = small
        assert (await story.measure("up")).value == 1.0
        story.clock.seconds += 4 * INTERVAL_S
        story.pages.by_path["/metrics"] = bomb
        assert "the page is larger than 16777216 bytes" in (await story.measure("up", seconds=5.0)).detail


async def test_one_endpoint_that_fails_leaves_the_others(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    pages.by_path |= {"/a": page(10), "/b": 503}
    endpoints = [Endpoint(f"{pages.url}/a"), Endpoint(f"{pages.url}/b"), Endpoint("http://me:s3cr3t@host/metrics")]
    async with ScrapeProvider(session, lambda: endpoints, clock) as provider:
        outcome = await Story(provider, pages, clock).measure("sum(requests_total)")
    assert outcome.value == 10.0
    assert f"1 of 1 scrapes failed, the last one because {pages.url}/b answered 503" in outcome.detail
    assert "holds a user name or password" in outcome.detail
    assert "s3cr3t" not in outcome.detail


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(5.0, 0.2), (0.2, 5.0)])
async def test_an_endpoint_that_hangs_costs_one_interval_at_most(
    session: aiohttp.ClientSession,
    pages: Pages,
    clock: SteppedClock,
    monkeypatch: pytest.MonkeyPatch,
    interval_s: float,
    timeout_s: float,
) -> None:
    monkeypatch.setattr(scrape_module, "MIN_VISIT_TIMEOUT_S", 0.1)

    async def hang(_: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    pages.by_path |= {"/a": page(10), "/b": hang}
    endpoints = [Endpoint(f"{pages.url}/a"), Endpoint(f"{pages.url}/b")]
    access = Access(timeout_s=timeout_s)
    async with ScrapeProvider(session, lambda: endpoints, clock, interval_s=interval_s, access=access) as provider:
        outcome = await Story(provider, pages, clock).measure("sum(requests_total)")
    assert outcome.value == 10.0
    assert "/b did not answer within 0.2 s" in outcome.detail


@pytest.mark.parametrize("error", [HeadgateError("the cluster is not reachable"), ZeroDivisionError()])
async def test_a_list_of_endpoints_that_cannot_be_had_is_an_error(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock, error: Exception
) -> None:
    broken = True
    pods: list[Endpoint] = []

    def list_endpoints() -> Sequence[Endpoint]:
        if broken:
            raise error
        return pods

    pages.by_path["/metrics"] = "up 1\n"
    async with ScrapeProvider(session, list_endpoints, clock, interval_s=INTERVAL_S) as provider:
        story = Story(provider, pages, clock)
        outcome = await story.measure("up")
        assert outcome.kind is OutcomeKind.ERROR
        assert (str(error) or "ZeroDivisionError") in outcome.detail

        broken = False
        clock.seconds += INTERVAL_S
        assert (await story.measure("up")).kind is OutcomeKind.NO_DATA

        pods.append(Endpoint(f"{pages.url}/metrics"))
        clock.seconds += INTERVAL_S
        assert (await story.measure("up")).value == 1.0

        broken = True  # from now on those that were known are visited
        clock.seconds += INTERVAL_S
        assert (await story.measure("up")).value == 1.0
        assert pages.visits == 2


async def test_too_many_endpoints_are_not_visited_at_all(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    many = [Endpoint(f"{pages.url}/{number}") for number in range(MAX_ENDPOINTS + 1)]
    async with ScrapeProvider(session, lambda: many, clock) as provider:
        outcome = await Story(provider, pages, clock).measure("up")
    assert outcome == Outcome(
        OutcomeKind.ERROR, None, "1001 endpoints are listed, at most 1000 can be read: list fewer"
    )
    assert pages.visits == 0


async def test_endpoints_are_shown_our_credentials(
    session: aiohttp.ClientSession, pages: Pages, clock: SteppedClock
) -> None:
    pages.by_path["/metrics"] = "up 1\n"
    access = Access(BearerAuthentication(SecretValue("t0ken")))
    endpoints = [Endpoint(f"{pages.url}/metrics")]
    async with ScrapeProvider(session, lambda: endpoints, clock, access=access) as provider:
        await Story(provider, pages, clock).measure("up")
    assert pages.seen[0].headers["Authorization"] == "Bearer t0ken"
    assert pages.seen[0].headers["Accept"].startswith("text/plain;version=0.0.4")


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

"""Endpoints as they are: they come and go, fail, hang, and serve what is no metric page."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics import scrape as scrape_module
from adapters.metrics.credentials import Access, BearerAuthentication, SecretValue
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.sampler import MAX_ENDPOINTS
from adapters.metrics.scrape import ScrapeProvider
from engine.errors import HeadgateError
from tests.metrics.scraping import INTERVAL_S, RATIO, Story, one_pod, page
from tests.metrics.scripted import Pages, SteppedClock


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
        ("requests_total{x=1} 2\n", "sent no valid metric page: expected `label=\"value\"` at byte 16 of 'req"),
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

"""Datadog as a provider: what is asked in which units, what each answer means, and limits of requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.credentials import Access, SecretValue
from adapters.metrics.datadog import DatadogApi, DatadogProvider, site_address
from adapters.metrics.datadog_answer import Aggregator, read_points, read_refusal, read_scalar
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from tests.metrics.scripted import START, Handler, HurriedClock, serving

API_KEY, APPLICATION_KEY = "api-k3y-0123456789", "application-k3y-0123456789"
QUERY = Query("avg:trace.errors{version:7}", START, START + timedelta(seconds=60))
SECOND = int(START.timestamp())


def points(*values: float | None, **more: object) -> dict[str, object]:
    pointlist = [[(SECOND + 20 * index) * 1000.0, value] for index, value in enumerate(values)]
    return {"scope": "version:7", "expression": "avg:x{version:7}", "interval": 20, "pointlist": pointlist, **more}


def ok(*series: dict[str, object], **more: object) -> web.Response:
    return web.json_response({"status": "ok", "res_type": "time_series", "series": list(series), "message": "", **more})


def scalar(*columns: dict[str, object], **more: object) -> web.Response:
    data = {"type": "scalar_response", "attributes": {"columns": list(columns)}}
    return web.json_response({"data": data, **more})


def number(*values: object) -> dict[str, object]:
    return {"name": "a", "type": "number", "values": list(values)}


def at(response: web.Response, seconds: float = 0.0) -> web.Response:
    """The answer of a server whose clock is ahead of ours by so much."""
    response.headers["Date"] = format_datetime(START + timedelta(seconds=seconds), usegmt=True)
    return response


def always(response: web.Response) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return at(web.Response(body=response.body, status=response.status, headers=response.headers))

    return answer


def provider(session: aiohttp.ClientSession, url: str, clock: HurriedClock, **options: Any) -> DatadogProvider:
    key, application_key = SecretValue(API_KEY), SecretValue(APPLICATION_KEY)
    return DatadogProvider(session, url, clock, api_key=key, application_key=application_key, **options)


async def measured(session: aiohttp.ClientSession, handler: Handler, query: Query = QUERY, **options: Any) -> Outcome:
    async with serving(handler) as url:
        return await provider(session, url, HurriedClock(), **options).measure(query)


class Recorder:
    """Answers once, and keeps what it was asked."""

    def __init__(self, response: web.Response) -> None:
        self.response = response

    async def answer(self, request: web.Request) -> web.Response:
        self.path, self.query, self.headers, self.body = request.path, request.query, request.headers, await request.text()
        return at(self.response)


async def test_points_are_asked_for_in_whole_seconds_and_none_from_before_the_window(
    session: aiohttp.ClientSession,
) -> None:
    recorder = Recorder(ok(points(0.25)))
    text = "sum:a{env:prod,x:y+z}.as_count() / sum:b{*}.as_count() & 100%"
    query = Query(text, START + timedelta(milliseconds=200), START + timedelta(milliseconds=60_200))
    assert (await measured(session, recorder.answer, query)).value == 0.25
    assert recorder.path == "/api/v1/query"
    assert dict(recorder.query) == {"from": str(SECOND + 1), "to": str(SECOND + 61), "query": text}
    assert (recorder.headers["DD-API-KEY"], recorder.headers["DD-APPLICATION-KEY"]) == (API_KEY, APPLICATION_KEY)


async def test_a_window_is_never_empty(session: aiohttp.ClientSession) -> None:
    recorder = Recorder(ok(points(0.25)))
    await measured(session, recorder.answer, Query("a{*}", START, START))
    assert (recorder.query["from"], recorder.query["to"]) == (str(SECOND), str(SECOND + 1))


async def test_one_number_is_asked_for_in_milliseconds(session: aiohttp.ClientSession) -> None:
    recorder = Recorder(scalar(number(0.5)))
    outcome = await measured(session, recorder.answer, api=DatadogApi.V2, aggregator=Aggregator.SUM)
    assert outcome == Outcome(OutcomeKind.VALUE, 0.5, "the result is 0.5")
    assert (recorder.path, recorder.headers["Content-Type"]) == ("/api/v2/query/scalar", "application/json")
    asked = {"data_source": "metrics", "name": "a", "query": QUERY.text, "aggregator": "sum"}
    attributes = {"from": SECOND * 1000, "to": (SECOND + 60) * 1000, "queries": [asked], "formulas": [{"formula": "a"}]}
    assert json.loads(recorder.body) == {"data": {"type": "scalar_request", "attributes": attributes}}


async def test_a_formula_of_several_queries(session: aiohttp.ClientSession) -> None:
    recorder = Recorder(scalar(number(0.5)))
    text = '{"queries": {"bad": "sum:e{*}", "all": "sum:r{*}"}, "formula": "bad / all"}'
    await measured(session, recorder.answer, Query(text, START, START), api=DatadogApi.V2)
    attributes = json.loads(recorder.body)["data"]["attributes"]
    assert [(one["name"], one["query"]) for one in attributes["queries"]] == [("bad", "sum:e{*}"), ("all", "sum:r{*}")]
    assert attributes["formulas"] == [{"formula": "bad / all"}]


@pytest.mark.parametrize("text", ["{", '{"queries": {"a": "x"}}', '{"queries": {}, "formula": "a", "more": 1}'])
async def test_a_formula_that_is_none_is_not_asked(session: aiohttp.ClientSession, text: str) -> None:
    async def nobody(_: web.Request) -> web.Response:
        pytest.fail("it was asked")

    outcome = await measured(session, nobody, Query(text, START, START), api=DatadogApi.V2)
    assert outcome.kind is OutcomeKind.ERROR
    assert 'is not {"queries": {"a": "..."}, "formula": "a"}: ' in outcome.detail


NOTHING = "If no points mean zero here, put default_zero(...) around the metric"


@pytest.mark.parametrize(
    ("response", "kind", "value", "detail"),
    [
        (ok(points(0.0)), OutcomeKind.VALUE, 0.0, "the only point (09:30:00Z, 20 s) is 0"),
        (ok(points(1, 2.5)), OutcomeKind.VALUE, 2.5, "the last of 2 points (09:30:20Z, 20 s) is 2.5"),
        (
            ok(points(1, None, 3, None, None)),
            OutcomeKind.VALUE,
            3.0,
            "the last of 2 points (09:30:40Z, 20 s, the 2 after it empty) is 3",
        ),
        (ok(), OutcomeKind.NO_DATA, None, f"no series matches the query in the window. {NOTHING}"),
        (
            ok(points(None, None)),
            OutcomeKind.NO_DATA,
            None,
            f"the series has no value in the window (2 empty points). {NOTHING}",
        ),
        (ok(points()), OutcomeKind.NO_DATA, None, f"the series has no value in the window (0 empty points). {NOTHING}"),
        (
            ok(*(points(1, scope=f"host:{name}") for name in "abcde")),
            OutcomeKind.SEVERAL_SERIES,
            None,
            "the query yields 5 series: host:a, host:b, host:c and 2 more. Leave out `by {...}`, and ask for one expression",
        ),
        (
            ok(points(1), message="metric is\ndeprecated"),
            OutcomeKind.VALUE,
            1.0,
            "the only point (09:30:00Z, 20 s) is 1. Datadog remarks: metric is deprecated",
        ),
    ],
)
async def test_what_points_mean(
    session: aiohttp.ClientSession, response: web.Response, kind: OutcomeKind, value: float | None, detail: str
) -> None:
    assert await measured(session, always(response)) == Outcome(kind, value, detail)


@pytest.mark.parametrize(
    ("aggregator", "value"),
    [("last", 2.0), ("avg", 3.0), ("sum", 9.0), ("min", 1.0), ("max", 6.0)],
)
async def test_several_points_become_one_number(session: aiohttp.ClientSession, aggregator: str, value: float) -> None:
    handler = always(ok(points(1, 6, None, 2)))
    assert (await measured(session, handler, aggregator=Aggregator(aggregator))).value == value


@pytest.mark.parametrize(
    ("response", "kind", "part"),
    [
        (scalar(number(0)), OutcomeKind.VALUE, "the result is 0"),
        (scalar(), OutcomeKind.NO_DATA, "no series matches"),
        (scalar(number()), OutcomeKind.NO_DATA, "no series matches"),
        (scalar(number(None)), OutcomeKind.NO_DATA, "no value in the window"),
        (
            scalar({"name": "host", "type": "group", "values": [["a"], ["b", "c"]]}, number(1, 2)),
            OutcomeKind.SEVERAL_SERIES,
            "2 series: host:a, host:b|c.",
        ),
        (scalar(number(1), number(2)), OutcomeKind.SEVERAL_SERIES, "2 series"),
        (scalar(number(1), errors="one store timed out"), OutcomeKind.ERROR, "only a part of the query: one store"),
        (scalar(number("many")), OutcomeKind.ERROR, "yields 'many', expected a number"),
        (web.json_response({"errors": "boom"}), OutcomeKind.ERROR, "boom"),
        (web.json_response({}), OutcomeKind.ERROR, "without data"),
        (web.json_response({"data": {}}), OutcomeKind.ERROR, "not one of Datadog's query API"),
    ],
)
async def test_what_columns_mean(
    session: aiohttp.ClientSession, response: web.Response, kind: OutcomeKind, part: str
) -> None:
    outcome = await measured(session, always(response), api=DatadogApi.V2)
    assert (outcome.kind, outcome.value is None) == (kind, kind is not OutcomeKind.VALUE)
    assert part in outcome.detail


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        (
            web.json_response({"status": "error", "error": "Rule 'x' didn't match at (1, 4)"}),
            ["did not carry out the query", "Rule 'x' didn't match at (1, 4)"],
        ),
        (
            web.json_response({"status": "error", "error": "Error parsing query"}, status=400),
            ["Datadog answered 400. correct the query. It says: Error parsing query"],
        ),
        (web.json_response({"errors": ["Unauthorized"]}, status=401), ["401", "check the API key", "Unauthorized"]),
        (web.json_response({"errors": ["Forbidden"]}, status=403), ["403", "timeseries_query", "It says: Forbidden"]),
        (web.json_response({"errors": [{"title": "T", "detail": "D"}]}, status=422), ["cannot be carried out", "D"]),
        (web.Response(status=404, text="nothing here"), ["404", "https://api.datadoghq.com?", "nothing here"]),
        (web.Response(status=302, headers={"Location": "/login"}), ["302", "redirects are not followed"]),
        (web.Response(text="<html><title>Log in</title>", content_type="text/html"), ["web page (Log in)"]),
        (web.json_response({"series": []}), ["not one of Datadog's query API", "Is the URL the API's root?"]),
        (web.json_response([1, 2]), ["not one of Datadog's query API"]),
        (web.Response(text="[" * 50_000), ["not one of Datadog's query API"]),
        (web.Response(text='{"status": "ok", "series": [{"pointlist": [[1, NaN]]}]}'), ["not one of Datadog's"]),
        (web.Response(body=b"\xff" * 3_000_000), ["sent more than 2097152 bytes"]),
    ],
)
async def test_errors_say_what_to_do(session: aiohttp.ClientSession, response: web.Response, parts: list[str]) -> None:
    outcome = await measured(session, always(response))
    assert (outcome.kind, outcome.value) == (OutcomeKind.ERROR, None)
    assert [part for part in parts if part not in outcome.detail] == [], outcome.detail


async def test_keys_that_an_answer_repeats_do_not_get_into_the_journal(session: aiohttp.ClientSession) -> None:
    async def careless(request: web.Request) -> web.Response:
        return web.json_response({"errors": [f"not valid: {dict(request.headers)}"]}, status=403)

    outcome = await measured(session, careless)
    assert "***" in outcome.detail
    assert "k3y" not in outcome.detail


async def test_a_key_that_cannot_be_a_header_is_an_error_and_not_sent(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    bad = DatadogProvider(
        session, "http://127.0.0.1:1", clock, api_key=SecretValue("a\nb"), application_key=SecretValue(APPLICATION_KEY)
    )
    outcome = await bad.measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert "was not asked: the secret contains a line break" in outcome.detail


def limited(**headers: str) -> web.Response:
    return web.json_response({"errors": ["Too many requests"]}, status=429, headers=headers)


class Recovering:
    """Refuses some times, then answers."""

    def __init__(self, *refusals: Callable[[], web.Response]) -> None:
        self.refusals = list(refusals)
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return at(self.refusals.pop(0)() if self.refusals else ok(points(7)))


async def test_the_limit_of_requests_is_outwaited_when_the_time_allows(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(lambda: limited(**{"X-RateLimit-Reset": "4"}), lambda: web.Response(status=503))
    async with serving(server.answer) as url:
        outcome = await provider(session, url, clock).measure(QUERY)
    assert outcome.value == 7.0
    assert clock.pauses == [4.0, 0.5]


async def test_nobody_is_asked_before_the_limit_ends(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(lambda: limited(**{"X-RateLimit-Reset": "42"}))
    async with serving(server.answer) as url:
        datadog = provider(session, url, clock)
        first = await datadog.measure(QUERY)
        clock.seconds += 30
        second = await datadog.measure(QUERY)
        clock.seconds += 8
        third = await datadog.measure(QUERY)
    assert "429. the organisation's limit of requests is used up" in first.detail
    assert second == Outcome(OutcomeKind.ERROR, None, "not asked: the source wants no request for another 12 s")
    assert third.value == 7.0
    assert (server.asked, clock.pauses) == (2, [4.0])


async def test_a_limit_that_never_ends_is_not_believed(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(lambda: limited(**{"X-RateLimit-Reset": "99999999"}))
    async with serving(server.answer) as url:
        datadog = provider(session, url, clock)
        await datadog.measure(QUERY)
        clock.seconds += 300
        assert (await datadog.measure(QUERY)).value == 7.0


async def test_a_clock_that_is_off_is_said(session: aiohttp.ClientSession) -> None:
    async def answer(_: web.Request) -> web.Response:
        return at(ok(), -95)

    outcome = await measured(session, answer)
    assert outcome.kind is OutcomeKind.NO_DATA
    assert outcome.detail.endswith(
        "The daemon's clock is 95 s ahead of the source's, so the window is off by as much: set the clock"
    )


async def test_a_server_that_never_answers_costs_no_more_than_the_time_allowed(session: aiohttp.ClientSession) -> None:
    async def hang(_: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    class Clock(HurriedClock):
        def monotonic(self) -> float:
            return anyio.current_time() + self.seconds

    async with serving(hang) as url:
        began = anyio.current_time()
        outcome = await provider(session, url, Clock(), access=Access(timeout_s=0.2)).measure(QUERY)
        assert anyio.current_time() - began < 2.0
    assert outcome.kind is OutcomeKind.ERROR
    assert "did not answer within 0.2 s" in outcome.detail


def test_the_address_of_a_site() -> None:
    assert site_address("us3.datadoghq.com") == "https://api.us3.datadoghq.com"


_NAMES = ["status", "series", "pointlist", "interval", "data", "attributes", "columns", "values", "type", "errors", "name"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["ok", "group", "number", "error"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
)


@given(st.binary(max_size=60) | _JSON.map(lambda value: json.dumps(value).encode()), st.sampled_from(list(Aggregator)))
def test_no_body_whatsoever_raises(body: bytes, aggregator: Aggregator) -> None:
    assert read_points(body, aggregator, str).kind in OutcomeKind
    assert read_scalar(body, str).kind in OutcomeKind
    assert read_refusal(400, "application/json", body, str).kind is OutcomeKind.ERROR


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=4), st.floats(allow_nan=False))
def test_no_points_whatsoever_raise(values: list[float | None], interval: float) -> None:
    body = json.dumps({"status": "ok", "series": [{"interval": interval, "pointlist": [[1e300, one] for one in values]}]})
    for aggregator in Aggregator:
        outcome = read_points(body.encode(), aggregator, str)
        assert (outcome.kind is OutcomeKind.VALUE) <= any(value is not None for value in values)

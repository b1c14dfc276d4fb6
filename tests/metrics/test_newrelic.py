"""New Relic as a provider: what is asked, what each answer of NerdGraph means, and errors that come with status 200."""

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
from adapters.metrics.newrelic import NewRelicProvider, Region, has_range, region_address
from adapters.metrics.newrelic_answer import MeasuredRange, read_answer, read_refusal
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from tests.metrics.scripted import START, Handler, HurriedClock, serving

KEY = "NRAK-0123456789ABCDEF"
NRQL = "SELECT percentage(count(*), WHERE error IS true) FROM Transaction WHERE version = '7'"
QUERY = Query(NRQL, START, START + timedelta(seconds=60))
BEGIN = int(START.timestamp()) * 1000


def rows(*results: dict[str, object], **metadata: object) -> web.Response:
    window = {"begin": BEGIN, "end": BEGIN + 60_000}
    whole = {"facets": None, "messages": [], "timeWindow": window, **metadata}
    return web.json_response({"data": {"actor": {"account": {"nrql": {"results": results, "metadata": whole}}}}})


def errors(message: str, kind: str | None = None, data: object = None, status: int = 200) -> web.Response:
    error: dict[str, object] = {"message": message, "path": ["actor", "account", "nrql"], "locations": []}
    if kind is not None:
        error["extensions"] = {"errorClass": kind}
    return web.json_response({"data": data or {"actor": {"account": {"nrql": None}}}, "errors": [error]}, status=status)


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {"a": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


def dated(response: web.Response) -> web.Response:
    response.headers["Date"] = format_datetime(START, usegmt=True)
    return response


def always(response: web.Response) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return dated(web.Response(body=response.body, status=response.status, headers=response.headers))

    return answer


def provider(session: aiohttp.ClientSession, url: str, clock: HurriedClock, **options: Any) -> NewRelicProvider:
    return NewRelicProvider(session, f"{url}/graphql", clock, account_id=4711, api_key=SecretValue(KEY), **options)


async def measured(session: aiohttp.ClientSession, handler: Handler, query: Query = QUERY) -> Outcome:
    async with serving(handler) as url:
        return await provider(session, url, HurriedClock()).measure(query)


class Recorder:
    """Answers with one row, and keeps what it was asked."""

    async def answer(self, request: web.Request) -> web.Response:
        self.path, self.headers, self.body = request.path, request.headers, await request.json()
        return dated(rows({"count": 3}))


async def test_a_query_is_asked_for_the_window_in_milliseconds(session: aiohttp.ClientSession) -> None:
    recorder = Recorder()
    assert (await measured(session, recorder.answer)).value == 3.0
    assert (recorder.path, recorder.headers["API-Key"]) == ("/graphql", KEY)
    expected = {"account": 4711, "nrql": f"{NRQL}\nSINCE {BEGIN} UNTIL {BEGIN + 60_000}", "timeout": 9}
    assert recorder.body["variables"] == expected
    assert "4711" not in recorder.body["query"]
    assert "Transaction" not in recorder.body["query"]


async def test_a_query_with_its_own_range_is_asked_as_it_is(session: aiohttp.ClientSession) -> None:
    recorder = Recorder()
    text = f"{NRQL} since {BEGIN} until {BEGIN + 1}"
    await measured(session, recorder.answer, Query(text, START, START))
    assert recorder.body["variables"]["nrql"] == text


@pytest.mark.parametrize(
    ("nrql", "has"),
    [
        ("FROM A SELECT count(*) SINCE 5 minutes ago", True),
        ("from a select count(*)\nuntil now", True),
        ("SINCE 1 hour ago FROM A SELECT count(*)", True),
        ("FROM A SELECT count(*)", False),
        ("FROM A SELECT count(*) WHERE text = 'it\\'s SINCE then'", False),
        ('FROM A SELECT count(*) AS "SINCE"', False),
        ("FROM A SELECT sum(`since`)", False),
        ("FROM A SELECT sum(since_start)", False),
        ("FROM A SELECT count(*) -- SINCE 1 hour ago", False),
        ("FROM A SELECT count(*) // UNTIL now", False),
        ("FROM A /* SINCE\nUNTIL */ SELECT count(*)", False),
        ("FROM (FROM A SELECT rate(count(*)) SINCE 1 day ago) SELECT max(x)", False),
        ("FROM (FROM A SELECT count(*) FACET b) SELECT max(x) SINCE 1 day ago", True),
        (") SINCE (", True),
        ("", False),
    ],
)
def test_whether_a_query_has_a_range_of_its_own(nrql: str, has: bool) -> None:
    assert has_range(nrql) is has


def test_regions_have_their_own_addresses() -> None:
    assert region_address(Region.US) == "https://api.newrelic.com/graphql"
    assert region_address(Region.EU) == "https://api.eu.newrelic.com/graphql"


SEVERAL_ROWS = "Leave out TIMESERIES, FACET and COMPARE WITH, and SELECT one aggregate such as percentage(...)"


@pytest.mark.parametrize(
    ("response", "kind", "value", "detail"),
    [
        (rows({"percentage": 1.5}), OutcomeKind.VALUE, 1.5, "percentage is 1.5"),
        (rows({"count": 0}), OutcomeKind.VALUE, 0.0, "count is 0"),
        (rows({"percentile.duration": {"95": 0.25}}), OutcomeKind.VALUE, 0.25, "percentile.duration.95 is 0.25"),
        (
            rows({"facet": "a", "appName": "a", "count": 3}, facets=["appName"]),
            OutcomeKind.VALUE,
            3.0,
            "count is 3",
        ),
        (rows({"facet": 2}), OutcomeKind.VALUE, 2.0, "facet is 2"),
        (
            rows({"average.duration": None}),
            OutcomeKind.NO_DATA,
            None,
            "average.duration is null: no events to calculate it from",
        ),
        (rows(), OutcomeKind.NO_DATA, None, "nothing matches the query in its range of time"),
        (
            rows({"percentile.duration": {}}),
            OutcomeKind.NO_DATA,
            None,
            "the result is null: no events to calculate it from",
        ),
        (rows({"x": "NaN"}), OutcomeKind.NOT_A_NUMBER, None, "x is nan: probably a division by zero"),
        (rows({"x": "-Infinity"}), OutcomeKind.NOT_A_NUMBER, None, "x is -inf: probably a division by zero"),
        (
            rows({"a": 1}, {"a": 2}),
            OutcomeKind.SEVERAL_SERIES,
            None,
            f"the query yields 2 rows. {SEVERAL_ROWS}",
        ),
        (
            rows({"a": 1, "b": None, "c": {"50": 1, "95": 2}}),
            OutcomeKind.SEVERAL_SERIES,
            None,
            "the query yields 4 values: a, b, c.50 and 1 more. SELECT one of them",
        ),
        (rows({"latest.name": "web"}), OutcomeKind.ERROR, None, "latest.name is 'web', expected a number"),
        (rows({"x": True}), OutcomeKind.ERROR, None, "x is True, expected a number"),
        (rows({"x": nested(900)}), OutcomeKind.ERROR, None, "x.a.a.a is a mapping, expected a number"),
        (rows({"x": [1, 2]}), OutcomeKind.ERROR, None, "x is [1, 2], expected a number"),
        (
            rows({"count": 1}, messages=["the behaviour\nhas changed"]),
            OutcomeKind.VALUE,
            1.0,
            "count is 1. New Relic remarks: the behaviour has changed",
        ),
        (
            rows({"count": 1}, timeWindow={"begin": BEGIN - 1_800_000, "end": BEGIN + 60_000}),
            OutcomeKind.VALUE,
            1.0,
            "count is 1. New Relic remarks: it measured 09:00:00Z to 09:31:00Z instead of the window",
        ),
    ],
)
async def test_what_rows_mean(
    session: aiohttp.ClientSession, response: web.Response, kind: OutcomeKind, value: float | None, detail: str
) -> None:
    assert await measured(session, always(response)) == Outcome(kind, value, detail)


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        (
            errors("NRQL Syntax Error: Error at line 1 position 8, unexpected 'FORM'"),
            ["did not carry out the query: NRQL Syntax Error: Error at line 1 position 8, unexpected 'FORM'"],
        ),
        (
            errors("NRDB query duration exceeded the set timeout", "TIMEOUT"),
            ["(TIMEOUT): NRDB query duration", "narrow the query, or lengthen the provider's timeout"],
        ),
        (errors("Access denied", "ACCESS_DENIED"), ["May the key's user query this account?"]),
        (
            errors("partly", None, {"actor": {"account": {"nrql": {"results": [{"count": 1}]}}}}),
            ["did not carry out the query: partly"],
        ),
        (web.json_response({"data": {"actor": {"account": None}}}), ["may the key's user see this account?"]),
        (web.json_response({}), ["without a result"]),
        (
            errors("The API key is not valid", status=401),
            ["New Relic answered 401. check the API key: a user key", "It says: The API key is not valid"],
        ),
        (web.json_response({"error": {"title": "Forbidden"}}, status=403), ["403", "a user key", "Forbidden"]),
        (web.Response(status=404, text="no such page"), ["404", "https://api.newrelic.com/graphql?", "no such page"]),
        (web.Response(status=302), ["302", "redirects are not followed"]),
        (web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html"), ["page (Log in)"]),
        (web.Response(text="not JSON"), ["not one of NerdGraph"]),
        (web.Response(text="[" * 50_000), ["not one of NerdGraph"]),
        (web.json_response({"data": {"actor": {"account": {"nrql": {"results": [1]}}}}}), ["not one of NerdGraph"]),
        (web.Response(body=b" " * 1_100_000), ["sent more than 1048576 bytes"]),
    ],
)
async def test_errors_say_what_to_do(session: aiohttp.ClientSession, response: web.Response, parts: list[str]) -> None:
    outcome = await measured(session, always(response))
    assert (outcome.kind, outcome.value) == (OutcomeKind.ERROR, None)
    assert [part for part in parts if part not in outcome.detail] == [], outcome.detail


async def test_the_key_does_not_get_into_the_journal(session: aiohttp.ClientSession) -> None:
    async def careless(request: web.Request) -> web.Response:
        return errors(f"not valid: {request.headers['API-Key']}")

    outcome = await measured(session, careless)
    assert "not valid: ***" in outcome.detail
    assert KEY not in outcome.detail


class Recovering:
    """Refuses some times, then answers."""

    def __init__(self, *refusals: Callable[[], web.Response]) -> None:
        self.refusals = list(refusals)
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return dated(self.refusals.pop(0)() if self.refusals else rows({"count": 7}))


async def test_troubles_that_pass_are_outwaited_also_those_with_status_200(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(
        lambda: errors("An error occurred", "SERVER_ERROR"),
        lambda: web.Response(status=429, headers={"Retry-After": "3"}),
        lambda: web.Response(status=502),
    )
    async with serving(server.answer) as url:
        assert (await provider(session, url, clock).measure(QUERY)).value == 7.0
    assert clock.pauses == [0.25, 3.0, 1.0]


async def test_an_error_of_the_query_is_not_asked_again(session: aiohttp.ClientSession) -> None:
    server = Recovering(lambda: errors("NRQL Syntax Error", "INVALID_INPUT"))
    assert (await measured(session, server.answer)).kind is OutcomeKind.ERROR
    assert server.asked == 1


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
    assert "did not answer within 0.2 s" in outcome.detail


_NAMES = ["data", "actor", "account", "nrql", "results", "metadata", "facets", "errors", "message", "extensions"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
)
_ROWS = st.lists(st.dictionaries(st.text(max_size=4), _JSON, max_size=2), max_size=2)
_WHOLE = _ROWS.map(lambda results: {"data": {"actor": {"account": {"nrql": {"results": results}}}}})


@given(st.binary(max_size=60) | (_JSON | _WHOLE).map(lambda value: json.dumps(value).encode()))
def test_no_body_whatsoever_raises(body: bytes) -> None:
    assert read_answer(body, MeasuredRange(0, 1), str).outcome.kind in OutcomeKind
    assert read_refusal(400, "application/json", body, str).kind is OutcomeKind.ERROR


@given(st.text(alphabet="'\"`()-/*\\ \nSINCEa", max_size=30))
def test_no_query_whatsoever_raises(nrql: str) -> None:
    assert has_range(nrql) in (True, False)

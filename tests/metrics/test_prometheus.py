"""What a Prometheus may answer, and what is made of it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.credentials import Access
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.prometheus import PrometheusProvider
from adapters.metrics.prometheus_answer import read_refusal, read_success
from adapters.metrics.repeating import retry_after_s
from tests.metrics.scripted import START, Handler, HurriedClock, serving

QUERY = Query("sum(rate(requests_total[1m]))", START, START + timedelta(seconds=60))
NO_SERIES: list[object] = []


def sample(value: str, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1435781451.781, value]}


def success(result_type: str, result: object, **more: object) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": result_type, "result": result}, **more})


def refusal(status: int, kind: str, error: str) -> web.Response:
    return web.json_response({"status": "error", "errorType": kind, "error": error}, status=status)


def always(response: web.Response) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=response.status, body=response.body, headers=dict(response.headers))

    return answer


async def measured(session: aiohttp.ClientSession, handler: Handler, clock: HurriedClock | None = None) -> Outcome:
    async with serving(handler) as url:
        return await PrometheusProvider(session, url, clock or HurriedClock()).measure(QUERY)


async def test_an_instant_query_is_asked_at_the_end_of_the_window(session: aiohttp.ClientSession) -> None:
    seen: list[tuple[str, str, dict[str, object]]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, dict(await request.post())))
        return success("vector", [sample("0.25")])

    async with serving(answer) as url:
        outcome = await PrometheusProvider(session, f"{url}/behind/a/prefix/", HurriedClock()).measure(QUERY)
    form = {"query": QUERY.text, "time": f"{QUERY.end.timestamp():.3f}", "timeout": "10000ms"}
    assert seen == [("POST", "/behind/a/prefix/api/v1/query", form)]
    assert outcome == Outcome(OutcomeKind.VALUE, 0.25, "the result is 0.25")


@pytest.mark.parametrize(
    ("response", "kind", "value", "detail"),
    [
        (success("scalar", [1.5, "42"]), OutcomeKind.VALUE, 42.0, "the result is 42"),
        (success("vector", [sample("1e-3", job="web")]), OutcomeKind.VALUE, 0.001, '{job="web"} is 0.001'),
        (success("vector", [sample("1", __name__="up")]), OutcomeKind.VALUE, 1.0, "up is 1"),
        (
            success("vector", NO_SERIES),
            OutcomeKind.NO_DATA,
            None,
            "no series matches the query at the end of the window",
        ),
        (
            success("vector", [sample("NaN")]),
            OutcomeKind.NOT_A_NUMBER,
            None,
            "the result is NaN: probably a division by zero",
        ),
        (
            success("scalar", [1, "+Inf"]),
            OutcomeKind.NOT_A_NUMBER,
            None,
            "the result is +Inf: probably a division by zero",
        ),
        (
            success("vector", [sample("-Inf")]),
            OutcomeKind.NOT_A_NUMBER,
            None,
            "the result is -Inf: probably a division by zero",
        ),
        (
            success("vector", [sample("1", __name__="up", pod=f"web-{pod}") for pod in range(5)]),
            OutcomeKind.SEVERAL_SERIES,
            None,
            (
                'the query yields 5 series: up{pod="web-0"}, up{pod="web-1"}, up{pod="web-2"} and 2 more. '
                "Put sum(...) or another aggregation around it"
            ),
        ),
        (
            success("vector", [sample("1", pod="a"), sample("2", pod="b")]),
            OutcomeKind.SEVERAL_SERIES,
            None,
            'the query yields 2 series: {pod="a"}, {pod="b"}. Put sum(...) or another aggregation around it',
        ),
        (
            success("matrix", [{"metric": {}, "values": [[1, "1"]]}]),
            OutcomeKind.ERROR,
            None,
            "the query yields a range of samples per series: put a function such as rate(...[1m]) around the range",
        ),
        (success("string", [1, "text"]), OutcomeKind.ERROR, None, "the query yields a text: ask for a number"),
        (
            success("vector", [{"metric": {"job": "web"}, "histogram": [1, {"count": "6"}]}]),
            OutcomeKind.ERROR,
            None,
            '{job="web"} is a native histogram: put histogram_quantile(...) around it',
        ),
    ],
)
async def test_answers(
    session: aiohttp.ClientSession, response: web.Response, kind: OutcomeKind, value: float | None, detail: str
) -> None:
    assert await measured(session, always(response)) == Outcome(kind, value, detail)


async def test_what_prometheus_remarks_is_passed_on(session: aiohttp.ClientSession) -> None:
    remarks = {"warnings": ["one store did\nnot answer"], "infos": ["not a counter", "b", "c"]}
    outcome = await measured(session, always(success("vector", [sample("1")], **remarks)))
    assert outcome.value == 1.0
    assert (
        outcome.detail == "the result is 1. Prometheus remarks: one store did not answer; not a counter; b (and 1 more)"
    )


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        (
            refusal(400, "bad_data", 'invalid parameter "query": 1:10: parse error: unexpected <by>'),
            ["400", "correct the query", "bad_data", "1:10: parse error: unexpected <by>"],
        ),
        (refusal(422, "execution", "many-to-many matching"), ["cannot be carried out", "many-to-many matching"]),
        (web.Response(status=401, text="Unauthorized"), ["401", "wants credentials", "It says: Unauthorized"]),
        (web.Response(status=403), ["403", "not allowed to query"]),
        (web.Response(status=404, text="404 page not found"), ["404", "is the URL the root of Prometheus?"]),
        (web.Response(status=405), ["405", "does not let POST through"]),
        (web.Response(status=302, headers={"Location": "/login"}), ["302", "is there a login in front"]),
        (
            web.Response(text="<!DOCTYPE html><html><title>Sign in</title>", content_type="text/html"),
            ["200", "web page (Sign in)", "not Prometheus' API that answers"],
        ),
        (web.Response(text="  <html>", content_type="application/json"), ["It sent a web page"]),
        (web.Response(text="{}", content_type="application/json"), ["not one of Prometheus' query API", "root?"]),
        (web.Response(text="", content_type="application/json"), ["not one of Prometheus' query API"]),
        (web.Response(text="[" * 100_000), ["not one of Prometheus' query API"]),
        (success("vector", [{"metric": {"a": 1}, "value": [1, "2"]}]), ["not one of Prometheus' query API"]),
        (success("scalar", [1, "many"]), ["'many', expected a number"]),
        (success("graph", []), ["yields a 'graph', expected a scalar or a vector"]),
        (web.json_response({"status": "error", "error": "lost"}), ["answered without data: lost"]),
        (web.Response(body=b"\xff" * 2_000_000), ["sent more than 1048576 bytes"]),
    ],
)
async def test_errors_say_what_to_do(session: aiohttp.ClientSession, response: web.Response, parts: list[str]) -> None:
    outcome = await measured(session, always(response))
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.value is None
    assert [part for part in parts if part not in outcome.detail] == [], outcome.detail


class Recovering:
    """Refuses some times, then answers."""

    def __init__(self, *refusals: web.Response) -> None:
        self.refusals = list(refusals)
        self.asked = 0
        self.allowed: list[object] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.allowed.append((await request.post())["timeout"])
        if self.refusals:
            return self.refusals.pop(0)
        return success("vector", [sample("7")])


async def test_troubles_that_pass_are_outwaited(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    outcome = await measured(session, Recovering(web.Response(status=503), web.Response(status=502)).answer, clock)
    assert outcome.value == 7.0
    assert clock.pauses == [0.25, 0.5]


async def test_a_server_that_asks_for_a_pause_gets_it(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    refusals = [web.Response(status=429, headers={"Retry-After": wish}) for wish in ("3", "0", "soon")]
    outcome = await measured(session, Recovering(*refusals).answer, clock)
    assert outcome.value == 7.0
    assert clock.pauses == [3.0, 0.5, 1.0]


async def test_a_pause_beyond_the_time_that_is_left_is_not_waited_for(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    outcome = await measured(session, Recovering(web.Response(status=429, headers={"Retry-After": "60"})).answer, clock)
    assert outcome.kind is OutcomeKind.ERROR
    assert "429. it asks for fewer queries" in outcome.detail
    assert clock.pauses == []


async def test_a_server_in_trouble_is_given_up_when_the_time_is_over(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(*(web.Response(status=500, text="out of memory") for _ in range(100)))
    outcome = await measured(session, server.answer, clock)
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail.endswith("It says: out of memory (asked 6 times)")
    assert server.asked == 6
    assert server.allowed == ["10000ms", "9750ms", "9250ms", "8250ms", "6250ms", "2250ms"]
    assert sum(clock.pauses) < 10.0


async def test_a_refused_query_is_not_asked_again(session: aiohttp.ClientSession) -> None:
    server = Recovering(refusal(400, "bad_data", "1:1: parse error"))
    outcome = await measured(session, server.answer)
    assert outcome.kind is OutcomeKind.ERROR
    assert server.asked == 1


async def test_broken_connections_are_tried_again(session: aiohttp.ClientSession) -> None:
    asked = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        if len(asked) == 1:
            assert request.transport is not None
            request.transport.abort()
        if len(asked) == 2:
            cut = web.StreamResponse(headers={"Content-Length": "1000"})
            await cut.prepare(request)
            await cut.write(b'{"status":')
            assert request.transport is not None
            request.transport.abort()
            return cut
        return success("vector", [sample("7")])

    assert (await measured(session, answer)).value == 7.0
    assert len(asked) == 3


async def test_nobody_there_is_an_error_that_says_so(session: aiohttp.ClientSession) -> None:
    async with serving(always(web.Response())) as url:
        pass
    outcome = await PrometheusProvider(session, url, HurriedClock()).measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert re.fullmatch(
        r"http://127.0.0.1:\d+/api/v1/query cannot be reached: Connection refused \(asked 6 times\)", outcome.detail
    ), outcome.detail


async def test_a_server_that_never_answers_costs_no_more_than_the_time_allowed(session: aiohttp.ClientSession) -> None:
    async def hang(_: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    class Clock(HurriedClock):
        def monotonic(self) -> float:
            return anyio.current_time() + self.seconds

    async with serving(hang) as url:
        began = anyio.current_time()
        provider = PrometheusProvider(session, url, Clock(), Access(timeout_s=0.2))
        outcome = await provider.measure(QUERY)
        assert anyio.current_time() - began < 2.0
    assert outcome.kind is OutcomeKind.ERROR
    assert "did not answer within 0.2 s" in outcome.detail


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None),
        ("7", 7.0),
        ("Mon, 02 Mar 2026 09:30:30 GMT", 30.0),
        ("Mon, 02 Mar 2026 09:29:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("Mon, 99 Mar 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_may_be_seconds_or_a_date(header: str | None, pause: float | None) -> None:
    assert retry_after_s(header, START) == pause


def json_values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    names = st.sampled_from(
        ["status", "data", "resultType", "result", "metric", "value", "error", "errorType", "warnings"]
    )
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))


@given(st.binary(max_size=100) | json_values().map(lambda value: json.dumps(value).encode()), st.integers(100, 599))
def test_no_body_whatsoever_raises(body: bytes, status: int) -> None:
    assert read_success(body, str).kind in OutcomeKind
    assert read_refusal(status, "application/json", body, str).kind is OutcomeKind.ERROR


@given(st.text(max_size=40))
def test_no_retry_after_whatsoever_raises(header: str) -> None:
    pause = retry_after_s(header, START)
    assert pause is None or pause >= 0.0

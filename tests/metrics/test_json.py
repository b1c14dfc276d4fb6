"""A JSON source as a provider: what is put into the request, what is picked out of the answer, and what it means."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.credentials import Access, BearerAuthentication, SecretValue
from adapters.metrics.http_source import SourceMisconfigured
from adapters.metrics.json_expression import JsonExpression, JsonExpressionError, NotApplicable
from adapters.metrics.json_http import JsonProvider, JsonRequest, Method, read_found
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.placeholders import TemplateInvalid, check_address, check_names, uses_query
from tests.metrics.scripted import START, Handler, HurriedClock, serving

QUERY = Query("errors", START, START + timedelta(seconds=60, milliseconds=250))
SECOND = int(START.timestamp())
VALUE = JsonExpression("value")


def always(response: web.Response) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    return answer


async def picked(session: aiohttp.ClientSession, response: web.Response, expression: str = "value") -> Outcome:
    async with serving(always(response)) as url:
        request = JsonRequest(f"{url}/m", value=JsonExpression(expression))
        return await JsonProvider(session, request, HurriedClock()).measure(QUERY)


class Recorder:
    """Answers 3, and keeps what it was asked."""

    async def answer(self, request: web.Request) -> web.Response:
        self.request, self.path, self.body = request, request.raw_path, await request.text()
        return web.json_response({"value": 3})


async def recorded(session: aiohttp.ClientSession, path: str, query: Query = QUERY, **options: Any) -> Recorder:
    recorder = Recorder()
    access = options.pop("access", None)
    async with serving(recorder.answer) as url:
        request = JsonRequest(f"{url}{path}", value=VALUE, **options)
        outcome = await JsonProvider(session, request, HurriedClock(), access).measure(query)
    assert outcome == Outcome(OutcomeKind.VALUE, 3.0, "the result is 3")
    return recorder


@pytest.mark.parametrize(
    "text",
    [
        "sum(rate(x{a='b'}[1m])) / 2 + 3 & more=1 # 100%",
        "a=b&c=d",
        "%26%2B+%25",
        "../../admin?x",
        '"\\\n\t\'',
        "größe 数 🙂",
        "{{query}} {{armory.endTimeIso8601}}",
        "",
    ],
)
async def test_a_query_in_an_address_or_body_is_one_value_whatever_it_holds(
    session: aiohttp.ClientSession, text: str
) -> None:
    body = {"q": "{{query}}", "list": [{"in": "<{{ query }}>"}], "{{query}}": 1}
    recorder = await recorded(
        session, "/api/m?q={{query}}&fixed=1", Query(text, START, START), method=Method.POST, body=body
    )
    assert recorder.request.path == "/api/m"
    assert dict(recorder.request.query) == {"q": text, "fixed": "1"}
    assert json.loads(recorder.body) == {"q": text, "list": [{"in": f"<{text}>"}], "{{query}}": 1}


async def test_the_window_is_filled_in_in_the_unit_that_is_asked_for(session: aiohttp.ClientSession) -> None:
    path = "/m/{{armory.startTimeEpochSeconds}}?from={{armory.startTimeEpochMillis}}&to={{armory.endTimeIso8601}}"
    body = {"gte": "{{armory.startTimeEpochMillis}}", "lt": "{{armory.endTimeEpochMillis}}", "text": "{{query}}", "n": [1.5]}
    recorder = await recorded(session, path, method=Method.PUT, body=body)
    assert recorder.request.path == f"/m/{SECOND}"
    assert dict(recorder.request.query) == {"from": str(SECOND * 1000), "to": "2026-03-02T09:31:00.250Z"}
    expected = {"gte": SECOND * 1000, "lt": SECOND * 1000 + 60_250, "text": "errors", "n": [1.5]}
    assert json.loads(recorder.body) == expected
    assert (recorder.request.method, recorder.request.headers["Content-Type"]) == ("PUT", "application/json")


async def test_headers_and_secrets_are_sent(session: aiohttp.ClientSession) -> None:
    access = Access(
        BearerAuthentication(SecretValue("t0ken")), headers={"X-Team": "a"}, secret_headers={"X-Key": SecretValue("k3y")}
    )
    headers = (await recorded(session, "/m", access=access)).request.headers
    assert (headers["Authorization"], headers["X-Team"], headers["X-Key"]) == ("Bearer t0ken", "a", "k3y")
    assert headers["Accept"] == "application/json"


async def test_without_an_expression_of_its_own_the_query_is_the_expression(session: aiohttp.ClientSession) -> None:
    document = {"services": [{"name": "api", "errors": "0.25"}, {"name": "web", "errors": "0.5"}]}
    async with serving(always(web.json_response(document))) as url:
        provider = JsonProvider(session, JsonRequest(f"{url}/m"), HurriedClock())
        good = await provider.measure(Query("services[?name=='web'].errors", START, START))
        bad = await provider.measure(Query("services[", START, START))
    assert good == Outcome(OutcomeKind.VALUE, 0.5, "the result is 0.5")
    assert bad == Outcome(OutcomeKind.ERROR, None, "the query is not a JMESPath expression: it ends too early")


@pytest.mark.parametrize(
    ("value", "kind", "number", "detail"),
    [
        (0, OutcomeKind.VALUE, 0.0, "the result is 0"),
        (-2.5e3, OutcomeKind.VALUE, -2500.0, "the result is -2500"),
        ("0.5", OutcomeKind.VALUE, 0.5, "the result is 0.5"),
        (" 1e-2 ", OutcomeKind.VALUE, 0.01, "the result is 0.01"),
        ([7], OutcomeKind.VALUE, 7.0, "the result is 7"),
        ([None, 7], OutcomeKind.VALUE, 7.0, "the result is 7"),
        (None, OutcomeKind.NO_DATA, None, "the expression picks nothing; the answer has value, other"),
        ([], OutcomeKind.NO_DATA, None, "the expression picks an empty list"),
        ([None], OutcomeKind.NO_DATA, None, "the expression picks only nulls"),
        (float("nan"), OutcomeKind.NOT_A_NUMBER, None, "the result is nan: probably a division by zero"),
        ("NaN", OutcomeKind.NOT_A_NUMBER, None, "the result is nan: probably a division by zero"),
        ("+Inf", OutcomeKind.NOT_A_NUMBER, None, "the result is inf: probably a division by zero"),
        (
            [1, 2],
            OutcomeKind.SEVERAL_SERIES,
            None,
            "the expression picks 2 values: pick one of them, or use sum(...), max(...) or [0]",
        ),
        (True, OutcomeKind.ERROR, None, "the expression picks true, expected a number"),
        ({"a": 1}, OutcomeKind.ERROR, None, "the expression picks an object, expected a number"),
        ([[1]], OutcomeKind.ERROR, None, "the expression picks a list of 1, expected a number"),
        ("", OutcomeKind.ERROR, None, "the expression picks the text '', expected a number"),
        ("5 %", OutcomeKind.ERROR, None, "the expression picks the text '5 %', expected a number"),
        ("1_000", OutcomeKind.ERROR, None, "the expression picks the text '1_000', expected a number"),
        ("٣", OutcomeKind.ERROR, None, "the expression picks the text '٣', expected a number"),
        ("1e999", OutcomeKind.ERROR, None, "the expression picks a number that is too large"),
        (10**400, OutcomeKind.ERROR, None, "the expression picks a number that is too large"),
    ],
)
async def test_what_is_picked(
    session: aiohttp.ClientSession, value: object, kind: OutcomeKind, number: float | None, detail: str
) -> None:
    response = web.json_response({"value": value, "other": 1})
    assert await picked(session, response) == Outcome(kind, number, detail)


async def test_an_expression_that_picks_nothing_says_what_there_is(session: aiohttp.ClientSession) -> None:
    many = await picked(session, web.json_response({f"field{number}": number for number in range(10)}))
    assert many.kind is OutcomeKind.NO_DATA
    assert many.detail.endswith("the answer has " + ", ".join(f"field{number}" for number in range(8)) + " and more")
    assert (await picked(session, web.json_response([1, 2]))).detail.endswith("the answer is a list of 2")
    assert (await picked(session, web.json_response({}))).detail.endswith("the answer is an empty object")
    assert (await picked(session, web.json_response(None))).detail.endswith("the answer is null")


async def test_an_expression_that_does_not_fit_is_an_error(session: aiohttp.ClientSession) -> None:
    outcome = await picked(session, web.json_response({"value": ["a"]}), "sum(value)")
    assert outcome.kind is OutcomeKind.ERROR
    assert "the expression does not fit the answer: In function sum()" in outcome.detail


async def test_a_large_answer_is_read(session: aiohttp.ClientSession) -> None:
    rows = [{"x": number} for number in range(50_000)]
    assert (await picked(session, web.json_response(rows), "sum([].x)")).value == sum(range(50_000))


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        (web.json_response({"message": "no such metric"}, status=400), ["the source answered 400. correct", "such metric"]),
        (web.Response(status=401, text="who?"), ["401", "wants credentials", "It says: who?"]),
        (web.Response(status=403), ["403", "not allowed"]),
        (web.Response(status=404), ["404", "check the provider's URL"]),
        (web.Response(status=405), ["405", "check the provider's method"]),
        (web.Response(status=301), ["301", "redirects are not followed"]),
        (web.Response(status=204), ["/m sent no JSON", "nothing at all"]),
        (web.Response(text="up 1\n", content_type="text/plain"), ["sent no JSON (text/plain): up 1"]),
        (web.Response(text='{"value": 1', content_type="application/json"), ["sent no JSON (application/json)"]),
        (web.Response(body=b"\xff\xfe\x00", content_type="image/png"), ["sent no JSON (image/png)"]),
        (web.Response(text="[" * 100_000), ["sent no JSON"]),
        (web.Response(text="<html><title>Log in</title>", content_type="text/html"), ["web page (Log in)", "a JSON source"]),
        (web.Response(body=b" " * 1_100_000), ["sent more than 1048576 bytes"]),
    ],
)
async def test_errors_say_what_to_do(session: aiohttp.ClientSession, response: web.Response, parts: list[str]) -> None:
    outcome = await picked(session, response)
    assert (outcome.kind, outcome.value) == (OutcomeKind.ERROR, None)
    assert [part for part in parts if part not in outcome.detail] == [], outcome.detail


async def test_json_with_another_content_type_is_read_all_the_same(session: aiohttp.ClientSession) -> None:
    assert (await picked(session, web.Response(text='{"value": 4}', content_type="text/plain"))).value == 4.0


async def test_no_secret_gets_into_the_journal(session: aiohttp.ClientSession) -> None:
    async def careless(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"{request.raw_path} {dict(request.headers)}")

    access = Access(secret_headers={"X-Key": SecretValue("header-s3cr3t")})
    async with serving(careless) as url:
        request = JsonRequest(f"{url}/m?key=address-s3cr3t&q={{{{query}}}}", value=VALUE)
        outcome = await JsonProvider(session, request, HurriedClock(), access).measure(QUERY)
    assert "key=***" in outcome.detail
    assert "s3cr3t" not in outcome.detail
    assert "s3cr3t" not in repr(access)


class Recovering:
    """Refuses some times, then answers."""

    def __init__(self, *refusals: Callable[[], web.Response]) -> None:
        self.refusals = list(refusals)

    async def answer(self, _: web.Request) -> web.Response:
        return self.refusals.pop(0)() if self.refusals else web.json_response({"value": 7})


async def test_troubles_that_pass_are_outwaited(session: aiohttp.ClientSession) -> None:
    clock = HurriedClock()
    server = Recovering(
        lambda: web.Response(status=429, headers={"Retry-After": "3"}), lambda: web.Response(status=500)
    )
    async with serving(server.answer) as url:
        outcome = await JsonProvider(session, JsonRequest(f"{url}/m", value=VALUE), clock).measure(QUERY)
    assert outcome.value == 7.0
    assert clock.pauses == [3.0, 0.5]


async def test_a_server_that_never_answers_costs_no_more_than_the_time_allowed(session: aiohttp.ClientSession) -> None:
    async def hang(_: web.Request) -> web.Response:
        await anyio.sleep(30)
        return web.Response()

    class Clock(HurriedClock):
        def monotonic(self) -> float:
            return anyio.current_time() + self.seconds

    async with serving(hang) as url:
        began = anyio.current_time()
        provider = JsonProvider(session, JsonRequest(f"{url}/m", value=VALUE), Clock(), Access(timeout_s=0.2))
        outcome = await provider.measure(QUERY)
        assert anyio.current_time() - began < 2.0
    assert "did not answer within 0.2 s" in outcome.detail


async def test_an_address_that_cannot_be_asked_is_refused(session: aiohttp.ClientSession) -> None:
    with pytest.raises(SourceMisconfigured):
        JsonProvider(session, JsonRequest("http://[::1/m?q={{query}}"), HurriedClock())


async def test_a_query_that_is_no_text_is_an_error(session: aiohttp.ClientSession) -> None:
    in_address = JsonRequest("http://127.0.0.1:1/m?q={{query}}", value=VALUE)
    in_body = JsonRequest("http://127.0.0.1:1/m", Method.POST, "{{query}}", VALUE)
    for request in (in_address, in_body):
        outcome = await JsonProvider(session, request, HurriedClock()).measure(Query("\ud800", START, START))
        assert outcome.kind is OutcomeKind.ERROR
        assert "the query cannot be put into the request" in outcome.detail


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("metrics.example/x", "is not an address"),
        ("https://{{query}}/x", "is not an address"),
        ("https://me:pw@metrics.example/x", "is not an address"),
        ("https://metrics.example/x#{{query}}", "is not an address"),
        ("https://metrics.example/x?q={{query}} or", "is not an address"),
        ("https://metrics.example/{{query}}?a=b", "has {{query}} in its path"),
        ("https://metrics.example/x?{{query}}=1", "has a placeholder in the name of a parameter"),
        ("https://metrics.example/x?q={{qeury}}", "has {{qeury}}, which nothing gives a value; known here: {{query}}, "),
    ],
)
def test_addresses_that_would_let_a_query_out_are_refused(address: str, reason: str) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        check_address(address)
    assert reason in str(caught.value)


def test_addresses_with_placeholders_for_values() -> None:
    for address in (
        "https://metrics.example",
        "http://127.0.0.1:8080/{{armory.startTimeEpochSeconds}}/x?q={{ query }}&r=a{{query}}b",
        "https://metrics.example?q={{query}}",
    ):
        check_address(address)
    check_names('{"not": "a placeholder"} {{}')


def test_where_a_query_is_used() -> None:
    assert uses_query("https://a/?q={{query}}", None)
    assert uses_query("https://a/", {"a": [1, {"b": "x{{ query }}"}]})
    assert not uses_query("https://a/?q={{armory.endTimeIso8601}}", {"{{query}}": "query"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("a..b", "unexpected '.' at character 3"),
        ("a[", "it ends too early"),
        ("a b", "unexpected 'b' at character 3"),
        ("a['", "is not a JMESPath expression"),
        ("join('', @)", "calls join(...); known here: abs, avg, "),
        ("a.to_string(@)", "calls to_string(...)"),
        ("[?f(@)]", "calls f(...)"),
        ("[@,@]|" * 5 + "@", "makes too many copies of the document"),
        ("[@,@][]" * 5, "makes too many copies of the document"),
        ("[*]" * 100, "is nested too deeply"),
        ("!" * 900 + "a", "is nested too deeply"),
        ("(" * 900, "is not a JMESPath expression"),
        ("a" * 1001, "has more than 1000 characters"),
    ],
)
def test_expressions_that_cannot_be_used(text: str, reason: str) -> None:
    with pytest.raises(JsonExpressionError) as caught:
        JsonExpression(text)
    assert reason in str(caught.value)


_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
)
_PIECES = ["a", "b", ".", "[0]", "[*]", "[]", "[?a]", "|", "@", "sum(", "max(", "length(", ")", ",", "`1`", "'x'", " "]
_PIECES += ["sort_by(", "&a", "[::0]", "==", "<", "!", "{a:", "}", "[", "]", "avg(", "abs(", "to_number(", "map(", "-1"]
_EXPRESSIONS = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join) | st.text(max_size=8)


@given(_EXPRESSIONS, _DOCUMENTS)
def test_no_expression_and_no_document_whatsoever_raise_anything_else(text: str, document: object) -> None:
    try:
        found = JsonExpression(text).apply(document)
    except (JsonExpressionError, NotApplicable):
        return
    assert read_found(found, document, str).kind in OutcomeKind

"""What a transport makes of everything that can come back from an address, and of nothing coming back."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import anyio
import pytest
from aiohttp import web

from adapters.kubernetes import errors
from adapters.kubernetes.connections import Limits
from adapters.kubernetes.credentials import Login
from adapters.kubernetes.transport import Transport, open_transport
from engine.errors import Deposed
from tests.kubernetes.scripted_api import (
    Answer,
    ScriptedApi,
    ScriptedCredentials,
    answer,
    cut,
    event,
    hang,
    html,
    redirect,
    replica_set,
    scripted_api,
    status,
    stream,
    text,
)
from tests.turns import Mandate

WHAT = "GET deployments.apps shop/web"
PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
WEB = {"kind": "Deployment", "metadata": {"name": "web"}}
GROUPS = {"kind": "APIGroupList", "groups": []}
QUICK = Limits(request_seconds=0.2, connect_seconds=0.1)


@asynccontextmanager
async def talking(*answers: Answer, limits: Limits | None = None) -> AsyncIterator[tuple[ScriptedApi, Transport]]:
    async with scripted_api() as api:
        api.others.extend(answers)
        async with open_transport(ScriptedCredentials(api.server), limits=limits) as transport:
            yield api, transport


async def get(transport: Transport) -> object:
    return await transport.request("GET", PATH, what=WHAT)


async def post(transport: Transport) -> object:
    return await transport.request("POST", PATH, what="CREATE x", body={"a": 1})


async def watch(transport: Transport, *, silence: float = 5.0) -> list[bytes]:
    async with transport.watch(PATH, what="WATCH x", query={"watch": "true"}, silence_seconds=silence) as lines:
        return [line async for line in lines]


# --- leadership ----------------------------------------------------------------------------------------------------------


async def test_who_does_not_lead_may_look_and_write_nothing() -> None:
    async with scripted_api() as api:
        api.others.append(answer(200, WEB))
        async with open_transport(ScriptedCredentials(api.server), leadership=Mandate(0)) as transport:
            assert await get(transport) == WEB
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                with pytest.raises(Deposed):
                    await transport.request(method, PATH, what="a write", body={})
        assert [method for method, _, _ in api.requests] == ["GET"]


async def test_leadership_that_is_lost_while_a_write_waits_for_its_connection_keeps_it_from_being_sent() -> None:
    """Between the first question and the first byte lie names, a connection and TLS; a process may be stopped there for hours."""
    async with scripted_api() as api:
        mandate = Mandate(1)
        async with open_transport(ScriptedCredentials(api.server), leadership=mandate) as transport:
            with pytest.raises(Deposed):
                await post(transport)
        assert mandate.asked == 2
        assert api.requests == []


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_an_object_is_returned_and_the_request_says_who_asks_what() -> None:
    async with talking(answer(201, WEB)) as (api, transport):
        made = await transport.request(
            "PATCH",
            PATH,
            what=WHAT,
            query={"fieldManager": "headgate"},
            body={"x": "ü"},
            content_type="application/apply-patch+yaml",
        )
        assert made == WEB
        assert api.requests == [("PATCH", PATH, {"fieldManager": "headgate"})]
        sent = api.headers[0]
        assert sent["Content-Type"] == "application/apply-patch+yaml"
        assert sent["Authorization"] == "Bearer token-0"
        assert sent["User-Agent"].startswith("headgate/")
        assert transport.counts == {"PATCH": 1}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (status(403, "Forbidden"), errors.Forbidden),
        (status(404, "NotFound"), errors.NotFound),
        (status(409, "Conflict"), errors.Conflict),
        (status(422, "Invalid"), errors.Invalid),
        (status(500, "InternalError"), errors.ServerError),
        (html(502), errors.MalformedAnswer),
        (html(404), errors.MalformedAnswer),
        (html(200), errors.MalformedAnswer),
        (redirect("/login"), errors.MalformedAnswer),
        (text(200, '{"kind": "Depl', content_type="application/json"), errors.MalformedAnswer),
        (text(200, "[" * 100_000, content_type="application/json"), errors.MalformedAnswer),
        (answer(200, ["not", "an", "object"]), errors.MalformedAnswer),
    ],
)
async def test_every_answer_that_is_not_the_asked_for_object_is_an_error(
    said: Answer, expected: type[Exception]
) -> None:
    async with talking(said) as (api, transport):
        for ask in (get, post):
            with pytest.raises(expected) as caught:
                await ask(transport)
            assert "proxy" not in str(caught.value) or "secret" not in str(caught.value)
        assert len(api.requests) == 2, "a redirect was followed"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("²", None), ("-3", None), ("", None)],
)
async def test_the_wish_to_be_asked_later_is_read_where_it_can_be(asked: str, expected: float | None) -> None:
    async with talking(status(429, "TooManyRequests", Retry_After=asked)) as (_, transport):
        with pytest.raises(errors.TooManyRequests) as caught:
            await get(transport)
        assert caught.value.retry_after == expected


async def test_a_bare_404_is_believed_of_an_api_server_only() -> None:
    bare = text(404, "404 page not found\n")
    async with talking(bare, answer(200, GROUPS)) as (api, transport):
        with pytest.raises(errors.NotFound, match="does not serve"):
            await get(transport)
        assert [path for _, path, _ in api.requests] == [PATH, "/apis"]
    async with talking(bare, status(403, "Forbidden")) as (_, transport):
        with pytest.raises(errors.NotFound):
            await get(transport)
    for stranger in (bare, html(200), answer(200, {"kind": "Login"}), status(200, "Fine")):
        async with talking(bare, stranger) as (_, transport):
            with pytest.raises(errors.MalformedAnswer):
                await get(transport)


async def test_nothing_of_an_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with talking(answer(200, {"kind": "Secret", "data": {"password": "hunter2"}}), html(500)) as (_, transport):
        await get(transport)
        with pytest.raises(errors.MalformedAnswer):
            await get(transport)
    assert "hunter2" not in caplog.text
    assert "secret of a proxy" not in caplog.text


# --- no answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ask", "maybe"), [(get, False), (post, True)])
@pytest.mark.parametrize("silence", [hang(), cut()])
async def test_a_write_without_an_answer_may_have_been_done(
    ask: Callable[[Transport], Awaitable[object]], maybe: bool, silence: Answer
) -> None:
    async with talking(silence, limits=QUICK) as (_, transport):
        with pytest.raises(errors.Unreachable) as caught:
            await ask(transport)
        assert caught.value.maybe_applied is maybe


async def test_a_write_that_found_nobody_was_not_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with open_transport(ScriptedCredentials(f"http://127.0.0.1:{port}")) as transport:
        with pytest.raises(errors.Unreachable, match=f"127.0.0.1:{port}") as caught:
            await post(transport)
        assert not caught.value.maybe_applied


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"kind": ')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with talking(break_off) as (_, transport):
        with pytest.raises(errors.Unreachable) as caught:
            await post(transport)
        assert caught.value.maybe_applied


# --- credentials -----------------------------------------------------------------------------------------------------


def only(token: str, then: Answer) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        refused = request.headers["Authorization"] != f"Bearer {token}"
        return await (status(401, "Unauthorized") if refused else then)(request)

    return respond


async def test_credentials_are_renewed_once_for_everybody_who_was_refused() -> None:
    async with scripted_api() as api:
        api.others.append(only("token-1", answer(200, WEB)))
        credentials = ScriptedCredentials(api.server)
        async with open_transport(credentials) as transport, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(get, transport)
        assert credentials.renewed == 1


async def test_credentials_that_stay_refused_are_an_error_after_one_more_try() -> None:
    async with talking(status(401, "Unauthorized")) as (api, transport):
        with pytest.raises(errors.Unauthorized):
            await get(transport)
        assert len(api.requests) == 2


async def test_when_there_is_nothing_new_to_try_nothing_is_tried() -> None:
    class Stubborn(ScriptedCredentials):
        async def renew(self, refused: Login) -> bool:
            return False

    async with scripted_api() as api:
        api.others.append(status(401, "Unauthorized"))
        api.watches.append(status(401, "Unauthorized"))
        async with open_transport(Stubborn(api.server)) as transport:
            for ask in (get, watch):
                with pytest.raises(errors.Unauthorized):
                    await ask(transport)
        assert len(api.requests) == 2


@pytest.mark.parametrize("echo", [lambda text: text, lambda text: json.dumps(text)[1:-1], lambda text: quote(text, safe="")])
@pytest.mark.parametrize("password", ['sesame/A+="%-open', "sesäme-open"])
async def test_a_server_that_repeats_the_login_does_not_get_it_into_the_message(
    echo: Callable[[str], str], password: str
) -> None:
    class Basic(ScriptedCredentials):
        def _log_in(self) -> Login:
            shown = base64.b64encode(f"ada:{password}".encode()).decode()
            return Login((("Authorization", f"Basic {shown}"),), None)

    async with scripted_api() as api:
        api.others.append(status(403, "Forbidden", f"who is {echo(password)}?"))
        async with open_transport(Basic(api.server)) as transport:
            with pytest.raises(errors.Forbidden, match=r"who is \*\*\*\?"):
                await get(transport)


async def test_a_login_that_fails_is_told_to_the_request_that_needed_it() -> None:
    class Broken(ScriptedCredentials):
        async def renew(self, refused: Login) -> bool:
            raise errors.CredentialsFailed("login", "the plugin is gone")

    async with scripted_api() as api:
        api.others.append(status(401, "Unauthorized"))
        async with open_transport(Broken(api.server)) as transport:
            with pytest.raises(errors.CredentialsFailed, match="the plugin is gone"):
                await get(transport)


async def test_a_refused_watch_is_begun_again_with_renewed_credentials() -> None:
    async with talking() as (api, transport):
        api.watches.append(only("token-1", stream({"type": "A"})))
        assert await watch(transport) == [b'{"type": "A"}']
        assert transport.counts == {"WATCH": 2}


# --- watches ---------------------------------------------------------------------------------------------------------


async def test_lines_arrive_whole_however_they_were_cut_and_however_long_they_are() -> None:
    huge = {"type": "ADDED", "object": {"data": "x" * 5_000_000}}

    async def dribble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in (
            b'{"a"',
            b":1}\n",
            b'\n\n{"b":2}\n{"c":',
            b"3}\n",
            json.dumps(huge).encode() + b"\n",
            b'{"cut": "o',
        ):
            await response.write(piece)
            await asyncio.sleep(0.001)
        return response

    async with talking() as (api, transport):
        api.watches.append(dribble)
        first, second, third, last = await watch(transport)
        assert (first, second, third) == (b'{"a":1}', b'{"b":2}', b'{"c":3}')
        assert json.loads(last) == huge


async def test_a_line_without_an_end_is_given_up() -> None:
    async with talking(limits=Limits(line_bytes=100_000)) as (api, transport):
        api.watches.append(stream("x" * 1_000_000))
        with pytest.raises(errors.MalformedAnswer, match="longer than 100000 bytes"):
            await watch(transport)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (status(410, "Expired"), errors.Expired),
        (status(403, "Forbidden"), errors.Forbidden),
        (status(429, "TooManyRequests", Retry_After="3"), errors.TooManyRequests),
        (html(502), errors.MalformedAnswer),
        (html(200), errors.MalformedAnswer),
        (redirect("/login"), errors.MalformedAnswer),
        (answer(201, {}), errors.MalformedAnswer),
        (cut(), errors.Unreachable),
        (hang(), errors.Unreachable),
        (stream({"type": "A"}, then="break"), errors.Unreachable),
    ],
)
async def test_a_watch_that_does_not_begin_or_breaks_off_is_an_error(said: Answer, expected: type[Exception]) -> None:
    async with talking(limits=QUICK) as (api, transport):
        api.watches.append(said)
        with pytest.raises(expected) as caught, anyio.fail_after(5):
            await watch(transport, silence=60.0)
        assert "secret" not in str(caught.value)


async def test_a_watch_in_which_nothing_comes_any_more_is_dead() -> None:
    async with talking() as (api, transport):
        api.watches.append(stream({"type": "A"}, then="stay"))
        with pytest.raises(errors.Unreachable, match="timed out"):
            await watch(transport, silence=0.1)


async def test_a_watch_may_last_longer_than_any_request() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for number in range(4):
            await response.write(f"{number}\n".encode())
            await asyncio.sleep(0.1)
        return response

    async with talking(limits=QUICK) as (api, transport):
        api.watches.append(slow)
        assert len(await watch(transport)) == 4


async def test_what_goes_wrong_with_the_reader_of_a_watch_is_not_the_watchs_fault() -> None:
    async with talking() as (api, transport):
        api.watches.append(stream({"type": "A"}, then="stay"))
        with pytest.raises(TimeoutError, match="mine"):
            async with transport.watch(PATH, what="x", query={"watch": "true"}, silence_seconds=5) as lines:
                async for _ in lines:
                    raise TimeoutError("mine")


async def test_more_watches_than_a_common_pool_holds_do_not_keep_requests_waiting() -> None:
    async with talking(answer(200, WEB), limits=Limits(requests_at_once=2)) as (api, transport):
        api.watches.append(stream(event("ADDED", replica_set("web", "1")), then="stay"))
        opened = asyncio.Semaphore(0)

        async def keep_watching() -> None:
            async with transport.watch(PATH, what="x", query={"watch": "true"}, silence_seconds=60) as lines:
                async for _ in lines:
                    opened.release()

        async with anyio.create_task_group() as tasks:
            for _ in range(110):
                tasks.start_soon(keep_watching)
            with anyio.fail_after(10):
                for _ in range(110):
                    await opened.acquire()
                assert await get(transport) == WEB
            tasks.cancel_scope.cancel()

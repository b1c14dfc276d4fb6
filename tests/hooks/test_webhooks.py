"""Calling webhooks, on a real HTTP server: what is sent, what counts as taken, and what is never said."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from adapters.hooks import webhooks
from adapters.hooks.webhooks import WebhookCaller
from adapters.secrets import Secrets
from adapters.settings import SecretReference
from engine.errors import ActionError, Deposed, Rejected, Retryable
from engine.events import ActionSucceeded
from engine.gates import sign_callback
from engine.model import Action, ActionKind, RolloutSpec, Snapshot, State, Webhook, WebhookHeader
from tests.builders import percent, rollout_spec, target_plan
from tests.clocks import START
from tests.turns import Mandate

PUBLIC = "https://headgate.example/hg"
BODY = (
    '{"app": "{{armory.applicationName}}", "rs": "{{armory.replicaSetName}}", '
    '"back": "{{armory.callbackUri}}/callback"}'
)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return START + timedelta(hours=9)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class CalledSide:
    """The other system. `answers` are given in turn, the last one for ever."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    answers: list[Callable[[], Awaitable[web.StreamResponse]]] = field(default_factory=list)

    def answer(self, *statuses: int, **headers: str) -> None:
        def responder(status: int) -> Callable[[], Awaitable[web.StreamResponse]]:
            async def respond() -> web.StreamResponse:
                return web.Response(status=status, text="the answer holds a-secret", headers=headers)

            return respond

        self.answers = [responder(status) for status in statuses]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(Received(request.method, request.raw_path, dict(request.headers), text))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer()


@pytest.fixture
async def called() -> AsyncIterator[CalledSide]:
    side = CalledSide()
    side.answer(200)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", side.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    side.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield side
    await runner.cleanup()


def rollout(hook: Webhook) -> RolloutSpec:
    plan = replace(target_plan([percent(10), hook]), context={"region": "eu"})
    return rollout_spec(plan)


async def call(
    hook: Webhook, *, attempt: int = 1, public_url: str | None = PUBLIC, secrets: Secrets | None = None
) -> ActionSucceeded:
    spec = rollout(hook)
    snapshot = Snapshot(State.CALLING, START, step=1, facts={"web.canary_name": "web-7f9c"})
    action = Action(7, "call:2:smoke", ActionKind.CALL_WEBHOOK, {"gate": "step:1"}, attempt=attempt)
    async with aiohttp.ClientSession() as session:
        return await WebhookCaller(session, secrets or Secrets({}, {}), public_url, Noon()).perform(spec, snapshot, action)


async def failure(hook: Webhook, **options: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await call(hook, **options)
    return caught.value


def hook(url: str, **options: Any) -> Webhook:
    return Webhook("smoke", options.pop("method", "POST"), url, **options)


# --- what is sent ------------------------------------------------------------------------------------------------------


async def test_the_call_carries_what_the_file_asks_for(called: CalledSide) -> None:
    step = hook(
        called.url + "/run/{{armory.applicationName}}?region={{context.region}}",
        method="PUT",
        headers=(WebhookHeader("X-Team", "{{context.team}}"),),
        body=BODY,
        context={"team": "shop"},
    )
    done = await call(step)
    received = called.requests[0]
    assert (received.method, received.path) == ("PUT", "/run/shop?region=eu")
    assert received.headers["X-Team"] == "shop"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Idempotency-Key"] == "r1.production/step:1"
    token = sign_callback(rollout(step), "step:1")
    assert json.loads(received.body) == {
        "app": "shop",
        "rs": "web-7f9c",
        "back": f"{PUBLIC}/v1/callbacks/r1.production/{token}/callback",
    }
    assert done.number == 7
    assert done.note == f"webhook smoke: {called.url} answered 200; it calls back with its verdict"


async def test_names_that_an_address_cannot_hold_are_encoded_in_the_callback(called: CalledSide) -> None:
    step = hook(called.url, body="{{armory.callbackUri}}")
    spec = rollout_spec(target_plan([step]), rollout="r1.eu/west 1")
    action = Action(1, "call", ActionKind.CALL_WEBHOOK, {"gate": "step:0"})
    async with aiohttp.ClientSession() as session:
        await WebhookCaller(session, Secrets({}, {}), PUBLIC, Noon()).perform(spec, Snapshot(State.CALLING, START), action)
    assert called.requests[0].body.startswith(f"{PUBLIC}/v1/callbacks/r1.eu%2Fwest%201/")


async def test_values_keep_json_whole_and_other_text_as_it_is(called: CalledSide) -> None:
    quoted = {"say": 'a "quoted" word'}
    await call(hook(called.url, body='{"t": "{{context.say}}"}', context=quoted, callback=False))
    plain = (WebhookHeader("content-type", "text/plain"),)
    await call(hook(called.url, body="{{context.say}}", headers=plain, context=quoted, callback=False))
    assert [received.body for received in called.requests] == ['{"t": "a \\"quoted\\" word"}', 'a "quoted" word']
    assert called.requests[1].headers["Content-Type"] == "text/plain"


async def test_secrets_come_from_the_settings(called: CalledSide, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    references = {"hook": SecretReference(file=file), "room": SecretReference(env="ROOM")}
    secrets = Secrets(references, {"ROOM": "42"})
    bearer = (WebhookHeader("Authorization", "Bearer {{secrets.hook}}"),)
    await call(hook(called.url + "/{{secrets.room}}", headers=bearer, callback=False), secrets=secrets)
    file.write_text("rotated")
    await call(hook(called.url, headers=bearer, callback=False), secrets=secrets)
    assert [received.headers["Authorization"] for received in called.requests] == ["Bearer s3cret", "Bearer rotated"]
    assert called.requests[0].path == "/42"


# --- the signature -----------------------------------------------------------------------------------------------------


async def test_a_signed_call_can_be_verified_by_whoever_has_the_key(called: CalledSide, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hook-key-1\n")
    secrets = Secrets({"hook-key": SecretReference(file=key)}, {})
    await call(hook(called.url, body='{"app": "{{armory.applicationName}}"}', signing_secret="hook-key"), secrets=secrets)
    received = called.requests[0]
    stated = dict(part.split("=", 1) for part in received.headers["X-Headgate-Signature"].split(","))
    assert stated["t"] == str(int(Noon().now().timestamp()))
    message = f"{stated['t']}.{received.body}".encode()
    assert stated["v1"] == hmac.new(b"hook-key-1", message, hashlib.sha256).hexdigest()


async def test_a_call_without_a_body_is_signed_over_its_time_alone(called: CalledSide) -> None:
    secrets = Secrets({"hook-key": SecretReference(env="KEY")}, {"KEY": "k"})
    await call(hook(called.url, method="GET", signing_secret="hook-key", callback=False), secrets=secrets)
    time = str(int(Noon().now().timestamp()))
    digest = hmac.new(b"k", f"{time}.".encode(), hashlib.sha256).hexdigest()
    assert called.requests[0].headers["X-Headgate-Signature"] == f"t={time},v1={digest}"


async def test_a_call_that_cannot_be_signed_is_not_made(called: CalledSide) -> None:
    unknown = await failure(hook(called.url, signing_secret="gone"))
    assert "its signingSecret gone is not one of the daemon's secrets" in str(unknown)
    secrets = Secrets({"hook-key": SecretReference(env="KEY")}, {})
    unset = await failure(hook(called.url, signing_secret="hook-key"), secrets=secrets)
    assert "the variable KEY of the daemon's environment is empty or not set" in str(unset)
    assert called.requests == []


# --- what counts as taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(called: CalledSide, status: int) -> None:
    called.answer(status)
    assert (await call(hook(called.url))).number == 7


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 429, 500, 503])
async def test_anything_else_is_a_failed_contact(called: CalledSide, status: int) -> None:
    called.answer(status, Location="/elsewhere")
    error = await failure(hook(called.url + "/path?key=a-secret"))
    assert isinstance(error, Rejected)
    assert f"{called.url} answered {status}" in str(error)
    assert "a-secret" not in str(error)
    assert len(called.requests) == 1


async def test_the_first_contact_is_repeated_as_often_as_the_step_says(called: CalledSide) -> None:
    called.answer(503)
    step = hook(called.url, retries=2)
    assert isinstance(await failure(step, attempt=1), Retryable)
    assert "contact 2 of 3" in str(await failure(step, attempt=2))
    last = await failure(step, attempt=3)
    assert isinstance(last, Rejected)
    assert str(last).endswith("(3 contacts)")


async def test_a_called_side_may_say_when_it_wants_to_be_asked_again(called: CalledSide) -> None:
    for header, seconds in (("7", 7.0), ("9999999", 300.0), ("soon", None), ("-1", None), ("\u0667", None)):
        called.answer(503, **{"Retry-After": header})
        error = await failure(hook(called.url, retries=1))
        assert isinstance(error, Retryable)
        assert error.retry_after_seconds == seconds


async def test_no_answer_in_time(called: CalledSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "CONTACT_SECONDS", 0.1)
    never = asyncio.Event()

    async def hang() -> web.StreamResponse:
        await never.wait()
        return web.Response()

    called.answers = [hang]
    assert "gave no answer within 0.1 s" in str(await failure(hook(called.url)))
    never.set()


async def test_a_cancelled_call_is_cancelled(called: CalledSide) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def hang() -> web.StreamResponse:
        arrived.set()
        await never.wait()
        return web.Response()

    called.answers = [hang]
    calling = asyncio.ensure_future(call(hook(called.url)))
    await arrived.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    never.set()


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_sides_that_are_not_there_or_speak_something_else() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert "cannot be reached: connect" in str(await failure(hook(f"http://{address}/?k=a-secret"))).lower()
    async with raw_server(b"") as url:
        assert "closed the connection without an answer" in str(await failure(hook(url)))
    async with raw_server(b"SSH-2.0-x\r\n") as url:
        assert "did not answer with valid HTTP" in str(await failure(hook(url)))
        secured = await failure(hook(url.replace("http://", "https://") + "/a-secret"))
        assert "a-secret" not in str(secured)
        assert "https" in str(secured)


# --- what is refused before it is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"url": "{{context.nothing}}"}, "{{context.nothing}} has no value here"),
        ({"url": "ftp://x"}, "its uriTemplate gives no address"),
        ({"url": "http://"}, "its uriTemplate gives no address"),
        ({"url": "http://x/a b"}, "its uriTemplate gives no address"),
        ({"url": "http://[::1"}, "its uriTemplate gives no address"),
        ({"headers": (WebhookHeader("X-A", "a\r\nX-B: b"),)}, "the value of header X-A holds a line break"),
        ({"headers": (WebhookHeader("X A", "a"),)}, "a header's name holds a character that HTTP does not allow"),
        ({"body": "{{secrets.hook}}"}, 'add "hook" to "secrets" in the daemon\'s settings'),
        ({"public_url": None}, "set publicUrl in its settings, or disableCallback"),
    ],
)
async def test_what_cannot_be_called_is_rejected_with_what_to_do(
    called: CalledSide, options: dict[str, Any], sentence: str
) -> None:
    public_url = options.pop("public_url", PUBLIC)
    error = await failure(hook(options.pop("url", called.url), retries=5, **options), public_url=public_url)
    assert isinstance(error, Rejected)
    assert "webhook smoke: " in str(error)
    assert sentence in str(error)
    assert called.requests == []


async def test_without_a_callback_no_public_address_is_needed(called: CalledSide) -> None:
    assert (await call(hook(called.url, callback=False), public_url=None)).note.endswith("answered 200")
    error = await failure(hook(called.url, callback=False, body="{{armory.callbackUri}}"), public_url=None)
    assert "set publicUrl" in str(error)


async def test_a_secret_that_is_not_there_is_named_by_its_place(called: CalledSide, tmp_path: Path) -> None:
    for reference, sentence in (
        (SecretReference(file=tmp_path / "none"), "none cannot be read: no such file or directory"),
        (SecretReference(env="NOTHING"), "the variable NOTHING of the daemon's environment is empty or not set"),
    ):
        step = hook(called.url, body="{{secrets.hook}}")
        error = await failure(step, secrets=Secrets({"hook": reference}, {}))
        assert isinstance(error, Rejected)
        assert sentence in str(error)


async def test_a_host_that_is_a_secret_is_not_said(called: CalledSide) -> None:
    called.answer(500)
    host = called.url.removeprefix("http://")
    secrets = Secrets({"host": SecretReference(env="HOST")}, {"HOST": host})
    error = await failure(hook("http://{{secrets.host}}/", callback=False), secrets=secrets)
    assert host not in str(error)
    assert "the called side answered 500" in str(error)


@pytest.mark.parametrize("value", ["AbC123", "x1.AbC123", "Bücher"])
async def test_nor_is_one_whose_letters_are_made_small(value: str) -> None:
    secrets = Secrets({"host": SecretReference(env="HOST")}, {"HOST": value})
    error = await failure(hook("http://{{{secrets.host}}}.hooks.invalid:9/", callback=False), secrets=secrets)
    assert "webhook smoke: the called side was not reached" in str(error)
    assert "hooks" not in str(error)


async def test_who_does_not_lead_any_more_calls_nobody(called: CalledSide) -> None:
    step = hook(called.url)
    action = Action(7, "call:2:smoke", ActionKind.CALL_WEBHOOK, {"gate": "step:1"})
    async with aiohttp.ClientSession() as session:
        caller = WebhookCaller(session, Secrets({}, {}), PUBLIC, Noon(), leadership=Mandate(0))
        with pytest.raises(Deposed):
            await caller.perform(rollout(step), Snapshot(State.CALLING, START, step=1), action)
    assert called.requests == []

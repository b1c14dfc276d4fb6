"""Called systems report their verdict: once, to the right address, and only acknowledged when it is on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from msgspec.structs import replace

from adapters.http.bodies import CommandBody
from engine.events import CommandKind
from engine.gates import sign_callback
from engine.model import State
from tests.http.stage import WEBHOOK, Daemon, Stage, submission, until


@dataclass
class CalledSide:
    """Another system, which remembers what it was sent."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    busy: int = 0
    """How many of the next calls it turns away."""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(await request.json())
        self.keys.append(request.headers["Idempotency-Key"])
        self.busy -= 1
        return web.Response(status=503 if self.busy >= 0 else 202)


@pytest.fixture
async def called() -> AsyncIterator[CalledSide]:
    side = CalledSide()
    application = web.Application()
    application.router.add_post("/hook", side.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    side.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield side
    await runner.cleanup()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, public_url="https://headgate.example")


async def post(daemon: Daemon, path: str, body: object) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(daemon.running.settings.socket))) as session,
        session.post(f"http://headgate{path}", data=data) as response,
    ):
        return response.status, await response.json()


async def begin(daemon: Daemon, called: CalledSide) -> tuple[str, str]:
    """A release whose webhook was called: its id, and the path that it is to call back."""
    release = (await daemon.submit(WEBHOOK, url=called.url)).release.id

    async def is_waiting() -> bool:
        rollout = await daemon.rollout(release)
        return rollout.state is State.CALLING and rollout.steps[0].note.startswith("called")

    await until(is_waiting)
    address = called.requests[-1]["back"]
    assert address.startswith("https://headgate.example/v1/callbacks/")
    return release, address.removeprefix("https://headgate.example")


async def test_a_good_verdict_lets_the_rollout_go_on(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    status, body = await post(daemon, path, {"success": True, "mdMessage": "all green", "more": [1]})
    assert (status, body["success"]) == (200, True)
    await daemon.until_state(release, State.SUCCEEDED)
    journal = await daemon.client.journal(release)
    assert any("the called side reported: passed (all green)" in entry.text for entry in journal.entries)


async def test_a_bad_verdict_undoes_it_with_its_reason(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    assert (await post(daemon, path, {"success": False, "mdMessage": "3 tests\n\x1b[31mfailed"}))[0] == 200
    rollout = await daemon.until_state(release, State.ROLLED_BACK)
    assert rollout.reason == "webhook smoke reported a failure: 3 tests  [31mfailed"


async def test_a_busy_side_is_called_again_as_the_same_call(daemon: Daemon, called: CalledSide) -> None:
    called.busy = 1
    body = submission(WEBHOOK, url=called.url)
    body = replace(body, text=body.text.replace("method: POST", "method: POST\n    retryCount: 1"))
    release = (await daemon.client.submit(body)).release.id

    async def is_waiting() -> bool:
        return (await daemon.rollout(release)).steps[0].note.startswith("called")

    await until(is_waiting)
    assert len(called.keys) == 2
    assert called.keys[0] == called.keys[1]
    journal = await daemon.client.journal(release)
    assert any("answered 503 Service Unavailable (contact 1 of 2)" in entry.text for entry in journal.entries)


async def test_a_side_that_stays_busy_undoes_the_rollout(daemon: Daemon, called: CalledSide) -> None:
    called.busy = 1
    release = (await daemon.submit(WEBHOOK, url=called.url)).release.id
    rollout = await daemon.until_state(release, State.ROLLED_BACK)
    assert "answered 503 Service Unavailable" in rollout.reason


async def test_a_verdict_counts_once(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    answers = await asyncio.gather(*(post(daemon, path, {"success": True}) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]
    await daemon.until_state(release, State.SUCCEEDED)
    status, body = await post(daemon, path, {"success": False})
    assert status == 409
    assert "already given" in body["error"]["message"]


async def test_a_verdict_after_an_abort_changes_nothing(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    await daemon.client.command(release, CommandBody(CommandKind.ABORT))
    await daemon.until_state(release, State.ROLLED_BACK)
    assert (await post(daemon, path, {"success": True}))[0] == 409


async def test_a_verdict_while_the_rollout_is_held_is_kept(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    await daemon.client.command(release, CommandBody(CommandKind.PAUSE))
    assert (await post(daemon, path, {"success": True}))[0] == 200
    assert (await daemon.rollout(release)).state is State.CALLING
    await daemon.client.command(release, CommandBody(CommandKind.RESUME))
    await daemon.until_state(release, State.SUCCEEDED)


async def test_an_address_that_was_never_given_out_is_not_found(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    token = path.split("/")[4]
    for wrong in (
        path.replace(token, "0" * 64),
        path.replace(token, token[:-1]),
        path.replace(token, "%FF"),
        path.replace(release, "nothing"),
        path.replace("production", "staging"),
    ):
        status, body = await post(daemon, wrong, {"success": True})
        assert (status, body["error"]["message"]) == (404, "there is nothing at this address")
    stored = daemon.running.engine.rollouts(release)[0]
    other_step = path.replace(token, sign_callback(stored.spec, "step:1"))
    assert (await post(daemon, other_step, {"success": True}))[0] == 404
    assert (await daemon.rollout(release)).state is State.CALLING


RUBBISH = (b"", b"{", b"[]", b'{"success": "yes"}', b'{"mdMessage": "x"}', b"\xff", b"null", b'{"x": ' + b"[" * 10_000)


async def test_rubbish_is_refused_and_the_answer_may_still_come(daemon: Daemon, called: CalledSide) -> None:
    release, path = await begin(daemon, called)
    for rubbish in RUBBISH:
        assert (await post(daemon, path, rubbish))[0] == 400
    assert (await post(daemon, path, {"success": True}))[0] == 200
    await daemon.until_state(release, State.SUCCEEDED)


async def test_the_address_is_good_after_a_restart(stage: Stage, called: CalledSide) -> None:
    async with stage.daemon() as first:
        release, path = await begin(first, called)
    async with stage.daemon() as second:
        assert (await post(second, path, {"success": True}))[0] == 200
        await second.until_state(release, State.SUCCEEDED)
    assert len(called.requests) == 1

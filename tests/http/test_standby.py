"""The API of a daemon that waits for its turn, as those see it who have no token of its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from adapters.http.server import serve_api
from adapters.http.standby import build_standby_application
from adapters.settings import Address
from engine.clock import SystemClock
from engine.errors import Deposed
from tests.http.stage import Stage, token


@dataclass
class Waiting:
    """Implements `adapters.leadership.Turn` for a daemon whose turn it is not."""

    me: str = "b"
    leader: str = "a"
    leads: bool = False
    trouble: str = ""
    transitions: int = 1

    def require(self) -> None:
        raise Deposed

    def behind_seconds(self, account: str) -> float:
        return 0.0


@asynccontextmanager
async def standby(tmp_path: Path, turn: Waiting) -> AsyncIterator[str]:
    """Its address."""
    stage = Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", 0))
    application = build_standby_application(turn, lambda: stage.tokens, SystemClock(), stage.listen)
    async with serve_api(application, stage.settings.socket, stage.listen) as bound:
        yield f"http://{bound}"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def said(http: aiohttp.ClientSession, method: str, url: str) -> tuple[int, str]:
    async with http.request(method, url) as answer:
        body = await answer.json()
        return answer.status, body["message"] if "ready" in body else body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/callbacks/r1.production/tok/callback"),
        ("GET", "/"),
        ("GET", "/ui/"),
        ("GET", "/ui/assets/page.js"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/previews/abc/"),
        ("POST", "/v1/previews/r1.production/web/tok/some/where"),
        ("GET", "/v1/releases"),
    ],
)
async def test_nobody_needs_a_token_to_hear_who_leads(
    tmp_path: Path, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    """A caller of a webhook repeats what was answered with 503, and takes 401 for the last word."""
    async with standby(tmp_path, Waiting()) as address:
        assert await said(http, method, address + path) == (503, "this daemon is a standby: a leads; ask there")


async def test_its_figures_are_for_holders_of_a_token(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with standby(tmp_path, Waiting()) as address:
        async with http.get(f"{address}/metrics") as answer:
            assert answer.status == 401
        async with http.get(f"{address}/metrics", headers={"Authorization": "Bearer the-ci-token"}) as answer:
            assert (answer.status, "headgate_leader 0.0" in await answer.text()) == (200, True)


@pytest.mark.parametrize(
    ("turn", "situation", "advice"),
    [
        (Waiting(), "this daemon is a standby: a leads", "; ask there"),
        (Waiting(leader=""), "this daemon is a standby, and nobody leads yet", ""),
        (Waiting(leader="b", leads=True), "this daemon is just taking over", ""),
        (
            Waiting(leader="", trouble="CREATE: no answer from https://10.0.0.1:6443"),
            "this daemon is a standby that cannot ask for the lease, its log says why; as far as it knows, nobody leads yet",
            "",
        ),
        (
            Waiting(trouble="GET: no answer"),
            "this daemon is a standby that cannot ask for the lease, its log says why; as far as it knows, a leads",
            "; ask there",
        ),
    ],
)
async def test_what_it_knows_is_told_and_that_something_ails_it(
    tmp_path: Path, http: aiohttp.ClientSession, turn: Waiting, situation: str, advice: str
) -> None:
    async with standby(tmp_path, turn) as address:
        assert await said(http, "GET", f"{address}/readyz") == (503, situation)
        assert await said(http, "GET", f"{address}/v1/releases") == (503, situation + advice)

"""Pages of others in the browser of somebody who may give orders: what they can send, and what is made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from adapters.http.server import serve_api
from adapters.http.standby import build_standby_application
from adapters.settings import Address
from engine.clock import SystemClock
from engine.errors import Deposed
from tests.http.stage import APPROVAL, Daemon, Stage, submission, token

ORDER = {"kind": "abort"}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    public = "https://headgate.example/delivery"
    return Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", 0), public_url=public)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer the-ci-token"}) as session:
        yield session


async def order(daemon: Daemon, http: aiohttp.ClientSession, **headers: str) -> tuple[int, str]:
    """An abort of a release that there is not: 404 is what everybody hears who is listened to."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(f"http://{daemon.address}/v1/releases/nothing/commands", json=ORDER, headers=named) as answer:
        return answer.status, str((await answer.json())["error"]["message"])


STRANGERS: tuple[dict[str, str], ...] = (
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "cross-site", "Origin": "https://headgate.example"},
    {"Sec_Fetch_Site": "rubbish"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://headgate.example.evil.example"},
    {"Origin": "http://[::1"},
)


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
async def test_a_page_of_another_site_gives_no_orders(
    headers: dict[str, str], daemon: Daemon, http: aiohttp.ClientSession
) -> None:
    """Where a client certificate is all that a caller shows, a browser shows it for any page."""
    status, message = await order(daemon, http, **headers)
    assert (status, message[:27]) == (403, "a page of another site may ")


OURS: tuple[dict[str, str], ...] = (
    {},
    {"Sec_Fetch_Site": "same-origin", "Origin": "https://headgate.example"},
    {"Sec_Fetch_Site": "none"},
    {"Origin": "https://headgate.example"},
    {"Origin": "https://HEADGATE.example:443"},
    {"Origin": "http://127.0.0.1:1"},
)


@pytest.mark.parametrize("headers", OURS, ids=str)
async def test_the_own_page_and_programs_are_listened_to(
    headers: dict[str, str], daemon: Daemon, http: aiohttp.ClientSession
) -> None:
    assert (await order(daemon, http, **headers))[0] == 404


async def test_no_order_fits_into_a_form(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    """What a page may send to anybody without asking: these kinds of content, and no header of its own."""
    release = (await daemon.client.submit(submission(APPROVAL))).release.id
    address = f"http://{daemon.address}/v1/releases/{release}/commands"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain; application/json", ""):
        async with http.post(address, data=b'{"kind": "abort"}', headers={"Content-Type": kind}) as answer:
            assert answer.status == 400
    async with http.options(address, headers={"Origin": "https://evil.example"}) as answer:
        assert answer.status == 405
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_answers_are_nobody_elses_to_read_or_to_keep(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    await assert_kept_safe(http, daemon.address, "/v1/releases", "/v1/caller", "/v1/nothing", "/metrics", "/ui/", "/livez")


class Waiting:
    """Implements `adapters.leadership.Turn` for a daemon whose turn it is not."""

    me, leader, leads, trouble, transitions = "b", "a", False, "", 1

    def require(self) -> None:
        raise Deposed

    def behind_seconds(self, account: str) -> float:
        return 0.0


async def test_nor_are_those_of_a_daemon_that_waits_for_its_turn(stage: Stage, http: aiohttp.ClientSession) -> None:
    application = build_standby_application(Waiting(), lambda: stage.tokens, SystemClock(), stage.listen)
    async with serve_api(application, stage.settings.socket, stage.listen) as address:
        await assert_kept_safe(http, address, "/v1/releases", "/metrics", "/readyz")


async def assert_kept_safe(http: aiohttp.ClientSession, address: Address | None, *paths: str) -> None:
    for path in paths:
        async with http.get(f"http://{address}{path}", headers={"Origin": "https://evil.example"}) as answer:
            headers = answer.headers
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cache-Control"] == "no-store"
            assert "Access-Control-Allow-Origin" not in headers
            assert headers["Server"] == "headgate", "of which versions is nobody's business"

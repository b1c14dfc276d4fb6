"""What the environment says of the way to others: its proxies are used, with their logins, and a netrc is none of our business.
Nothing of a login is said where a proxy refuses."""

from __future__ import annotations

import base64
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from adapters.cli.connecting import connect
from adapters.hooks.destinations import Destinations, open_session
from adapters.hooks.webhooks import WebhookCaller
from adapters.kubernetes.errors import Unreachable
from adapters.kubernetes.transport import open_transport
from adapters.metrics.credentials import Access
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Query as AskedQuery
from adapters.metrics.scrape import ScrapeProvider
from adapters.secrets import Secrets
from adapters.settings import PrometheusSettings, Settings, WebhookSettings
from engine.clock import SystemClock
from engine.errors import Rejected
from engine.model import Action, ActionKind, Analysis, Query, Snapshot, State, Webhook, WebhookHeader
from tests.builders import percent, rollout_spec, target_plan
from tests.clocks import START, LoopClock
from tests.kubernetes.scripted_api import ScriptedCredentials
from tests.security.secrets_stage import refusing_proxy

PASSWORD = "nobody-may-see-this"


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


LOGIN = basic(f"ada:{PASSWORD}")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a login for whatever host there is."""
    path = tmp_path / "netrc"
    path.write_text(f"default login ada password {PASSWORD}\n", "utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


@dataclass
class Others:
    """Answers to whatever it is asked, as one of those who are called or as the proxy before them."""

    address: str = ""
    asked: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}})

    def shown(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.asked]


@pytest.fixture
async def others() -> AsyncIterator[Others]:
    side, application = Others(), web.Application()
    application.router.add_route("*", "/{tail:.*}", side.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    side.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield side
    await runner.cleanup()


async def call(url: str, headers: tuple[WebhookHeader, ...] = ()) -> None:
    hook = Webhook("smoke", "POST", url, headers=headers, callback=False)
    action = Action(7, "call:2:smoke", ActionKind.CALL_WEBHOOK, {"gate": "step:1"})
    destinations = Destinations(WebhookSettings(), None)
    async with open_session(destinations) as session:
        caller = WebhookCaller(session, Secrets({}, {}), None, LoopClock(), destinations)
        spec = rollout_spec(target_plan([percent(10), hook]))
        await caller.perform(spec, Snapshot(State.CALLING, START, step=1), action)


async def refusal(url: str, headers: tuple[WebhookHeader, ...] = ()) -> str:
    with pytest.raises(Rejected) as caught:
        await call(url, headers)
    return str(caught.value)


async def measure(folder: Path, url: str) -> str:
    """By a Prometheus of the settings, through whatever a daemon opens for them. What the answer is said to be."""
    source = PrometheusSettings(type="prometheus", url=url, timeout=1)
    settings = Settings(
        source=None, store=folder / "s.db", socket=folder / "s.sock", metric_providers={"default": source}
    )
    query = Query("errors", "default", "vector(1)", upper=2.0)
    step = Analysis((query,), interval_seconds=60.0, runs=1)
    start, end = START.isoformat(), (START + timedelta(minutes=1)).isoformat()
    action = Action(7, "measure", ActionKind.MEASURE, {"gate": "step:1", "start": start, "end": end})
    async with connect(settings, None, SystemClock()) as connected:
        spec, snapshot = rollout_spec(target_plan([percent(10), step])), Snapshot(State.ANALYSING, START, step=1)
        done = await connected.actuator.perform(spec, snapshot, action)
    [measured] = done.results  # type: ignore[union-attr]
    return measured.detail


# --- a netrc -----------------------------------------------------------------------------------------------------------


async def test_a_webhook_is_not_shown_the_login_of_a_netrc(netrc: None, others: Others) -> None:
    own = (WebhookHeader("Authorization", "Bearer own"),)
    await call(f"http://{others.address}/")
    await call(f"http://{others.address}/", own)
    await call(f"http://ci:x@{others.address}/")
    assert others.shown("Authorization") == [None, "Bearer own", basic("ci:x")]


async def test_a_metric_source_is_not_shown_the_login_of_a_netrc(netrc: None, others: Others, tmp_path: Path) -> None:
    assert "is 1" in await measure(tmp_path, f"http://{others.address}")
    assert others.shown("Authorization") == [None]


# --- the environment's proxies -----------------------------------------------------------------------------------------


async def test_the_environments_proxy_and_its_exceptions_hold_for_all_who_are_called(
    monkeypatch: pytest.MonkeyPatch, others: Others, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", f"http://ada:{PASSWORD}@{others.address}")
    await call("http://ci.invalid/hook")
    assert "is 1" in await measure(tmp_path, "http://metrics.invalid")
    assert [request.host for request in others.asked] == ["ci.invalid", "metrics.invalid"]
    assert others.shown("Proxy-Authorization") == [LOGIN, LOGIN]
    monkeypatch.setenv("no_proxy", "127.0.0.1,.invalid")
    await call(f"http://{others.address}/")
    assert others.shown("Proxy-Authorization")[2:] == [None]
    assert "its host name cannot be resolved" in await refusal("http://ci.invalid/hook")
    assert "its host name cannot be resolved" in await measure(tmp_path, "http://metrics.invalid")


@pytest.mark.parametrize(("status", "words"), [(407, "407 Proxy Authentication Required"), (503, "503 Service Unavailable")])
async def test_a_proxy_that_refuses_is_told_by_its_number_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, words: str
) -> None:
    heard: list[str] = []
    async with refusing_proxy(status, heard) as address:
        proxy = f"http://ada:{PASSWORD}@{address}"
        async with open_transport(ScriptedCredentials("https://api.invalid:6443", proxy)) as transport:
            with pytest.raises(Unreachable) as caught:
                await transport.request("GET", "/version", what="GET /version")
        monkeypatch.setenv("https_proxy", proxy)
        told = ["".join(traceback.format_exception(caught.value)), await refusal("https://ci.invalid/")]
        told.append(await measure(tmp_path, "https://metrics.invalid"))
    assert {head.split()[1] for head in heard} == {"api.invalid:6443", "ci.invalid:443", "metrics.invalid:443"}
    assert all(LOGIN in head for head in heard)
    assert all(f"the proxy answered {words}" in one and PASSWORD not in one for one in told), told


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        (f"socks5://ada:{PASSWORD}@127.0.0.1:1080", "a proxy of the kind 'socks5' is not supported"),
        (f"http://[ada:{PASSWORD}", "the address of the proxy is malformed"),
        (f"http://ada:{PASSWORD}#x@127.0.0.1:1", "its address or the proxy's is malformed"),
        (f"http://ada:{PASSWORD}@no..host:1", "its address or the proxy's is malformed"),
        (f"http://ada:{PASSWORD}@127.0.0.1:9", "the proxy cannot be reached: Connection refused"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_failed_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: str, said: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    for told in (await refusal("http://ci.invalid/"), await measure(tmp_path, "http://metrics.invalid")):
        assert said in told
        assert PASSWORD not in told


# --- requests that cannot be sent --------------------------------------------------------------------------------------


async def test_a_request_with_two_logins_or_an_impossible_host_is_a_failed_call(others: Others) -> None:
    """None of these is a network's error, and none may count as a defect, which would park the rollout."""
    own = (WebhookHeader("Authorization", "Bearer own"),)
    message = await refusal(f"http://ci:{PASSWORD}@{others.address}/", own)
    assert "the request contradicts itself, for instance by logins in its address and in its headers" in message
    assert PASSWORD not in message
    assert "is malformed" in await refusal(f"http://{'a' * 70}.invalid/")
    assert others.asked == []


async def test_a_page_that_cannot_be_asked_for_ends_no_scraper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a measurement nobody would take such an error, and it would end the daemon."""
    monkeypatch.setenv("http_proxy", "http://no..host:1")
    async with aiohttp.ClientSession() as session:
        pages = (Endpoint("http://pod.invalid/metrics"),)
        async with ScrapeProvider(session, lambda: pages, LoopClock(), access=Access()) as provider:
            outcome = await provider.measure(AskedQuery("increase(requests_total)", START, LoopClock().now()))
    assert "malformed" in outcome.detail

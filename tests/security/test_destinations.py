"""Where webhooks may go: what counts is the address that is connected to, however it was written and whatever a name says."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.hooks.destinations import DestinationForbidden, Destinations, open_session
from adapters.hooks.webhooks import WebhookCaller
from adapters.secrets import Secrets
from adapters.settings import Address, WebhookSettings
from engine.errors import Rejected
from engine.events import ActionSucceeded
from engine.model import Action, ActionKind, Snapshot, State, Webhook
from tests.builders import percent, rollout_spec, target_plan
from tests.clocks import START, LoopClock

OWN = Address("127.0.0.1", 8440)


def rules(allow: Sequence[str] = (), deny: Sequence[str] = (), own: Address | None = None) -> Destinations:
    return Destinations(WebhookSettings(allow=tuple(map(ip_network, allow)), deny=tuple(map(ip_network, deny))), own)


def refusal(destinations: Destinations, address: str, port: int = 80) -> str:
    try:
        destinations.check(ip_address(address), port)
    except DestinationForbidden as error:
        return error.why
    return ""


# --- which addresses ---------------------------------------------------------------------------------------------------

NEVER_MEANT = (
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "febf::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
)


@pytest.mark.parametrize("address", NEVER_MEANT)
def test_what_no_webhook_is_meant_for_is_refused_unless_the_settings_allow_it(address: str) -> None:
    assert "webhooks.allow" in refusal(rules(), address)
    assert refusal(rules(allow=["0.0.0.0/0", "::/0"]), address) == ""


@pytest.mark.parametrize("address", ("127.0.0.1", "::1", "10.0.0.7", "192.168.1.1", "93.184.216.34", "2606:2800::1"))
def test_everything_else_is_called(address: str) -> None:
    """Loopback among it: a management host has tests and services of its own."""
    assert refusal(rules(), address) == ""


def test_networks_of_the_settings() -> None:
    destinations = rules(allow=["10.20.0.0/16"], deny=["10.0.0.0/8", "127.0.0.0/8"])
    assert refusal(destinations, "10.20.1.1") == ""
    assert "denied by the daemon's settings" in refusal(destinations, "10.21.1.1")
    assert "denied" in refusal(destinations, "127.0.0.1")
    assert "denied" in refusal(destinations, "::ffff:127.0.0.1")
    destinations.replace(WebhookSettings())
    assert refusal(destinations, "10.21.1.1") == ""


def test_only_what_is_allowed() -> None:
    destinations = rules(allow=["10.20.0.0/16"], deny=["0.0.0.0/0", "::/0"])
    assert refusal(destinations, "10.20.0.1") == ""
    assert refusal(destinations, "8.8.8.8")
    assert refusal(destinations, "2606:2800::1")


def test_the_daemon_does_not_call_itself() -> None:
    destinations = rules(own=OWN)
    assert "where the daemon itself listens" in refusal(destinations, "127.0.0.1", OWN.port)
    assert "where the daemon itself listens" in refusal(destinations, "127.8.8.8", OWN.port)
    assert "where the daemon itself listens" in refusal(destinations, "::1", OWN.port)
    assert refusal(destinations, "127.0.0.1", OWN.port + 1) == ""
    assert refusal(destinations, "93.184.216.34", OWN.port) == ""
    assert refusal(rules(own=OWN, allow=["127.0.0.1/32"]), "127.0.0.1", OWN.port) == ""


def test_the_daemon_does_not_call_itself_by_another_address_of_its_host() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]
    assert refusal(rules(own=Address("0.0.0.0", 8440)), address, 8440)


# --- on the way --------------------------------------------------------------------------------------------------------


@dataclass
class Names(AbstractResolver):
    """A name server in the hand of somebody else: each question gets the next answer, the last one for ever."""

    answers: list[list[str]]
    asked: int = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
            for one in found
        ]

    async def close(self) -> None: ...


@dataclass
class CalledSide:
    port: int = 0
    requests: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        return web.Response(headers={"Connection": "close"})


@pytest.fixture
async def called() -> AsyncIterator[CalledSide]:
    side = CalledSide()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", side.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    side.port = runner.addresses[0][1]
    yield side
    await runner.cleanup()


async def call(url: str, destinations: Destinations, names: AbstractResolver | None = None, *, times: int = 1) -> ActionSucceeded:
    hook = Webhook(name="smoke", method="POST", url=url, retries=2, timeout_seconds=5.0, callback=False)
    spec = rollout_spec(target_plan([percent(10), hook]))
    action = Action(7, "call:2:smoke", ActionKind.CALL_WEBHOOK, {"gate": "step:1"})
    async with open_session(destinations, names) as session:
        caller = WebhookCaller(session, Secrets({}, {}), None, LoopClock(), destinations)
        for _ in range(times - 1):
            await caller.perform(spec, Snapshot(State.CALLING, START, step=1), action)
        return await caller.perform(spec, Snapshot(State.CALLING, START, step=1), action)


async def refused(url: str, destinations: Destinations, names: AbstractResolver | None = None, *, times: int = 1) -> str:
    with pytest.raises(Rejected) as caught:
        await call(url, destinations, names, times=times)
    return str(caught.value)


@pytest.mark.parametrize(
    "host",
    ("169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "metadata.google.internal", "METADATA.goog.", "0.0.0.0"),
)
async def test_metadata_services_are_not_called_and_nobody_tries_again(host: str) -> None:
    message = await refused(f"http://{host}/latest/meta-data/", rules())
    assert message.startswith("webhook smoke: http://")
    assert "which webhooks do not call" in message
    assert "latest" not in message


async def test_a_name_that_leads_to_a_forbidden_address_is_not_called(called: CalledSide) -> None:
    """Not at its other addresses either, and without saying which address it was."""
    for found in (["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]):
        message = await refused(f"http://ci.example:{called.port}/", rules(), Names([found]))
        assert "http://ci.example" in message
        assert "169.254" not in message
    assert called.requests == []


async def test_a_name_that_changes_its_meaning_is_not_called(called: CalledSide) -> None:
    """DNS rebinding: the first answer is harmless, the next one is not."""
    names = Names([["127.0.0.1"], ["169.254.169.254"]])
    assert "which webhooks do not call" in await refused(f"http://ci.example:{called.port}/", rules(), names, times=2)
    assert len(called.requests) == 1


async def test_whoever_makes_the_socket_looks_at_its_address_itself(called: CalledSide) -> None:
    """An address as it stands is not asked of any name server."""
    async with open_session(rules(deny=["127.0.0.0/8"])) as session:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"):
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.get(f"http://{host}:{called.port}/")
            assert isinstance(caught.value.os_error, DestinationForbidden)
    assert called.requests == []


@pytest.mark.parametrize(
    "host",
    (
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.43518",
        "0251.0376.0251.0376",
        "169.254.169.254%20x",
        "0",
    ),
)
async def test_a_proxy_is_not_asked_for_a_forbidden_address_however_it_is_written(
    called: CalledSide, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{called.port}")
    assert "which webhooks do not call" in await refused(f"http://{host}/", rules())
    assert called.requests == []


async def test_a_proxy_is_asked_for_everything_else(called: CalledSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{called.port}")
    for host in ("ci.example", "10.example", "0xa9.example", "3232235777", "cafe"):
        await call(f"http://{host}/hook", rules())
    assert called.requests == ["/hook"] * 5
    assert "denied" in await refused("http://3232235777/", rules(deny=["192.168.0.0/16"]))


async def test_loopback_is_called_and_can_be_denied(called: CalledSide) -> None:
    await call(f"http://127.0.0.1:{called.port}/hook", rules())
    denied = rules(deny=["127.0.0.0/8", "::1"])
    assert "denied by the daemon's settings" in await refused(f"http://localhost:{called.port}/", denied)
    assert called.requests == ["/hook"]

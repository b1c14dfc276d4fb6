"""What lies between us and an API server: proxies, a netrc that is none of our business, and ends that vanish."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from adapters.kubernetes.errors import CredentialsFailed, Unreachable
from adapters.kubernetes.transport import open_transport
from tests.kubernetes.scripted_api import ScriptedCredentials, answer, scripted_api

ELSEWHERE = "http://api.invalid:6443"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    asked: list[str] = []

    async def pass_on(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(str(request.url))
        return web.json_response({"through": "proxy"})

    server = RawTestServer(pass_on)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/"), asked
    finally:
        await server.close()


async def ask(credentials: ScriptedCredentials) -> object:
    async with open_transport(credentials) as transport:
        return await transport.request("GET", "/version", what="GET /version")


async def test_the_kubeconfigs_proxy_is_used() -> None:
    async with proxy() as (address, asked):
        assert await ask(ScriptedCredentials(ELSEWHERE, address)) == {"through": "proxy"}
        assert asked == [f"{ELSEWHERE}/version"]


async def test_without_one_the_environments_proxy_is_used_but_not_for_its_exceptions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy() as (address, asked), scripted_api() as api:
        api.others.append(answer(200, {"through": "nothing"}))
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await ask(ScriptedCredentials(ELSEWHERE)) == {"through": "proxy"}
        assert await ask(ScriptedCredentials(api.server)) == {"through": "nothing"}
        assert len(asked) == 1


async def test_a_proxy_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(CredentialsFailed, match="socks5"):
        await ask(ScriptedCredentials(ELSEWHERE, "socks5://127.0.0.1:1080"))


async def test_an_address_that_is_none_is_refused_in_words() -> None:
    with pytest.raises(CredentialsFailed, match="the address of the API server is malformed"):
        await ask(ScriptedCredentials("https://api.invalid:99999"))


async def test_a_request_that_cannot_be_sent_has_no_answer() -> None:
    with pytest.raises(Unreachable, match=r"from http://api\.invalid:6443 .*logins in its address and in its headers"):
        await ask(ScriptedCredentials("http://ada:password@api.invalid:6443"))
    with pytest.raises(Unreachable, match="malformed"):
        await ask(ScriptedCredentials(f"http://{'a' * 70}.invalid:6443"))


async def test_a_netrc_that_knows_the_host_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with scripted_api() as api:
        api.others.append(answer(200, {}))
        await ask(ScriptedCredentials(api.server))
        assert api.headers[0]["Authorization"] == "Bearer token-0"


async def test_connections_are_probed_so_that_a_vanished_server_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Remembered(socket.socket):
        def connect(self, address: object) -> None:
            made.append(self)
            super().connect(address)  # type: ignore[arg-type]

    monkeypatch.setattr("adapters.kubernetes.connections.socket.socket", Remembered)
    async with scripted_api() as api:
        api.others.append(answer(200, {}))
        async with open_transport(ScriptedCredentials(api.server)) as transport:
            await transport.request("GET", "/version", what="x")
            (used,) = made
            assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            probes = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) * used.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPCNT
            )
            assert idle + probes <= 60

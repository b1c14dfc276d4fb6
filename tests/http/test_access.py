"""Who may do what: the socket's owner everything, and over TCP what a token allows."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import aiohttp
import pytest

from adapters.access import Access
from adapters.http.bodies import CommandBody, ErrorCode
from adapters.http.client import DaemonClient, SocketPlace, TcpPlace
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from adapters.http.server import AddressInUse, serve_api
from adapters.settings import Address
from engine.errors import StoreBusy
from engine.events import CommandKind
from engine.model import State
from tests.http.stage import APPROVAL, Daemon, Stage, over_tcp, submission, token

ROLES_APPROVAL = "pause: {untilApproved: true, requiresRoles: [release-managers]}"


TOKENS = (token("ci"), token("manager", roles=("Release-Managers",)), token("board", access=Access.READ))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, tokens=TOKENS, listen=Address("127.0.0.1", 0))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_socket_belongs_to_its_owner_alone(stage: Stage, daemon: Daemon) -> None:
    mode = stage.settings.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_a_token_gives_its_name_to_what_is_done_with_it(daemon: Daemon) -> None:
    async with over_tcp(daemon, "ci") as client:
        accepted = await client.submit(submission(APPROVAL))
    assert accepted.release.created_by == "ci"


async def test_without_a_good_token_nothing_is_answered(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    headers = ("", "Bearer", "Bearer ", "Basic Y2k6eA==", "Bearer wrong", "Bearer \xff\xfe")
    for header, path in product(headers, ("/v1/releases", "/metrics", "/v1/nothing")):
        given = {"Authorization": header} if header else {}
        async with http.get(f"http://{daemon.address}{path}", headers=given) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            body = await response.json()
            assert body["error"]["code"] == "unauthorized"
            assert "token" in body["error"]["message"]


async def test_probes_need_no_token(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    for path in ("/livez", "/readyz"):
        async with http.get(f"http://{daemon.address}{path}") as response:
            assert response.status == 200


async def test_a_reading_token_looks_and_orders_nothing(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(release, State.APPROVING)
    async with over_tcp(daemon, "board") as client:
        assert (await client.release(release)).release.id == release
        with pytest.raises(DaemonRefused, match="the token board may read, but not give orders") as caught:
            await client.command(release, CommandBody(CommandKind.APPROVE))
        assert (caught.value.status, caught.value.body.code) == (403, ErrorCode.FORBIDDEN)
    assert (await daemon.rollout(release)).state is State.APPROVING


async def test_an_approval_that_asks_for_a_role_is_given_by_its_holders_and_by_the_owner(daemon: Daemon) -> None:
    release = (await daemon.submit(ROLES_APPROVAL)).release.id
    rollout = await daemon.until_state(release, State.APPROVING)
    assert rollout.roles == ("release-managers",)
    async with over_tcp(daemon, "ci") as client:
        with pytest.raises(DaemonRefused, match="asks for an approval by one of these roles: release-managers"):
            await client.command(release, CommandBody(CommandKind.APPROVE))
    async with over_tcp(daemon, "manager") as client:
        await client.command(release, CommandBody(CommandKind.APPROVE))
    await daemon.until_state(release, State.SUCCEEDED)
    journal = await daemon.client.journal(release)
    assert any("approved by manager (release-managers)" in entry.text for entry in journal.entries)


async def test_two_daemons_on_one_store_are_one_too_many(stage: Stage, daemon: Daemon) -> None:
    with pytest.raises(StoreBusy, match="two daemons on one store would drive every rollout twice"):
        async with stage.daemon():
            pass
    assert (await daemon.client.releases()).releases == ()


async def test_two_daemons_on_one_socket_are_one_too_many(stage: Stage, daemon: Daemon, tmp_path: Path) -> None:
    other = Stage(tmp_path)
    path = stage.settings.socket
    with pytest.raises(AddressInUse, match="another daemon answers on"):
        async with serve_api(daemon.running.application, path):
            pass
    assert other.place.path == path
    assert (await daemon.client.releases()).releases == ()


async def test_an_address_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stage = Stage(tmp_path, tokens=TOKENS, listen=Address("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(AddressInUse, match=r":\d+ cannot be listened on: address already in use; name another"):
            async with stage.daemon():
                pass
    assert not stage.settings.socket.exists()
    with pytest.raises(AddressInUse, match=r"nowhere.invalid:80 cannot be listened on: .*name"):
        async with Stage(tmp_path, tokens=TOKENS, listen=Address("nowhere.invalid", 80)).daemon():
            pass


async def test_a_socket_left_by_a_killed_daemon_is_replaced(stage: Stage) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(stage.settings.socket))
    left.close()
    async with stage.daemon() as daemon:
        assert (await daemon.client.releases()).releases == ()
    assert not stage.settings.socket.exists()


async def test_a_file_in_the_place_of_the_socket_is_left_alone(stage: Stage) -> None:
    stage.settings.socket.write_text("somebody's notes")
    with pytest.raises(AddressInUse, match="is there and is not a socket"):
        async with stage.daemon():
            pass
    assert stage.settings.socket.read_text() == "somebody's notes"


async def test_a_socket_may_lie_as_deep_as_it_likes(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / ("deeper" * 20)
    folder.mkdir(parents=True)
    async with Stage(folder).daemon() as daemon:
        assert (await daemon.client.releases()).releases == ()
        with pytest.raises(AddressInUse, match="another daemon answers on"):
            async with serve_api(daemon.running.application, daemon.running.settings.socket):
                pass
    assert not (folder / "headgate.sock").exists()
    async with DaemonClient(SocketPlace(folder / "headgate.sock")) as client:
        with pytest.raises(DaemonUnreachable, match="no such file or directory"):
            await client.releases()
    with pytest.raises(DaemonUnreachable, match="no such file or directory"):
        async with DaemonClient(SocketPlace(folder / "none" / "headgate.sock")):
            pass


async def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    async with DaemonClient(SocketPlace(tmp_path / "none.sock")) as client:
        with pytest.raises(
            DaemonUnreachable, match=r"no daemon answers on .*none.sock.*start one with: headgate serve"
        ):
            await client.releases()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with DaemonClient(TcpPlace(f"http://127.0.0.1:{free.getsockname()[1]}", "t")) as client:
            with pytest.raises(DaemonUnreachable, match="is the address right"):
                await client.releases()


async def test_something_else_in_the_place_of_a_daemon() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with DaemonClient(TcpPlace(f"http://127.0.0.1:{port}", "t")) as client:
            with pytest.raises(DaemonUnreachable, match="another version, or another program"):
                await client.releases()


def test_a_place_does_not_show_its_token() -> None:
    assert "hush" not in repr(TcpPlace("http://x", "hush"))

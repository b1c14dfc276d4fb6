"""Previews of running rollouts: who sees what through them, for how long, and that there is no way anywhere else."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from yarl import URL

from adapters.embedded.access import Access
from adapters.embedded.resources import PODS, SERVICES
from adapters.http import previews
from adapters.settings import SecretReference
from engine.events import Command, CommandKind
from engine.model import Approval, Expose, ReleaseStatus, RunCommand, RunJob, State, Webhook, WebhookHeader
from tests.builders import percent
from tests.http.stage import until
from tests.previews.stage import Stage, job_manifest, stage

EXPOSE = Expose(("web", "web-canary"), 600.0)


async def expose(told: Stage, step: Expose = EXPOSE) -> str:
    """A rollout that waits with its previews open; the address of the new version's."""
    await told.begin(percent(25), step, Approval())
    return str((await told.until_state(State.APPROVING)).facts["preview.web-canary"])


async def get(told: Stage, url: str, **options: object) -> tuple[int, str]:
    async with told.http.get(URL(url, encoded=True), allow_redirects=False, **options) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.text()


async def test_a_preview_shows_its_version_and_nobody_elses(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        assert address.startswith(f"{told.public_url}/v1/previews/{told.release}.production/web-canary/")
        for _ in range(4):
            assert await get(told, address) == (200, "version 2\n")
        assert await get(told, f"{address}deep/path%20here?q=a%2Fb&c") == (200, "version 2\n")
        assert told.visited.last[1] == "/deep/path%20here?q=a%2Fb&c"


async def test_a_request_is_passed_on_whole_and_without_anybodys_login(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        headers = {"Authorization": "Bearer mine", "Cookie": "a=b", "Impersonate-User": "root", "X-Team": "blue"}
        async with told.http.post(f"{address}orders", data=b"x" * 300_000, headers=headers) as answer:
            assert (answer.status, answer.headers["X-Version"]) == (200, "2")
        method, path, sent, body = told.visited.last
        assert (method, path, len(body), sent["X-Team"]) == ("POST", "/orders", 300_000, "blue")
        assert not {"Authorization", "Cookie", "Impersonate-User"} & sent.keys()
        assert sent["X-Forwarded-Prefix"] == URL(address).path.rstrip("/")
        assert sent["X-Forwarded-Host"] == URL(told.public_url).authority


async def test_an_answer_comes_as_it_is_made(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        async with told.http.get(f"{address}stream") as answer:
            assert await answer.content.readany() == b"data: 1\n\n"
            told.visited.gate.set()
            assert await answer.content.read() == b"data: 2\n\n"


async def test_redirects_stay_inside_and_cookies_stay_away(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        async with told.http.get(f"{address}redirect", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, f"{URL(address).path}login?next=/")
            assert "Set-Cookie" not in answer.headers


async def test_a_services_own_errors_are_its_own(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        status, text = await get(told, f"{await expose(told)}missing")
        assert (status, json.loads(text)["message"]) == (404, "not here")


@pytest.mark.parametrize(
    "tail",
    [
        "..", "../", "a/../../secrets", "%2e%2e/", "%2E%2e%2f", "a%2f..%2fb", "..%2f..%2fsecrets/x", "%252e%252e/", "a%5c..",
        "%00", ".%2e/x", "./x",
    ],
)  # fmt: skip
async def test_no_path_leads_anywhere_else(tmp_path: Path, tail: str) -> None:
    async with stage(tmp_path) as told:
        address, seen = await expose(told), len(told.cluster.server.audit.requests)
        status, text = await raw_get(told, URL(address).path + tail)
        assert status == 400
        assert "is not sent on" in text
        proxied = [one for one in list(told.cluster.server.audit.requests)[seen:] if one.subresource == "proxy"]
        assert proxied == []


async def raw_get(told: Stage, path: str) -> tuple[int, str]:
    """Byte for byte: clients tidy paths up."""
    url = URL(told.public_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.authority}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer


async def test_an_address_that_was_never_given_out_is_like_any_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        token = address.rstrip("/").rpartition("/")[2]
        for wrong in (
            address.replace(token, "0" * len(token)),
            address.replace("/web-canary/", "/web/"),
            address.replace("/web-canary/", "/web-stable/"),
            address.replace(".production/", ".staging/"),
        ):
            assert (await get(told, wrong)) == (404, "there is nothing at this address\n")


async def test_a_preview_ends_with_its_time_and_with_its_rollout(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told, Expose(("web-canary",), 0.2))

        async def expired() -> bool:
            return (await get(told, address))[0] == 410

        await until(expired)
        assert "has expired" in (await get(told, address))[1]
        await told.running.engine.command(told.release, Command(CommandKind.APPROVE, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert await get(told, address) == (410, "this preview of web-canary has ended with its rollout\n")


async def test_upgrades_and_odd_methods_are_refused_in_words(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        status, text = await get(told, address, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert (status, "WebSockets" in text) == (501, True)
        asked = {"Origin": "null", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-team"}
        async with told.http.options(address, headers=asked) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
            assert answer.headers["Access-Control-Allow-Headers"] == "x-team"
        async with told.http.options(address) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST, PUT, PATCH, DELETE")


async def test_a_body_has_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "MOST_REQUEST_BYTES", 1000)
    async with stage(tmp_path) as told:
        address = await expose(told)
        async with told.http.post(address, data=b"x" * 1001) as answer:
            assert answer.status == 413

        async def endless() -> object:
            for _ in range(100):
                yield b"x" * 100

        async with told.http.post(address, data=endless()) as answer:
            assert answer.status == 413


async def test_a_service_without_ready_pods_is_told_in_our_words(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        body = told.cluster.storage.get(SERVICES, "shop", "web-canary")
        told.cluster.storage.update(SERVICES, {**body, "spec": {**body["spec"], "selector": {"app": "nobody"}}})

        async def is_told() -> bool:
            return await get(told, address) == (502, "no pod of Service web-canary is ready; try again in a while\n")

        await until(is_told)


async def test_a_missing_right_names_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        address = await expose(told)
        access: Access = told.cluster.server.access
        access.restrict([{"metadata": {}, "rules": [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["*"]}]}])
        status, text = await get(told, address)
        assert status == 502
        assert "services/proxy" in text
        assert "embedded-admin" not in text


# --- the step ----------------------------------------------------------------------------------------------------------


async def test_without_a_public_address_there_are_no_previews(tmp_path: Path) -> None:
    async with stage(tmp_path, is_public=False) as told:
        await told.begin(percent(25), EXPOSE)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "set publicUrl in its settings" in await told.reason()


async def test_a_service_that_is_not_there_or_has_several_ports_is_named(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.begin(percent(25), Expose(("wev",), 60.0))
        await told.until_ended()
        assert "there is no Service wev in namespace shop" in await told.reason()
        body = told.cluster.storage.get(SERVICES, "shop", "web")
        ports = [{"name": "http-a", "port": 80}, {"name": "http-b", "port": 81}, {"name": "grpc", "port": 82}]
        metadata = {"name": "several", "namespace": "shop"}
        several = {**body, "metadata": metadata, "spec": {"selector": {"app": "web"}, "ports": ports}}
        told.cluster.storage.create(SERVICES, several)
        await told.begin(percent(25), Expose(("several",), 60.0))
        await told.until_ended()
        assert "Service several has 2 HTTP ports (its ports: 80 http-a, 81 http-b, 82 grpc)" in await told.reason()


# --- a whole rollout ---------------------------------------------------------------------------------------------------

PROGRAM = """
import os, urllib.request
address = os.environ["HEADGATE_PREVIEW_WEB_CANARY"]
print(address)
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address).read().decode().strip())
"""


async def test_tests_of_every_kind_look_at_the_new_version_through_its_preview(tmp_path: Path) -> None:
    """The webhook is signed, looks at the preview that it was told, and calls back; a Job and a program follow."""
    received: list[tuple[str, str]] = []
    commands = {"look": [sys.executable, "-c", PROGRAM]}
    secrets = {"hook-key": SecretReference(file=tmp_path / "key")}
    (tmp_path / "key").write_text("a key")
    async with stage(tmp_path, commands=commands, secrets=secrets) as told:

        async def hook(request: web.Request) -> web.Response:
            body = await request.json()
            received.append((request.headers["X-Headgate-Signature"], (await get(told, body["look"]))[1]))
            verdict = {"success": True, "mdMessage": f"I was sent {request.headers['X-Look']} and {quote(body['back'])}"}
            async with told.http.post(body["back"], json=verdict) as answer:
                assert answer.status == 200
            return web.Response()

        application = web.Application()
        application.router.add_post("/hook", hook)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        body = '{"look": "{{armory.preview.web-canary}}", "back": "{{armory.callbackUri}}/callback"}'
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        look = (WebhookHeader("X-Look", "{{armory.preview.web-canary}}"),)
        steps = (
            EXPOSE,
            Webhook("ci", "POST", url, body=body, headers=look, signing_secret="hook-key"),
            RunJob("smoke", job_manifest("the job was at {{armory.preview.web-canary}}"), 60.0),
            RunCommand("look", 60.0),
        )
        try:
            await told.begin(percent(25), *steps, percent(50))
            ended = await told.until_ended()
        finally:
            await runner.cleanup()
        assert (ended.status, ended.reason) == (ReleaseStatus.SUCCEEDED, "")
        ((signature, seen),) = received
        assert re.fullmatch(r"t=\d+,v1=[0-9a-f]{64}", signature)
        assert seen == "version 2\n"
        shown = f"{told.public_url}/v1/previews/{told.release}.production/web-canary/***/"
        assert await told.outputs() == [f"the job was at {shown}", f"{shown}\nversion 2"]
        journal = await told.running.service.store.journal(told.release)
        back = f"{told.public_url}/v1/callbacks/{told.release}.production/***/callback"
        assert any(f"I was sent {shown} and {quote(back, safe='/*')}" in entry.text for entry in journal)
        assert not [pod for pod in told.cluster.storage.list(PODS, "shop") if "tests:1" in str(pod["spec"])]


def is_alive(pid: Path) -> bool:
    return Path(f"/proc/{pid.read_text()}").exists()


PATIENT = "import os, time; open('{pid}', 'w').write(str(os.getpid())); time.sleep(600)"


async def test_an_abort_ends_the_program_and_does_not_wait_for_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PATIENT.format(pid=pid)
    async with stage(tmp_path, commands={"soak": [sys.executable, "-c", code]}) as told:
        await told.begin(percent(25), RunCommand("soak", 60.0))

        async def is_at_work() -> bool:
            return pid.exists() and bool(pid.read_text())

        await until(is_at_work)
        await told.running.engine.command(told.release, Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert is_alive(pid)  # It has its grace, beside the rollout.
    assert not is_alive(pid)

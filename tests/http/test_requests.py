"""Requests that nobody should send: too large, too slow, not JSON, not HTTP. None of them hurts, all get a sentence."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.http import requests, server
from adapters.http.bodies import CallbackBody, CommandBody, SourceBody, SubmitBody
from adapters.http.failures import ApiFailure
from tests.http.stage import APPROVAL, Daemon, Stage, submission

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(daemon.running.settings.socket))
    async with aiohttp.ClientSession("http://headgate", connector=connector) as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async with http.request(method, path, **options) as response:
        assert response.content_type == "application/json"
        return response.status, (await response.json())["error"]


async def test_unknown_paths_and_methods(http: aiohttp.ClientSession) -> None:
    assert await ask(http, "GET", "/v2/releases") == (
        404,
        {"code": "notFound", "message": "there is nothing at /v2/releases"},
    )
    status, error = await ask(http, "DELETE", "/v1/releases")
    assert (status, error["message"]) == (405, "/v1/releases is asked with GET or HEAD or POST")


NO_SUBMISSIONS = (
    (b"", "the body is not JSON"),
    (b"{", "the body is not JSON"),
    (b"\xff\xfe", "the body is not JSON"),
    (b"[]", "the body: expected object, got array"),
    (b"{}", "the body: object missing required field name"),
    (b'{"name": "a", "text": 5}', "text: expected str, got int"),
    (b'{"name": "a", "text": "", "manifests": {"x": [{"name": 1}]}}', "manifests[...][0].name: expected str, got int"),
    (b'{"name": "a", "text": "", "contxt": {}}', "the body: object contains unknown field contxt"),
    (b'{"name": "a\\u001b[2J", "text": "x"}', "name has to be printable text on one line"),
)


async def test_bodies_that_are_no_submission(http: aiohttp.ClientSession) -> None:
    for body, sentence in NO_SUBMISSIONS:
        status, error = await ask(http, "POST", "/v1/releases", data=body, headers=JSON)
        assert (status, error["code"]) == (400, "badRequest")
        assert sentence in error["message"]


async def test_a_form_that_a_browser_could_send_from_any_page_is_refused(http: aiohttp.ClientSession) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        status, error = await ask(http, "POST", "/v1/releases", data=b"{}", headers={"Content-Type": kind})
        assert (status, error["message"]) == (400, 'send the body as JSON, with "Content-Type: application/json"')


NO_ORDERS = (
    ({"kind": "explode"}, "kind: invalid enum value 'explode'"),
    ({"kind": "approve", "expectedStep": -1}, "steps are counted from 1"),
    ({"kind": "approve", "expectedStep": "2"}, "expectedStep: expected"),
    ({"kind": "approve", "reason": "\x1b[31m"}, "reason has to be printable"),
    ({"kind": "approve", "reason": "x" * 1_001}, "reason has to be printable"),
)


async def test_bodies_that_are_no_order(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    for body, sentence in NO_ORDERS:
        status, error = await ask(http, "POST", f"/v1/releases/{release}/commands", json=body)
        assert status == 400
        assert sentence in error["message"]


async def test_limits_that_are_none(http: aiohttp.ClientSession) -> None:
    long = ("000000001999999", "1" + 30 * "0", "1" + 5_000 * "0", 5_000 * "9", "0000000010")
    for limit in ("0", "-1", "x", "1e9", "", "1001", "\u0663", *long):
        status, error = await ask(http, "GET", "/v1/releases", params={"limit": limit})
        assert status == 400
        assert "expected a whole number from 1 to 1000" in error["message"]
        assert len(error["message"]) < 200


async def test_a_body_beyond_eight_mebibytes_is_refused(http: aiohttp.ClientSession) -> None:
    large = BytesIO(b" " * (8 * 2**20 + 1))
    status, error = await ask(http, "POST", "/v1/releases", data=large, headers=JSON)
    assert (status, error) == (413, {"code": "tooLarge", "message": "the request is larger than 8 MiB; send less"})


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(http: aiohttp.ClientSession) -> None:
    bomb = gzip.compress(b" " * 2**26)
    headers = {**JSON, "Content-Encoding": "gzip"}
    status, error = await ask(http, "POST", "/v1/releases", data=bomb, headers=headers)
    assert (status, error["code"]) in [(413, "tooLarge"), (400, "badRequest")]


async def test_a_large_bundle_is_read_beside_the_loop(daemon: Daemon) -> None:
    data = "".join(f"  key-{number}: value {number}\n" for number in range(300))
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings-{}}}\ndata:\n"
    many = "---\n".join(head.format(number) + data for number in range(180))
    body = submission(APPROVAL)
    large = replace(body, manifests={"web.yaml": [*body.manifests["web.yaml"], SourceBody("many.yaml", many)]})
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        release = (await daemon.client.submit(large)).release
        tasks.cancel_scope.cancel()
    assert len(daemon.running.engine.rollouts(release.id)[0].spec.plan.manifests) == 180
    assert turns > 6, "read on the loop there are two, before it and after; beside it some thirty, fewer on a busy machine"


async def test_a_body_that_does_not_arrive_is_given_up(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.1)
    reader, writer = await asyncio.open_unix_connection(str(daemon.running.settings.socket))
    head = "POST /v1/releases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    writer.write(head.encode())
    with anyio.fail_after(5):
        answer = await reader.readline()
    assert b"408" in answer
    writer.close()


async def test_a_head_that_trickles_in_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with stage.daemon() as daemon:
        reader, writer = await asyncio.open_unix_connection(str(daemon.running.settings.socket))
        writer.write(b"GET /livez HTTP/1.1\r\n")
        with anyio.fail_after(5):
            # A connection that is closed with something unread in it is reset, which is no end of file.
            while not reader.at_eof() and reader.exception() is None:
                writer.write(b"X-More: x\r\n")
                await anyio.sleep(0.02)
        writer.close()
        assert (await daemon.client.releases()).releases == ()


async def test_what_is_not_http_is_answered_and_closed(daemon: Daemon) -> None:
    for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        reader, writer = await asyncio.open_unix_connection(str(daemon.running.settings.socket))
        writer.write(rubbish)
        writer.write_eof()
        with anyio.fail_after(5):
            answer = await reader.read(-1)
        assert not answer or b"400" in answer.split(b"\r\n")[0]
        writer.close()
    assert (await daemon.client.releases()).releases == ()


async def test_odd_names_of_releases_are_only_not_found(http: aiohttp.ClientSession) -> None:
    for name in ("%2e%2e", "%00", "a%2Fb", "%F0%9F%92%A9", "x" * 5_000, "%25", "'--"):
        status, error = await ask(http, "GET", f"/v1/releases/{name}")
        assert (status, error["code"]) == (404, "notFound")
        assert len(error["message"]) < 500


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "text", "manifests", "targets", "context"]), inner, max_size=5)
        ),
        max_leaves=8,
    )
)
def test_any_json_gets_an_answer_in_a_sentence(body: object) -> None:
    class Said:
        content_type = "application/json"
        content_length = None

        async def read(self) -> bytes:
            return json.dumps(body).encode()

    async def read(kind: type) -> None:
        try:
            await requests.read_body(Said(), kind)  # type: ignore[arg-type]
        except ApiFailure as failure:
            assert failure.body.message
            assert "`" not in failure.body.message

    for kind in (SubmitBody, CommandBody, CallbackBody):
        asyncio.run(read(kind))

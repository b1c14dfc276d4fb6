"""The page as it is served: to anybody, with nothing in it, and with what browsers are to keep to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import product

import aiohttp
import pytest

from tests.http.stage import Daemon
from tests.page.stage import OLGA

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
}


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{daemon.address}") as session:
        yield session


async def read(http: aiohttp.ClientSession, path: str) -> tuple[str, str]:
    async with http.get(path) as response:
        assert response.status == 200, path
        return await response.text(), response.content_type


async def test_the_address_alone_leads_to_the_page_also_behind_a_proxy_with_a_path(http: aiohttp.ClientSession) -> None:
    for path in ("/", "/ui"):
        async with http.get(path, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "ui/")
    text, kind = await read(http, "/ui/")
    assert kind == "text/html"
    assert "<title>Headgate</title>" in text


async def test_every_file_that_the_page_names_is_served_and_none_comes_from_elsewhere(http: aiohttp.ClientSession) -> None:
    html, _ = await read(http, "/ui/")
    named = set(re.findall(r'(?:src|href)="assets/([^"]+)"', html))
    assert named == {"page.css", "page.js"}
    seen = set[str]()
    while named - seen:
        name = sorted(named - seen)[0]
        seen.add(name)
        text, kind = await read(http, f"/ui/assets/{name}")
        assert kind == ("text/css" if name.endswith(".css") else "text/javascript")
        assert re.search(r"https?://|@import|innerHTML|document\.cookie|localStorage", text) is None, name
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', text))
    assert len(seen) > 8
    assert re.search(r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=", html) is None


async def test_what_is_not_a_file_of_the_page_is_not_there(http: aiohttp.ClientSession) -> None:
    for name in ("serving.py", "__init__.py", "index.html", "..%2Fserver.py", "%2e%2e%2f%2e%2e%2fbodies.py", "nothing.js"):
        async with http.get(f"/ui/assets/{name}") as response:
            assert response.status == 404, name


async def test_every_answer_says_what_it_may_not_be_used_for(http: aiohttp.ClientSession) -> None:
    for path in ("/", "/ui/", "/ui/assets/page.js", "/ui/assets/nothing", "/v1/releases", "/livez", "/nothing"):
        async with http.get(path, allow_redirects=False) as response:
            headers = response.headers
            assert set(headers["Content-Security-Policy"].split("; ")) == POLICY, path
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Set-Cookie" not in headers
            assert "Access-Control-Allow-Origin" not in headers
            assert headers["Cache-Control"] == "no-store"


OWN_NAMES = ("localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:1", "[::1]:8440", "10.1.2.3", "headgate.example:99")
OTHER_NAMES = (
    "evil.example",
    "headgate.example.evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "[::1",
    "",
)


async def test_the_daemon_answers_to_its_own_names_and_to_addresses(http: aiohttp.ClientSession) -> None:
    for host in OWN_NAMES:
        async with http.get("/livez", headers={"Host": host}) as response:
            assert response.status == 200, host


async def test_called_by_another_name_it_refuses_everything(http: aiohttp.ClientSession) -> None:
    for host, path in product(OTHER_NAMES, ("/ui/", "/livez", "/v1/releases")):
        async with http.get(path, headers={"Host": host, "Authorization": f"Bearer {OLGA}"}) as response:
            assert response.status == 421, (host, path)
            error = (await response.json())["error"]
            assert error["code"] == "misdirected"
            assert "ask it by its address, or set publicUrl to the name that it has" in error["message"]


async def test_a_request_with_no_name_or_two_is_not_answered(daemon: Daemon) -> None:
    assert daemon.address is not None
    for heads in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        reader, writer = await asyncio.open_connection(*daemon.address)
        writer.write(f"GET /livez HTTP/1.1\r\n{heads}Connection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] in (b"400", b"421"), heads

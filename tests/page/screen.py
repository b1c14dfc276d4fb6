"""What a person sees and does: a page in a real browser. Everything waits for its condition, and nothing for a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.http.stage import Daemon

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

REQUIRED = "HEADGATE_REQUIRE_BROWSER"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 20_000


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Skips where there is none, and fails where it is required (in CI)."""
    path = shutil.which("chromium")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        path = None
    if path is None:
        missing = "needs a browser: apt-get install chromium, and pip install 'headgate[browser-test]'"
        if os.environ.get(REQUIRED):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Screen:
    """One tab. What its console complains of, and whatever it asks of others than its daemon, fails the test."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str = "/") -> None:
        await self.page.goto(self.origin + path)

    async def sign_in(self, secret: str) -> None:
        await self.page.get_by_label("Token").fill(secret)
        await self.page.get_by_role("button", name="Sign in").click()

    async def open_release(self, release: str, secret: str) -> None:
        await self.open(f"/ui/#/releases/{release}")
        await self.sign_in(secret)

    def card(self, target: str = "production") -> Locator:
        return self.page.get_by_role("region", name=f"Target {target}")

    def order(self, name: str, target: str = "production") -> Locator:
        return self.card(target).locator(".buttons").first.get_by_role("button", name=name, exact=True)

    def journal(self, text: str) -> Locator:
        return self.page.get_by_role("region", name="Journal").get_by_text(text)

    async def sees(self, what: Locator | str) -> None:
        found = self.page.get_by_text(what) if isinstance(what, str) else what
        await found.filter(visible=True).first.wait_for()

    async def sees_state(self, state: str, target: str = "production") -> None:
        await self.card(target).locator(".pill", has_text=state).wait_for()

    async def sees_live(self) -> None:
        await self.page.locator(".liveness.live").wait_for()

    def check(self) -> None:
        assert self.complaints == []


@asynccontextmanager
async def open_screen(
    browser: Browser, daemon: Daemon, *, width: int = 1200, height: int = 850
) -> AsyncIterator[Screen]:
    context = await browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(PATIENCE_MS)
    screen = Screen(await context.new_page(), f"http://{daemon.address}")

    def note_request(url: str) -> None:
        if urlsplit(url).scheme != "data" and not url.startswith(screen.origin):
            screen.complaints.append(f"asked {url}")

    def note_message(kind: str, text: str) -> None:
        # A refusal of the daemon is logged by the browser as well, and so is a daemon that is not there.
        if kind == "error" and not text.startswith("Failed to load resource"):
            screen.complaints.append(text)

    screen.page.on("request", lambda request: note_request(request.url))
    screen.page.on("console", lambda message: note_message(message.type, message.text))
    screen.page.on("pageerror", lambda error: screen.complaints.append(str(error)))
    yield screen
    screen.check()
    await context.close()

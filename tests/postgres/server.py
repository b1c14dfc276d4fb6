"""A real PostgreSQL server in a temporary folder: without fsync, on a Unix socket and on loopback, with passwords.

PostgreSQL refuses to run as root; root's tests run it as somebody else.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from store.postgres_place import PostgresPlace

USER = "headgate"
PASSWORD = "correct-horse-battery"
PATIENCE_SECONDS = 30.0


def find_binaries() -> Path | None:
    """The folder of the newest PostgreSQL on this machine; None where there is none."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is not None:
        places.insert(0, Path(on_path).resolve().parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


class PostgresServer:
    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self.folder = folder
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(secret, *_somebody())
        command = ["initdb", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [self._binaries / command[0], *command[1:], "--locale=C", "-D", self.folder / "data"],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            **_as_somebody(),
        )

    def start(self) -> None:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": 60,
        }
        switches = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.folder / "data", *switches],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                **_as_somebody(),
            )
        self._await_readiness()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: as `pg_ctl restart` does, without waiting for sessions. SIGQUIT: at once, as in a crash."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE_SECONDS)

    def make_database(self) -> str:
        """Its name."""
        name = f"store_{next(self._numbers)}"
        asyncio.run(self.ask("postgres", f"CREATE DATABASE {name}"))
        return name

    def place(self, database: str, *, port: int | None = None) -> PostgresPlace:
        """`port`: of a proxy, instead of the server's own."""
        return PostgresPlace(f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}", _password)

    async def ask(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """As an administrator would, beside whatever the tests run."""
        place = self.place(database)
        connection = await asyncpg.connect(
            place.url, password=PASSWORD, timeout=PATIENCE_SECONDS, server_settings={"search_path": "headgate"}
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    def _await_readiness(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                asyncio.run(self.ask("postgres", "SELECT 1"))
            except (OSError, asyncpg.PostgresError):
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"PostgreSQL does not start: {(self.folder / 'log').read_text('utf-8', 'replace')[-2000:]}")


@contextmanager
def run_postgres(binaries: Path) -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, *_somebody())
    server = PostgresServer(binaries, folder)
    try:
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _password() -> str:
    return PASSWORD


def _as_somebody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user, group = _somebody()
    return {"user": user, "group": group, "extra_groups": ()}


def _somebody() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    return 65534, 65534

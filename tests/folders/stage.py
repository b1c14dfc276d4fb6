"""A deploy folder, and a daemon that looks into it when it is told to."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from adapters.folders.standing import FileStanding, FolderStanding
from adapters.folders.submitting import Submitter
from adapters.folders.watching import LOOK_SECONDS, Folders
from tests.http.stage import MANIFEST, Daemon, Stage, deploy_text


@contextmanager
def listening(about: str = "folders.") -> Iterator[list[EventDict]]:
    """What is logged inside of the block, of events whose names begin so; the tests' own settings let nothing through."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    heard: list[EventDict] = []
    try:
        with capture_logs() as everything:
            yield heard
    finally:
        structlog.configure(wrapper_class=before)
        heard.extend(entry for entry in everything if entry["event"].startswith(about))


@dataclass
class HandClock:
    """Stands still until it is moved on."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep_forever()


@dataclass
class Watched:
    """A daemon's deploy folders."""

    daemon: Daemon
    folders: Folders
    clock: HandClock

    async def look(self, *, after: float = LOOK_SECONDS) -> None:
        self.clock.seconds += after
        await self.folders.look()

    async def rest(self) -> None:
        """As many looks as it takes for what lies there to be taken."""
        for _ in range(5):
            await self.look()

    @property
    def folder(self) -> FolderStanding:
        return self.folders.standings()[0]

    def standing(self, name: str = "shop.yaml") -> FileStanding:
        return next(file for file in self.folder.files if file.name == name)

    async def releases(self) -> list[str]:
        """The ids of all, the oldest first."""
        return [release.id for release in (await self.daemon.client.releases()).releases][::-1]


@dataclass
class FolderStage:
    """What outlives a daemon: its store, the world, and the folder."""

    base: Path
    stage: Stage = field(init=False)
    folder: Path = field(init=False)
    _writes: int = 0

    def __post_init__(self) -> None:
        self.stage = Stage(self.base)
        self.folder = self.base / "deploy.d"
        self.folder.mkdir()
        self.manifests = self.folder / "web.manifest"
        self.manifests.write_text(MANIFEST)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Watched]:
        async with self.stage.daemon() as daemon:
            clock = HandClock()
            folders = Folders(Submitter(daemon.running.service), clock)
            folders.watch([self.folder])
            yield Watched(daemon, folders, clock)

    def text(self, *steps: str, application: str = "shop") -> str:
        return deploy_text(*steps, application=application).replace("web.yaml", self.manifests.name)

    def write(self, *steps: str, name: str = "shop.yaml", application: str = "shop") -> Path:
        """A deploy file. Its time of change is always another one, also where the disk's clock ticks slowly."""
        path = self.folder / name
        path.write_text(self.text(*steps, application=application))
        self._writes += 1
        os.utime(path, (self._writes, self._writes))
        return path

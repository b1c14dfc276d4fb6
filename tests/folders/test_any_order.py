"""Whatever happens to the files, the store and the daemon, in whatever order: every content begins, and none begins twice."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.folders.reading import list_deploy_files
from adapters.folders.standing import FileState
from adapters.folders.submitting import Submitter
from adapters.folders.watching import LOOK_SECONDS, Folders
from adapters.http.known_names import KnownNames
from adapters.http.service import Service
from adapters.http.telemetry import Telemetry
from engine.daemon import Engine
from engine.errors import Conflict, StoreError
from engine.model import Origin, Release, ReleasePlan, ReleaseStatus
from tests.engine.memory_store import MemoryStore
from tests.folders.stage import HandClock
from tests.http.stage import MANIFEST, deploy_text, percent


class Write(Enum):
    WORKS = auto()
    FAILS = auto()
    LOSES_ITS_ANSWER = auto()
    """It is on disk, and whoever waited for it is told otherwise."""


@dataclass
class Begun:
    """A store and an engine that only begin releases, and check that they may."""

    store: MemoryStore = field(default_factory=MemoryStore)
    stands_for: dict[str, str] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)
    next_write: Write = Write.WORKS

    async def submit(self, plan: ReleasePlan, *, by: str, source: str, origin: Origin) -> Release:
        if plan.application in self.running:
            raise Conflict(f"release {self.running[plan.application]} is RUNNING")
        how, self.next_write = self.next_write, Write.WORKS
        if how is Write.FAILS:
            raise StoreError("the disk is full")
        assert origin.digest not in self.stands_for.values(), "this content has begun a release already"
        self.stands_for[origin.file] = origin.digest
        number = f"r{len(self.releases) + 1}"
        now = HandClock().now()
        release = Release(number, plan.application, "", ReleaseStatus.RUNNING, now, by, source)
        self.releases.append(release)
        await self.store.add_release(release, [], now, origin)
        if how is Write.LOSES_ITS_ANSWER:
            raise StoreError("nobody knows whether it was written")
        self.running[plan.application] = number
        return release

    async def learn(self) -> None:
        """What files stand for without having begun it themselves."""
        for noted in await self.store.origins():
            assert noted.release in {release.id for release in self.releases}
            self.stands_for[noted.origin.file] = noted.origin.digest


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun = Begun()
        self.clock = HandClock()
        self.writes = 0
        self.start()

    def start(self) -> None:
        """A daemon that knows nothing but what is in the store."""
        service = Service(
            engine=cast(Engine, self.begun),
            store=self.begun.store,
            clock=self.clock,
            telemetry=Telemetry(self.clock),
            check_store=lambda: asyncio.sleep(0),
            known=lambda: KnownNames(accounts=frozenset({"model"}), providers=frozenset()),
            public_url=None,
            take_out_secrets=lambda text: asyncio.sleep(0, text),
        )
        self.folders = Folders(Submitter(service), self.clock)
        self.folders.watch([self.folder])

    def write(self, name: str, content: int) -> None:
        text = deploy_text(percent(content), application=f"shop-{content % 2}")
        (self.folder / name).write_text(text.replace("web.yaml", "web.manifest"))
        self.touch(name)

    def touch(self, name: str) -> None:
        self.writes += 1
        if (self.folder / name).exists():
            os.utime(self.folder / name, (self.writes, self.writes))

    def rename(self, name: str, other: str) -> None:
        if (self.folder / name).exists():
            (self.folder / name).rename(self.folder / other)
            self.touch(other)

    async def look(self, times: int) -> None:
        for _ in range(times):
            self.clock.seconds += LOOK_SECONDS
            await self.folders.look()
            await self.begun.learn()

    async def calm_down(self) -> None:
        """Everything that runs ends, until nothing waits any more."""
        for _ in range(4):
            self.begun.running.clear()
            await self.look(4)


Happening = tuple[str, object, object]
NAMES = st.sampled_from(["a.yaml", "b.yaml", "c.yaml"])
WRITES = st.tuples(st.just("write"), NAMES, st.integers(1, 3))
HAPPENINGS = st.one_of(
    WRITES,
    WRITES,
    st.tuples(st.just("touch"), NAMES, st.none()),
    st.tuples(st.just("remove"), NAMES, st.none()),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("look"), st.integers(1, 4), st.none()),
    st.tuples(st.sampled_from(["end", "restart", "hang-up"]), st.none(), st.none()),
    st.tuples(st.just("next write"), st.sampled_from(Write), st.none()),
)


async def let_happen(world: World, happening: Happening) -> None:
    match happening:
        case ("write", str() as name, int() as content):
            world.write(name, content)
        case ("touch", str() as name, _):
            world.touch(name)
        case ("remove", str() as name, _):
            (world.folder / name).unlink(missing_ok=True)
        case ("rename", str() as name, str() as other):
            world.rename(name, other)
        case ("look", int() as times, _):
            await world.look(times)
        case ("end", _, _):
            world.begun.running.clear()
        case ("restart", _, _):
            world.start()
        case ("hang-up", _, _):
            world.folders.watch([world.folder])
            await world.folders.look()
        case ("next write", Write() as how, _):
            world.begun.next_write = how


async def live_through(folder: Path, happenings: list[Happening]) -> None:
    (folder / "web.manifest").write_text(MANIFEST)
    world = World(folder)
    for happening in happenings:
        await let_happen(world, happening)
    await world.calm_down()
    [seen] = world.folders.standings()
    assert [file.name for file in seen.files] == [path.name for path in list_deploy_files(folder)]
    assert {file.state for file in seen.files} <= {FileState.STARTED, FileState.UNCHANGED}
    before = len(world.begun.releases)
    for file in seen.files:
        world.touch(file.name)
    world.start()
    await world.calm_down()
    assert len(world.begun.releases) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WRITES, min_size=1, max_size=3), st.lists(HAPPENINGS, min_size=3, max_size=14))
def test_every_content_begins_and_none_twice(writes: list[Happening], happenings: list[Happening]) -> None:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        runner.run(live_through(Path(folder), [*writes, *happenings]))

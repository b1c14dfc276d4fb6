"""The stories that are told of each way to move traffic. No request may fail in any of them.

A story begins and ends with one version that serves everything, so they can be told one after the other.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import anyio

from adapters.dataplane.envoy_admin import EnvoyAdmin
from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import EntryBody
from engine.model import ReleaseStatus
from tests.wire.clients import Answer, Load
from tests.wire.figures import Split
from tests.wire.scene import APPROVAL, Scene
from tests.wire.translation import cluster_name

WEIGHTS = (0.1, 1.0, 25.0, 50.0, 99.9, 100.0)
"""In percent, as in deploy files."""
WEIGHTS_OF_PODS = (25.0, 50.0, 75.0, 100.0)
"""What four pods can show."""
SWITCH: JsonObject = {"redirectTrafficAfter": [APPROVAL], "shutDownOldVersionAfter": [APPROVAL]}
HAND_OVER = ("next: replace-template", "next: adopt-canary", "next: unfreeze", "new version serves everything")
"""What the journal says in the middle of the hand-over; the daemon is killed right after it was written."""
WAIT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests are counted for a weight."""

    rare: int = 20_000
    """Where one side gets a thousandth or a hundredth."""
    common: int = 5_000

    def of(self, weight: float) -> int:
        return self.rare if 0 < min(weight, 100 - weight) < 5 else self.common


def steps_of(weights: Sequence[float]) -> list[JsonObject]:
    """Each weight is kept until somebody says to go on."""
    return [step for weight in weights for step in ({"setWeight": {"weight": weight}}, APPROVAL)]


def is_switched(scene: Scene) -> bool:
    """Blue/green: all traffic or none."""
    return any("kubernetes" in one for one in scene.way.traffic)


def weights_of(scene: Scene) -> tuple[float, ...]:
    if is_switched(scene):
        return (100.0,)
    return WEIGHTS_OF_PODS if scene.way.per_connection else WEIGHTS


async def begin(scene: Scene, weights: Sequence[float], *, settle: int | None = None) -> tuple[str, AsyncIterator[float]]:
    """A release, and its weights as it comes to them: each is on the wire, and nobody has said yet that it may go on."""
    if is_switched(scene):
        release = await scene.deploy((), blue_green=SWITCH, settle=settle)
        await scene.until_asked(release, 1)
        await scene.approve(release)
        return release, _weights_reached(scene, release, (100.0,), first=3)
    release = await scene.deploy(steps_of(weights), settle=settle)
    return release, _weights_reached(scene, release, weights, first=2)


async def _weights_reached(scene: Scene, release: str, weights: Sequence[float], *, first: int) -> AsyncIterator[float]:
    for number, weight in enumerate(weights):
        await scene.until_asked(release, first + 2 * number)
        await scene.until_on_wire(weight / 100)
        yield weight
        if number < len(weights) - 1:
            await scene.approve(release)


async def end_well(scene: Scene, release: str) -> None:
    """The last weight is approved; the tested pods become the Deployment's own, and the old version goes."""
    await scene.approve(release)
    await scene.until_ended(release, ReleaseStatus.SUCCEEDED)
    await until_alone(scene, scene.version)


async def until_alone(scene: Scene, version: int) -> None:
    """Until this version answers everything, and the pods of all others are gone."""

    async def is_alone() -> bool:
        pods = await scene.site.items("pods")
        return {one["spec"]["containers"][0]["image"] for one in pods} == {f"web:{version}"}

    await scene.site.until(is_alone, within=scene.patience)
    scene.live = version
    window = await scene.count(200)
    assert set(window.versions) <= {str(version)}, f"not only version {version} answers: {window.versions}"


async def climb(scene: Scene, counts: Counts) -> list[Split]:
    """From the start over every weight to the end."""
    release, reached = await begin(scene, weights_of(scene))
    splits = []
    async for weight in reached:
        split = await measure(scene, weight / 100, counts.of(weight))
        if not split.holds and split.asked < 1:
            # Of three hundred that are drawn, one is as far away by chance; of ninety thousand, one is so twice.
            split = replace(await measure(scene, weight / 100, counts.of(weight)), recounted=True)
        splits.append(split)
    await end_well(scene, release)
    return splits


async def measure(scene: Scene, asked: float, requests: int) -> Split:
    window = await scene.count(requests)
    return Split(asked, window.versions[str(scene.version)], window.answers)


async def go_back(scene: Scene, *, settle: int | None = None) -> float:
    """An abort in the middle. Seconds from the order to the last answer of the new version."""
    old = scene.live
    release, reached = await begin(scene, (50.0,), settle=settle)
    await anext(reached)
    each, scene.load.requests_each = scene.load.requests_each, 1 if scene.way.per_connection else 0
    async with last_answer(scene, str(scene.version)) as seen:
        ordered = await scene.abort(release)
        await scene.until_ended(release, ReleaseStatus.FAILED)
        await until_alone(scene, old)
    scene.load.requests_each = each
    return max(seen.at - ordered, 0.0)


@dataclass(slots=True)
class Seen:
    at: float
    """By the wall's clock."""


@asynccontextmanager
async def last_answer(scene: Scene, version: str) -> AsyncIterator[Seen]:
    seen = Seen(time.time())

    async def follow() -> None:
        def is_its(answer: Answer) -> bool:
            return answer.version == version

        while True:
            seen.at = wall_time((await scene.load.expect(is_its)).ended)

    following = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        following.cancel()


async def supersede(scene: Scene) -> None:
    """A newer release comes while the one before is in the middle of its step."""
    older, reached = await begin(scene, (50.0,))
    await anext(reached)
    newer, reached = await begin(scene, (50.0,))
    await anext(reached)
    assert (await scene.site.detail(older)).release.status is ReleaseStatus.FAILED
    await end_well(scene, newer)


async def survive_kills(scene: Scene) -> None:
    """kill -9 of the daemon in the middle of a step, and again in each part of the hand-over."""
    release, reached = await begin(scene, (25.0,))
    await anext(reached)
    await scene.kill_and_restart_daemon()
    await scene.approve(release)
    for words in HAND_OVER:
        await until_told(scene, release, words)
        await scene.kill_and_restart_daemon()
    await scene.until_ended(release, ReleaseStatus.SUCCEEDED)
    await until_alone(scene, scene.version)


TESTERS: JsonObject = {"name": "testers", "match": [{"header": [{"name": "x-tester", "exact": "yes"}]}]}
MIRRORED = 0.5
MOST_TESTED = 500


async def single_out(scene: Scene, requests: int) -> list[Split]:
    """Testers by a header, whatever the weight; where there are mirrors, copies of half of all requests; a weight beside it.

    The share that was copied, and that of the weight among everybody else.
    """
    steps: list[JsonObject] = [{"setHeaderRoute": TESTERS}, APPROVAL]
    if scene.way.mirrors:
        steps += [{"setMirror": {"weight": 100 * MIRRORED}}, APPROVAL, {"setMirror": {"weight": 0}}]
    release = await scene.deploy([*steps, *steps_of([25.0])])
    old, fresh = str(scene.live), str(scene.version)
    splits = []
    await scene.until_asked(release, 2)
    await check_testers(scene, fresh)
    assert set((await scene.count(requests)).versions) == {old}
    await scene.approve(release)
    if scene.way.mirrors:
        await scene.until_asked(release, 4)
        splits.append(await count_copies(scene, requests))
        await scene.approve(release)
    await scene.until_asked(release, len(steps) + 2)
    await scene.until_on_wire(0.25)
    splits.append(await measure(scene, 0.25, requests))
    await check_testers(scene, fresh)
    await scene.abort(release)
    await scene.until_ended(release, ReleaseStatus.FAILED)
    await until_alone(scene, int(old))
    return splits


async def check_testers(scene: Scene, fresh: str) -> None:
    """Once the data plane has heard of the route, each of them gets the new version, and is answered."""
    address, host = await scene.way.place(scene.ground, scene.site)
    async with Load(address, host, connections=2, pause=0.0, headers={"x-tester": "yes"}) as testers:
        with anyio.fail_after(WAIT_SECONDS):
            await testers.expect(lambda one: one.version == fresh)
        window = testers.open_window()
        while window.requests < MOST_TESTED:
            await anyio.sleep(0.02)
    assert set(window.versions) == {fresh}, f"with the header: {window.versions}"
    assert not testers.all.failed, testers.all.failures


async def count_copies(scene: Scene, requests: int) -> Split:
    """Nobody else sends anything to the new version: what arrives there are copies."""
    async with aiohttp.ClientSession() as session:
        admin, cluster = EnvoyAdmin(session, scene.ground.envoy_admin), cluster_name(scene.site.namespace, "web", "canary")

        async def arrived() -> int:
            return (await admin.statistics((cluster,)))[cluster].requests

        at_first = await arrived()
        with anyio.fail_after(WAIT_SECONDS):
            while await arrived() == at_first:
                await anyio.sleep(0.02)
        before = await arrived()
        window = await scene.count(requests)
        return Split(MIRRORED, await arrived() - before, window.answers)


async def until_told(scene: Scene, release: str, words: str) -> None:
    with anyio.fail_after(scene.patience):
        while not any(words in entry.text for entry in await scene.journal(release)):
            await anyio.sleep(0.005)


async def change_often(scene: Scene, count: int) -> list[float]:
    """So many weights one after the other. Seconds from each decision to the changed split on the wire."""
    weights = [round((10 if number % 2 else 60) + 0.01 * number, 2) for number in range(count)]
    release = await scene.deploy(steps_of(weights))
    seen = []
    for number, weight in enumerate(weights):
        seen.append(wall_time(await scene.until_on_wire(weight / 100)))
        await scene.until_asked(release, 2 * number + 2)
        if number < count - 1:
            await scene.approve(release)
    decided = decisions(await scene.journal(release))
    assert len(decided) == count, f"{count} weights, and {len(decided)} decisions on them"
    await scene.abort(release)
    await scene.until_ended(release, ReleaseStatus.FAILED)
    return [there - at for there, at in zip(seen, decided, strict=True)]


def wall_time(loop_time: float) -> float:
    return time.time() - (asyncio.get_running_loop().time() - loop_time)


def decisions(entries: Sequence[EntryBody]) -> list[float]:
    """When each weight of a step was decided on, by the journal."""
    return [entry.at.timestamp() for entry in entries if re.search(r"next: set-weight:\S+:\d+", entry.text)]

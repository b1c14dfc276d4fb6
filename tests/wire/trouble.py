"""Stories in which processes stand still or go away while clients go on asking: the daemon, and parts of the control plane.

What stands still (SIGSTOP) keeps its connections and answers nothing: nobody is refused, everybody waits. Each story begins and
ends with one version that serves everything, and ends as it would have without any trouble.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from adapters.http.client_errors import DaemonUnreachable
from engine.model import ReleaseStatus
from tests.wire.scene import Scene
from tests.wire.stories import SWITCH, is_switched, steps_of, until_alone, until_told

HAND_OVER = ("next: replace-template", "next: adopt-canary")
MOMENTS = (0.0, 0.4, 0.1)
"""Seconds from an order that everybody was given until the trouble begins: of a weight, of the hand-over, of an abort."""


@dataclass(slots=True)
class Halted:
    """Where the rollouts were when something stopped: how many in which state."""

    states: Counter[str] = field(default_factory=Counter)

    async def note(self, scene: Scene, release: str) -> None:
        try:
            self.states[str((await scene.site.detail(release)).rollouts[0].state)] += 1
        except DaemonUnreachable:
            self.states["unknown"] += 1


async def deploy_in_two(scene: Scene) -> str:
    """A release that waits for the first of two answers: the one after which traffic is moved."""
    if is_switched(scene):
        release = await scene.deploy((), blue_green=SWITCH)
        await scene.until_asked(release, 1)
        return release
    release = await scene.deploy(steps_of((25.0, 50.0)))
    await scene.until_asked(release, 2)
    return release


async def until_moved(scene: Scene, release: str) -> None:
    """Until the traffic was moved, and nobody has said yet that it may go on to the end."""
    await scene.until_asked(release, 3 if is_switched(scene) else 4)


async def until_moved_on_wire(scene: Scene, release: str) -> None:
    await until_moved(scene, release)
    with anyio.fail_after(scene.patience):
        await scene.way.until_on_wire(scene, 1.0 if is_switched(scene) else 0.5)


async def stand_still(scene: Scene, release: str, seconds: float, halted: Halted) -> None:
    """SIGSTOP now, and SIGCONT so many seconds later."""
    await halted.note(scene, release)
    scene.site.daemon.freeze()
    await anyio.sleep(seconds)
    scene.site.daemon.thaw()


async def survive_standstills(scene: Scene, seconds: float, halted: Halted) -> None:
    """Of its daemon: with a weight on its way, twice in the hand-over, twice in an abort."""
    release = await deploy_in_two(scene)
    await scene.approve(release)
    await stand_still(scene, release, seconds, halted)
    await until_moved_on_wire(scene, release)
    await scene.approve(release)
    for words in HAND_OVER:
        await until_told(scene, release, words)
        await stand_still(scene, release, seconds, halted)
    await scene.until_ended(release, ReleaseStatus.SUCCEEDED)
    await until_alone(scene, scene.version)
    await survive_standstills_of_an_abort(scene, seconds, halted)


async def survive_standstills_of_an_abort(scene: Scene, seconds: float, halted: Halted) -> None:
    old = scene.live
    release = await deploy_in_two(scene)
    await scene.approve(release)
    await until_moved_on_wire(scene, release)
    await scene.abort(release)
    await stand_still(scene, release, seconds, halted)
    await until_told(scene, release, "the stable version serves everything again")
    await stand_still(scene, release, seconds, halted)
    await scene.until_ended(release, ReleaseStatus.FAILED)
    await until_alone(scene, old)


class Gathering:
    """Those who undergo the same trouble at the same time: there is one control plane for all of them."""

    def __init__(self, members: int, halted: Halted) -> None:
        self._members = members
        self._halted = halted
        self._here: list[tuple[Scene, str]] = []
        self._ordered = 0
        self._begins, self._is_over = anyio.Event(), anyio.Event()

    async def undergo(self, scene: Scene, release: str, order: Callable[[str], Awaitable[object]]) -> None:
        """Give the order when all others are here too. Returns when the trouble that follows is over."""
        begins, is_over = self._begins, self._is_over
        self._here.append((scene, release))
        await begins.wait()
        await order(release)
        self._ordered += 1
        await is_over.wait()

    def leave(self) -> None:
        """Told to its end, or broken: nobody waits for it any more."""
        self._members -= 1

    async def bring(self, trouble: Callable[[], Awaitable[None]], after: float) -> None:
        """To all, so many seconds after the last order."""
        while len(self._here) < self._members:
            await anyio.sleep(0.01)
        here, self._here, self._ordered = self._here, [], 0
        begins, self._begins = self._begins, anyio.Event()
        is_over, self._is_over = self._is_over, anyio.Event()
        begins.set()
        while self._ordered < self._members:
            await anyio.sleep(0.005)
        await anyio.sleep(after)
        for scene, release in here:
            await self._halted.note(scene, release)
        await trouble()
        is_over.set()


async def survive_together(scene: Scene, gathering: Gathering) -> None:
    """A trouble for each of `MOMENTS`."""
    release = await deploy_in_two(scene)
    await gathering.undergo(scene, release, scene.approve)
    await until_moved_on_wire(scene, release)
    await gathering.undergo(scene, release, scene.approve)
    await scene.until_ended(release, ReleaseStatus.SUCCEEDED)
    await until_alone(scene, scene.version)
    old = scene.live
    release = await deploy_in_two(scene)
    await scene.approve(release)
    await until_moved_on_wire(scene, release)
    await gathering.undergo(scene, release, scene.abort)
    await scene.until_ended(release, ReleaseStatus.FAILED)
    await until_alone(scene, old)


class Storms:
    """An API server that is killed several times in a row, left alone, and killed again, for as long as somebody is told of."""

    def __init__(self, members: int) -> None:
        self._remaining = members
        self._begins = anyio.Event()
        self._over = anyio.Event()

    @property
    def are_over(self) -> bool:
        return not self._remaining

    def begin(self) -> None:
        begins, self._begins = self._begins, anyio.Event()
        begins.set()

    async def calm_down(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._over.wait()

    async def until_next(self) -> None:
        await self._begins.wait()

    def leave(self) -> None:
        """Told to its end, or broken."""
        self._remaining -= 1
        if self.are_over:
            self._over.set()

    async def until_over(self) -> None:
        await self._over.wait()


async def survive_restarts(scene: Scene, storms: Storms) -> None:
    """Begun, handed over and undone in a storm each, and nobody but the daemon is asked."""
    try:
        release = await deploy_in_two(scene)
        await scene.approve(release)
        await until_moved(scene, release)
        await storms.until_next()
        await scene.approve(release)
        await scene.until_ended(release, ReleaseStatus.SUCCEEDED)
        serving = scene.version
        release = await deploy_in_two(scene)
        await scene.approve(release)
        await until_moved(scene, release)
        await storms.until_next()
        await scene.abort(release)
        await scene.until_ended(release, ReleaseStatus.FAILED)
    finally:
        storms.leave()
    await storms.until_over()
    await until_alone(scene, serving)

"""Tells the stories of `tests.wire.trouble` of all ways at the same time: a daemon stands still for one application, a part of
the control plane for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio

from tests.e2e.controlplane.processes import Program
from tests.wire.figures import Measured
from tests.wire.ground import Ground
from tests.wire.telling import Tell, Telling, open_all
from tests.wire.trouble import (
    MOMENTS,
    Gathering,
    Halted,
    Storms,
    survive_restarts,
    survive_standstills,
    survive_together,
)
from tests.wire.ways import Way

DAEMON = "the daemon stands still"
API_SERVER = "the API server stands still"
ETCD = "etcd stands still"
CONTROLLERS = "the controllers stand still"
BOTH = "the daemon and the API server are killed together"
RESTARTS = "the API server is killed again and again"
TROUBLES = (DAEMON, API_SERVER, ETCD, CONTROLLERS, BOTH, RESTARTS)
PATIENCE_SECONDS = 300.0
"""Controllers and watches wait before they ask again, for up to a minute and more when they have failed a few times."""
LONG_PRE_STOP_SECONDS = 60
"""Longer than any of it: while the API server stands still, nobody can take a pod that ends out of the endpoints of a Service."""
AWAY_SECONDS, UP_SECONDS = 2.0, 10.0
"""For how long an API server that is killed is not there, and for how long it is before it is killed again."""
KILLS_IN_A_ROW, CALM_SECONDS = 6, 120.0
"""Then it is left alone for so long: a rollout does nothing new while the proxies may be behind, and so nothing would be seen of
an API server that is killed for ever."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """For how long each of them stands still."""

    daemon: float = 45.0
    """Longer than any of its time-outs: it waits for 40 seconds for an answer of the API server."""
    api_server: float = 45.0
    etcd: float = 45.0
    """The API server gives a write to etcd up after 34 seconds."""
    controllers: float = 20.0


@dataclass(slots=True)
class Endured:
    """What all ways have been through."""

    measured: list[Measured]
    halted: dict[str, Halted] = field(default_factory=dict)
    """By story: where the rollouts were."""
    restarts: int = 0
    """How often the API server was started again, in `RESTARTS`."""
    seconds: Seconds = Seconds()
    minutes: float = 0.0
    remarks: list[str] = field(default_factory=list)
    """What a reader has to know of how it came about."""


async def endure(ground: Ground, ways: Sequence[Way], folder: Path, seconds: Seconds, say: Tell) -> Endured:
    """Every trouble, of every way."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        tellings = await open_all(stack, ground, ways, folder, say, LONG_PRE_STOP_SECONDS)
        for telling in tellings:
            telling.scene.patience = PATIENCE_SECONDS
        endured = Endured([one.measured for one in tellings], {name: Halted() for name in TROUBLES[:-1]}, seconds=seconds)
        halted = endured.halted
        async with anyio.create_task_group() as tasks:
            for telling in tellings:
                story = partial(survive_standstills, telling.scene, seconds.daemon, halted[DAEMON])
                tasks.start_soon(telling.tell, DAEMON, story)
        for name, program, halt in (
            (API_SERVER, ground.plane.api_server, seconds.api_server),
            (ETCD, ground.plane.etcd, seconds.etcd),
            (CONTROLLERS, ground.plane.controllers, seconds.controllers),
        ):
            await _share(name, tellings, partial(_stand_still, program, halt), halted[name])
        await _share(BOTH, tellings, partial(_kill_both, ground, tellings), halted[BOTH])
        endured.restarts = await _restart_again_and_again(ground, tellings)
    endured.minutes = (time.monotonic() - began) / 60
    return endured


async def _share(
    name: str, tellings: Sequence[Telling], trouble: Callable[[], Awaitable[None]], halted: Halted
) -> None:
    gathering = Gathering(len(tellings), halted)

    async def undergo(telling: Telling) -> None:
        await telling.tell(name, partial(survive_together, telling.scene, gathering))
        gathering.leave()

    async with anyio.create_task_group() as tasks:
        for telling in tellings:
            tasks.start_soon(undergo, telling)
        for moment in MOMENTS:
            await gathering.bring(trouble, moment)


async def _stand_still(program: Program, seconds: float) -> None:
    program.freeze()
    await anyio.sleep(seconds)
    program.thaw()


async def _kill_both(ground: Ground, tellings: Sequence[Telling]) -> None:
    """The daemons are back before the API server is."""
    api_server = ground.plane.api_server
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, api_server.kill)
        for telling in tellings:
            tasks.start_soon(telling.scene.site.kill_daemon)
    async with anyio.create_task_group() as tasks:
        for telling in tellings:
            tasks.start_soon(telling.scene.site.start_daemon)
    await start_again(api_server)


async def start_again(program: Program) -> None:
    """Launched from this thread: a program dies with the thread that launched it."""
    await anyio.sleep(AWAY_SECONDS)
    program.launch()
    await anyio.to_thread.run_sync(program.wait_until_ready)


async def _restart_again_and_again(ground: Ground, tellings: Sequence[Telling]) -> int:
    """How often, until all had come to an end."""
    storms, restarts = Storms(len(tellings)), 0
    async with anyio.create_task_group() as tasks:
        for telling in tellings:
            if telling.measured.broken:
                storms.leave()
            tasks.start_soon(telling.tell, RESTARTS, partial(survive_restarts, telling.scene, storms))
        while not storms.are_over:
            storms.begin()
            for _ in range(KILLS_IN_A_ROW):
                await anyio.to_thread.run_sync(ground.plane.api_server.kill)
                await start_again(ground.plane.api_server)
                restarts += 1
                await anyio.sleep(UP_SECONDS)
            await storms.calm_down(CALM_SECONDS)
    return restarts

"""Tells all stories of all ways at the same time, each application with a daemon and clients of its own, and writes down what
came of it. One story that breaks ends that of its way, and of no other.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from tests.wire.clients import describe_failures
from tests.wire.figures import Measured
from tests.wire.ground import Ground
from tests.wire.scene import PRE_STOP_SECONDS, Scene, open_scene
from tests.wire.stories import (
    Counts,
    begin,
    change_often,
    climb,
    end_well,
    go_back,
    single_out,
    supersede,
    survive_kills,
)
from tests.wire.trouble import Halted, survive_standstills_of_an_abort
from tests.wire.ways import Way

T = TypeVar("T")
CLIMB = "start, every weight, hand-over"
BACK = "abort at 50 %"
SUPERSEDED = "a newer release at 50 %"
KILLED = "kill -9 in a step and four times in the hand-over"
SINGLED_OUT = "testers by a header, copies, a weight beside"
STOOD_STILL = "the daemon stands still in an abort"
API_SERVER = "the API server is killed at 50 %"
CHANGES = "many changes"
ROLLBACKS = "many rollbacks"
STORIES = (CLIMB, BACK, SUPERSEDED, KILLED, STOOD_STILL, API_SERVER)
STILL_SECONDS = 6.0
"""Longer than what a version keeps its pods for; `tests.wire.enduring` stops for longer, and much else."""
AWAY_SECONDS = 2.0
QUICK_SETTLE_SECONDS, QUICK_PRE_STOP_SECONDS = 1, 1
"""Both begin when the traffic is back already; shortened, there is time for more rollbacks. Not for Traefik, which takes two
seconds to hear of anything, so pods have to wait for it."""
Tell = Callable[[str], None]


@dataclass(slots=True)
class Telling:
    """One way, as far as it has been told."""

    scene: Scene
    measured: Measured
    say: Tell

    async def tell(self, name: str, story: Callable[[], Awaitable[T]]) -> T | None:
        """None when it broke, now or before."""
        if self.measured.broken:
            return None
        counted = self.scene.load.all
        before = counted.requests, counted.failed
        try:
            return await story()
        except Exception as error:  # Whatever it was: the others go on, and it is told in the end.
            self.measured.broken = f"{name}: {''.join(traceback.format_exception(error))}"
            return None
        finally:
            requests, failed = counted.requests - before[0], counted.failed - before[1]
            self.measured.stories[name] = (requests, failed)
            began = time.time() - asyncio.get_running_loop().time()
            findings = [f"{name}: {told}" for told in describe_failures(counted.failures[before[1] :], began)]
            self.measured.findings += findings
            self.say(f"{self.measured.way}: {name}: {requests} requests, {failed} failed")
            for finding in findings:
                self.say(f"  {finding}")


async def tell_stories(ground: Ground, ways: Sequence[Way], folder: Path, counts: Counts, say: Tell) -> list[Measured]:
    """Every story of every way."""
    async with AsyncExitStack() as stack:
        tellings = await open_all(stack, ground, ways, folder, say)
        async with anyio.create_task_group() as tasks:
            for telling in tellings:
                tasks.start_soon(_tell_one, telling, counts)
        await _kill_api_server(ground, tellings)
    return [one.measured for one in tellings]


async def open_all(
    stack: AsyncExitStack, ground: Ground, ways: Sequence[Way], folder: Path, say: Tell, long_pre_stop: int = PRE_STOP_SECONDS
) -> list[Telling]:
    """`long_pre_stop`: of the pods whose endpoints are the weight itself."""
    tellings = []
    for number, way in enumerate(ways):
        own, pre_stop = folder / str(number), long_pre_stop if way.per_connection else PRE_STOP_SECONDS
        own.mkdir(parents=True, exist_ok=True)
        scene = await stack.enter_async_context(open_scene(ground, way, own, pre_stop))
        tellings.append(Telling(scene, Measured(way.name, way.plane), say))
    return tellings


async def _tell_one(telling: Telling, counts: Counts) -> None:
    scene, measured = telling.scene, telling.measured
    measured.splits += await telling.tell(CLIMB, lambda: climb(scene, counts)) or []
    seconds = await telling.tell(BACK, lambda: go_back(scene))
    measured.rollbacks += [seconds] if seconds is not None else []
    await telling.tell(SUPERSEDED, lambda: supersede(scene))
    await telling.tell(KILLED, lambda: survive_kills(scene))
    await telling.tell(STOOD_STILL, lambda: survive_standstills_of_an_abort(scene, STILL_SECONDS, Halted()))
    if scene.way.tests_by_header:
        measured.beside += await telling.tell(SINGLED_OUT, lambda: single_out(scene, counts.common)) or []


async def _kill_api_server(ground: Ground, tellings: Sequence[Telling]) -> None:
    """In the middle of a step of all of them: there is one for all."""
    halfway = [anyio.Event() for _ in tellings]
    is_back = anyio.Event()

    async def survive(telling: Telling, here: anyio.Event) -> None:
        async def story() -> None:
            release, reached = await begin(telling.scene, (50.0,))
            await anext(reached)
            here.set()
            await is_back.wait()
            await end_well(telling.scene, release)

        await telling.tell(API_SERVER, story)
        here.set()

    async with anyio.create_task_group() as tasks:
        for telling, here in zip(tellings, halfway, strict=True):
            tasks.start_soon(survive, telling, here)
        for here in halfway:
            await here.wait()
        await anyio.to_thread.run_sync(ground.plane.api_server.kill)
        await anyio.sleep(AWAY_SECONDS)
        # From this thread: a program dies with the thread that launched it.
        ground.plane.api_server.launch()
        await anyio.to_thread.run_sync(ground.plane.api_server.wait_until_ready)
        is_back.set()


async def measure_changes(ground: Ground, way: Way, folder: Path, count: int, measured: Measured, say: Tell) -> None:
    """One application alone, so that nothing else is measured."""
    async with AsyncExitStack() as stack:
        (telling,) = await open_all(stack, ground, [way], folder, say)
        telling.measured = measured
        measured.changes += await telling.tell(CHANGES, lambda: change_often(telling.scene, count)) or []


async def measure_rollbacks(
    ground: Ground, ways: Sequence[Way], folder: Path, count: int, measured: Sequence[Measured], say: Tell
) -> None:
    """All ways side by side, as often for each."""
    async with AsyncExitStack() as stack:
        tellings = await open_all(stack, ground, ways, folder, say)

        async def go_back_often(telling: Telling) -> None:
            is_quick = telling.scene.way.plane != "Traefik"
            if is_quick:
                telling.scene.pre_stop = QUICK_PRE_STOP_SECONDS

            async def story() -> None:
                for _ in range(count):
                    seconds = await go_back(telling.scene, settle=QUICK_SETTLE_SECONDS if is_quick else None)
                    telling.measured.rollbacks.append(seconds)

            await telling.tell(ROLLBACKS, story)

        async with anyio.create_task_group() as tasks:
            for telling, one in zip(tellings, measured, strict=True):
                telling.measured = one
                tasks.start_soon(go_back_often, telling)


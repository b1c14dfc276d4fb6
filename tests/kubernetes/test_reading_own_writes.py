"""Whatever an unreliable API server does, an object that counts as current is never one from before our last write to
it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import cast

import anyio
import pytest

from adapters.kubernetes.informer import Informer
from adapters.kubernetes.outages import Outages
from adapters.kubernetes.paths import REPLICA_SETS
from adapters.kubernetes.transport import Transport
from adapters.kubernetes.wire import Key, ReplicaSet, decode_replica_set
from tests.clocks import LoopClock, run_in_virtual_time
from tests.kubernetes.lagging_server import LaggingServer

NAMES = ("web", "api")
SECONDS_OF_WRITING = 120.0
SECONDS_TO_SETTLE = 300.0


class Story:
    def __init__(self, seed: int, lag: float) -> None:
        self.random = Random(seed)
        self.server = LaggingServer(self.random, lag=lag)
        self.answered: dict[Key, int] = {}
        """The revision of our last write to each object whose answer we have."""
        self.doubted: set[Key] = set()
        """What was seen not to count as current, and of which nothing was told since."""
        self.verdicts = 0
        self.informer = Informer(
            cast("Transport", self.server),
            REPLICA_SETS,
            None,
            decode_replica_set,
            clock=LoopClock(),
            random=self.random,
            relists=anyio.Semaphore(2),
            outages=Outages(LoopClock()),
            on_change=self.on_change,
            on_all_changed=self.doubted.clear,
        )

    def on_change(self, key: Key, before: ReplicaSet | None, after: ReplicaSet | None) -> None:
        self.check(key)
        if self.informer.is_current(key):
            self.doubted.discard(key)

    def check(self, key: Key) -> None:
        written = self.answered.get(key, 0)
        if not self.informer.is_current(key):
            return
        self.verdicts += 1
        found = self.informer.items.get(key)
        if found is not None:
            assert int(found.resource_version) >= written, f"{found.resource_version} counts as current after {written}"
        elif written:
            gone_at = max(self.server.deleted_at.get(key[1], [0]))
            assert gone_at >= written, f"it counts as gone, and was written at {written} and last deleted at {gone_at}"

    async def write(self, tasks: anyio.abc.TaskGroup) -> None:
        """One write of ours after the other, each with its answer late."""
        while asyncio.get_running_loop().time() < SECONDS_OF_WRITING:
            await asyncio.sleep(self.random.uniform(0, 6))
            name = self.random.choice(NAMES)
            key, deletes = ("shop", name), name in self.server.objects and self.random.random() < 0.2
            await self.server.delay()
            if deletes and name not in self.server.objects:
                continue
            made = (self.server.delete(name) if deletes else self.server.write(name))["metadata"]
            await self.server.delay()
            self.answered[key] = int(made["resourceVersion"])
            mark = made["uid"] if deletes else made["resourceVersion"]
            if (self.informer.expect_gone if deletes else self.informer.expect)(key, mark):
                self.doubted.add(key)
                tasks.start_soon(self.informer.dispel_doubt, key, mark)

    async def meddle(self) -> None:
        """What others do at the same time."""
        while asyncio.get_running_loop().time() < SECONDS_OF_WRITING:
            await asyncio.sleep(self.random.uniform(0, 4))
            name = self.random.choice(NAMES)
            if name in self.server.objects and self.random.random() < 0.3:
                self.server.delete(name)
            else:
                self.server.write(name)
            if self.random.random() < 0.05:
                self.server.forget_history()

    async def look(self) -> None:
        while True:
            await asyncio.sleep(0.03)
            for name in NAMES:
                self.check(("shop", name))
                is_told = ("shop", name) not in self.doubted or not self.informer.is_current(("shop", name))
                assert is_told, f"{name} counts as current again, and nobody was told"

    async def tell(self) -> None:
        async with anyio.create_task_group() as tasks:
            for task in (self.informer.run, self.meddle, self.look):
                tasks.start_soon(task)
            await self.write(tasks)
            await asyncio.sleep(SECONDS_TO_SETTLE)
            self.check_the_end()
            tasks.cancel_scope.cancel()

    def check_the_end(self) -> None:
        there = {name: body["metadata"]["resourceVersion"] for name, body in self.server.objects.items()}
        assert {key[1]: item.resource_version for key, item in self.informer.items.items()} == there
        assert all(self.informer.is_current(("shop", name)) for name in NAMES)


@pytest.mark.parametrize("lag", [0.2, 9.0])
@pytest.mark.parametrize("seed", range(8))
def test_no_verdict_rests_on_what_was_there_before_our_own_write(seed: int, lag: float) -> None:
    async def tell() -> int:
        story = Story(seed, lag)
        await story.tell()
        return story.verdicts

    assert run_in_virtual_time(tell) > 100

"""An engine on the model world in virtual time: what the engine's stories are told on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from engine.daemon import AdmissionRules, Engine, start_engine
from engine.events import Command, CommandKind
from engine.model import FINAL_STATUSES, Release, ReleasePlan, ReleaseStatus, Snapshot, State
from strategies.canary import CanaryStrategy
from tests.builders import Names
from tests.clocks import LoopClock
from tests.engine.memory_store import MemoryStore
from tests.engine.model_world import ModelWorld
from tests.invariants import Journal


@dataclass
class Stage:
    """What outlives a daemon: the world, the store and the clock."""

    journal: Journal = field(default_factory=Journal)
    clock: LoopClock = field(default_factory=LoopClock)
    names: Names = field(default_factory=Names)
    world: ModelWorld = field(init=False)
    store: MemoryStore = field(init=False)
    rules: AdmissionRules = field(default_factory=AdmissionRules)

    def __post_init__(self) -> None:
        self.world = ModelWorld(journal=self.journal)
        self.store = MemoryStore(self.journal)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Engine]:
        async with start_engine(
            store=self.store,
            clock=self.clock,
            strategy=CanaryStrategy(),
            world=self.world,
            actuator=self.world,
            new_id=self.names.new_id,
            new_secret=self.names.new_secret,
            rules=self.rules,
        ) as engine:
            yield engine

    def snapshot(self, rollout: str = "r1.production") -> Snapshot:
        return self.journal.snapshots[rollout]

    async def until(self, condition: Callable[[], bool], within: float = 3_600.0) -> None:
        with anyio.fail_after(within):
            while not condition():
                await self.journal.changed.wait()

    async def until_state(self, state: State, rollout: str = "r1.production") -> None:
        await self.until(lambda: rollout in self.journal.snapshots and self.snapshot(rollout).state is state)

    async def until_ended(self, release: str = "r1") -> Release:
        with anyio.fail_after(7_200.0):
            while True:
                changed = self.journal.changed
                found = await self.store.release(release)
                if found is not None and found.status in FINAL_STATUSES:
                    return found
                await changed.wait()

    async def roll_out(self, plan: ReleasePlan) -> ReleaseStatus:
        """Submit and wait for the end, with one daemon."""
        async with self.daemon() as engine:
            release = await engine.submit(plan, by="a test", source="test")
            return (await self.until_ended(release.id)).status

    def story(self, rollout: str = "r1.production") -> list[State]:
        """The states in the order in which they were entered."""
        states = [State.WAITING]
        for entry in self.journal.entries[rollout]:
            if entry.destination is not states[-1]:
                states.append(entry.destination)
        return states


def order(
    kind: CommandKind, *, step: int | None = None, gate: str | None = None, roles: tuple[str, ...] | None = None
) -> Command:
    return Command(kind, by="ada", expected_step=step, gate=gate, roles=roles)

"""A daemon that can be killed: the engine with its watches on one cluster, in a task of its own; its store outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import WatchScope, open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.world import KubernetesWorld
from engine.bus import Bus
from engine.clock import SystemClock
from engine.daemon import Engine, start_engine
from engine.ports import Commit
from strategies.canary import CanaryStrategy
from tests.builders import Names
from tests.conformance.routers.deploy_files import ACCOUNT
from tests.engine.memory_store import MemoryStore
from tests.invariants import Journal
from tests.rollouts.stage import ROUTERS, MeasuredActuator


class HauntedStore(MemoryStore):
    """Tells somebody of every commit, who may end the daemon at that very moment."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.committed: Callable[[Commit], None] = lambda commit: None

    async def commit(self, commit: Commit) -> None:
        await super().commit(commit)
        self.committed(commit)


@dataclass
class Daemon:
    kubeconfig: JsonObject
    journal: Journal = field(default_factory=Journal)
    error_rate: dict[str, float] = field(default_factory=dict)
    """By namespace: what every measurement of the new version's errors comes to."""
    kills: int = 0
    is_struck: bool = False
    """Whether it was ended since it was started, or is about to be."""

    def __post_init__(self) -> None:
        self.store = HauntedStore(self.journal)
        self._names = Names()
        self._task: asyncio.Task[None] | None = None
        self._engine: asyncio.Future[Engine] | None = None

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "the daemon does not run"
        return self._engine.result()

    async def start(self) -> None:
        self.is_struck = False
        self._engine = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(self._engine))
        await asyncio.wait((self._task, self._engine), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def _run(self, engine: asyncio.Future[Engine]) -> None:
        clock, bus = SystemClock(), Bus()
        credentials = await load_kubeconfig_content(self.kubeconfig)
        async with (
            open_transport(credentials) as transport,
            open_cluster(ACCOUNT, transport, bus, clock=clock, random=Random(1), scope=WatchScope.NAMESPACE) as cluster,
        ):
            clusters = {ACCOUNT: cluster}
            performs = KubernetesActuator(clusters, ROUTERS, AccessReviews(clock))
            actuator = MeasuredActuator(performs, self.journal, self.error_rate)
            async with start_engine(
                store=self.store,
                clock=clock,
                strategy=CanaryStrategy(),
                world=KubernetesWorld(clusters, ROUTERS, bus),
                actuator=actuator,
                new_id=self._names.new_id,
                new_secret=self._names.new_secret,
            ) as started:
                engine.set_result(started)
                await asyncio.get_running_loop().create_future()

    def strike(self) -> None:
        """End it where it stands: nothing that it has begun is awaited."""
        if self._task is not None and not self.is_struck:
            self.kills += 1
            self.is_struck = True
            self._task.cancel()

    @property
    def is_gone(self) -> bool:
        return self.is_struck or (self._task is not None and self._task.done())

    async def end(self) -> None:
        """Raises what it died of, if it died by itself."""
        if self._task is not None:
            self._task.cancel()
            (died_of,) = await asyncio.gather(self._task, return_exceptions=True)
            if isinstance(died_of, Exception):
                raise died_of

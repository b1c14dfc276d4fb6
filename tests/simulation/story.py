"""One story from its seed to its end: daemons that come and go, a cluster, people, and all kinds of trouble; then everything is
calm, a person answers what is asked, and every rollout has to come to an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from random import Random

import anyio

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import open_cluster
from adapters.kubernetes.world import KubernetesWorld
from engine.bus import Bus
from engine.daemon import Engine, start_engine
from engine.errors import CommandRefused, Conflict, NotFound, StoreError
from engine.events import Command, CommandKind
from engine.gates import sign_callback
from engine.model import FINAL_STATES, FINAL_STATUSES, Analysis, Snapshot, State, Verdict
from engine.orders import awaits_answer
from engine.ports import Store
from engine.traffic import FULL_WEIGHT
from strategies.canary import CanaryStrategy
from tests.builders import Names
from tests.clocks import LoopClock
from tests.engine.random_stories import draw_order
from tests.engine.troubled_world import Broken, Judge
from tests.rollouts.stage import ROUTERS
from tests.simulation.cluster import Routing, SimulatedCluster, live_cluster
from tests.simulation.dice import Dice, Trouble
from tests.simulation.disk import Disk
from tests.simulation.loop import Digest
from tests.simulation.meddling import Meddler
from tests.simulation.network import SimulatedTransport
from tests.simulation.outside import CheckedStore, Outside, image_planned
from tests.simulation.plot import Plot
from tests.simulation.process import Process
from tests.simulation.traffic import TrafficOracle

TROUBLED_SECONDS = (60.0, 600.0, 1_800.0, 3_600.0)
PATIENCE_SECONDS = 6 * 3_600.0
"""In which everything has to end once nothing goes wrong any more."""
LONGEST_JUMP_SECONDS = 3_600.0
FIRST_VERSION = "web:1"
LAGGING = {Trouble.SLOW, Trouble.LOST, Trouble.WATCHES, Trouble.PARTITION, Trouble.MEDDLING, Trouble.KILLS}
"""With these, a daemon may know for minutes what is not so any more."""


class Story:
    def __init__(self, seed: int, without: Iterable[str] = (), routing: Routing | None = None) -> None:
        self.dice = Dice(seed, without)
        self.plot = Plot(self.dice, routing)
        self.judge = Judge()
        self.clock = LoopClock()
        self.disk = Disk(self.dice)
        self.outside = Outside(self.judge, self.dice, self.plot.error_rate)
        self.names = Names()
        self.digest = Digest()
        self.faults: Counter[str] = Counter()
        self.lives = 0
        self.seconds = 0.0
        self.is_fatal: Callable[[str], bool] = self._draw_death
        self._plans = list(reversed(self.plot.plans))
        self._calm = False
        self._off = 0.0
        self.cluster: SimulatedCluster
        self.oracle: TrafficOracle
        self.meddler: Meddler | None = None
        self.writes: list[str] = []
        self.notes: list[tuple[datetime, str]] = []
        """What others have done, for whoever wants to read the story."""

    async def tell(self) -> None:
        async with live_cluster(self.dice, self.clock, self.plot.routing, self.plot.replicas) as self.cluster:
            self.oracle = self.new_oracle()
            self.oracle.pods_may_fail = bool(self.dice.troubles & {Trouble.PODS, Trouble.MEDDLING, Trouble.SCALING})
            self.oracle.counts_pods = not self.oracle.pods_may_fail
            before = self.cluster.picture()
            random = self.dice.of("plot")
            end = anyio.current_time() + random.choice(TROUBLED_SECONDS)
            while anyio.current_time() < end and not self._calm and not self._has_ended_early():
                await self._live(end)
                await anyio.sleep(self.dice.of("lives").choice([0.1, 2.0, 30.0]))
            if not self._calm:
                self._become_calm()
                await self._end_well()
            await anyio.sleep(60.0)
            self.judge_the_end(before)
            self.seconds = anyio.current_time()

    def new_oracle(self) -> TrafficOracle:
        settle = min(target.settle_seconds for plan in self.plot.plans for target in plan.targets)
        lag = float("inf") if self.dice.troubles & LAGGING else 10.0
        return TrafficOracle(self.cluster, self._allowed_share, settle_seconds=settle, lag_seconds=lag)

    # --- a daemon's life -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def daemon(self, process: Process) -> AsyncIterator[Engine]:
        bus = Bus()
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self.disk.open(process))
            await self._read_what_is_written(store)
            transport = SimulatedTransport(self.cluster.api, self.cluster.network, process)
            transport.writes = self.writes
            opened = open_cluster("embedded", transport, bus, clock=self.clock, random=self.dice.of("daemon"))
            cluster = await stack.enter_async_context(opened)
            actuator = KubernetesActuator({"embedded": cluster}, ROUTERS, AccessReviews(self.clock))
            checked: Store = CheckedStore(store, self.judge)  # type: ignore[assignment]
            engine = await stack.enter_async_context(
                start_engine(
                    store=checked,
                    clock=self.clock,
                    strategy=CanaryStrategy(),
                    world=KubernetesWorld({"embedded": cluster}, ROUTERS, bus),
                    actuator=self.outside.of(actuator),
                    new_id=self.names.new_id,
                    new_secret=self.names.new_secret,
                )
            )
            yield engine

    async def _read_what_is_written(self, store: Store) -> None:
        """What the judge has seen is on the disk; and what was committed in a process's last moment is there for the next one."""
        for release in await store.releases():
            for stored in await store.rollouts(release.id):
                rollout = stored.spec.id
                entries = [one for one in await store.journal(release.id) if one.rollout == rollout]
                seen = self.judge.entries.get(rollout, [])
                if entries[: len(seen)] != seen:
                    raise Broken(f"{rollout}: what was committed is not in the store: {seen[len(entries):] or seen}")
                self.judge.specs[rollout] = stored.spec
                self.judge.entries[rollout] = entries
                self.judge.snapshots[rollout] = stored.snapshot
                self.judge.ordered.setdefault(rollout, set()).update(one.number for one in stored.snapshot.pending)

    def _draw_death(self, point: str) -> bool:
        dies = not self._calm and self.dice.happens(Trouble.KILLS, 0.004)
        if dies:
            self._note(Trouble.KILLS, f"the daemon is killed {point}")
        return dies

    def _note(self, trouble: Trouble, text: str) -> None:
        self.faults[trouble] += 1
        self.notes.append((self.clock.now(), f"{trouble}: {text}"))

    async def _live(self, end: float) -> None:
        process = Process(self.is_fatal)
        self.lives += 1
        with process.scope:
            async with self.daemon(process) as engine:
                while anyio.current_time() < end and process.alive and not self._has_ended_early():
                    await self._something_happens(engine)
                    await anyio.sleep(self.dice.of("lives").choice([0.1, 1.0, 5.0, 20.0]))
                if process.alive and self.dice.of("the last life").random() < 0.5:
                    self._become_calm()
                    await self._see_to_the_end(engine)
        process.alive = False

    def _has_ended_early(self) -> bool:
        return not self._plans and bool(self.judge.snapshots) and not self._unfinished()

    async def _something_happens(self, engine: Engine) -> None:
        plot = self.dice.of("plot")
        if self._plans and plot.random() < 0.3:
            await self._submit(engine)
        self._answer_some(engine)
        if self.dice.happens(Trouble.ORDERS, 0.05):
            await self._give_order(engine)
        if self.dice.happens(Trouble.PARTITION, 0.01):
            seconds = self.dice.of("partition").choice([5.0, 60.0, 400.0])
            self.cluster.network.cut_for(seconds)
            self._note(Trouble.PARTITION, f"no way to the cluster for {seconds:g} s")
        if self.dice.happens(Trouble.WATCHES, 0.02):
            self.cluster.network.cut_for(5.0)
            asyncio.get_running_loop().call_later(4.0, self.cluster.storage.forget_history)
            self._note(Trouble.WATCHES, "all watches break off, and the history is forgotten before they begin again")
        if self.dice.happens(Trouble.PODS, 0.05):
            self.cluster.pods.fall_ill()
        if self.dice.happens(Trouble.SCALING, 0.03):
            self._note(Trouble.SCALING, self._somebody.scale())
        if self.dice.happens(Trouble.MEDDLING, 0.03):
            self._note(Trouble.MEDDLING, self._somebody.meddle())
        if self._is_handed_over() and self.dice.happens(Trouble.MEDDLING, 0.2):
            self._note(Trouble.MEDDLING, self._somebody.restart())
        if self.dice.happens(Trouble.CLOCK, 0.03):
            seconds = self.dice.of("clock").choice([-3_600.0, -40.0, -1.0, 1.0, 40.0, 900.0])
            self._jump(seconds)
        await self._answer_people(engine, self.dice.of("people"))

    def _jump(self, seconds: float) -> None:
        """Never further from the truth than by an hour: deadlines are instants, and have to come within the patience."""
        if abs(self._off + seconds) <= LONGEST_JUMP_SECONDS:
            self._off += seconds
            self.clock.jump(seconds)
            self._note(Trouble.CLOCK, f"the clock jumps by {seconds:g} s")

    def _is_handed_over(self) -> bool:
        return any(at.state is State.PROMOTING for _, at in self._unfinished())

    async def _submit(self, engine: Engine) -> None:
        if self.dice.happens(Trouble.CLOCK, 0.3):
            self._jump(-40.0)
        plan = self._plans.pop()
        with suppress(Conflict):
            try:
                await engine.submit(plan, by="a test", source="test")
            except StoreError:
                self._plans.append(plan)

    async def _give_order(self, engine: Engine) -> None:
        random = self.dice.of(Trouble.ORDERS)
        unfinished = self._unfinished()
        if not unfinished:
            return
        rollout, snapshot = random.choice(unfinished)
        command = draw_order(random, snapshot.step, [gate.id for gate in snapshot.gates])
        self._note(Trouble.ORDERS, str(command))
        with suppress(CommandRefused, NotFound), anyio.move_on_after(30.0):
            await engine.command(rollout.partition(".")[0], command)

    async def _answer_people(self, engine: Engine, random: Random) -> None:
        """An approver comes by now and then, and mostly says yes."""
        for rollout, snapshot in self._unfinished():
            if awaits_answer(self.judge.specs[rollout], snapshot) and random.random() < 0.2:
                kind = CommandKind.APPROVE if random.random() < 0.85 else CommandKind.REJECT
                with anyio.move_on_after(30.0):
                    await self._order(engine, rollout, kind)

    def _answer_some(self, engine: Engine) -> None:
        """Called sides call back, mostly with a good verdict; where there is trouble, also twice and with nonsense."""
        random = self.dice.of("callbacks")
        for rollout, snapshot in self._unfinished():
            for gate in snapshot.gates:
                if not gate.called or random.random() < 0.7:
                    continue
                token = sign_callback(self.judge.specs[rollout], gate.id if random.random() < 0.9 else "step:99")
                verdict = random.choice([Verdict.PASSED, Verdict.PASSED, Verdict.PASSED, Verdict.FAILED])
                for _ in range(2 if self.dice.has(Trouble.CALLBACKS) else 1):
                    engine.callback(rollout, token, verdict, "so it is")

    # --- the end -------------------------------------------------------------------------------------------------------

    def _become_calm(self) -> None:
        self._calm = True
        self.cluster.network.calm = self.disk.calm = self.cluster.pods.calm = self.outside.calm = True
        self.cluster.network.cut_until = self.disk.full_until = 0.0

    async def _end_well(self) -> None:
        process = Process(self.is_fatal)
        self.lives += 1
        with process.scope:
            async with self.daemon(process) as engine:
                await self._see_to_the_end(engine)
        if not process.alive:
            await self._end_well()

    async def _see_to_the_end(self, engine: Engine) -> None:
        """A person answers everything; an engine that waits for something that does not come is not excused."""
        while self._plans:
            await self._submit(engine)
        resumed: Counter[str] = Counter()
        with anyio.move_on_after(PATIENCE_SECONDS) as patience:
            while self._unfinished() or not await self._are_releases_final(engine):
                await self._answer_everything(engine, resumed)
                await anyio.sleep(10.0)
        if patience.cancelled_caught:
            raise Broken(f"it does not end: {[_describe(r, s) for r, s in self._unfinished()]}")

    async def _are_releases_final(self, engine: Engine) -> bool:
        return not engine.unfinished and all(one.status in FINAL_STATUSES for one in await engine._store.releases())

    async def _answer_everything(self, engine: Engine, resumed: Counter[str]) -> None:
        for rollout, snapshot in self._unfinished():
            if snapshot.held or snapshot.state is State.PARKED:
                resumed[rollout] += 1
                kind = CommandKind.RESUME if resumed[rollout] < 3 else CommandKind.ABORT
                await self._order(engine, rollout, kind)
            elif awaits_answer(self.judge.specs[rollout], snapshot):
                await self._order(engine, rollout, CommandKind.APPROVE)
            for gate in snapshot.gates:
                engine.callback(rollout, sign_callback(self.judge.specs[rollout], gate.id), Verdict.PASSED, "")

    async def _order(self, engine: Engine, rollout: str, kind: CommandKind) -> None:
        release, _, target = rollout.partition(".")
        with suppress(CommandRefused, NotFound):
            await engine.command(release, Command(kind, by="a person"), target)

    def _unfinished(self) -> list[tuple[str, Snapshot]]:
        return [(rollout, at) for rollout, at in self.judge.snapshots.items() if at.state not in FINAL_STATES]

    # --- what must be true ---------------------------------------------------------------------------------------------

    @property
    def _somebody(self) -> Meddler:
        if self.meddler is None:
            self.meddler = Meddler(self.cluster, self.dice)
        return self.meddler

    @property
    def has_meddled(self) -> bool:
        return self.meddler is not None and self.meddler.has_meddled

    def _serving(self) -> str:
        """The version that the last rollout has left serving."""
        serving = FIRST_VERSION
        for rollout, snapshot in self.judge.snapshots.items():
            stays = snapshot.state is State.FAILED and snapshot.weight == FULL_WEIGHT
            if snapshot.state is State.SUCCEEDED or stays:
                serving = image_planned(self.judge.specs[rollout])
        return serving

    def _allowed_share(self, image: str) -> float:
        if image == self._serving():
            return 1.0
        most = 0.0
        for rollout, snapshot in self.judge.snapshots.items():
            if image_planned(self.judge.specs[rollout]) == image and snapshot.state not in FINAL_STATES:
                has_routes = self.plot.routing is not Routing.POD_RATIO
                most = max(most, max(snapshot.weight, snapshot.served) / FULL_WEIGHT if has_routes else 1.0)
        return most

    def judge_the_end(self, before: dict[str, JsonObject]) -> None:
        self.oracle.pods_may_fail = False
        self.oracle.look("in the end")
        if self.oracle.violations:
            raise Broken("; ".join(self.oracle.violations[:5]))
        self._judge_versions()
        serving, found = self._serving(), self.cluster.picture()
        if self.cluster.image() != serving:
            raise Broken(f"{serving} ought to serve, and the Deployment has {self.cluster.image()}")
        if self.meddler is not None and (lost := self.meddler.lost()):
            raise Broken(f"what somebody else has written is gone: {lost}")
        if not self.has_meddled:
            promoted = serving != FIRST_VERSION
            theirs = {name: body for name, body in before.items() if not (promoted and name.startswith("Deployment/"))}
            now = {name: body for name, body in found.items() if not (promoted and name.startswith("Deployment/"))}
            if now != theirs:
                raise Broken(f"not as before: {_difference(theirs, now)}")
        kept = () if serving == FIRST_VERSION else ("Deployment/", "ReplicaSet/")
        left = [one for one in self.cluster.ours() if not one.startswith(kept)]
        if left:
            raise Broken(f"of ours there is still {left}")

    def _judge_versions(self) -> None:
        """A version that fails, and was looked at, is not promoted, unless somebody says so."""
        if self.dice.has(Trouble.ORDERS) or self.dice.has(Trouble.METRICS):
            return
        for rollout, snapshot in self.judge.snapshots.items():
            spec = self.judge.specs[rollout]
            looked = any(isinstance(step, Analysis) for step in spec.plan.steps)
            if looked and self.plot.error_rate(image_planned(spec)) and snapshot.state is State.SUCCEEDED:
                raise Broken(f"{rollout}: a bad version was measured, and promoted")


def _difference(before: dict[str, JsonObject], now: dict[str, JsonObject]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name}: {before.get(name)} -> {now.get(name)}" for name in names[:2])


def _describe(rollout: str, snapshot: Snapshot) -> str:
    waits = snapshot.procedure[snapshot.cursor].name if snapshot.cursor < len(snapshot.procedure) else "nothing"
    gates = [(gate.id, gate.due_at, gate.action, gate.verdict, gate.answer) for gate in snapshot.gates if not gate.passed]
    return (
        f"{rollout} {snapshot.state} step {snapshot.step} at {waits}, held {snapshot.held!r}, {snapshot.action}, "
        f"{snapshot.failure!r}, {gates}"
    )

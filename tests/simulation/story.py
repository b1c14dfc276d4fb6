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
import anyio.abc

from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import Cluster, open_cluster
from adapters.kubernetes.world import KubernetesWorld
from engine.bus import Bus
from engine.daemon import Engine, start_engine
from engine.errors import CommandRefused, Conflict, NotFound, StoreError
from engine.events import Command, CommandKind
from engine.gates import sign_callback
from engine.model import FINAL_STATES, FINAL_STATUSES, Analysis, Snapshot, State, Verdict
from engine.orders import awaits_answer
from engine.ports import Store
from strategies.canary import CanaryStrategy
from tests.builders import Names
from tests.clocks import LoopClock
from tests.engine.random_stories import draw_order
from tests.engine.troubled_world import Broken, Judge
from tests.rollouts.stage import ROUTERS
from tests.simulation.cluster import Routing, live_cluster
from tests.simulation.dice import Dice, Trouble
from tests.simulation.disk import Disk
from tests.simulation.loop import Digest
from tests.simulation.network import SimulatedTransport
from tests.simulation.outside import CheckedStore, Outside, image_planned
from tests.simulation.plot import Plot
from tests.simulation.process import Process
from tests.simulation.scene import Scene

TROUBLED_SECONDS = (60.0, 600.0, 1_800.0, 3_600.0)
PATIENCE_SECONDS = 6 * 3_600.0
"""In which everything has to end once nothing goes wrong any more."""
LEASE_SECONDS = 15.0
LONGEST_JUMP_SECONDS = 3_600.0


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
        self._processes: anyio.abc.TaskGroup
        self.scenes: dict[str, Scene] = {}
        """By account."""
        self.writes: list[str] = []
        self.notes: list[tuple[datetime, str]] = []
        """What others have done, for whoever wants to read the story."""

    async def tell(self) -> None:
        async with self.set():
            async with anyio.create_task_group() as self._processes:
                await self._go_on()
            await anyio.sleep(180.0)  # In which the pods of a lost node are evicted, and others come.
            self.judge_the_end()
            self.seconds = anyio.current_time()

    async def _go_on(self) -> None:
        end = anyio.current_time() + self.dice.of("plot").choice(TROUBLED_SECONDS)
        while anyio.current_time() < end and not self._calm and not self._has_ended_early():
            replaced = anyio.Event()
            self._processes.start_soon(self._live, end, replaced)
            await replaced.wait()
            await anyio.sleep(self.dice.of("lives").choice([0.1, 2.0, 30.0]))
        if not self._calm:
            self._become_calm()
            await self._end_well()

    @asynccontextmanager
    async def set(self) -> AsyncIterator[None]:
        """The application is live in every cluster."""
        settle = min(target.settle_seconds for plan in self.plot.plans for target in plan.targets)
        async with AsyncExitStack() as stack:
            for place in self.plot.places:
                cluster = await stack.enter_async_context(live_cluster(self.dice, self.clock, place))
                self.scenes[place.account] = Scene(place, cluster, self.judge, self.dice, settle_seconds=settle)
            yield

    # --- a daemon's life -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def daemon(self, process: Process) -> AsyncIterator[Engine]:
        bus = Bus()
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self.disk.open(process))
            await self._read_what_is_written(store)
            clusters: dict[str, Cluster] = {}
            for account, scene in self.scenes.items():
                transport = SimulatedTransport(scene.cluster.api, scene.cluster.network, process)
                transport.writes = self.writes
                opened = open_cluster(account, transport, bus, clock=self.clock, random=self.dice.of("daemon"))
                clusters[account] = await stack.enter_async_context(opened)
            actuator = KubernetesActuator(clusters, ROUTERS, AccessReviews(self.clock))
            checked: Store = CheckedStore(store, self.judge)  # type: ignore[assignment]
            engine = await stack.enter_async_context(
                start_engine(
                    store=checked,
                    clock=self.clock,
                    strategy=CanaryStrategy(),
                    world=KubernetesWorld(clusters, ROUTERS, bus),
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

    async def _live(self, end: float, replaced: anyio.Event) -> None:
        """A process from its start to its death; `replaced` when the next one may begin."""
        process = Process(self.is_fatal)
        self.lives += 1
        try:
            with process.scope:
                async with self.daemon(process) as engine:
                    while anyio.current_time() < end and process.alive and not self._has_ended_early():
                        await self._something_happens(engine)
                        if self.dice.happens(Trouble.PAUSES, 0.01):
                            await self._stop(process, replaced)
                        await anyio.sleep(self.dice.of("lives").choice([0.1, 1.0, 5.0, 20.0]))
                    if process.alive and self.dice.of("the last life").random() < 0.5:
                        self._become_calm()
                        await self._see_to_the_end(engine)
        finally:
            process.alive = False
            replaced.set()

    async def _stop(self, process: Process, replaced: anyio.Event) -> None:
        """It goes on later, and finds that it has nothing more to say."""
        self._note(Trouble.PAUSES, "the daemon stops, and another one takes its place")
        process.stop()
        await anyio.sleep(LEASE_SECONDS)
        process.deposed = True
        replaced.set()
        await anyio.sleep(self.dice.of(Trouble.PAUSES).choice([1.0, 30.0, 300.0]))
        process.resume()
        await anyio.sleep(30.0)
        process.kill()

    def _has_ended_early(self) -> bool:
        return not self._plans and bool(self.judge.snapshots) and not self._unfinished()

    async def _something_happens(self, engine: Engine) -> None:
        plot = self.dice.of("plot")
        if self._plans and plot.random() < 0.3:
            await self._submit(engine)
        self._answer_some(engine)
        if self.dice.happens(Trouble.ORDERS, 0.05):
            await self._give_order(engine)
        scene = self.dice.of("where").choice(list(self.scenes.values()))
        where = f" ({scene.place.target})" if len(self.scenes) > 1 else ""
        if self.dice.happens(Trouble.PARTITION, 0.01):
            seconds = self.dice.of("partition").choice([5.0, 60.0, 400.0])
            scene.cluster.network.cut_for(seconds)
            self._note(Trouble.PARTITION, f"no way to the cluster for {seconds:g} s{where}")
        if self.dice.happens(Trouble.WATCHES, 0.02):
            scene.cluster.network.cut_for(5.0)
            asyncio.get_running_loop().call_later(4.0, scene.cluster.storage.forget_history)
            self._note(Trouble.WATCHES, f"all watches break off, and the history is forgotten before they begin again{where}")
        if self.dice.happens(Trouble.PODS, 0.05):
            scene.cluster.pods.fall_ill()
        if self.dice.happens(Trouble.PODS, 0.01):
            scene.cluster.lose_node()
            self._note(Trouble.PODS, f"a node is lost with its pods{where}")
        if self.dice.happens(Trouble.SCALING, 0.03):
            self._note(Trouble.SCALING, scene.meddler.scale() + where)
        if self.dice.happens(Trouble.MEDDLING, 0.03):
            self._note(Trouble.MEDDLING, scene.meddler.meddle() + where)
        if self._is_handed_over() and self.dice.happens(Trouble.MEDDLING, 0.2):
            self._note(Trouble.MEDDLING, scene.meddler.restart() + where)
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
        self.disk.calm = self.outside.calm = True
        self.disk.full_until = 0.0
        for scene in self.scenes.values():
            scene.become_calm()

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

    def judge_the_end(self) -> None:
        for scene in self.scenes.values():
            scene.judge_the_end()
        self._judge_versions()
        self._judge_blame()

    def _judge_versions(self) -> None:
        """A version that fails, and was looked at, is not promoted, unless somebody says so."""
        if self.dice.has(Trouble.ORDERS) or self.dice.has(Trouble.METRICS):
            return
        for rollout, snapshot in self.judge.snapshots.items():
            spec = self.judge.specs[rollout]
            looked = any(isinstance(step, Analysis) for step in spec.plan.steps)
            if looked and self.plot.error_rate(image_planned(spec)) and snapshot.state is State.SUCCEEDED:
                raise Broken(f"{rollout}: a bad version was measured, and promoted")

    def _judge_blame(self) -> None:
        """Where nobody meddles or scales, nobody is said to have."""
        if self.dice.has(Trouble.MEDDLING) or self.dice.has(Trouble.SCALING):
            return
        for entries in self.judge.entries.values():
            for entry in entries:
                if "somebody else" in entry.text:
                    raise Broken(f"{entry.rollout}: nobody has meddled, and it says: {entry.text}")


def _describe(rollout: str, snapshot: Snapshot) -> str:
    waits = snapshot.procedure[snapshot.cursor].name if snapshot.cursor < len(snapshot.procedure) else "nothing"
    gates = [(gate.id, gate.due_at, gate.action, gate.verdict, gate.answer) for gate in snapshot.gates if not gate.passed]
    return (
        f"{rollout} {snapshot.state} step {snapshot.step} at {waits}, held {snapshot.held!r}, {snapshot.action}, "
        f"{snapshot.failure!r}, {gates}"
    )

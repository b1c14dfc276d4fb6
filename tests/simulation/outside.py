"""What a daemon meets beside its clusters: metrics servers, and sides that are called and call back. And the checks between the
engine and its ports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import anyio

from adapters.kubernetes.actuator import KubernetesActuator
from engine.errors import Rejected, Retryable
from engine.events import ActionSucceeded, Measured, Measurements, MeasureOutcome
from engine.gates import step_of
from engine.model import Action, ActionKind, Analysis, Release, RolloutSpec, Snapshot
from engine.ports import Commit, Store
from tests.engine.troubled_world import Broken, Judge
from tests.invariants import Violation
from tests.simulation.cluster import image_of
from tests.simulation.dice import Dice, Trouble


class CheckedStore:
    """Feeds every commit to the judge, once it is on the disk."""

    def __init__(self, store: Store, judge: Judge) -> None:
        self._store = store
        self._judge = judge

    async def commit(self, commit: Commit) -> None:
        await self._store.commit(commit)
        if commit.entry in self._judge.entries.get(commit.spec.id, ()):
            return  # Another daemon has taken the store over meanwhile, and has read it there.
        self._judge.check(commit)

    async def update_release(self, release: Release) -> None:
        await self._store.update_release(release)
        self._judge.notify()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class Outside:
    """Implements `engine.ports.Actuator`: what is of the cluster goes there, and everything else is answered here."""

    def __init__(self, judge: Judge, dice: Dice, error_rate: Callable[[str], float]) -> None:
        self._judge = judge
        self._dice = dice
        self._error_rate = error_rate
        self.calm = False
        self.faults: Counter[str] = Counter()
        self.performed = 0

    def of(self, cluster: KubernetesActuator) -> _Actuator:
        return _Actuator(self, cluster)

    async def perform(
        self, cluster: KubernetesActuator, spec: RolloutSpec, snapshot: Snapshot, action: Action
    ) -> ActionSucceeded | Measurements:
        try:
            self._judge.check_action(spec.id, action.number)
        except Violation as violation:
            raise Broken(str(violation)) from violation
        self.performed += 1
        match action.kind:
            case ActionKind.PREPARE_METRICS:
                return ActionSucceeded(action.number)
            case ActionKind.MEASURE:
                return await self._measure(spec, action)
            case ActionKind.CALL_WEBHOOK:
                return await self._call(action)
        return await cluster.perform(spec, snapshot, action)

    async def _measure(self, spec: RolloutSpec, action: Action) -> Measurements:
        step = step_of(spec.plan, str(action.args["gate"]))
        assert isinstance(step, Analysis)
        if self._happens(Trouble.METRICS, 0.1):
            await anyio.sleep(self._dice.of("metrics").choice([1.0, 30.0, 120.0]))
        return Measurements(action.number, tuple(self._measured(spec, query.name) for query in step.queries))

    def _measured(self, spec: RolloutSpec, query: str) -> Measured:
        if self._happens(Trouble.METRICS, 0.2):
            return Measured(query, self._dice.of("metrics").choice(list(MeasureOutcome)[1:]), None, "nothing came")
        return Measured(query, MeasureOutcome.VALUE, self._error_rate(image_planned(spec)))

    async def _call(self, action: Action) -> ActionSucceeded:
        await anyio.sleep(self._dice.of("called sides").choice([0.05, 0.5, 3.0]))
        if self._happens(Trouble.CALLBACKS, 0.2):
            raise self._dice.of("called sides").choice([Retryable("it answers 503"), Retryable("timed out"), Rejected("404")])
        return ActionSucceeded(action.number, note="called")

    def _happens(self, trouble: Trouble, chance: float) -> bool:
        happens = self._dice.happens(trouble, chance) and not self.calm
        if happens:
            self.faults[trouble] += 1
        return happens


class _Actuator:
    def __init__(self, outside: Outside, cluster: KubernetesActuator) -> None:
        self._outside = outside
        self._cluster = cluster

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        return await self._outside.perform(self._cluster, spec, snapshot, action)


def image_planned(spec: RolloutSpec) -> str:
    (workload,) = spec.plan.workloads
    return image_of(json.loads(workload.manifest)["spec"]["template"])

"""The model world with everything that can go wrong, and the judges of what an engine does in it.

Whatever breaks an invariant ends the story at once: an engine takes an ordinary exception of a port for trouble of the world.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TypeVar

import anyio
import msgspec

from engine.daemon import AdmissionRules
from engine.errors import Doubtful, Rejected, Retryable, StoreError
from engine.events import ActionSucceeded, Measured, Measurements, MeasureOutcome
from engine.model import FINAL_STATES, UNDOING_STATES, Action, ActionKind, JournalEntry, RolloutSpec, Snapshot, State
from engine.observation import Observation, Template
from engine.ports import Commit
from engine.traffic import FULL_WEIGHT, RouterKind
from tests.engine.memory_store import MemoryStore
from tests.engine.model_world import ModelWorld, Place, key_of, subject_of
from tests.engine.random_stories import Dice
from tests.invariants import Journal, Violation

GATE_KINDS = frozenset(
    {
        ActionKind.PREPARE_METRICS,
        ActionKind.MEASURE,
        ActionKind.CALL_WEBHOOK,
        ActionKind.EXPOSE_SERVICES,
        ActionKind.RUN_JOB,
        ActionKind.RUN_COMMAND,
    }
)
MOST_AT_ONCE = 60
"""Decisions of one rollout at one instant: more are a loop that never waits."""
MOST_BYTES = 60_000
"""Of one snapshot. Those of these small plans have no reason to grow beyond it."""

K = TypeVar("K")


class Crash(BaseException):
    """The process is gone, at this very instruction."""


class Broken(BaseException):
    """An invariant is broken. No exception that an engine could take for trouble of the world."""


class Judge(Journal):
    """The journal's own rules, and those between rollouts and between decisions."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: dict[str, RolloutSpec] = {}
        self.order: list[str] = []
        """Releases in order of arrival."""
        self.most_rollouts: int | None = None
        """The widest limit that was in force."""
        self.largest = 0
        self._at_once: Counter[tuple[str, str]] = Counter()

    def allow(self, rules: AdmissionRules) -> None:
        limit = rules.limits.rollouts
        self.most_rollouts = None if limit is None or self.most_rollouts is None else max(limit, self.most_rollouts)

    def check(self, commit: Commit) -> None:
        self.specs[commit.spec.id] = commit.spec
        before = self.snapshots.get(commit.spec.id)
        try:
            super().check(commit)
            self._check_size(commit)
            if before is not None:
                self._check_step(before, commit.snapshot, commit.entry)
            if commit.entry.source is State.WAITING and commit.entry.destination is State.PREPARING:
                self._check_beginning(commit.spec)
        except Violation as violation:
            raise Broken(str(violation)) from violation

    def _check_size(self, commit: Commit) -> None:
        rollout, entry = commit.spec.id, commit.entry
        self._at_once[rollout, entry.at.isoformat()] += 1
        if self._at_once[rollout, entry.at.isoformat()] > MOST_AT_ONCE:
            raise Violation(f"{rollout}: a loop that never waits: {entry}")
        if entry.text == "noted":
            raise Violation(f"{rollout}: an entry that says nothing: {entry}")
        size = len(msgspec.json.encode(commit.snapshot))
        self.largest = max(self.largest, size)
        if size > MOST_BYTES:
            raise Violation(f"{rollout}: a snapshot of {size} bytes")

    def _check_step(self, before: Snapshot, after: Snapshot, entry: JournalEntry) -> None:
        moved = after.state is not before.state
        onward = after.state not in (*UNDOING_STATES, State.PARKED, *(FINAL_STATES - {State.SUCCEEDED}))
        if moved and onward and after.held:
            raise Violation(f"{entry.rollout}: went on while held ({after.held}): {entry}")
        if before.state is State.PARKED and moved and onward and "resumed by" not in entry.text:
            raise Violation(f"{entry.rollout}: nobody resumed it: {entry}")
        if after.state is State.PARKED and after.pending:
            raise Violation(f"{entry.rollout}: parked with {after.pending} pending")
        if before.state in UNDOING_STATES and after.weight > before.weight:
            raise Violation(f"{entry.rollout}: the weight rises on the way back: {entry}")
        if after.actions < before.actions or not set(before.begun) <= set(after.begun):
            raise Violation(f"{entry.rollout}: what was begun is forgotten: {entry}")

    def _check_beginning(self, spec: RolloutSpec) -> None:
        under_way = [one for one, at in self.snapshots.items() if at.state not in {State.WAITING, *FINAL_STATES}]
        if self.most_rollouts is not None and len(under_way) > self.most_rollouts:
            raise Violation(f"{spec.id} begins as one too many of {under_way}")
        for rollout in under_way:
            other = self.specs[rollout]
            if other.application == spec.application and other.release != spec.release:
                raise Violation(f"{spec.id} begins while {rollout} is {self.snapshots[rollout].state}")
        for target in spec.plan.depends_on:
            if self.snapshots[f"{spec.release}.{target}"].state is not State.SUCCEEDED:
                raise Violation(f"{spec.id} begins before {target} has succeeded")


class TroubledStore(MemoryStore):
    """Fails, and dies with its process, at random commits."""

    def __init__(self, judge: Judge, dice: Dice) -> None:
        super().__init__(judge)
        self.dice = dice
        self.calm = False

    async def commit(self, commit: Commit) -> None:
        crash = self.dice.of("crashes").random()
        if not self.calm and self.dice.has("crashes") and crash < 0.004:
            if crash < 0.002:
                await super().commit(commit)
            raise Crash
        if not self.calm and self.dice.happens("store", 0.01):
            self.failing = self.dice.of("store").randint(1, 3)
        await super().commit(commit)

    async def update_release(self, release: object) -> None:
        if not self.calm and self.dice.happens("store", 0.03):
            raise StoreError("the disk is full")
        await super().update_release(release)  # type: ignore[arg-type]


class TroubledWorld(ModelWorld):
    def __init__(self, judge: Judge, dice: Dice) -> None:
        super().__init__(journal=judge)
        self.dice = dice
        self.calm = False
        self.roughness = dice.of("faults").choice([0.3, 1.0, 1.0, 4.0])
        self.refused: tuple[str, ActionKind] | None = None
        """A workload, and what the cluster lets nobody do with it for the time being."""
        self.frozen_autoscalers: set[str] = set()
        self._modes: dict[str, str] = {}
        self._under_way: Counter[str] = Counter()

    # --- what goes wrong -----------------------------------------------------------------------------------------------

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        try:
            self.journal.check_action(spec.id, action.number)
            self._judge(spec, snapshot, action)
        except Violation as violation:
            raise Broken(str(violation)) from violation
        is_own = action.kind not in GATE_KINDS
        self._under_way[spec.id] += is_own
        try:
            if self._under_way[spec.id] > 1 and is_own:
                raise Broken(f"{spec.id}: {action.name} begins before the one before it has ended")
            return await self._perform(spec, snapshot, action)
        except Violation as violation:
            raise Broken(str(violation)) from violation
        finally:
            self._under_way[spec.id] -= is_own

    async def _perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        if self.calm:
            return await self._perform_well(spec, snapshot, action)
        if self.dice.happens("crashes", 0.004):
            raise Crash
        if self.refused == (subject_of(spec, action), action.kind):
            raise Rejected(f"403: {action.name} is forbidden")
        if self.dice.happens("faults", 0.06 * self.roughness):
            await anyio.sleep(self.dice.of("faults").choice([0.01, 1.0, 400.0]))
            raise self._draw_fault(action)
        outcome = await self._perform_well(spec, snapshot, action)
        if self.dice.happens("faults", 0.03 * self.roughness):
            raise self._draw_fault(action)
        return outcome

    async def _perform_well(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        place = self.places[key_of(spec, subject_of(spec, action))]
        before = place.weight if place.route_exists else FULL_WEIGHT
        shape = place.shape
        outcome = await super().perform(spec, snapshot, action)
        if snapshot.state in UNDOING_STATES and place.route_exists and place.weight > before:
            raise Violation(f"{spec.id}: {action.name} gives the new version traffic on the way back")
        if snapshot.state in UNDOING_STATES and place.shape and not shape:
            raise Violation(f"{spec.id}: {action.name} singles out requests on the way back")
        return outcome

    def _draw_fault(self, action: Action) -> Exception:
        random = self.dice.of("faults")
        after = random.choice([None, 20.0, 900.0])
        message = f"{action.name} does not work"
        faults: list[Exception] = [Retryable(message, after), Retryable(message), Doubtful(message)]
        return random.choice([*faults, *faults, Rejected(message, output="it said no"), RuntimeError(message)])

    def observe(self, spec: RolloutSpec, snapshot: Snapshot) -> Observation:
        if not self.calm and self.dice.happens("faults", 0.005):
            self.defects = self.dice.of("faults").randint(1, 3)
        return super().observe(spec, snapshot)

    def _measure(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> Measurements:
        found = super()._measure(spec, snapshot, action)
        if self.calm or not self.dice.has("measurements"):
            return found
        return Measurements(found.number, tuple(self._draw_measured(one.query) for one in found.results))

    def _draw_measured(self, query: str) -> Measured:
        random = self.dice.of("measurements")
        if random.random() < 0.75:
            return Measured(query, MeasureOutcome.VALUE, random.choice([0.0, 0.0, 0.0, 0.005, 0.5]))
        return Measured(query, random.choice(list(MeasureOutcome)), None, "nothing came")

    def _apply(self, spec: RolloutSpec, action: Action) -> dict[str, str | int | float | bool | None]:
        facts = super()._apply(spec, action)
        if action.kind is ActionKind.FOLLOW_STABLE and _is_switched(spec, action):
            # The Service is the user's own: it is pinned, and the route's removal takes the pin off.
            self.places[key_of(spec, subject_of(spec, action))].services.discard(ActionKind.ENSURE_STABLE_SERVICE.value)
        if action.kind is ActionKind.FREEZE_AUTOSCALER:
            self.frozen_autoscalers.add(key_of(spec, subject_of(spec, action)))
        if action.kind is ActionKind.RESTORE_AUTOSCALER:
            self.frozen_autoscalers.discard(key_of(spec, subject_of(spec, action)))
        return facts

    def _record(self, spec: RolloutSpec, name: str, place: Place) -> dict[str, str | int | float | bool | None]:
        """Some have an autoscaler, some an old twin, and of some nothing is live yet."""
        random, key = self.dice.of("places"), key_of(spec, name)
        mode = self._modes.setdefault(key, random.choice(["canary"] * 6 + ["create", "apply"]))
        facts = super()._record(spec, name, place)
        return {**facts, f"{name}.mode": mode, f"{name}.autoscaled": random.random() < 0.3, f"{name}.twin": random.random() < 0.1}

    def _control(self, rollout: str, key: str) -> None:
        """Also brings an adopted version to the size of its workload, as soon as that is not paused."""
        super()._control(rollout, key)
        place = self.places[key]
        if place.canary_owned and place.template is Template.NEW and not place.frozen:
            place.canary = place.desired
            if key not in self.broken:
                place.canary_available = place.desired

    def trouble_pods(self, rollout: str) -> None:
        """Pods of one place die, or never start; or somebody scales the workload."""
        random = self.dice.of("pods")
        keys = [key for key in self.places if key == rollout or key.startswith(f"{rollout}/")]
        if not keys:
            return
        key = random.choice(keys)
        place = self.places[key]
        match random.choice(["canary", "stable", "broken", "mended", "scaled"]):
            case "canary":
                place.canary_available = random.randint(0, place.canary_available)
            case "stable":
                place.stable_available = random.randint(0, place.stable_available)
            case "broken":
                self.broken.add(key)
            case "mended":
                self.broken.discard(key)
            case "scaled" if self._may_be_scaled(rollout, key):
                place.desired = random.randint(1, 5)
        self.wake(rollout)
        asyncio.get_running_loop().call_later(random.choice([1.0, 30.0, 300.0]), self._control, rollout, key)

    def _may_be_scaled(self, rollout: str, key: str) -> bool:
        """Where pods are the weight, a count of somebody else's is for a person to put back; a story has none who would."""
        spec = self.checker.specs.get(rollout)
        if spec is None:
            return False
        return all(route.kind is not RouterKind.POD_RATIO for route in spec.plan.routes if key_of(spec, route.workload) == key)

    @property
    def checker(self) -> Judge:
        assert isinstance(self.journal, Judge)
        return self.journal

    def become_calm(self) -> None:
        self.calm = True
        self.drift, self.defects, self.refused = "", 0, None
        self.broken.clear()
        for key in self.places:
            self._control(key.partition("/")[0], key)

    # --- what an engine may not do -------------------------------------------------------------------------------------

    def _judge(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> None:
        place = self.places[key_of(spec, subject_of(spec, action))]
        undoing = snapshot.state in UNDOING_STATES
        match action.kind:
            case ActionKind.SET_WEIGHT if undoing and action.args.get("weight"):
                raise Violation(f"{spec.id}: {action.name} on the way back")
            case ActionKind.ADOPT_CANARY if place.route_exists and place.weight != FULL_WEIGHT:
                raise Violation(f"{spec.id}: {action.name} at {place.weight} bp")
            case ActionKind.REMOVE_ROUTE if undoing and place.route_exists and place.weight:
                raise Violation(f"{spec.id}: {action.name} at {place.weight} bp")
            case ActionKind.REMOVE_CANARY if place.route_exists and (place.weight or place.shape):
                raise Violation(f"{spec.id}: {action.name} at {place.weight} bp, {place.shape}")
            case _:
                pass

    def _check(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> None:
        """The invariants of the model but for pods that die by themselves."""
        place = self.places[key_of(spec, subject_of(spec, action))]
        is_write = action.kind is ActionKind.SET_WEIGHT
        raises = is_write and (int(action.args.get("weight") or 0) > snapshot.served or bool(action.args.get("shape")))
        if raises and not place.canary_exists:
            raise Violation(f"{spec.id}: {action.name}: a weight for a version that is not there")
        if action.kind is ActionKind.REMOVE_CANARY and snapshot.served > 0 and place.route_exists:
            raise Violation(f"{spec.id}: {action.name}: pods removed while {snapshot.served} bp was the last weight read back")

    def why_not_done(self, spec: RolloutSpec, snapshot: Snapshot) -> str:
        """What is left, or missing, at a rollout's end; empty when all is as it ought to be."""
        serves = snapshot.state is State.SUCCEEDED or (snapshot.state is State.FAILED and snapshot.weight == FULL_WEIGHT)
        for workload in spec.plan.workloads:
            place = self.places[key_of(spec, workload.name)]
            is_canary = self._modes.get(key_of(spec, workload.name), "canary") == "canary"
            fine = place.is_promoted() if serves and is_canary else serves or _is_as_found(place)
            if not fine or key_of(spec, workload.name) in self.frozen_autoscalers:
                return f"{spec.id} is {snapshot.state}, and {workload.name} is {place}"
        return ""


def _is_switched(spec: RolloutSpec, action: Action) -> bool:
    kinds = {route.name: route.kind for route in spec.plan.routes}
    return kinds[str(action.args["route"])] is RouterKind.SERVICE


def _is_as_found(place: Place) -> bool:
    return place.template is Template.ORIGINAL and place.is_as_found()

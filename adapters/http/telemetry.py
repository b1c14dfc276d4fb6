"""The daemon's own figures, taken where everything passes: around the ports of store, actuator and world."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.leadership import Turn
from engine.clock import Clock
from engine.errors import ActionError, Deposed, Rejected, StoreError
from engine.events import ActionSucceeded, Measurements
from engine.model import FINAL_STATES, Action, JournalEntry, Origin, Release, RolloutSpec, Snapshot, State
from engine.observation import Observation
from engine.ports import Actuator, Commit, NotedOrigin, Store, StoredRollout, World

METRICS_CONTENT = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format, as a header has it."""
BELIEVED_SECONDS = 5.0
"""How long a write that failed tells of the store. Where decisions wait for it they are made anew each second, so a store that
cannot be written is heard of all the time; where nothing waits, nobody else would say that it is well again."""


class Telemetry:
    """The figures of one daemon, in a registry of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._last_decision: float | None = None
        self._last_world_event: float | None = None
        self._store_error = ""
        self._store_failed_at = -math.inf
        self._registry = registry = CollectorRegistry()
        self._rollouts = Gauge("headgate_rollouts", "Unfinished rollouts by state.", ["state"], registry=registry)
        self._ended = Counter(
            "headgate_rollouts_ended", "Rollouts that have ended, by state.", ["state"], registry=registry
        )
        self._decisions = Counter("headgate_decisions", "Decisions that were committed.", registry=registry)
        self._failures = Counter("headgate_store_failures", "Writes to the store that failed.", registry=registry)
        self._removed = Counter("headgate_releases_removed", "Ended releases that were kept no longer.", registry=registry)
        self._writer = _WriterFigures()
        registry.register(self._writer)
        self._actions = Counter(
            "headgate_actions",
            "Actions on the outside world, by kind and outcome.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._event_age = Gauge(
            "headgate_last_event_age_seconds",
            "Since the world last reported a change; the time since the start when it never did.",
            registry=registry,
        )
        self._decision_age = Gauge(
            "headgate_last_decision_age_seconds",
            "Since the last decision; the time since the start when there was none.",
            registry=registry,
        )

    def follow(self, turn: Turn) -> None:
        """Show who leads."""
        self._registry.register(TurnFigures(turn))

    # --- taking figures ------------------------------------------------------------------------------------------------

    def note_decision(self, snapshot: Snapshot) -> None:
        self._last_decision = self._clock.monotonic()
        self._decisions.inc()
        if snapshot.state in FINAL_STATES:
            self._ended.labels(snapshot.state.value).inc()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around a write to the store."""
        try:
            yield
        except StoreError as error:
            self._store_error, self._store_failed_at = str(error), self._clock.monotonic()
            self._failures.inc()
            raise
        self._store_error = ""

    @property
    def store_error(self) -> str:
        """Why the last write failed, if that was just now; empty when it succeeded."""
        return self._store_error if self._clock.monotonic() - self._store_failed_at < BELIEVED_SECONDS else ""

    def note_removal(self) -> None:
        self._removed.inc()

    def note_action(self, action: Action, outcome: str) -> None:
        self._actions.labels(action.kind.value, outcome).inc()

    def note_world_event(self) -> None:
        self._last_world_event = self._clock.monotonic()

    # --- showing them --------------------------------------------------------------------------------------------------

    def render(self, states: Iterable[State], commits: int, changes: int) -> bytes:
        """Prometheus' text format. `states` are those of the unfinished rollouts."""
        counts = dict.fromkeys(State, 0)
        for state in states:
            counts[state] += 1
        for state, count in counts.items():
            if state not in FINAL_STATES:
                self._rollouts.labels(state.value).set(count)
        self._writer.commits, self._writer.changes = commits, changes
        now = self._clock.monotonic()
        self._event_age.set(now - (self._last_world_event or self._started))
        self._decision_age.set(now - (self._last_decision or self._started))
        return generate_latest(self._registry)


class _WriterFigures(Collector):
    """The store counts its transactions itself; here its counts become figures."""

    def __init__(self) -> None:
        self.commits = 0
        self.changes = 0

    def collect(self) -> Iterator[Metric]:
        commits = "Transactions of the store since the start; each is one fsync."
        yield CounterMetricFamily("headgate_store_commits", commits, value=self.commits)
        changes = "Changes that were written in those transactions."
        yield CounterMetricFamily("headgate_store_changes", changes, value=self.changes)
        group = "Changes per transaction, the mean since the start."
        mean = self.changes / self.commits if self.commits else 0.0
        yield GaugeMetricFamily("headgate_store_commit_group_size", group, value=mean)


class TurnFigures(Collector):
    """Who leads, where daemons take turns."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def collect(self) -> Iterator[Metric]:
        leader = "Whether this daemon leads: 1, or 0 for a standby. Only where daemons take turns."
        yield GaugeMetricFamily("headgate_leader", leader, value=float(self._turn.leads))
        transitions = "How often leadership has changed hands, by the lease."
        yield GaugeMetricFamily("headgate_leader_transitions", transitions, value=self._turn.transitions)


class MeasuredStore:
    """Implements `engine.ports.Store` by another store, and counts what passes."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry

    async def add_release(
        self, release: Release, rollouts: Sequence[StoredRollout], now: datetime, origin: Origin | None = None
    ) -> None:
        with self._telemetry.writing():
            await self._store.add_release(release, rollouts, now, origin)

    async def note_origin(self, noted: NotedOrigin) -> None:
        with self._telemetry.writing():
            await self._store.note_origin(noted)

    async def origins(self) -> list[NotedOrigin]:
        return await self._store.origins()

    async def update_release(self, release: Release) -> None:
        with self._telemetry.writing():
            await self._store.update_release(release)

    async def commit(self, commit: Commit) -> None:
        with self._telemetry.writing():
            await self._store.commit(commit)
        self._telemetry.note_decision(commit.snapshot)

    async def unfinished_releases(self) -> list[Release]:
        return await self._store.unfinished_releases()

    async def releases(self, *, application: str | None = None, limit: int = 100) -> list[Release]:
        return await self._store.releases(application=application, limit=limit)

    async def release(self, release_id: str) -> Release | None:
        return await self._store.release(release_id)

    async def rollouts(self, release_id: str) -> list[StoredRollout]:
        return await self._store.rollouts(release_id)

    async def journal(self, release_id: str) -> list[JournalEntry]:
        return await self._store.journal(release_id)


class MeasuredActuator:
    """Implements `engine.ports.Actuator` by another actuator, and counts what passes."""

    def __init__(self, actuator: Actuator, telemetry: Telemetry) -> None:
        self._actuator = actuator
        self._telemetry = telemetry

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        try:
            done = await self._actuator.perform(spec, snapshot, action)
        except ActionError as error:
            self._telemetry.note_action(action, "rejected" if isinstance(error, Rejected) else "retried")
            raise
        except Deposed:
            raise
        except Exception:
            self._telemetry.note_action(action, "defect")
            raise
        self._telemetry.note_action(action, "done")
        return done


class MeasuredWorld:
    """Implements `engine.ports.World` by another world, and notes when it last had something to say."""

    def __init__(self, world: World, telemetry: Telemetry) -> None:
        self._world = world
        self._telemetry = telemetry

    def attach(self, spec: RolloutSpec, wake: Callable[[], None]) -> None:
        def wake_and_note() -> None:
            self._telemetry.note_world_event()
            wake()

        self._world.attach(spec, wake_and_note)

    def detach(self, spec: RolloutSpec) -> None:
        self._world.detach(spec)

    def observe(self, spec: RolloutSpec, snapshot: Snapshot) -> Observation:
        return self._world.observe(spec, snapshot)

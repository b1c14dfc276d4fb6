"""The engine as a whole: takes releases and orders in, drives every rollout, and takes up unfinished ones at its start."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import anyio.abc
import structlog
from msgspec.structs import replace

from engine.actor import PATIENCE_SECONDS, Actor, Reply
from engine.admission import ALWAYS, Candidate, Limits, Windows, admit
from engine.clock import Clock
from engine.errors import CommandRefused, Conflict, NotFound, StoreError
from engine.events import CallbackReceived, Cleared, Command, CommandKind, Recovered, Started
from engine.feed import EntryNews, Feed, ReleaseNews
from engine.model import (
    FINAL_STATES,
    FINAL_STATUSES,
    ConcurrencyPolicy,
    JournalEntry,
    Origin,
    Release,
    ReleasePlan,
    ReleaseStatus,
    RolloutSpec,
    Snapshot,
    State,
    Verdict,
)
from engine.orders import meant_for
from engine.ports import Actuator, Store, StoredRollout, Strategy, World
from engine.releases import is_blocked_by, is_ready, may_start, status_of
from engine.timers import Timers

log = structlog.get_logger()

_NOBODY = ""
"""Whose timer it is when it is the engine's own."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """How many rollouts may be under way at a time, and when they may begin (`engine.admission`)."""

    limits: Limits = field(default_factory=Limits)
    windows: Mapping[str, Windows] = field(default_factory=dict)
    """By account."""
    otherwise: Windows = ALWAYS
    """For accounts without an entry."""

    def of(self, accounts: set[str]) -> dict[str, Windows]:
        return {account: self.windows.get(account, self.otherwise) for account in accounts}


class Engine:
    """Made by `start_engine`. One per process and store."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        strategy: Strategy,
        world: World,
        actuator: Actuator,
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
        tasks: anyio.abc.TaskGroup,
        rules: AdmissionRules,
    ) -> None:
        self.feed = Feed()
        self._rules = rules
        self._admitted: set[str] = set()
        """Rollouts that were told to begin, and have not come to it yet."""
        self._reasons: Mapping[str, str] = {}
        self._store = store
        self._clock = clock
        self._strategy = strategy
        self._world = world
        self._actuator = actuator
        self._new_id = new_id
        self._new_secret = new_secret
        self._tasks = tasks
        self._timers = Timers(clock, self._fire_timer, set_back=self._wake_all)
        self._actors: dict[str, Actor] = {}
        self._releases: dict[str, Release] = {}
        self._members: dict[str, list[Actor]] = {}
        self._arriving: tuple[RolloutSpec, ...] = ()
        """Accepted, and on their way to the disk."""

    # --- what goes in --------------------------------------------------------------------------------------------------

    async def submit(self, plan: ReleasePlan, *, by: str, source: str, origin: Origin | None = None) -> Release:
        """Accept a release. It begins when it is its turn.

        Raises `Conflict` where another of its application is running and its policy is not to wait, or where its workloads are
        another application's. `origin` is written down with it: the file of a deploy folder that it comes from.
        """
        queue = self._queue(plan.application)
        if queue and plan.concurrency is ConcurrencyPolicy.REJECT:
            running = queue[0]
            raise Conflict(
                f"release {running.id} of {plan.application} is {running.status}: wait for it, or abort it "
                f"(headgate abort {running.id})",
                running.id,
            )
        self._refuse_shared_workloads(plan)
        now = self._clock.now()
        release, stored = self._new_release(plan, by, source, now)
        release = replace(release, queued=bool(queue))
        self._releases[release.id] = release
        self._arriving = (*self._arriving, *(one.spec for one in stored))
        try:
            await self._store.add_release(release, stored, now, origin)
        except BaseException:
            del self._releases[release.id]
            self._begin_what_may()  # Others may have come meanwhile, and wait for this one.
            raise
        finally:
            self._arriving = tuple(spec for spec in self._arriving if spec.release != release.id)
        self._members[release.id] = [self._adopt(one) for one in stored]
        self.feed.publish(ReleaseNews(release))
        self._keep_one_waiting(plan.application)
        self._begin_what_may()
        return release

    def displaced_by(self, plan: ReleasePlan) -> list[StoredRollout]:
        """The unfinished rollouts that are put back if a release of this plan is submitted now, because it takes their place."""
        replaced = _replaced(self._queue(plan.application), plan.concurrency)
        stored = [one for release in replaced for one in self.rollouts(release.id)]
        return [one for one in stored if one.snapshot.state not in FINAL_STATES]

    def _queue(self, application: str) -> list[Release]:
        """The application's unfinished releases in order of arrival: the first is carried out, the others wait."""
        return [known for known in self._releases.values() if known.application == application]

    def _keep_one_waiting(self, application: str) -> None:
        """A newer release takes the place of one that waits; and of the one that runs, where its policy says so. Done again
        after a restart, because the daemon may have gone down in the middle of it."""
        queue = self._queue(application)
        if len(queue) < 2:
            return
        newest = queue[-1]
        for release in _replaced(queue[:-1], newest.concurrency):
            for actor in self._members.get(release.id, ()):
                if actor.snapshot.state not in FINAL_STATES:
                    actor.post(Command(CommandKind.ABORT, by="headgate", reason=f"release {newest.id} takes its place"))

    def _refuse_shared_workloads(self, plan: ReleasePlan) -> None:
        """Two rollouts of one workload would take each other's pods for somebody else's, whatever their applications are
        called. Those of one application wait for each other."""
        wanted = {(one.account, one.namespace, workload.name) for one in plan.targets for workload in one.workloads}
        for spec in (*(actor.spec for actor in self._actors.values()), *self._arriving):
            if spec.application == plan.application:
                continue
            for workload in spec.plan.workloads:
                if (spec.plan.account, spec.plan.namespace, workload.name) in wanted:
                    raise Conflict(
                        f"Deployment {workload.name} in namespace {spec.plan.namespace} of account {spec.plan.account} is "
                        f"being rolled out by release {spec.release} of {spec.application}: wait for it, or abort it "
                        f"(headgate abort {spec.release})",
                        spec.release,
                    )

    def _new_release(
        self, plan: ReleasePlan, by: str, source: str, now: datetime
    ) -> tuple[Release, list[StoredRollout]]:
        release_id = self._new_id()
        stored = [
            StoredRollout(
                RolloutSpec(
                    id=f"{release_id}.{target.target}",
                    release=release_id,
                    application=plan.application,
                    plan=target,
                    created_at=now,
                    secret=self._new_secret(),
                ),
                Snapshot(State.WAITING, now),
            )
            for target in plan.targets
        ]
        release = Release(
            id=release_id,
            application=plan.application,
            description=plan.description,
            status=ReleaseStatus.QUEUED,
            created_at=now,
            created_by=by,
            source=source,
            rollouts=tuple(one.spec.id for one in stored),
            rollback_of=plan.rollback_of,
            retry_of=plan.retry_of,
            concurrency=plan.concurrency,
        )
        return release, stored

    async def command(self, release_id: str, command: Command, target: str | None = None) -> list[str]:
        """Give an order to the release's unfinished rollouts, or to one target. Returns the targets that took it.

        Raises `NotFound`, and `CommandRefused` when no target takes the order.
        """
        orders = [(actor, meant_for(command, actor.snapshot)) for actor in await self._addressees(release_id, target)]
        taken: list[str] = []
        refusals: list[str] = []
        for actor, order in orders:
            reply = Reply()
            actor.post(order, reply)
            try:
                await reply.wait()
                taken.append(actor.spec.plan.target)
            except CommandRefused as error:
                refusals.append(str(error))
        if not taken:
            raise CommandRefused("; ".join(refusals) or f"release {release_id} has already ended")
        return taken

    async def _addressees(self, release_id: str, target: str | None) -> list[Actor]:
        actors = self._members.get(release_id, [])
        if not actors and await self._store.release(release_id) is None:
            raise NotFound(f"there is no release {release_id}")
        if target is None:
            return [actor for actor in actors if actor.snapshot.state not in FINAL_STATES]
        chosen = [actor for actor in actors if actor.spec.plan.target == target]
        if actors and not chosen:
            names = ", ".join(actor.spec.plan.target for actor in actors)
            raise NotFound(f"release {release_id} has no target {target}; it has {names}")
        return chosen

    def callback(self, rollout: str, token: str, verdict: Verdict, message: str) -> bool:
        """A called side answers. False when nobody waits for this answer (any more)."""
        actor = self._actors.get(rollout)
        open_gates = [gate for gate in actor.snapshot.gates if not gate.passed and gate.answer is None] if actor else []
        # Every one is compared, so that the time says nothing about them.
        awaited = [hmac.compare_digest(gate.callback_token.encode(), token.encode()) for gate in open_gates]
        if actor is None or not any(awaited):
            return False
        actor.post(CallbackReceived(token, verdict, message))
        return True

    # --- what can be read ----------------------------------------------------------------------------------------------

    def rollouts(self, release_id: str) -> list[StoredRollout]:
        """The release's rollouts as they stand now; empty when the release has ended (the store has it then)."""
        return [StoredRollout(actor.spec, actor.snapshot) for actor in self._members.get(release_id, [])]

    def why_waiting(self, rollout: str) -> str:
        """What keeps a rollout from beginning, in one sentence; empty when nothing does but its own conditions."""
        actor = self._actors.get(rollout)
        if actor is None or actor.snapshot.state is not State.WAITING:
            return ""
        first = self._queue(actor.spec.application)[0]
        if first.id != actor.spec.release:
            return f"waits for release {first.id}, which is {first.status}"
        return self._reasons.get(rollout, "")

    @property
    def unfinished(self) -> int:
        return sum(actor.snapshot.state not in FINAL_STATES for actor in self._actors.values())

    # --- carrying it on ------------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """Take up every unfinished rollout: timers at their old deadlines, ordered actions again. Returns how many."""
        for release in await self._store.unfinished_releases():
            self._releases[release.id] = release
            self._members[release.id] = [self._adopt(stored) for stored in await self._store.rollouts(release.id)]
        taken_up = list(self._actors.values())
        for actor in taken_up:
            await actor.resume()
            actor.post(Recovered())
        for application in {release.application for release in self._releases.values()}:
            self._keep_one_waiting(application)
        self._begin_what_may()
        for release_id in list(self._releases):
            # The daemon may have gone down between the last rollout's end and the note of it on the release.
            await self._update_status(release_id)
        return len(taken_up)

    async def run_timers(self) -> None:
        await self._timers.run()

    def let_go(self) -> None:
        """Ask the world for no more news. What comes after an engine's end would find nobody who could take it."""
        for actor in self._actors.values():
            self._world.detach(actor.spec)

    def _adopt(self, stored: StoredRollout) -> Actor:
        actor = Actor(
            stored.spec,
            stored.snapshot,
            store=self._store,
            clock=self._clock,
            strategy=self._strategy,
            world=self._world,
            actuator=self._actuator,
            timers=self._timers,
            tasks=self._tasks,
            on_decision=self._on_decision,
        )
        if stored.snapshot.state not in FINAL_STATES:
            self._actors[stored.spec.id] = actor
            self._world.attach(stored.spec, actor.wake)
        return actor

    def _fire_timer(self, rollout: str, name: str, due_at: datetime) -> None:
        if rollout == _NOBODY:
            self._begin_what_may()
        elif (actor := self._actors.get(rollout)) is not None:
            actor.fire_timer(name, due_at)

    def _wake_all(self) -> None:
        log.warning("clock.set_back", advice="attempts are made again at once; pauses and deadlines keep their instants")
        for actor in self._actors.values():
            actor.wake()

    def _on_decision(self, actor: Actor, entry: JournalEntry) -> None:
        spec, snapshot = actor.spec, actor.snapshot
        log.info(
            "rollout.decided",
            rollout=spec.id,
            event_kind=entry.event,
            source=entry.source,
            destination=entry.destination,
            text=entry.text,
        )
        self.feed.publish(EntryNews(spec.release, spec.plan.target, entry))
        if snapshot.state in FINAL_STATES:
            self._world.detach(spec)
            self._actors.pop(spec.id, None)
        if snapshot.state is State.WAITING:
            self._admitted.discard(spec.id)  # Something else came first, such as a pause; it is admitted anew.
        if snapshot.state in FINAL_STATES or State.WAITING in (entry.source, entry.destination):
            self._begin_what_may()
        self._tasks.start_soon(self._update_status, spec.release, name=f"status of {spec.release}")

    def set_rules(self, rules: AdmissionRules) -> None:
        """Other limits and windows, from now on. What is under way goes on."""
        self._rules = rules
        self._begin_what_may()

    def _begin_what_may(self) -> None:
        """Whoever's turn it is looks at the conditions before it; whoever is ready for the rest begins, if there is room."""
        candidates: list[Actor] = []
        for release in {one.application: one for one in reversed(self._releases.values())}.values():
            candidates.extend(self._clear_release(release.id))
        waiting = [Candidate(actor.spec.id, actor.spec.plan.account) for actor in self._in_order_of_arrival(candidates)]
        running: dict[str, int] = {}
        for actor in self._actors.values():
            if actor.snapshot.state is not State.WAITING or actor.spec.id in self._admitted:
                running[actor.spec.plan.account] = running.get(actor.spec.plan.account, 0) + 1
        windows = self._rules.of({candidate.account for candidate in waiting})
        admission = admit(waiting, running, self._rules.limits, windows, self._clock.now())
        self._reasons = admission.reasons
        for rollout in admission.begin:
            self._admitted.add(rollout)
            actor = self._actors[rollout]
            actor.post(Started(self._beginning(actor.spec.release)))
        if admission.look_again_at is not None:
            self._timers.arm(_NOBODY, "admission", admission.look_again_at)

    def _clear_release(self, release_id: str) -> list[Actor]:
        """Tell the targets whose turn it is; returns those that are ready to begin."""
        siblings = self.rollouts(release_id)
        ready: list[Actor] = []
        for actor in self._members.get(release_id, ()):
            if actor.snapshot.state is not State.WAITING:
                self._admitted.discard(actor.spec.id)
            elif blocker := is_blocked_by(actor.spec, siblings):
                reason = f"target {blocker}, which it depends on, did not succeed"
                actor.post(Command(CommandKind.ABORT, by="headgate", reason=reason))
            elif actor.spec.id not in self._admitted and may_start(actor.spec, siblings):
                if is_ready(actor.spec, actor.snapshot):
                    ready.append(actor)
                elif not actor.snapshot.cleared:
                    actor.post(Cleared(self._beginning(release_id)))
        return ready

    def _in_order_of_arrival(self, actors: list[Actor]) -> list[Actor]:
        chosen = {actor.spec.id for actor in actors}
        return [actor for rollout, actor in self._actors.items() if rollout in chosen]

    def _beginning(self, release_id: str) -> str:
        """A deployment and a rollback are orders by somebody, and belong into the journal like every other one."""
        release = self._releases[release_id]
        if not (release.rollback_of or release.retry_of):
            return f"deployed by {release.created_by}"
        because = f": {release.description}" if release.description else ""
        what = f"rollback of {release.rollback_of}" if release.rollback_of else f"retry of {release.retry_of}"
        return f"{what} by {release.created_by}{because}"

    async def _update_status(self, release_id: str) -> None:
        release = self._releases.get(release_id)
        if release is None:
            return
        status, reason = status_of(self.rollouts(release_id))
        if (status, reason) == (release.status, release.reason):
            return
        changed = replace(release, status=status, reason=reason)
        self._releases[release_id] = changed
        if not await self._keep(changed):
            return
        if status in FINAL_STATUSES:
            # The application is free for its next release only once this end is on disk.
            self._releases.pop(release_id, None)
            self._members.pop(release_id, None)
            self._begin_what_may()
        self.feed.publish(ReleaseNews(changed))

    async def _keep(self, release: Release) -> bool:
        """Write it down, for as long as it is the newest; what was written after it must not be written over."""
        while self._releases.get(release.id) is release:
            try:
                await self._store.update_release(release)
            except StoreError as error:
                log.warning("store.update_failed", release=release.id, error=str(error))
                await self._clock.sleep(PATIENCE_SECONDS)
            else:
                return True
        return False


def _replaced(earlier: list[Release], policy: ConcurrencyPolicy) -> list[Release]:
    """Whose place a newer release of the application takes: of all, or of those that only wait."""
    return earlier if policy is ConcurrencyPolicy.REPLACE else earlier[1:]


@asynccontextmanager
async def start_engine(
    *,
    store: Store,
    clock: Clock,
    strategy: Strategy,
    world: World,
    actuator: Actuator,
    new_id: Callable[[], str],
    new_secret: Callable[[], str],
    rules: AdmissionRules = AdmissionRules(),
) -> AsyncIterator[Engine]:
    """A running engine, with every unfinished rollout taken up. Leaving the block stops driving; nothing is undone."""
    async with anyio.create_task_group() as tasks:
        engine = Engine(
            store=store,
            clock=clock,
            strategy=strategy,
            world=world,
            actuator=actuator,
            new_id=new_id,
            new_secret=new_secret,
            tasks=tasks,
            rules=rules,
        )
        try:
            tasks.start_soon(engine.run_timers, name="timers")
            await engine.recover()
            yield engine
        finally:
            engine.let_go()
            tasks.cancel_scope.cancel()

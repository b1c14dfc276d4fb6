"""One rollout's mailbox: event -> decide -> commit -> act, one event at a time.

The order is the promise: nothing is done to the world before the decision that orders it is on disk. The action runs beside
the mailbox, so that a slow or hanging one never keeps an abort from being decided; when a newer decision has no more use for
it, it is cancelled first, and the writes themselves are compare-and-swap, so that a cancelled one that still arrives is void.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

import anyio
import anyio.abc
import structlog

from engine.clock import Clock
from engine.decide import decide
from engine.errors import CommandRefused, Deposed, Doubtful, Rejected, Retryable, StoreError, Undecided
from engine.events import (
    ActionFailed,
    CallbackReceived,
    Command,
    CommandKind,
    Event,
    FailureKind,
    TimerFired,
    WorldChanged,
)
from engine.model import FINAL_STATES, UNDOING_STATES, Action, JournalEntry, RolloutSpec, Snapshot, State, TimerName
from engine.observation import Observation
from engine.orders import refuse
from engine.ports import Actuator, Commit, Store, Strategy, World
from engine.timers import Timers
from engine.turn import Decision, park

log = structlog.get_logger()

PATIENCE_SECONDS = 1.0
"""Between two tries to decide or to commit. While undoing there is nothing better than to try again."""

KEPT_MESSAGE = 4_000
"""Characters of an error's message that are kept: with the rollout, and in the journal with each attempt."""
_BLIND_STATES = UNDOING_STATES | {State.WAITING, State.PARKED}


class _DefectUnparked(Exception):
    """A rollout that cannot park, because it waits or is being undone: it tries again, or the event would be lost."""


class Reply:
    """Where the sender of a command waits for what became of it."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._refusal = ""

    def settle(self, refusal: str = "") -> None:
        self._refusal = refusal
        self._done.set()

    async def wait(self) -> None:
        """Returns when the command is on disk. Raises `CommandRefused`."""
        await self._done.wait()
        if self._refusal:
            raise CommandRefused(self._refusal)


class Actor:
    """Drives one rollout. All its methods run on the event loop's thread."""

    def __init__(
        self,
        spec: RolloutSpec,
        snapshot: Snapshot,
        *,
        store: Store,
        clock: Clock,
        strategy: Strategy,
        world: World,
        actuator: Actuator,
        timers: Timers,
        tasks: anyio.abc.TaskGroup,
        on_decision: Callable[[Actor, JournalEntry], None],
    ) -> None:
        self.spec = spec
        self.snapshot = snapshot
        self._store = store
        self._clock = clock
        self._strategy = strategy
        self._world = world
        self._actuator = actuator
        self._timers = timers
        self._tasks = tasks
        self._on_decision = on_decision
        self._mailbox: deque[tuple[Event, Reply | None]] = deque()
        self._dirty = False
        self._working = False
        self._effects: dict[tuple[int, int], _Effect] = {}

    # --- the mailbox ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed. Many wakes before the next turn are one."""
        if not self._dirty:
            self._dirty = True
            self.post(WorldChanged())

    def post(self, event: Event, reply: Reply | None = None) -> None:
        if _is_abort(event):
            self._mailbox.appendleft((event, reply))
        else:
            self._mailbox.append((event, reply))
        if not self._working:
            self._working = True
            self._tasks.start_soon(self._drain, name=f"rollout {self.spec.id}")

    async def resume(self) -> None:
        """Take up what was under way when the daemon went down."""
        self._arm_timers()
        await self._switch_effects()

    async def _drain(self) -> None:
        try:
            while self._mailbox:
                event, reply = self._mailbox.popleft()
                if isinstance(event, WorldChanged):
                    self._dirty = False
                await self._turn(event, reply)
        finally:
            self._working = False

    async def _turn(self, event: Event, reply: Reply | None) -> None:
        if isinstance(event, TimerFired) and self._is_stale(event):
            self._arm_timers()  # The clock may have been set back since it fired.
            return
        if isinstance(event, Command) and (refusal := refuse(self.spec, self.snapshot, event, self._clock.now())):
            if reply is not None:
                reply.settle(refusal)
            return
        decision = await self._decide_and_commit(event)
        if decision is None:
            if isinstance(event, TimerFired) and self._is_stale(event):
                self._arm_timers()  # Or it was set back while the store could not be written.
            if reply is not None:
                reply.settle(f"nothing changed; still held: {self.snapshot.held}" if self.snapshot.held else "nothing changed")
            return
        if reply is not None:
            reply.settle()
        self.snapshot = decision.snapshot
        self._on_decision(self, decision.entry)
        self._arm_timers()
        await self._switch_effects()
        if self.snapshot.state not in FINAL_STATES:
            self.wake()

    def _is_stale(self, event: TimerFired) -> bool:
        due_at = self.snapshot.deadlines.get(event.name)
        return due_at is None or due_at > self._clock.now()

    async def _decide_and_commit(self, event: Event) -> Decision | None:
        """Decide and write it down; where that cannot be done, wait and decide anew: nothing was done to the world yet."""
        while True:
            try:
                decision = self._decide(event)
                if decision is None:
                    return None
                await self._store.commit(Commit(self.spec, decision.snapshot, decision.entry, self.snapshot.seq))
            except Deposed:
                raise  # Nobody here may go on: this ends the engine.
            except StoreError as error:
                log.warning("store.commit_failed", rollout=self.spec.id, error=str(error))
                await self._clock.sleep(PATIENCE_SECONDS)
            except _DefectUnparked:
                await self._clock.sleep(PATIENCE_SECONDS)
                if self._mailbox and _is_abort(self._mailbox[0][0]):
                    return None  # It may well be what a person does about the defect.
            except Exception:
                # Whatever it is, it must not take the other rollouts down with this one.
                log.exception("rollout.commit_defect", rollout=self.spec.id, state=self.snapshot.state)
                await self._clock.sleep(PATIENCE_SECONDS)
            else:
                return decision

    def _decide(self, event: Event) -> Decision | None:
        now = self._clock.now()
        try:
            observation = self._observe(event)
            return decide(self.spec, self.snapshot, event, observation, now, self._strategy)
        except Exception as error:
            # A defect of ours must neither advance nor undo a rollout, nor touch its siblings: it parks this one.
            log.exception("rollout.defect", rollout=self.spec.id, state=self.snapshot.state)
            parked = park(self.spec, self.snapshot, f"{type(error).__name__}: {error}", now)
            if parked is None:
                raise _DefectUnparked from error
            return parked

    def _observe(self, event: Event) -> Observation:
        """An order or an answer needs no observation, nor does who waits, is parked or on the way back: none of them may be
        held up by what cannot be read."""
        try:
            return self._world.observe(self.spec, self.snapshot)
        except Exception:
            if not isinstance(event, Command | CallbackReceived) and self.snapshot.state not in _BLIND_STATES:
                raise
            log.exception("rollout.unreadable", rollout=self.spec.id, state=self.snapshot.state)
            return Observation(current=False)

    # --- timers and actions --------------------------------------------------------------------------------------------

    def _arm_timers(self) -> None:
        for name, due_at in self.snapshot.deadlines.items():
            self._timers.arm(self.spec.id, name, due_at)

    def fire_timer(self, name: str, due_at: datetime) -> None:
        if self.snapshot.deadlines.get(name) == due_at:
            self.post(TimerFired(name))

    async def _switch_effects(self) -> None:
        """Let exactly the journaled actions run: none while it waits for its next attempt."""
        wanted = {_key(action): action for action in _due_actions(self.snapshot)}
        for key in [key for key in self._effects if key not in wanted]:
            await self._effects.pop(key).stop()
        for key, action in wanted.items():
            if key not in self._effects:
                effect = self._effects[key] = _Effect(is_awaited=action is self.snapshot.action)
                self._tasks.start_soon(self._perform, effect, action, self.snapshot, name=f"action {action.name}")

    async def _perform(self, effect: _Effect, action: Action, snapshot: Snapshot) -> None:
        try:
            with effect.scope:
                self.post(await self._outcome(action, snapshot))
        finally:
            # Also when the whole engine is ended: a turn that comes upon this effect must not wait for it for ever.
            effect.ended.set()

    async def _outcome(self, action: Action, snapshot: Snapshot) -> Event:
        try:
            return await self._actuator.perform(self.spec, snapshot, action)
        except Deposed:
            raise  # It is no failure of the action, which the next daemon performs: this ends the engine.
        except Retryable as error:
            after, undecided = error.retry_after_seconds, isinstance(error, Undecided)
            return ActionFailed(action.number, FailureKind.RETRY, _readable(error), after, undecided)
        except Doubtful as error:
            return ActionFailed(action.number, FailureKind.DOUBTFUL, _readable(error))
        except Rejected as error:
            message, output = _readable(error), _readable_text(error.output)
            return ActionFailed(action.number, FailureKind.REJECTED, message, output=output)
        except Exception as error:
            log.exception("action.defect", rollout=self.spec.id, action=action.name)
            return ActionFailed(action.number, FailureKind.UNKNOWN, f"{type(error).__name__}: {_readable(error)}")


class _Effect:
    """An action that is being performed."""

    def __init__(self, *, is_awaited: bool) -> None:
        """`is_awaited`: its end comes before whatever is done next, as with everything that writes to a cluster. A test that
        takes its time to end must not hold up the way back."""
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._is_awaited = is_awaited

    async def stop(self) -> None:
        self.scope.cancel()
        if self._is_awaited:
            await self.ended.wait()


def _is_abort(event: Event) -> bool:
    return isinstance(event, Command) and event.kind is CommandKind.ABORT


def _readable(error: Exception) -> str:
    """Its text as one that can be written down and shown: others' answers are in it, and not all of them are UTF-8, or end."""
    text = _readable_text(str(error))
    return text if len(text) <= KEPT_MESSAGE else f"{text[:KEPT_MESSAGE]} ..."


def _readable_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _due_actions(snapshot: Snapshot) -> list[Action]:
    """The ordered actions that do not wait for their next attempt."""
    own = snapshot.action if TimerName.RETRY not in snapshot.timers else None
    of_gates = [gate.action for gate in snapshot.gates if gate.retry_at is None]
    return [action for action in (own, *of_gates) if action is not None]


def _key(action: Action) -> tuple[int, int]:
    return action.number, action.attempt

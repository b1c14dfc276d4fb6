"""What the engine needs of the outside, as protocols. Adapters, strategies and stores implement them; only the composition
function of the command line puts the parts together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from engine.events import ActionSucceeded, Measurements
from engine.model import Act, Action, JournalEntry, Operation, Origin, Release, RolloutSpec, Snapshot, State
from engine.observation import Observation
from engine.retention import EndedRelease


class Strategy(Protocol):
    """What to do in a state, as data. Pure."""

    def expand(self, spec: RolloutSpec, snapshot: Snapshot, state: State) -> tuple[Operation, ...]:
        """The state's procedure, as far as the facts allow to tell it. Asked again at its end, when there may be more."""

    def follow(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        """An action that keeps up with the world while a rollout goes on, such as the canary's size with an autoscaler's."""

    def mend(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        """An action that gives traffic back what it stands on, whatever else is held up: done first, also while held."""

    def reassert(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        """An action that writes a traffic object as it was ordered, over what somebody else has made of it. Its name begins with
        `engine.guarding.REASSERT` and is another one each time."""

    def drift(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> str:
        """What somebody else changed that makes it unsafe to go forward, in one sentence; empty when nothing."""

    def skips_steps(self, spec: RolloutSpec, snapshot: Snapshot) -> bool:
        """Whether there is nothing to compare with (a first deployment) or nothing new, so that the steps mean nothing."""


class Actuator(Protocol):
    """Performs actions on the outside world."""

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        """Do it, having looked at the world first: the action may have been done before, wholly or not at all.

        Raises `engine.errors.Retryable` or `engine.errors.Rejected`; any other exception parks the rollout.
        """


class World(Protocol):
    """Reads the outside world from caches that watches keep current."""

    def attach(self, spec: RolloutSpec, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something that the rollout looks at changes. Watches are shared between rollouts."""

    def detach(self, spec: RolloutSpec) -> None: ...

    def observe(self, spec: RolloutSpec, snapshot: Snapshot) -> Observation: ...


class Commit(Struct, frozen=True):
    """One decision as it is stored: in one transaction, before anything is done."""

    spec: RolloutSpec
    snapshot: Snapshot
    entry: JournalEntry
    previous_seq: int


class StoredRollout(Struct, frozen=True):
    spec: RolloutSpec
    snapshot: Snapshot


class NotedOrigin(Struct, frozen=True):
    """What a file of a deploy folder stands for."""

    origin: Origin
    release: str
    """The release that was begun from this content."""


class Store(Protocol):
    """Keeps releases, rollouts and the journal. Every method returns after the data is safe on disk."""

    async def add_release(
        self, release: Release, rollouts: Sequence[StoredRollout], now: datetime, origin: Origin | None = None
    ) -> None:
        """With the file that it came from, in the same transaction: either both are there after a crash, or none."""

    async def note_origin(self, noted: NotedOrigin) -> None:
        """In the place of what the file stood for before."""

    async def origins(self) -> list[NotedOrigin]:
        """What every file of every deploy folder stands for, also those that are gone."""

    async def update_release(self, release: Release) -> None: ...

    async def commit(self, commit: Commit) -> None: ...

    async def unfinished_releases(self) -> list[Release]:
        """Every release whose status is not final, whatever its rollouts say."""

    async def releases(self, *, application: str | None = None, limit: int = 100) -> list[Release]: ...

    async def release(self, release_id: str) -> Release | None: ...

    async def rollouts(self, release_id: str) -> list[StoredRollout]: ...

    async def journal(self, release_id: str) -> list[JournalEntry]: ...


class Archive(Protocol):
    """What a store can say of the past, and let go of it (`engine.sweeping`)."""

    async def unfinished_releases(self) -> list[Release]: ...

    async def ended_releases(self) -> list[EndedRelease]:
        """All of them, in the order of their arrival."""

    async def remove_release(self, release_id: str) -> None:
        """With its rollouts, their journal, actions and timers; one that has not ended stays. In steps, each so short that no
        commit of a rollout waits long for it: a crash in between leaves a shorter journal, and the rest for the next time.
        Which file of a deploy folder began it is remembered. Raises `StoreError`."""

    async def give_space_back(self) -> None:
        """Of what was removed, to the file system, where that is possible in short steps."""

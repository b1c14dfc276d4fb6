"""What can wake a rollout. Events carry news; conditions are judged on observations, so a lost or doubled event is harmless."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from engine.model import Facts, Verdict


class Cleared(Struct, frozen=True, tag="cleared"):
    """It is the rollout's turn: its release's, and the targets that it depends on have succeeded. The conditions before it are
    looked at from now on."""

    note: str = ""


class Started(Struct, frozen=True, tag="started"):
    """The rollout may begin: it is its turn, the conditions before it hold, and there is room for it."""

    note: str = ""
    """What kind of beginning this is, for the journal; empty for the usual one."""


class Recovered(Struct, frozen=True, tag="recovered"):
    """The daemon came up again and found this rollout unfinished."""


class WorldChanged(Struct, frozen=True, tag="world changed"):
    """Something that this rollout looks at has changed."""


class TimerFired(Struct, frozen=True, tag="timer"):
    name: str
    """One of the snapshot's deadlines."""


class FailureKind(StrEnum):
    """What a caller should do about a failed action."""

    RETRY = "retry"
    """The world was busy, unreachable or had moved on: the same action again, after looking again."""
    REJECTED = "rejected"
    """The world refuses it and will go on refusing: somebody has to change something."""
    DOUBTFUL = "doubtful"
    """The world refuses it and may only seem to: a few times again, then as rejected."""
    UNKNOWN = "unknown"
    """An error that nobody foresaw: park, because going on and going back are both guesses."""


class ActionSucceeded(Struct, frozen=True, tag="action succeeded"):
    number: int
    facts: Facts = {}
    note: str = ""
    output: str = ""
    """What a test that was run has said; kept in the journal."""


class ActionFailed(Struct, frozen=True, tag="action failed"):
    number: int
    kind: FailureKind
    message: str
    retry_after_seconds: float | None = None
    undecided: bool = False
    """It could not tell; at the end of its patience that is another thing than a refusal."""
    output: str = ""


class MeasureOutcome(StrEnum):
    VALUE = "value"
    NO_DATA = "no data"
    NOT_A_NUMBER = "not a number"
    SEVERAL_SERIES = "several series"
    ERROR = "error"


class Measured(Struct, frozen=True):
    query: str
    outcome: MeasureOutcome
    value: float | None = None
    detail: str = ""


class Measurements(Struct, frozen=True, tag="measurements"):
    """The answer to a MEASURE action."""

    number: int
    results: tuple[Measured, ...]


class CallbackReceived(Struct, frozen=True, tag="callback"):
    token: str
    verdict: Verdict
    message: str = ""


class CommandKind(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    """What is waited for now counts as passed."""
    PROMOTE = "promote"
    """To the end without pauses and weights on the way. Conditions hold all the same."""
    ABORT = "abort"


class Command(Struct, frozen=True, tag="command"):
    """An operator's order. `expected_step` makes it compare-and-set: a late answer never applies to another step."""

    kind: CommandKind
    by: str
    expected_step: int | None = None
    gate: str | None = None
    """Which of several conditions is answered; None is all that wait for an answer and that this person may answer."""
    roles: tuple[str, ...] | None = None
    """The roles of who gives the order; None is somebody with full access (the owner of the socket)."""
    reason: str = ""


Event: TypeAlias = (
    Cleared
    | Started
    | Recovered
    | WorldChanged
    | TimerFired
    | ActionSucceeded
    | ActionFailed
    | Measurements
    | CallbackReceived
    | Command
)

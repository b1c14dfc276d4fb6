"""The bodies of the API: what is sent and what is answered, as frozen data. JSON names are camelCase.

Weights are percentages here (25, 0.01), steps are counted from 1 and instants are ISO 8601 in UTC. Nothing secret has
a place in these: not a rollout's secret, not the facts that it keeps (they hold whole objects of clusters), not the
text of a webhook.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct

from engine.events import CommandKind
from engine.model import ReleaseStatus, State

MOST_BODY_BYTES = 8 * 2**20
"""The largest request."""


class Body(Struct, frozen=True, rename="camel"):
    pass


class Request(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


# --- what is sent ------------------------------------------------------------------------------------------------------


class SourceBody(Request, frozen=True):
    """One manifest file, under the name that messages use."""

    name: str
    text: str


class SubmitBody(Request, frozen=True):
    """A deploy file and everything that it names: the daemon reads no file of its own."""

    name: str
    text: str
    manifests: dict[str, list[SourceBody]] = {}
    """The files behind each `manifests[].path`."""
    application: str | None = None
    context: dict[str, str] = {}
    targets: list[str] = []


class CommandBody(Request, frozen=True):
    kind: CommandKind
    target: str | None = None
    gate: str | None = None
    """The id of the condition that is answered; left out, all that wait for it."""
    expected_step: int | None = None
    """Counted from 1. The order is refused when the rollout is at another step."""
    reason: str = ""


class RollbackBody(Request, frozen=True):
    """Bring the version before a completed release back."""

    force: bool = False
    """Also where somebody else has changed the live version since."""
    targets: list[str] = []
    """Only these; empty means all that the release completed."""
    reason: str = ""


class RetryBody(Request, frozen=True):
    """Roll the targets out once more that did not succeed."""

    targets: list[str] = []
    """Only these; empty means all that did not succeed."""
    reason: str = ""


class CallbackBody(Struct, frozen=True, rename="camel"):
    """What a called side reports. Fields that we do not know are the caller's business."""

    success: bool
    md_message: str = ""


# --- what is answered --------------------------------------------------------------------------------------------------


class ErrorCode(StrEnum):
    BAD_REQUEST = "badRequest"
    INVALID = "invalid"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "notFound"
    MISDIRECTED = "misdirected"
    """The daemon was called by a name that is not its own."""
    CONFLICT = "conflict"
    """Another release of the application is running; `release` names it."""
    REFUSED = "refused"
    """The order does not fit where the rollout stands."""
    AMBIGUOUS = "ambiguous"
    TOO_LARGE = "tooLarge"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class ProblemBody(Body, frozen=True):
    path: str
    line: int
    column: int
    message: str


class ErrorBody(Body, frozen=True, omit_defaults=True):
    code: ErrorCode
    message: str
    problems: tuple[ProblemBody, ...] = ()
    release: str = ""


class Failure(Body, frozen=True):
    error: ErrorBody


class ReleaseBody(Body, frozen=True):
    """A release without its rollouts."""

    id: str
    application: str
    description: str
    status: ReleaseStatus
    created_at: datetime
    created_by: str
    source: str
    reason: str
    targets: tuple[str, ...]
    link: str
    """Where the release can be seen; empty when the daemon was not told how it is reached."""
    rollback_of: str = ""
    """The release that this one takes back; empty for one that brings a version of its own."""
    retry_of: str = ""
    """The release that this one tries again."""


class Accepted(Body, frozen=True):
    release: ReleaseBody
    warnings: tuple[str, ...]


class ReleaseList(Body, frozen=True):
    releases: tuple[ReleaseBody, ...]


class FolderFileBody(Body, frozen=True, omit_defaults=True):
    """A deploy file of a folder, and what became of it."""

    name: str
    state: str
    """settling, started, unchanged, waiting or refused."""
    release: str = ""
    """The one that its content began, or that it waits for."""
    message: str = ""
    problems: tuple[ProblemBody, ...] = ()


class FolderBody(Body, frozen=True):
    path: str
    files: tuple[FolderFileBody, ...]
    problem: str
    """Why the folder cannot be read; empty when it can."""


class FolderList(Body, frozen=True):
    folders: tuple[FolderBody, ...]


class CallerBody(Body, frozen=True):
    """Who the daemon takes the caller for."""

    name: str
    roles: tuple[str, ...] | None
    """None is full access, as the owner of the socket has it: every role."""
    may_order: bool
    """Whether the caller may give any orders at all, or only look."""


class StepStanding(StrEnum):
    DONE = "done"
    CURRENT = "current"
    STOPPED = "stopped"
    """Where a rollout was when it was undone."""
    AHEAD = "ahead"
    SKIPPED = "skipped"
    """There was nothing to compare with, or nothing new."""


class StepBody(Body, frozen=True):
    number: int
    kind: str
    text: str
    standing: StepStanding
    note: str
    """What the current step has come to, in words."""


class GateBody(Body, frozen=True):
    """One condition that is waited for: a step's, or one before, after or beside the deployment."""

    id: str
    """Names it in an order that answers one of several."""
    kind: str
    text: str
    passed: bool
    note: str
    """What it has come to, in words."""
    since: datetime
    due: datetime | None
    """When it is looked at again: its end, its expiry, its next run or its deadline."""
    expires: datetime | None
    """When an awaited answer comes too late; None while none is awaited, or when it is awaited for ever."""
    awaits_answer: bool
    roles: tuple[str, ...]
    """Who may answer; empty means anybody."""


class WeightBody(Body, frozen=True):
    asked: float
    served: float
    """What was last read back."""


class WorkloadBody(Body, frozen=True):
    """What is rolled out."""

    name: str
    images: tuple[str, ...]
    """Of the new version, as its manifest names them."""
    images_before: tuple[str, ...]
    """Of the version that was live when the rollout first looked; empty until then, or when there was none."""


class ParkedBody(Body, frozen=True):
    state: State
    error: str


class RolloutBody(Body, frozen=True):
    id: str
    target: str
    account: str
    namespace: str
    state: State
    since: datetime
    step: int
    """0 before the first step; one more than there are steps after the last."""
    steps: tuple[StepBody, ...]
    weight: WeightBody
    timers: dict[str, datetime]
    doing: str
    """What is being done or waited for, in words; empty at the end."""
    gates: tuple[GateBody, ...]
    awaits_answer: bool
    roles: tuple[str, ...]
    """Who may answer; empty means anybody."""
    held: str
    parked: ParkedBody | None
    reason: str
    """Why it was undone, rejected or cancelled."""
    depends_on: tuple[str, ...]
    seq: int
    """The number of the last journal entry."""
    orders: tuple[CommandKind, ...]
    """What the caller could order where it stands: what it would take, and what their rights and roles allow."""
    workloads: tuple[WorkloadBody, ...]
    beside: str = ""
    """What of the traffic is the new version's beside its weight, in words; empty for nothing."""


class ReleaseDetail(Body, frozen=True):
    release: ReleaseBody
    rollouts: tuple[RolloutBody, ...]


class EntryBody(Body, frozen=True):
    """One line of a rollout's story."""

    rollout: str
    target: str
    seq: int
    at: datetime
    event: str
    source: State
    destination: State
    step: int
    text: str
    weight: WeightBody | None
    output: str = ""
    """What a test that was run has said."""


class JournalBody(Body, frozen=True):
    release: str
    entries: tuple[EntryBody, ...]


class CommandTaken(Body, frozen=True):
    release: str
    kind: CommandKind
    targets: tuple[str, ...]


class OfferBody(Body, frozen=True):
    """What would be said to an order, without giving it."""

    possible: bool
    message: str
    """Why not; empty where it is possible."""


class OffersBody(Body, frozen=True):
    """What could follow a release."""

    rollback: OfferBody
    retry: OfferBody


class CallbackTaken(Body, frozen=True):
    rollout: str
    success: bool


class Health(Body, frozen=True):
    ready: bool
    message: str


# --- the lines of a watch ----------------------------------------------------------------------------------------------


class SnapshotLine(Body, frozen=True, tag="snapshot"):
    """The first line, and again after a gap: how things stand."""

    detail: ReleaseDetail


class EntryLine(Body, frozen=True, tag="entry"):
    entry: EntryBody
    rollout: RolloutBody


class ReleaseLine(Body, frozen=True, tag="release"):
    release: ReleaseBody


class ReleasesLine(Body, frozen=True, tag="releases"):
    """The first line of a watch over everything: the newest releases, the newest first."""

    releases: tuple[ReleaseBody, ...]


class AliveLine(Body, frozen=True, tag="alive"):
    """Nothing has happened for a while."""


class EndLine(Body, frozen=True, tag="end"):
    """The last line. `final` says whether the release has ended; otherwise the reader may connect again."""

    final: bool
    message: str


WatchLine: TypeAlias = SnapshotLine | EntryLine | ReleaseLine | AliveLine | EndLine
"""Of a watch over one release."""
OverviewLine: TypeAlias = ReleasesLine | ReleaseLine | AliveLine | EndLine
"""Of a watch over all of them."""


def encode(body: Struct) -> bytes:
    return msgspec.json.encode(body)

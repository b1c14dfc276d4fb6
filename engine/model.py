"""The words of a rollout as frozen data: plans, steps, operations, actions, snapshots.

Everything here can be written to JSON and read back unchanged (`engine.codec`). No I/O, no clock, no decisions.

Two kinds of data meet here. A *plan* is compiled once from a deploy file, stored with the rollout and never changed, so that
an upgrade of Headgate cannot reshape a rollout that is under way. A *snapshot* is where a rollout stands; it is replaced as a
whole by each decision and committed before anything is done.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from engine.traffic import RoutePlan, SetHeaderRoute, SetMirror, SetWeight

PLAN_VERSION = 1
"""The format of `TargetPlan`. Raised when stored plans need an upcaster to be understood."""

Scalar: TypeAlias = str | int | float | bool | None
Facts: TypeAlias = dict[str, Scalar]
"""What actions found out about the world (originals, hashes, uids), kept with the rollout. Larger values are JSON text."""


class State(StrEnum):
    """The states of a rollout. Flat by design; `engine.machine` holds every way from one to another."""

    WAITING = "waiting"
    PREPARING = "preparing"
    SCALING = "scaling"
    SHIFTING = "shifting"
    PAUSING = "pausing"
    APPROVING = "approving"
    ANALYSING = "analysing"
    CALLING = "calling"
    EXPOSING = "exposing"
    GATING = "gating"
    """Several conditions at the same time."""
    PROMOTING = "promoting"
    FINALISING = "finalising"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A condition around the deployment did not hold: before it, nothing was deployed; after it, the new version serves."""
    PARKED = "parked"
    ABORTING = "aborting"
    RESTORING = "restoring"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


FINAL_STATES = frozenset({State.SUCCEEDED, State.FAILED, State.ROLLED_BACK, State.CANCELLED, State.REJECTED})
STEP_STATES = frozenset(
    {
        State.SHIFTING,
        State.PAUSING,
        State.APPROVING,
        State.ANALYSING,
        State.CALLING,
        State.EXPOSING,
        State.GATING,
    }
)
GATED_STATES = frozenset({State.WAITING, State.VERIFYING, *STEP_STATES} - {State.SHIFTING})
"""The states in which conditions are waited for, and nothing else."""
UNDOING_STATES = frozenset({State.ABORTING, State.RESTORING})


class ReleaseStatus(StrEnum):
    """The statuses of CD-as-a-Service, which users' scripts know."""

    QUEUED = "QUEUED"
    REJECTED = "REJECTED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL_STATUSES = frozenset(
    {ReleaseStatus.REJECTED, ReleaseStatus.SUCCEEDED, ReleaseStatus.FAILED, ReleaseStatus.CANCELLED}
)


# --- steps: what the user asked for ------------------------------------------------------------------------------------


class Pause(Struct, frozen=True, tag="pause"):
    seconds: float


class Approval(Struct, frozen=True, tag="approval"):
    roles: tuple[str, ...] = ()
    """Any one of these roles may answer; empty means anybody with access."""
    expires_seconds: float | None = None
    remind_seconds: float | None = None
    """When the journal says once more that an answer is awaited; less than `expires_seconds`."""


class Mode(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Lookback(StrEnum):
    GROWING = "growing"
    """Each run measures from the start of the step until now."""
    SLIDING = "sliding"
    """Each run measures the last interval only."""


class NoDataPolicy(StrEnum):
    """What a measurement without a usable value means."""

    EXTEND = "extend"
    """Measure again after one interval, without counting the run, until the step's patience ends; then it fails."""
    HOLD = "hold"
    """As EXTEND, but when the patience ends a person decides; measuring goes on meanwhile where it is in the background."""
    PASS = "pass"
    FAIL = "fail"


class Query(Struct, frozen=True):
    name: str
    provider: str
    template: str
    lower: float | None = None
    upper: float | None = None
    no_data: NoDataPolicy = NoDataPolicy.EXTEND


class Analysis(Struct, frozen=True, tag="analysis"):
    queries: tuple[Query, ...]
    interval_seconds: float
    runs: int
    """0 is for as long as the rollout lasts; only in the background, and with a failure budget."""
    lookback: Lookback = Lookback.GROWING
    abort_on_failed: bool = False
    """Fail at the first run outside of the limits instead of judging the mean of all runs."""
    roll_back: Mode = Mode.AUTOMATIC
    roll_forward: Mode = Mode.AUTOMATIC
    context: dict[str, str] = {}
    patience_seconds: float = 600.0
    """How long runs without data may be repeated in all, under `NoDataPolicy.EXTEND` and `HOLD`."""
    failure_budget: int | None = None
    """Judge each run by itself: so many of them may be outside of the limits. None judges the mean of all runs."""


class WebhookHeader(Struct, frozen=True):
    key: str
    value: str


class Webhook(Struct, frozen=True, tag="runWebhook"):
    name: str
    method: str
    url: str
    headers: tuple[WebhookHeader, ...] = ()
    body: str | None = None
    retries: int = 0
    callback: bool = True
    """Whether the step waits for the called side to report its verdict."""
    context: dict[str, str] = {}
    timeout_seconds: float = 86_400.0
    signing_secret: str = ""
    """The name of the secret that signs the request's body; empty leaves it unsigned."""


class Expose(Struct, frozen=True, tag="exposeServices"):
    services: tuple[str, ...]
    ttl_seconds: float = 300.0


class RunJob(Struct, frozen=True, tag="runJob"):
    """An integration test as a Kubernetes Job. It passes when the Job completes."""

    name: str
    manifest: str
    """The Job as the user wrote it, as JSON."""
    timeout_seconds: float = 3_600.0
    context: dict[str, str] = {}


class RunCommand(Struct, frozen=True, tag="runCommand"):
    """An integration test as a program on the management host, one of those that the daemon's settings name. 0 passes."""

    name: str
    timeout_seconds: float = 3_600.0
    context: dict[str, str] = {}


GateStep: TypeAlias = Pause | Approval | Analysis | Webhook | Expose | RunJob | RunCommand
"""What is waited for: a time, a person, a measurement, or somebody else's verdict."""


class Parallel(Struct, frozen=True, tag="parallel"):
    """Conditions that run at the same time and must all hold; one that fails does not wait for the others."""

    steps: tuple[GateStep, ...]


Step: TypeAlias = SetWeight | SetHeaderRoute | SetMirror | GateStep | Parallel

STATE_OF_STEP: dict[type, State] = {
    SetWeight: State.SHIFTING,
    SetHeaderRoute: State.SHIFTING,
    SetMirror: State.SHIFTING,
    Pause: State.PAUSING,
    Approval: State.APPROVING,
    Analysis: State.ANALYSING,
    Webhook: State.CALLING,
    RunJob: State.CALLING,
    RunCommand: State.CALLING,
    Expose: State.EXPOSING,
    Parallel: State.GATING,
}


# --- the plan of one target --------------------------------------------------------------------------------------------


class ExpectedVersion(Struct, frozen=True):
    """What a release has left, as far as the one that takes it back relies on it."""

    release: str
    digest: str
    """Of the template, in the words of whoever looked at it."""


class WorkloadPlan(Struct, frozen=True):
    name: str
    manifest: str
    """The Deployment as the user wrote it, as JSON."""
    expects: ExpectedVersion | None = None
    """What has to be live for this version to take its place; None: whatever is live."""
    keeps_count: bool = False
    """The live number of replicas stays, whatever the manifest says; it says how many there are if nothing is live."""


class ManifestPlan(Struct, frozen=True):
    """One supporting object (ConfigMap, Service, ...) that is applied as it stands."""

    key: str
    """`Kind/name`, unique within the plan."""
    content: str
    """The object as JSON, its namespace resolved."""
    awaited: bool = False
    """Its pods are waited for before any traffic moves."""
    copy_of: str = ""
    """The key of the object that it is a copy of, made for one version of the workloads; empty for all others."""
    remakes: bool = False
    """It takes a version back: a live object that cannot be changed into this one is made anew."""


class Freeze(StrEnum):
    """When the Deployment is paused, which keeps its controller from rolling out anything of its own."""

    FROM_START = "fromStart"
    """Before the canary exists: nobody's edit can take the pods from under the stable Service."""
    AT_HAND_OVER = "atHandOver"
    """Not before it is to be promoted: a canary that is undone has never touched the Deployment."""


class OnFailure(StrEnum):
    """What follows when a condition after the deployment does not hold."""

    LEAVE = "leave"
    """The new version goes on serving; what depends on the target is cancelled (as in CD-as-a-Service)."""
    ROLL_BACK = "rollback"
    """The version before is brought back."""


class OnDrift(StrEnum):
    """What follows when somebody else edits a traffic object in the middle of a rollout."""

    HOLD = "hold"
    """A person decides."""
    REASSERT = "reassert"
    """It is put back, a few times; then somebody fights for it, and a person decides."""
    ABORT = "abort"


class OnTimeout(StrEnum):
    FAIL = "fail"
    PROCEED = "proceed"
    """Undoing goes on whatever else fails: a stable side that does not come back must not keep the bad version serving."""
    AGAIN = "again"
    """The weight that is waited for is written again: somebody else has written another one since."""


class Effect(Struct, frozen=True):
    """How it is checked, after each weight, that the traffic has really moved: a weight that nobody obeys has no effect."""

    route: str
    canary: Query
    """The number of requests that the canary has answered in the window."""
    everybody: Query
    """The number of requests that both versions have answered in the window."""
    tolerance: int = 500
    """How far the served share may be from the asked one, in basis points, beside what chance explains."""
    least_requests: int = 100
    """With fewer in the window there is nothing to judge by."""
    interval_seconds: float = 10.0
    timeout_seconds: float = 120.0
    without_traffic: OnTimeout = OnTimeout.FAIL
    """What follows where there were too few requests until the end."""
    context: dict[str, str] = {}


class TargetPlan(Struct, frozen=True):
    """All that one rollout needs to know, compiled from the deploy file and never changed afterwards."""

    version: int
    target: str
    account: str
    namespace: str
    workloads: tuple[WorkloadPlan, ...]
    manifests: tuple[ManifestPlan, ...]
    routes: tuple[RoutePlan, ...]
    steps: tuple[Step, ...]
    depends_on: tuple[str, ...] = ()
    ready_timeout_seconds: float = 1_800.0
    """Time for pods to become available before the rollout is undone (CD-as-a-Service's default: 30 minutes)."""
    settle_seconds: float = 5.0
    """How long a version keeps its pods after its weight was read back as 0: proxies may lag behind the API."""
    context: dict[str, str] = {}
    freeze: Freeze = Freeze.FROM_START
    """Only a mesh leaves the choice: with a ratio of pods the Deployment is scaled from the first step on."""
    before: tuple[GateStep, ...] = ()
    """Conditions before anything of this target is deployed; all at the same time."""
    after: tuple[GateStep, ...] = ()
    """Conditions before this target counts as done; all at the same time."""
    on_failure: OnFailure = OnFailure.LEAVE
    on_drift: OnDrift = OnDrift.HOLD
    reassert_limit: int = 3
    """How often traffic objects are put back in all, under `OnDrift.REASSERT`."""
    effects: tuple[Effect, ...] = ()
    background: tuple[Analysis, ...] = ()
    """Measured from the first step until the new version has taken over, beside everything else."""


class ConcurrencyPolicy(StrEnum):
    """What a release does when another of its application is running."""

    REJECT = "reject"
    ENQUEUE_ONE = "enqueueOne"
    """Wait for it to end. One release waits; a newer one takes its place."""
    REPLACE = "replace"
    """Have it put back, wait until that is done, and begin then."""


class ReleasePlan(Struct, frozen=True):
    version: int
    application: str
    targets: tuple[TargetPlan, ...]
    description: str = ""
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.REJECT
    warnings: tuple[str, ...] = ()
    rollback_of: str = ""
    """The release that this one takes back."""
    retry_of: str = ""
    """The release that this one tries again."""


# --- operations: a state's procedure, expanded by the strategy ---------------------------------------------------------


class ActionKind(StrEnum):
    """One idempotent change to the outside world (or one look at it). At most one write each."""

    RECORD = "record"
    RECORD_ROUTE = "recordRoute"
    """Keep the user's traffic objects as they are when the manifests are applied, before the first edit of ours."""
    APPLY_MANIFEST = "applyManifest"
    RESTORE_MANIFEST = "restoreManifest"
    REMOVE_COPIES = "removeCopies"
    """Remove the copies of configuration that no kept version refers to any more; one write each."""
    CHECK_MANIFEST = "checkManifest"
    """Look whether a supporting object has come to what it asks for; refused, with what is missing, where it has not."""
    APPLY_WORKLOAD = "applyWorkload"
    RESTORE_WORKLOAD = "restoreWorkload"
    NAME_VERSION = "nameVersion"
    """Find out what the version that was applied is called, for those who ask about it."""
    FREEZE_WORKLOAD = "freezeWorkload"
    UNFREEZE_WORKLOAD = "unfreezeWorkload"
    FREEZE_AUTOSCALER = "freezeAutoscaler"
    RESTORE_AUTOSCALER = "restoreAutoscaler"
    FOLLOW_STABLE = "followStable"
    """Let the stable Service be there, and select the pods that the workload itself runs."""
    ENSURE_STABLE_SERVICE = "ensureStableService"
    """Let what names the old version alone be there: a Service, or a subset of one."""
    ENSURE_CANARY_SERVICE = "ensureCanaryService"
    ENSURE_ROUTE = "ensureRoute"
    SET_WEIGHT = "setWeight"
    """The weight, and the shape beside it: one write."""
    REASSERT_ROUTE = "reassertRoute"
    """Weight and shape as they were ordered, over what somebody else has made of them."""
    FREE_ROUTE = "freeRoute"
    """Let the user's object name what it named before, while the canary still gets all traffic by what is ours: before the pods
    of the old version go."""
    CHECK_EFFECT = "checkEffect"
    """Compare what was served with what was asked for; fails as long as they differ."""
    SCALE_CANARY = "scaleCanary"
    SCALE_STABLE = "scaleStable"
    RELEASE_HISTORY = "releaseHistory"
    """Let the workload's older versions go, so that none of them is taken for the one to scale; one write each."""
    RETURN_HISTORY = "returnHistory"
    RELEASE_STABLE = "releaseStable"
    REMOVE_TWIN = "removeTwin"
    """Remove an empty old version with the same template, which the controller would take for the new one."""
    REPLACE_TEMPLATE = "replaceTemplate"
    ADOPT_CANARY = "adoptCanary"
    ADOPT_STABLE = "adoptStable"
    RELEASE_CANARY = "releaseCanary"
    RESTORE_TEMPLATE = "restoreTemplate"
    REMOVE_CANARY = "removeCanary"
    RETURN_FIELDS = "returnFields"
    """Give the fields of the workload that we wrote back to who managed them before."""
    REMOVE_ROUTE = "removeRoute"
    REMOVE_CANARY_SERVICE = "removeCanaryService"
    REMOVE_STABLE_SERVICE = "removeStableService"
    PREPARE_METRICS = "prepareMetrics"
    MEASURE = "measure"
    CALL_WEBHOOK = "callWebhook"
    EXPOSE_SERVICES = "exposeServices"
    RUN_JOB = "runJob"
    """Make the Job, wait for its end and keep its output; one that is there already is waited for."""
    REMOVE_JOBS = "removeJobs"
    RUN_COMMAND = "runCommand"


class Condition(StrEnum):
    """A fact about the world that a procedure waits for; judged on the latest observation, never on an event."""

    FROZEN = "frozen"
    CANARY_AVAILABLE = "canaryAvailable"
    CAN_CARRY = "canCarry"
    """The canary's available pods are enough for a weight (`engine.observation.capacity`)."""
    CANARY_AT = "canaryAt"
    CANARY_GONE = "canaryGone"
    STABLE_AVAILABLE = "stableAvailable"
    STABLE_AT = "stableAt"
    STABLE_RELEASED = "stableReleased"
    CANARY_RELEASED = "canaryReleased"
    WEIGHT = "weight"
    NO_WEIGHT = "noWeight"
    """The route sends nothing to the canary, or is not there (it may never have been made)."""
    ACKNOWLEDGED = "acknowledged"
    """Whoever carries the route out has taken up what was written last, as far as it says so."""
    ADOPTABLE = "adoptable"
    ADOPTED = "adopted"
    WORKLOAD_AVAILABLE = "workloadAvailable"
    WORKLOAD_GONE = "workloadGone"
    OBJECT_SETTLED = "objectSettled"
    """A supporting object has come to what it asks for, or never will."""


class Act(Struct, frozen=True, tag="act"):
    """Perform one action. `name` says which, in words that are stable across versions of Headgate."""

    name: str
    kind: ActionKind
    args: Facts = {}
    only_helps: bool = False
    """Undoing is better with it than without, and does not depend on it: after a few refusals it is left out."""
    patience_seconds: float | None = None
    """How long it is tried again; None for as long as it takes."""
    on_undecided: OnTimeout = OnTimeout.FAIL
    """What follows at the end of the patience where the last attempts could not tell."""


class Await(Struct, frozen=True, tag="await"):
    """Wait until a condition holds for `subject` (a workload, a route or a manifest of the plan)."""

    name: str
    condition: Condition
    subject: str
    value: int = 0
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL
    shape: str = ""
    """Of a weight: what has to be read back beside it (`engine.traffic.write_shape`)."""


class Settle(Struct, frozen=True, tag="settle"):
    """Let time pass, so that slow readers of the traffic object catch up."""

    name: str
    seconds: float


Operation: TypeAlias = Act | Await | Settle


class Action(Struct, frozen=True):
    """An `Act` that was journaled and is to be performed; `number` counts the actions of its rollout from 1."""

    number: int
    name: str
    kind: ActionKind
    args: Facts = {}
    attempt: int = 1


# --- where a rollout stands --------------------------------------------------------------------------------------------


class TimerName(StrEnum):
    WAIT = "wait"
    """The deadline of the awaited condition, or the end of a settle time."""
    RETRY = "retry"
    """When a failed action is tried again."""
    HEALTH = "health"
    """When an unhealthy canary that serves traffic ends the rollout."""
    REST = "rest"
    """When the proxies may be taken to have heard of everything again."""


class Sample(Struct, frozen=True):
    """One run of an analysis: a value per query, or the reason why there is none."""

    at: datetime
    values: dict[str, float | None]
    reasons: dict[str, str]


class Tally(Struct, frozen=True):
    """The values of one query over the runs so far."""

    total: float = 0.0
    count: int = 0


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """There was no data to judge by; a person decides."""


class Gate(Struct, frozen=True):
    """One condition that is being waited for, and what it has come to."""

    id: str
    """Which of the plan's conditions it is: `step:2` (counted from 0), `step:2.1` (the second of several at once),
    `before:0`, `after:0` or `background:0`."""
    started_at: datetime
    due_at: datetime | None = None
    """When it has to be looked at again: the end of a pause, an expiry, the next run, the deadline of a call."""
    passed: bool = False
    action: Action | None = None
    failures: int = 0
    """Failed attempts of the current action."""
    doubts: int = 0
    """How many of the last of them in a row were refusals that may pass."""
    failure: str = ""
    retry_at: datetime | None = None
    prepared: bool = False
    counted: int = 0
    """Runs of an analysis that count."""
    failed_runs: int = 0
    empty_runs: int = 0
    """Runs without data that were repeated."""
    empty_in_a_row: int = 0
    ticks: int = 0
    """How many intervals had passed when the last run was ordered: runs are measured on a grid from the start of the step, and
    those that fell into a time when nobody could measure are left out."""
    tallies: dict[str, Tally] = {}
    samples: tuple[Sample, ...] = ()
    """The newest runs."""
    verdict: Verdict | None = None
    verdict_reason: str = ""
    called: bool = False
    """The called side took the call; for what runs to its end, it has ended well."""
    callback_token: str = ""
    answer: Verdict | None = None
    """A person's or a callback's answer."""
    answer_reason: str = ""
    reminded: bool = False

    @property
    def deadlines(self) -> dict[str, datetime]:
        """Both are looked at: one that has passed while the action was under way must not hide the other."""
        named = {self.id: self.due_at, f"{self.id} again": self.retry_at}
        return {name: at for name, at in named.items() if at is not None and not self.passed}


class Parked(Struct, frozen=True):
    origin: State
    error: str


class GaveWay(Struct, frozen=True):
    """Of an operation of an undo that let others come first (`engine.giving_way`): its patience goes on meanwhile."""

    at: datetime
    """When an action may be tried again, or a condition is waited for no longer."""
    failures: int = 0
    """Failed attempts of the action so far."""
    left_seconds: float | None = None
    """What is left of the time for which an action is tried, where it is tried for a time only."""


class Snapshot(Struct, frozen=True):
    """Where one rollout stands. Replaced by every decision; `seq` counts the decisions."""

    state: State
    entered_at: datetime
    seq: int = 0
    step: int = -1
    """Index into the plan's steps; -1 before the first."""
    procedure: tuple[Operation, ...] = ()
    cursor: int = 0
    action: Action | None = None
    actions: int = 0
    """How many actions were ever journaled."""
    begun: tuple[str, ...] = ()
    """Names of the actions that were ever sent, in order: what an abort has to consider."""
    failures: int = 0
    """Failed attempts of the current action."""
    doubts: int = 0
    """How many of the last of them in a row were refusals that may pass."""
    failure: str = ""
    """What the last of them said."""
    gave_way: dict[str, GaveWay] = {}
    """By the operation's name."""
    timers: dict[TimerName, datetime] = {}
    gates: tuple[Gate, ...] = ()
    cleared: bool = False
    """It is the rollout's turn, so that the conditions before it are looked at."""
    promoting: bool = False
    """A person asked for the end without waiting: pauses and weights on the way are left out, conditions are not."""
    promoted_at: int | None = None
    """The step at which they did."""
    facts: Facts = {}
    weight: int = 0
    """The canary's weight that was last ordered, in basis points."""
    shape: str = ""
    """What of the traffic was last ordered to be the canary's beside its weight (`engine.traffic.write_shape`)."""
    carrying: int | None = None
    """The lower weight that the canary has while it is short of pods; None while it has all that was ordered."""
    served: int = 0
    """The canary's weight that was last read back."""
    held: str = ""
    """Why the rollout is held; empty when it is not. A held rollout makes no forward move; abort still works."""
    parked: Parked | None = None
    reason: str = ""
    """Why the rollout was undone, rejected or cancelled."""

    @property
    def pending(self) -> tuple[Action, ...]:
        """All actions that were ordered and have not ended."""
        of_gates = (gate.action for gate in self.gates)
        return tuple(action for action in (self.action, *of_gates) if action is not None)

    @property
    def expected(self) -> int:
        """The weight that a route has to show, as far as we know."""
        return self.weight if self.carrying is None else self.carrying

    @property
    def sends_to_canary(self) -> bool:
        """Whether the canary may have any traffic at all."""
        return bool(self.weight or self.served or self.shape)

    @property
    def is_between_routes(self) -> bool:
        """Whether some routes have not been ordered yet to take the newest weight, and so stand at their former one; or one of
        them at either, as nobody knows what its order has come to, which has made room for something else."""
        orders = [at for at, one in enumerate(self.procedure) if isinstance(one, Act) and one.kind is ActionKind.SET_WEIGHT]
        ahead = next((one for one in self.procedure[self.cursor :] if isinstance(one, Act)), None)
        if ahead is not None and ahead.kind is ActionKind.SET_WEIGHT and ahead.name in self.begun:
            return True
        return bool(orders) and orders[0] < self.cursor <= orders[-1]

    @property
    def deadlines(self) -> dict[str, datetime]:
        """Every instant at which something has to be looked at, by a name that is unique within the rollout."""
        of_gates = {name: at for gate in self.gates for name, at in gate.deadlines.items()}
        of_others = {f"gave way:{name}": one.at for name, one in self.gave_way.items()}
        return {**{str(name): at for name, at in self.timers.items()}, **of_gates, **of_others}


class RolloutSpec(Struct, frozen=True):
    """The part of a rollout that never changes."""

    id: str
    release: str
    application: str
    plan: TargetPlan
    created_at: datetime
    secret: str
    """Signs the rollout's callback addresses. Never shown."""


class JournalEntry(Struct, frozen=True):
    """One line of a rollout's story. The journal alone tells it (invariant 8)."""

    rollout: str
    seq: int
    at: datetime
    event: str
    source: State
    destination: State
    step: int
    text: str
    detail: Facts = {}


class Origin(Struct, frozen=True):
    """A file of a deploy folder, and what it holds."""

    folder: str
    file: str
    digest: str
    """Of all that the file comes to, so that the same content is known again."""


class Release(Struct, frozen=True):
    id: str
    application: str
    description: str
    status: ReleaseStatus
    created_at: datetime
    created_by: str
    source: str
    """The deploy file's name as it was submitted, or which release this one takes back."""
    reason: str = ""
    rollouts: tuple[str, ...] = ()
    rollback_of: str = ""
    """The release that this one takes back; empty for one that brings a version of its own."""
    retry_of: str = ""
    """The release that this one tries again."""
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.REJECT
    queued: bool = False
    """It came while another release of its application was running, and has waited for it."""

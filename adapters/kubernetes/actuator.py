"""Performs the actions that change clusters, and says of an error what is to be done about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from adapters.kubernetes import autoscalers, config_copies, errors, exposing, history, jobs, manifests, recording, workloads
from adapters.kubernetes.access import AccessReviews, AccessUnknown, required_permissions
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.endpoints import (
    require_backend,
    require_endpoints,
    require_none_left,
    require_old_version,
    require_root,
)
from adapters.kubernetes.paths import REPLICA_SETS
from adapters.kubernetes.permissions import Permission
from adapters.kubernetes.routing import Handler, Routers
from adapters.kubernetes.task import Done, Task
from engine.errors import Doubtful, Rejected, Retryable
from engine.events import ActionSucceeded
from engine.model import UNDOING_STATES, Action, ActionKind, RolloutSpec, Snapshot

_HANDLERS: Mapping[ActionKind, Handler] = {
    ActionKind.APPLY_MANIFEST: manifests.apply_manifest,
    ActionKind.RESTORE_MANIFEST: manifests.restore_manifest,
    ActionKind.REMOVE_COPIES: config_copies.remove_copies,
    ActionKind.CHECK_MANIFEST: manifests.check_manifest,
    ActionKind.APPLY_WORKLOAD: workloads.apply_workload,
    ActionKind.RESTORE_WORKLOAD: workloads.restore_workload,
    ActionKind.NAME_VERSION: workloads.name_version,
    ActionKind.FREEZE_WORKLOAD: workloads.freeze,
    ActionKind.UNFREEZE_WORKLOAD: workloads.unfreeze,
    ActionKind.FREEZE_AUTOSCALER: autoscalers.freeze_autoscaler,
    ActionKind.RESTORE_AUTOSCALER: autoscalers.restore_autoscaler,
    ActionKind.SCALE_CANARY: workloads.scale_canary,
    ActionKind.SCALE_STABLE: workloads.scale_stable,
    ActionKind.RELEASE_HISTORY: history.release_history,
    ActionKind.RETURN_HISTORY: history.return_history,
    ActionKind.RELEASE_STABLE: workloads.release_stable,
    ActionKind.ADOPT_STABLE: workloads.adopt_stable,
    ActionKind.REMOVE_TWIN: workloads.remove_twin,
    ActionKind.REPLACE_TEMPLATE: workloads.replace_template,
    ActionKind.RESTORE_TEMPLATE: workloads.restore_template,
    ActionKind.ADOPT_CANARY: workloads.adopt_canary,
    ActionKind.RELEASE_CANARY: workloads.release_canary,
    ActionKind.REMOVE_CANARY: workloads.remove_canary,
    ActionKind.RETURN_FIELDS: workloads.return_fields,
    ActionKind.RUN_JOB: jobs.run_job,
    ActionKind.REMOVE_JOBS: jobs.remove_jobs,
}

_MOST_NAMED = 5
_CATCH_UP_SECONDS = 1.0
_LOOKS = 4
"""How often a handler looks and writes before a conflict is called one."""


class KubernetesActuator:
    """Implements `engine.ports.Actuator` for everything that happens in a cluster."""

    def __init__(
        self,
        clusters: Mapping[str, Cluster],
        routers: Routers,
        access: AccessReviews,
        accounts: Collection[str] | None = None,
        *,
        public_url: str | None = None,
    ) -> None:
        """`clusters` may grow; `accounts` are all that there ever will be, those that are not logged in yet among them.
        `public_url`: how others reach the daemon, for the addresses of previews."""
        self._clusters = clusters
        self._routers = routers
        self._access = access
        self._public_url = public_url
        self._accounts = frozenset(accounts) if accounts is not None else frozenset(clusters)

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded:
        cluster = self._clusters.get(spec.plan.account)
        if cluster is None and spec.plan.account in self._accounts:
            raise Retryable(f"account {spec.plan.account} is not logged in yet")
        if cluster is None:
            raise Rejected(unknown_account(spec.plan.account, self._accounts))
        try:
            done = await self._handle_again(Task(spec, snapshot, action, cluster))
        except errors.NamespaceGone as error:
            if snapshot.state not in UNDOING_STATES:
                advice = f"make it (kubectl create namespace {spec.plan.namespace}) and deploy again"
                raise Rejected(f"{error.message}; {advice}") from error
            done = Done(f"namespace {spec.plan.namespace} is gone; there is nothing to put back")
        except errors.ApiError as error:
            raise _classified(error) from error
        return ActionSucceeded(action.number, done.facts, done.note, done.output)

    async def _handle_again(self, task: Task) -> Done:
        """A conflict says that nothing was written because the object has moved on, as its controllers move it all the time.
        Every handler begins with a look, so another look is all that it takes; only a real fight is worth an entry and a wait."""
        for _ in range(_LOOKS - 1):
            try:
                return await self._handle(task)
            except errors.Conflict:
                continue
        return await self._handle(task)

    async def _handle(self, task: Task) -> Done:
        kind = task.action.kind
        if kind is ActionKind.RECORD:
            unknown = await self._check_access(task)
            done = await self._record(task)
            return Done(f"{done.note}; {unknown}", done.facts) if unknown else done
        if kind is ActionKind.EXPOSE_SERVICES:
            return await exposing.expose_services(task, self._public_url)
        for look in _LOOKS_BEFORE.get(kind, ()):
            await look(task)
        handler = _HANDLERS.get(kind) or self._routers.of(task.route).handlers()[kind]
        done = await handler(task)
        if kind is ActionKind.FOLLOW_STABLE and not task.is_undoing:
            await _catch_up(task, done)
        return done


    async def _record(self, task: Task) -> Done:
        if "manifests" in task.action.args:
            return await manifests.record_manifests(task)
        return await recording.record_workload(task, self._routers)

    async def _check_access(self, task: Task) -> str:
        """Raise `Doubtful` for a right that the account lacks; what cannot be found out is returned in words, for the journal."""
        account, plan = task.cluster.account, task.spec.plan
        wanted = await required_permissions(task.cluster, plan, self._routers)
        try:
            missing = await self._access.missing(task.cluster, wanted)
        except AccessUnknown as error:
            return f"the rights of account {account} could not be looked up ({error})"
        if missing:
            raise Doubtful(_lacking(account, missing))
        return ""


_LOOKS_BEFORE: Mapping[ActionKind, Sequence[Callable[[Task], Awaitable[None]]]] = {
    ActionKind.ENSURE_ROUTE: (require_backend,),
    ActionKind.SET_WEIGHT: (require_endpoints, require_old_version),
    ActionKind.REMOVE_ROUTE: (require_root, require_none_left),
    ActionKind.REMOVE_STABLE_SERVICE: (require_none_left,),
}
"""Who looks at the endpoints, or at the pods themselves, before which writes."""


async def _catch_up(task: Task, done: Done) -> None:
    """That the old version's pods are gone was what the caches show. Where the API server shows them, and nobody else is
    followed, a watch is behind, and would have the same done again at once, for as long as it is."""
    workload = task.route.workload
    if f"{workload}.stable_name" not in done.facts:
        await task.cluster.look_again(REPLICA_SETS, task.namespace, task.fact(workload, "stable_name"))
        await task.cluster.clock.sleep(_CATCH_UP_SECONDS)


def _lacking(account: str, missing: Sequence[Permission]) -> str:
    named = "; ".join(str(one) for one in missing[:_MOST_NAMED])
    more = f"; and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    advice = "give it the rights (headgate doctor --print-role prints the Role that the file needs) and deploy again"
    return f"account {account} may not {named}{more}. Nothing was changed: {advice}"


def unknown_account(account: str, known: Collection[str]) -> str:
    names = ", ".join(sorted(known)) or "none"
    return f"there is no account {account}; the accounts in the daemon's configuration are: {names}"


def _classified(error: errors.ApiError) -> Rejected | Retryable | Doubtful:
    """Refusals by the API server stay refusals until somebody changes something; everything else may pass.

    For a few seconds after its start it forbids everybody everything, because it has not read the roles yet (seen on a real one).
    """
    if isinstance(error, errors.Forbidden):
        return Doubtful(str(error))
    if isinstance(error, errors.Invalid | errors.NotFound | errors.NotServed):
        return Rejected(str(error))
    if isinstance(error, errors.TooManyRequests):
        return Retryable(str(error), error.retry_after)
    return Retryable(str(error))

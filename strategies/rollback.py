"""A release that has succeeded -> the plan of the release that brings the version before it back. Pure.

What was there before is what the release itself noted when it first looked: every workload as it was found
(`<workload>.original`), and every supporting object (`manifest.<key>`, empty where there was none). The way back is a release as
any other, without steps: its pods come up and are available before any traffic leaves the ones that serve. It must not know
where releases are kept, nor who asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from engine.errors import NotFound, RollbackRefused
from engine.model import (
    FINAL_STATUSES,
    PLAN_VERSION,
    ExpectedVersion,
    ManifestPlan,
    Release,
    ReleasePlan,
    State,
    TargetPlan,
    WorkloadPlan,
)
from engine.ports import StoredRollout
from strategies.recorded_objects import JsonObject, as_declared, is_changed_by, parse_recorded


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release and its rollouts, as the store has them."""

    release: Release
    rollouts: Sequence[StoredRollout]

    @property
    def name(self) -> str:
        origin = f" (rollback of {self.release.rollback_of})" if self.release.rollback_of else ""
        return f"release {self.release.id} of {self.release.application}{origin}"

    def only(self, targets: Sequence[str]) -> StoredRelease:
        """The release as far as these targets go; all of it when none are named. Raises `NotFound`."""
        there = [one.spec.plan.target for one in self.rollouts]
        for target in targets:
            if target not in there:
                raise NotFound(f"release {self.release.id} has no target {target}; it has {', '.join(there)}")
        chosen = [one for one in self.rollouts if not targets or one.spec.plan.target in targets]
        return StoredRelease(self.release, chosen)

    @property
    def completed(self) -> list[StoredRollout]:
        """The targets on which its version was promoted."""
        return [one for one in self.rollouts if one.snapshot.state is State.SUCCEEDED]


def check_completed(taken: StoredRelease, live: Release | None = None) -> None:
    """Raises `RollbackRefused` unless there is a promoted version to take back. `live`: the newest release that succeeded."""
    release = taken.release
    if release.status not in FINAL_STATUSES:
        raise RollbackRefused(
            f"{taken.name} has not ended, it is {release.status}: abort it instead, which puts everything back as it was "
            f"(headgate abort {release.id})"
        )
    if not taken.completed:
        instead = f"; the newest that succeeded is taken back with: headgate rollback {live.id}" if live is not None else ""
        raise RollbackRefused(
            f"{taken.name} did not succeed, it is {release.status}: what it found is still there or was put back, so there is "
            f"nothing to take back{instead}"
        )


def check_not_overtaken(taken: StoredRelease, later: StoredRelease) -> None:
    """Raises `RollbackRefused` when the later release has changed what the one to be taken back has left."""
    ours = {place: what for stored in taken.completed for place, what in _places(stored)}
    for stored in later.completed:
        for place, what in _places(stored):
            if place in ours:
                raise RollbackRefused(
                    f"{later.name} has changed {what} after {taken.name}, which can no longer be taken back by itself; take "
                    f"the later one back first (headgate rollback {later.release.id}), or deploy the version that you want"
                )


def _places(stored: StoredRollout) -> Iterator[tuple[tuple[str, ...], str]]:
    plan = stored.spec.plan
    for workload in plan.workloads:
        name = f"Deployment/{workload.name}"
        yield (plan.account, plan.namespace, name), f"Deployment {workload.name} in namespace {plan.namespace}"
    for manifest in _changed_manifests(stored):
        yield (plan.account, plan.namespace, manifest.key), f"{manifest.key} in namespace {plan.namespace}"


def compile_rollback(taken: StoredRelease, *, force: bool = False, reason: str = "") -> ReleasePlan:
    """The release that puts back what the completed targets of this one found.

    The targets do not wait for each other, as each goes back to what it ran already. `force`: also where somebody else has
    changed the live version since. Raises `RollbackRefused`.
    """
    check_completed(taken)
    targets: list[TargetPlan] = []
    for stored in taken.completed:
        workloads = tuple(_compile_workload(taken, stored, one, force) for one in stored.spec.plan.workloads)
        manifests = tuple(_compile_manifest(stored, one) for one in _changed_manifests(stored))
        if workloads or manifests:
            targets.append(
                replace(
                    stored.spec.plan,
                    version=PLAN_VERSION,
                    workloads=workloads,
                    manifests=manifests,
                    steps=(),
                    depends_on=(),
                )
            )
    if not targets:
        raise RollbackRefused(f"{taken.name} changed nothing that was there before it: there is nothing to put back")
    return ReleasePlan(
        version=PLAN_VERSION,
        application=taken.release.application,
        targets=tuple(targets),
        description=reason,
        warnings=tuple(_warnings(taken)),
        rollback_of=taken.release.id,
    )


def source_of(plan: ReleasePlan) -> str:
    """What stands in the place of a deploy file's name."""
    return f"rollback of {plan.rollback_of}" if plan.rollback_of else f"retry of {plan.retry_of}"


# --- workloads --------------------------------------------------------------------------------------------------------


def _compile_workload(taken: StoredRelease, stored: StoredRollout, workload: WorkloadPlan, force: bool) -> WorkloadPlan:
    name, facts, target = workload.name, stored.snapshot.facts, stored.spec.plan.target
    if facts.get(f"{name}.mode") == "create":
        raise RollbackRefused(
            f"Deployment {name} of target {target} was created by {taken.name}: there is no version before it; deploy another "
            f"version, or remove it (kubectl delete deployment {name} -n {stored.spec.plan.namespace})"
        )
    original, left = facts.get(f"{name}.original"), facts.get(f"{name}.new_digest")
    if not original or not left:
        raise RollbackRefused(
            f"{taken.name} has kept no record of Deployment {name} of target {target} as it was before; deploy that version"
        )
    declared = as_declared(parse_recorded(str(original)))
    # A pause is how a Deployment is handled, not which version it runs: that of back then is over.
    declared["spec"] = {key: value for key, value in declared["spec"].items() if key != "paused"}
    expects = None if force else ExpectedVersion(taken.release.id, str(left))
    return WorkloadPlan(name, _to_json(declared), expects, keeps_count=True)


# --- supporting objects -----------------------------------------------------------------------------------------------


def _changed_manifests(stored: StoredRollout) -> list[ManifestPlan]:
    """Those that were there before the rollout, and that it changed."""
    declared = [manifest for manifest in stored.spec.plan.manifests if not manifest.copy_of]
    return [
        manifest
        for manifest in declared
        if (original := _original(stored, manifest)) and is_changed_by(json.loads(manifest.content), parse_recorded(original))
    ]


def _original(stored: StoredRollout, manifest: ManifestPlan) -> str:
    return str(stored.snapshot.facts.get(f"manifest.{manifest.key}") or "")


def _compile_manifest(stored: StoredRollout, manifest: ManifestPlan) -> ManifestPlan:
    declared = as_declared(parse_recorded(_original(stored, manifest)))
    return ManifestPlan(manifest.key, _to_json(declared), manifest.awaited, remakes=True)


def _warnings(taken: StoredRelease) -> Iterator[str]:
    for stored in taken.rollouts:
        target = stored.spec.plan.target
        if stored.snapshot.state is not State.SUCCEEDED:
            yield f"target {target} is left as it is: {taken.name} did not succeed there"
            continue
        made = [one.key for one in stored.spec.plan.manifests if not _original(stored, one)]
        if made:
            names, (verb, it) = ", ".join(made), ("stays", "it") if len(made) == 1 else ("stay", "them")
            yield f"target {target}: {names} {verb}; {taken.name} made {it}, and nothing was there before that could be put back"


def _to_json(body: JsonObject) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

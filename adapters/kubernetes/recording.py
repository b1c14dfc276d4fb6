"""The first look at a workload: what is live, what the new version will be, and whether the rollout can be done at all.

Nothing is changed here, so whatever cannot be done is refused while that still costs nothing. The new template is what the API
server makes of the declared one (a dry run of the very write that will put it into the Deployment, which merges nothing of the
live one into it), because templates are only comparable after defaulting. The write that comes last of all is tried too: by then
the new version serves everybody.
"""

from __future__ import annotations

import json

from adapters.kubernetes.autoscalers import facts_of_autoscaler
from adapters.kubernetes.errors import Invalid, Mistyped
from adapters.kubernetes.paths import DEPLOYMENTS, REPLICA_SETS
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import (
    HASH_LABEL,
    JsonObject,
    canary_hash,
    canary_name,
    digest,
    own_labels,
    selects,
)
from engine.errors import Rejected, Retryable
from engine.model import Facts, WorkloadPlan

WARNING = "{}.warning"
"""The fact in which a router says what its user should know and what is no reason to refuse: it is told in the journal."""


async def record_workload(task: Task, routers: Routers) -> Done:
    workload = task.workload
    declared = json.loads(workload.manifest)
    live = await task.cluster.find(DEPLOYMENTS, task.namespace, workload.name)
    _check_expected(workload, live)
    if live is None and _brings_its_namespace(task):
        facts: Facts = {f"{workload.name}.mode": "create", f"{workload.name}.replicas": 0}
        return Done(f"Deployment {workload.name} is new, and its namespace may be: both are applied", facts)
    if live is not None:
        _check_selector(workload, declared, live)
    new_template = await _try_out(task, declared, live)
    if live is None:
        facts = {f"{workload.name}.mode": "create", f"{workload.name}.replicas": 0}
        return Done(f"Deployment {workload.name} is new: it is applied, and there is nothing to compare it with", facts)
    facts = await _facts_of_live(task, workload, live, new_template)
    mode = facts[f"{workload.name}.mode"]
    if mode == "apply":
        return Done(_why_applied(workload, live), facts)
    warnings: list[str] = []
    for route in task.spec.plan.routes:
        if route.workload == workload.name:
            found = await routers.of(route).record(task, route, live, new_template)
            warnings += [f"; warning: {found.pop(WARNING.format(route.name))}"] if WARNING.format(route.name) in found else []
            facts.update(found)
    replicas = facts[f"{workload.name}.replicas"]
    return Done(f"Deployment {workload.name} has {replicas} pods of its current version{''.join(warnings)}", facts)


def _check_expected(workload: WorkloadPlan, live: JsonObject | None) -> None:
    name, expected = workload.name, workload.expects
    if expected is None or (live is not None and digest(live["spec"]["template"]) == expected.digest):
        return
    found = "is gone" if live is None else f"no longer has the template that release {expected.release} left"
    raise Rejected(
        f"Deployment {name} {found}: somebody else has changed it since. See what runs there now (kubectl get deployment {name} "
        f"-o yaml); the version before takes its place all the same with: headgate rollback {expected.release} --force"
    )


def _brings_its_namespace(task: Task) -> bool:
    """Nothing can be tried out in a namespace that the manifests are still to make."""
    return any(manifest.key == f"Namespace/{task.namespace}" for manifest in task.spec.plan.manifests)


async def _try_out(task: Task, declared: JsonObject, live: JsonObject | None) -> JsonObject:
    """The new template as the API server has it. Raises `Invalid` for what it will not take.

    What is wrong beside the template is found with the live one in its place: by the time of the last write the declared one has
    replaced it whole, while this dry run would merge both, and may not be able to.
    """
    if live is None:
        made = await task.cluster.apply(DEPLOYMENTS, declared, dry_run=True)
    else:
        change = {"op": "replace", "path": "/spec/template", "value": declared["spec"]["template"]}
        made = await task.cluster.patch(DEPLOYMENTS, live, [change], dry_run=True)
        try:
            await task.cluster.apply(DEPLOYMENTS, declared, dry_run=True)
        except Mistyped:
            raise
        except Invalid:
            spec = {**declared["spec"], "template": live["spec"]["template"]}
            await task.cluster.apply(DEPLOYMENTS, {**declared, "spec": spec}, dry_run=True)
    template = made["spec"]["template"]
    assert isinstance(template, dict)
    return template


def _check_selector(workload: WorkloadPlan, declared: JsonObject, live: JsonObject) -> None:
    if declared["spec"]["selector"] != live["spec"]["selector"]:
        raise Rejected(
            f"Deployment {workload.name}: the selector in the manifest is not the live one, and a selector cannot be changed; "
            "restore it, or deploy under another name"
        )
    if selects(live["spec"]["selector"], own_labels()):
        raise Rejected(f"Deployment {workload.name}: its selector matches everything, so its versions cannot be told apart")


async def _facts_of_live(task: Task, workload: WorkloadPlan, live: JsonObject, new_template: JsonObject) -> Facts:
    name, spec = workload.name, live["spec"]
    replicas = int(spec.get("replicas", 1))
    is_new = digest(spec["template"]) != digest(new_template)
    mode = "canary" if is_new and replicas > 0 else "apply"
    facts: Facts = {
        f"{name}.mode": mode,
        f"{name}.replicas": replicas,
        f"{name}.paused": "true" if spec.get("paused") else "",
        f"{name}.original": json.dumps(live),
        f"{name}.original_template": json.dumps(spec["template"]),
        f"{name}.original_digest": digest(spec["template"]),
        f"{name}.new_template": json.dumps(new_template),
        f"{name}.new_digest": digest(new_template),
    }
    facts.update(await facts_of_autoscaler(task, name))
    if mode == "canary":
        facts.update(await _facts_of_versions(task, workload, live, new_template))
    return facts


def _why_applied(workload: WorkloadPlan, live: JsonObject) -> str:
    if not live["spec"].get("replicas", 1):
        return f"Deployment {workload.name} is scaled to 0: no traffic to shift, the new version is applied as it is"
    return f"Deployment {workload.name} already has this template: only its other settings are applied"


async def _facts_of_versions(task: Task, workload: WorkloadPlan, live: JsonObject, new_template: JsonObject) -> Facts:
    """Which ReplicaSet serves now, and what the canary's will be called."""
    name = workload.name
    owned = [one for one in await task.cluster.list_objects(REPLICA_SETS, task.namespace) if _is_owned_by(one, live)]
    stable = _stable_of(name, live, owned)
    twins = [one["metadata"]["name"] for one in owned if digest(one["spec"]["template"]) == digest(new_template)]
    names = sorted(one["metadata"]["name"] for one in owned if one is not stable)
    hash_value = canary_hash(new_template, task.rollout)
    return {
        f"{name}.stable_name": stable["metadata"]["name"],
        f"{name}.stable_hash": stable["metadata"]["labels"][HASH_LABEL],
        f"{name}.stable_labels": json.dumps(stable["metadata"]["labels"]),
        f"{name}.stable_fields": json.dumps({"metadata": {"managedFields": stable["metadata"].get("managedFields")}}),
        f"{name}.canary_name": canary_name(name, hash_value),
        f"{name}.canary_hash": hash_value,
        f"{name}.twin": ",".join(sorted(twins)),
        f"{name}.history": ",".join(one for one in names if one not in twins),
    }


def _stable_of(name: str, live: JsonObject, owned: list[JsonObject]) -> JsonObject:
    active = [one for one in owned if one["spec"].get("replicas") or one.get("status", {}).get("replicas")]
    current = [one for one in active if digest(one["spec"]["template"]) == digest(live["spec"]["template"])]
    observed = live.get("status", {}).get("observedGeneration", 0)
    if observed < live["metadata"].get("generation", 0):
        raise Retryable(f"Deployment {name} has been changed just now; waiting for its controller to take that up")
    if not current and live["spec"].get("paused"):
        raise Rejected(
            f"Deployment {name} is paused with a template that runs nowhere; let it roll out (kubectl rollout resume "
            f"deployment/{name}) or undo the edit (kubectl rollout undo deployment/{name}), then deploy again"
        )
    if not current:
        raise Retryable(f"Deployment {name} has no pods of its template; its controller is waited for{_why_none(live)}")
    others = [one["metadata"]["name"] for one in active if one not in current]
    if others:
        raise Rejected(
            f"Deployment {name} is in the middle of a roll-out of its own: {', '.join(others)} still has pods; "
            f"wait for it (kubectl rollout status deployment/{name}) or undo it, then deploy again"
        )
    return current[0]


def _why_none(live: JsonObject) -> str:
    conditions = live.get("status", {}).get("conditions") or []
    failures = [str(one.get("message")) for one in conditions if one["type"] == "ReplicaFailure" and one["status"] == "True"]
    return f", which says: {failures[0]}" if failures else ""


def _is_owned_by(replica_set: JsonObject, deployment: JsonObject) -> bool:
    owners = replica_set["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == deployment["metadata"]["uid"] and owner.get("controller") for owner in owners)



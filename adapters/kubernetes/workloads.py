"""Actions on a Deployment and its ReplicaSets: the native hand-over, one write each, forward and back.

Each function looks at the live object first and writes only what is missing, guarded by the resourceVersion that it saw: after a
crash it may find its own work done, half done in a step before, or undone by somebody else. Templates are replaced whole, never
merged: a foreign annotation that survives a merge makes the controller not recognise the canary and replace every tested pod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from adapters.kubernetes.paths import DEPLOYMENTS, REPLICA_SETS, ResourceRef
from adapters.kubernetes.taking_back import Entangled, take_back
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import (
    MANAGER,
    REVISION_ANNOTATION,
    ROLLOUT_ANNOTATION,
    JsonObject,
    adopted_annotations,
    adopted_labels,
    canary_replica_set,
    digest,
    own_labels,
)
from engine.errors import Rejected, Retryable


async def freeze(task: Task) -> Done:
    """Pause the Deployment, so that nobody's edit of its template starts a roll-out of its own under our feet."""
    name = task.workload.name
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is None:
        return _gone(task, f"Deployment {name}")
    if not task.is_undoing and digest(found["spec"]["template"]) != task.fact(name, "original_digest"):
        raise Rejected(f"the template of Deployment {name} was changed by somebody else since it was looked at; deploy again")
    if found["spec"].get("paused"):
        return Done(f"Deployment {name} is paused")
    await task.cluster.patch(DEPLOYMENTS, found, [{"op": "add", "path": "/spec/paused", "value": True}])
    return Done(f"Deployment {name} is paused while its new version is tested")


async def unfreeze(task: Task) -> Done:
    name = task.workload.name
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is None:
        return _gone(task, f"Deployment {name}")
    if task.fact(name, "paused") == "true" or not found["spec"].get("paused"):
        return Done(f"Deployment {name} is as it was: {'paused' if found['spec'].get('paused') else 'not paused'}")
    await task.cluster.patch(DEPLOYMENTS, found, [{"op": "remove", "path": "/spec/paused"}])
    return Done(f"Deployment {name} is no longer paused")


async def scale_canary(task: Task) -> Done:
    name, replicas = task.workload.name, task.number("replicas")
    replica_set = task.fact(name, "canary_name")
    found = await task.cluster.find(REPLICA_SETS, task.namespace, replica_set)
    if found is not None:
        if not task.is_ours(found):
            raise Rejected(f"a ReplicaSet {replica_set} exists and was not made by this rollout; remove it and deploy again")
        if found["spec"].get("replicas") == replicas:
            return Done(f"the new version of {name} is asked for {replicas} pods")
        await task.cluster.patch(REPLICA_SETS, found, [_set("/spec/replicas", replicas)])
        return Done(f"the new version of {name} is scaled to {replicas} pods")
    deployment = await task.cluster.get(DEPLOYMENTS, task.namespace, name)
    body = canary_replica_set(
        deployment,
        task.json_fact(name, "new_template"),
        task.fact(name, "canary_hash"),
        rollout=task.rollout,
        replicas=replicas,
    )
    await task.cluster.create(REPLICA_SETS, body)
    return Done(f"ReplicaSet {replica_set} runs the new version of {name} with {replicas} pods")


async def scale_stable(task: Task) -> Done:
    """The old version is scaled through its Deployment, which scales even while it is paused."""
    name, replicas = task.workload.name, task.number("replicas")
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is None:
        return _gone(task, f"Deployment {name}")
    if found["spec"].get("replicas") == replicas or (task.is_undoing and found["spec"].get("replicas", 1) > replicas):
        # Somebody has scaled it up in the meantime, and nobody takes pods from them on the way back.
        return Done(f"the old version of {name} is asked for {found['spec'].get('replicas', 1)} pods")
    await task.cluster.patch(DEPLOYMENTS, found, [_set("/spec/replicas", replicas)])
    return Done(f"the old version of {name} is scaled to {replicas} pods")


async def release_stable(task: Task) -> Done:
    name = task.workload.name
    return await _relabel(task, task.fact(name, "stable_name"), own_labels(), f"the old version of {name} is let go")


async def adopt_stable(task: Task) -> Done:
    name = task.workload.name
    labels = {str(key): str(value) for key, value in task.json_fact(name, "stable_labels").items()}
    return await _relabel(task, task.fact(name, "stable_name"), labels, f"the old version of {name} is given back")


async def release_canary(task: Task) -> Done:
    """Take the tested pods out of the Deployment's hands; they serve on while the old version grows back.

    Before the old template is put back: while it owns them, the controller would count the old version as a newer revision.
    """
    name = task.workload.name
    note = f"the new version of {name} is let go"
    return await _relabel(task, task.fact(name, "canary_name"), own_labels(), note, owner=task.rollout)


async def adopt_canary(task: Task) -> Done:
    """Give the tested pods to the Deployment. Refused (and tried again) unless it would take them as they are."""
    name = task.workload.name
    template = task.json_fact(name, "new_template")
    labels = adopted_labels(template, task.fact(name, "canary_hash"))
    deployment = await task.cluster.get(DEPLOYMENTS, task.namespace, name)
    replica_set = await task.cluster.get(REPLICA_SETS, task.namespace, task.fact(name, "canary_name"))
    if (replica_set["metadata"].get("labels") or {}) == labels:
        return Done(f"the new version of {name} belongs to its Deployment")
    if digest(deployment["spec"]["template"]) != task.fact(name, "new_digest"):
        # It was the new one when it was waited for. Tried again, this would be refused for ever.
        raise Rejected(f"the template of Deployment {name} was edited by somebody else during the rollout")
    problem = _not_adoptable(deployment, replica_set, task.fact(name, "new_digest"))
    if problem:
        raise Retryable(f"Deployment {name} would not take its new version as it is: {problem}")
    note = f"the new version of {name} is given to its Deployment"
    return await _relabel(task, replica_set["metadata"]["name"], labels, note, annotations=adopted_annotations(deployment))


def _not_adoptable(deployment: JsonObject, replica_set: JsonObject, new_digest: str) -> str:
    if not deployment["spec"].get("paused"):
        return "the Deployment is not paused"
    if digest(deployment["spec"]["template"]) != new_digest or digest(replica_set["spec"]["template"]) != new_digest:
        return "the templates differ"
    wanted, canary = deployment["spec"].get("replicas"), replica_set["spec"].get("replicas")
    if wanted != canary:
        return f"the Deployment asks for {wanted} pods and its new version for {canary}"
    available = replica_set.get("status", {}).get("availableReplicas", 0)
    return "" if available >= canary else f"only {available} of {canary} pods are available"


async def replace_template(task: Task) -> Done:
    name = task.workload.name
    found = await task.cluster.get(DEPLOYMENTS, task.namespace, name)
    return await _put_template(task, found, wanted="new", replaceable="original", verb="names its new version")


async def restore_template(task: Task) -> Done:
    name = task.workload.name
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is None:
        return _gone(task, f"Deployment {name}")
    return await _put_template(task, found, wanted="original", replaceable="new", verb="names its old version again")


async def _put_template(task: Task, found: JsonObject, *, wanted: str, replaceable: str, verb: str) -> Done:
    name = task.workload.name
    replicas = task.action.args.get("replicas")
    there = digest(found["spec"]["template"])
    changes: list[JsonObject] = []
    if there != task.fact(name, f"{wanted}_digest"):
        template = task.json_fact(name, f"{wanted}_template")
        if there != task.fact(name, f"{replaceable}_digest"):
            if not task.is_undoing:
                raise Rejected(f"the template of Deployment {name} was edited by somebody else during the rollout")
            try:
                replaced = task.json_fact(name, f"{replaceable}_template")
                template = take_back(template, replaced, found["spec"]["template"])
            except Entangled as error:
                return Done(
                    f"Deployment {name} was edited by somebody else, who has changed what the new version changes ({error}); its "
                    "template is left as it is"
                )
        if template != found["spec"]["template"]:
            changes.append({"op": "replace", "path": "/spec/template", "value": template})
    if replicas is not None and found["spec"].get("replicas") != replicas:
        changes.append(_set("/spec/replicas", replicas))
    if changes:
        await task.cluster.patch(DEPLOYMENTS, found, changes)
    return Done(f"Deployment {name} {verb}")


async def remove_twin(task: Task) -> Done:
    name = task.workload.name
    twins = task.fact(name, "twin").split(",")
    for twin in twins:
        found = await task.cluster.find(REPLICA_SETS, task.namespace, twin)
        if found is not None and found["spec"].get("replicas"):
            raise Rejected(f"ReplicaSet {twin} has the template of the new version and has pods; scale it to 0 and deploy again")
        if found is not None:
            await task.cluster.delete(REPLICA_SETS, found)
    return Done(f"ReplicaSet {', '.join(twins)}, empty and with the template of the new version, is removed")


async def remove_canary(task: Task) -> Done:
    name = task.fact(task.workload.name, "canary_name")
    found = await task.cluster.find(REPLICA_SETS, task.namespace, name)
    if found is None:
        return Done(f"ReplicaSet {name} is gone")
    if not task.is_ours(found):
        return Done(f"ReplicaSet {name} was not made by this rollout and is left as it is")
    await task.cluster.delete(REPLICA_SETS, found)
    return Done(f"ReplicaSet {name} is removed with its pods")


async def apply_workload(task: Task) -> Done:
    """Everything that the user declared of the Deployment. With an autoscaler, the number of replicas stays the autoscaler's."""
    workload = task.workload
    body = json.loads(workload.manifest)
    if task.fact(workload.name, "mode") == "apply":
        await _replace_merged_template(task)
    is_kept = workload.keeps_count and task.fact(workload.name, "mode") != "create"
    if is_kept or task.snapshot.facts.get(f"{workload.name}.autoscaled"):
        body["spec"].pop("replicas", None)
        _keep_count(body, await task.cluster.find(DEPLOYMENTS, task.namespace, workload.name))
    await task.cluster.apply(DEPLOYMENTS, body)
    return Done(f"Deployment {workload.name} is as declared")


async def _replace_merged_template(task: Task) -> None:
    """Applied alone, a template keeps what others wrote into the former one and the declared one leaves out."""
    name = task.workload.name
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is not None and digest(found["spec"]["template"]) != task.fact(name, "new_digest"):
        change = {"op": "replace", "path": "/spec/template", "value": task.json_fact(name, "new_template")}
        await task.cluster.patch(DEPLOYMENTS, found, [change])


async def name_version(task: Task) -> Done:
    name = task.workload.name
    live = await task.cluster.get(DEPLOYMENTS, task.namespace, name)
    wanted = digest(live["spec"]["template"])
    for found in await task.cluster.list_objects(REPLICA_SETS, task.namespace):
        owners = found["metadata"].get("ownerReferences") or []
        owned = any(one.get("uid") == live["metadata"]["uid"] and one.get("controller") for one in owners)
        if owned and digest(found["spec"]["template"]) == wanted:
            version = found["metadata"]["name"]
            return Done(f"Deployment {name} runs as ReplicaSet {version}", {f"{name}.serving_name": version})
    raise Retryable(f"Deployment {name} has no ReplicaSet of its current version yet")


def _keep_count(body: JsonObject, found: JsonObject | None) -> None:
    """A field that we applied before and leave out now is removed, and a Deployment without a number of replicas has one."""
    entries = found["metadata"].get("managedFields") or [] if found is not None else []
    applied = [one for one in entries if one.get("manager") == MANAGER and one.get("operation") == "Apply"]
    if found is not None and any("f:replicas" in one["fieldsV1"].get("f:spec", {}) for one in applied):
        body["spec"]["replicas"] = found["spec"]["replicas"]
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]


async def restore_workload(task: Task) -> Done:
    """The Deployment as it was found; gone, if there was none (a failed first deployment leaves nothing behind)."""
    name = task.workload.name
    found = await task.cluster.find(DEPLOYMENTS, task.namespace, name)
    if found is None:
        return Done(f"Deployment {name} is gone")
    if task.fact(name, "mode") == "create":
        await task.cluster.delete(DEPLOYMENTS, found)
        return Done(f"Deployment {name}, which this rollout made, is removed")
    original, declared = task.json_fact(name, "original"), json.loads(task.workload.manifest)
    spec = {**original["spec"], **({"paused": True} if found["spec"].get("paused") else {})}
    if _is_count_theirs(task, declared, found):
        spec["replicas"] = found["spec"].get("replicas", 1)
    metadata = {**original["metadata"], "annotations": _original_annotations(original, declared, found)}
    if labels := _put_back("labels", original, declared, found):
        metadata["labels"] = labels
    await task.cluster.restore(DEPLOYMENTS, found, {**original, "metadata": metadata, "spec": spec})
    return Done(f"Deployment {name} is as it was found")


def _is_count_theirs(task: Task, declared: JsonObject, found: JsonObject) -> bool:
    """Whether the number of replicas is an autoscaler's or somebody else's by now, and not the one that this release declared."""
    ours = declared["spec"].get("replicas")
    is_kept = task.workload.keeps_count or task.snapshot.facts.get(f"{task.workload.name}.autoscaled")
    return bool(is_kept) or found["spec"].get("replicas", 1) != ours


def _put_back(field: str, original: JsonObject, declared: JsonObject, found: JsonObject) -> dict[str, str]:
    """As they were, and what somebody else has put beside them in the meantime."""
    were, are = (dict(one["metadata"].get(field) or {}) for one in (original, found))
    ours = declared["metadata"].get(field) or {}
    theirs = {key: value for key, value in are.items() if key not in were and key not in ours and key != ROLLOUT_ANNOTATION}
    return {**were, **theirs}


def _original_annotations(original: JsonObject, declared: JsonObject, found: JsonObject) -> dict[str, str]:
    """But for the number of the revision: its controller counts on, and would write it again at once."""
    annotations = _put_back("annotations", original, declared, found)
    counted = (found["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION)
    return annotations | ({REVISION_ANNOTATION: counted} if counted is not None else {})


async def return_fields(task: Task) -> Done:
    """Leave no trace in managedFields: whoever applies next must not meet us as a rival over what we have put back."""
    name = task.workload.name
    if task.action.args.get("stable"):
        return await _return_fields(task, REPLICA_SETS, task.fact(name, "stable_name"), "stable_fields")
    return await _return_fields(task, DEPLOYMENTS, name, "original")


async def _return_fields(task: Task, resource: ResourceRef, name: str, fact: str) -> Done:
    found = await task.cluster.find(resource, task.namespace, name)
    if found is None:
        return Done(f"{resource.kind} {name} is gone; there is nothing to give back")
    before = task.json_fact(task.workload.name, fact)
    if not before:  # The first look was a former version's, which did not note it.
        return Done(f"whose fields those of {resource.kind} {name} were is not known; they are left as they are")
    await task.cluster.return_fields(resource, found, before)
    return Done(f"the fields of {resource.kind} {name} belong to who they belonged to before")


async def _relabel(
    task: Task, name: str, labels: dict[str, str], note: str, *, owner: str = "", annotations: Mapping[str, str] | None = None
) -> Done:
    """A ReplicaSet's own labels decide whether its Deployment's controller takes it, keeps it or lets it go."""
    found = await task.cluster.find(REPLICA_SETS, task.namespace, name)
    if found is None:
        return _gone(task, f"ReplicaSet {name}")
    metadata = found["metadata"]
    changes: list[JsonObject] = []
    if (metadata.get("labels") or {}) != labels:
        changes.append(_set("/metadata/labels", labels))
    there: dict[str, str] = metadata.get("annotations") or {}
    noted = {key: value for key, value in there.items() if key != ROLLOUT_ANNOTATION} | dict(annotations or {})
    if owner:
        noted[ROLLOUT_ANNOTATION] = owner
    if there != noted:
        changes.append(_set("/metadata/annotations", noted))
    if changes:
        await task.cluster.patch(REPLICA_SETS, found, changes)
    return Done(note)


def _gone(task: Task, what: str) -> Done:
    if task.is_undoing:
        return Done(f"{what} is gone; there is nothing to put back")
    raise Rejected(f"{what} was removed by somebody else during the rollout")


def _set(path: str, value: object) -> JsonObject:
    return {"op": "add", "path": path, "value": value}

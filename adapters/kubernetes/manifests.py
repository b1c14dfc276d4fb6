"""Actions on the supporting objects of a target (Services, ConfigMaps, anything): applied as declared, put back as found."""

from __future__ import annotations

import json

from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.model import Facts, ManifestPlan

SERVER_FIELDS = ("resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "managedFields", "ownerReferences")


async def record_manifests(task: Task) -> Done:
    """What is there before anything is applied, so that it can be put back. An object that is not there yet is an empty text."""
    facts: Facts = {}
    for manifest in task.spec.plan.manifests:
        ref, body = await _placed(task, manifest)
        metadata = body["metadata"]
        found = await task.cluster.find(ref, metadata.get("namespace"), metadata["name"])
        facts[original_fact(manifest.key)] = json.dumps(found) if found is not None else ""
    return Done(f"{len(facts)} supporting objects are recorded as they are", facts)


def original_fact(key: str) -> str:
    return f"manifest.{key}"


async def apply_manifest(task: Task) -> Done:
    ref, body = await _placed(task, task.manifest)
    await task.cluster.apply(ref, body)
    return Done(f"{task.manifest.key} is applied")


async def restore_manifest(task: Task) -> Done:
    key = task.manifest.key
    ref, body = await _placed(task, task.manifest)
    metadata = body["metadata"]
    found = await task.cluster.find(ref, metadata.get("namespace"), metadata["name"])
    original = str(task.snapshot.facts.get(original_fact(key)) or "")
    if not original:
        if found is not None:
            await task.cluster.delete(ref, found)
        return Done(f"{key}, which was not there before, is removed")
    if found is None:
        await task.cluster.create(ref, without_server_fields(json.loads(original)))
        return Done(f"{key} was removed by somebody else and is put back as it was found")
    await task.cluster.restore(ref, found, json.loads(original))
    return Done(f"{key} is as it was found")


async def _placed(task: Task, manifest: ManifestPlan) -> tuple[ResourceRef, JsonObject]:
    """The object and where it lives. Only the cluster knows whether a custom kind has namespaces."""
    body: JsonObject = json.loads(manifest.content)
    ref = await task.cluster.resource_of(body["apiVersion"], body["kind"])
    if not ref.namespaced:
        body["metadata"].pop("namespace", None)
    return ref, body


def without_server_fields(body: JsonObject) -> JsonObject:
    """The object as somebody would have written it: without what the API server adds."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in SERVER_FIELDS}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}

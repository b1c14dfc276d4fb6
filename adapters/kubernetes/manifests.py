"""Actions on the supporting objects of a target (Services, ConfigMaps, anything): applied as declared, put back as found.

One that is being deleted is still there, and takes writes, until the last finalizer is off; then it is gone with all that was
written. So it counts as gone already, and what takes its place waits until it is.

A kind may come with the manifests themselves: then its objects are not there before, and are applied as soon as the cluster
serves them.
"""

from __future__ import annotations

import json

from adapters.kubernetes import health
from adapters.kubernetes.errors import Forbidden, Invalid, Mistyped, NotFound, NotServed
from adapters.kubernetes.own_definitions import DEFINITION, defined_kind, kinds_of
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected, Retryable
from engine.model import Facts

SERVER_FIELDS = ("resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "managedFields", "ownerReferences")
ATTEMPTS = 9
"""How often it is looked whether the cluster has taken up a new kind: for 1 to 2 minutes in all."""
GONE_ATTEMPTS = 25
"""How often it is looked whether an object that is being deleted is gone: for 5 to 10 minutes in all, as clouds take minutes to
take down a load balancer."""
_CONTENT = ("data", "binaryData", "immutable", "type")
_NOT_REPEATED = "Job"
"""One that has run is not run again, and the API server takes no second one of its pods' labels."""


# --- before -----------------------------------------------------------------------------------------------------------


async def record_manifests(task: Task) -> Done:
    """What is there before anything is applied, so that it can be put back. An object that is not there yet is an empty text, and
    so is one that is going: an undo removes what has taken its place."""
    facts: Facts = {}
    for manifest in task.spec.plan.manifests:
        body: JsonObject = json.loads(manifest.content)
        found = await _find_as_served(task, body)
        is_there = found is not None and not _is_going(found)
        facts[original_fact(manifest.key)] = json.dumps(found) if is_there else ""
    return Done(f"{len(facts)} supporting objects are recorded as they are", facts)


def original_fact(key: str) -> str:
    return f"manifest.{key}"


async def _find_as_served(task: Task, body: JsonObject) -> JsonObject | None:
    """The live object. A version of its kind that is yet to come shows the objects that are there in the others."""
    try:
        return await _find(task, await task.cluster.resource_of(body["apiVersion"], body["kind"]), body)
    except NotServed:
        ref = defined_kind(task.spec.plan, body["apiVersion"], body["kind"])
        if ref is None:
            raise
    for version in await task.cluster.served_versions(ref.group):
        try:
            other = await task.cluster.resource_of(f"{ref.group}/{version}", ref.kind)
        except NotServed:
            continue
        if (found := await _find(task, other, body)) is not None:
            return found
    return None


async def _find(task: Task, ref: ResourceRef, body: JsonObject) -> JsonObject | None:
    metadata = body["metadata"]
    return await task.cluster.find(ref, metadata.get("namespace") if ref.namespaced else None, metadata["name"])


# --- forward ----------------------------------------------------------------------------------------------------------


async def apply_manifest(task: Task) -> Done:
    manifest = task.manifest
    body: JsonObject = json.loads(manifest.content)
    try:
        ref = await task.cluster.resource_of(body["apiVersion"], body["kind"])
        if not ref.namespaced:  # Only the cluster knows whether a custom kind has namespaces.
            body["metadata"].pop("namespace", None)
        found = await _find(task, ref, body)
        _check_not_going(task, found)  # Not even written to: whoever takes it down may go by what it says.
        await _make_way(task, ref, found, body)
        made = await task.cluster.apply(ref, body)
    except (NotServed, NotFound) as error:
        if defined_kind(task.spec.plan, body["apiVersion"], body["kind"]) is None:
            raise
        # One of several API servers may serve a new kind later than the others.
        what = f"the cluster does not serve {body['kind']} ({body['apiVersion']}) yet"
        raise _not_yet(task, what, ATTEMPTS) from error
    except Mistyped as error:
        if defined_kind(task.spec.plan, body["apiVersion"], body["kind"]) is None:
            raise Rejected(str(error)) from error
        raise _not_yet(task, str(error), ATTEMPTS) from error  # As with a new kind, so with a new field of it.
    except Invalid as error:
        raise Rejected(f"{error}{_advise_on_immutable(body, error)}") from error
    _check_taken_up(task, ref, made)
    return Done(f"{manifest.key} is applied")


async def _make_way(task: Task, ref: ResourceRef, found: JsonObject | None, body: JsonObject) -> None:
    """What cannot be changed into a former version of itself is made anew, so that a version can be taken back."""
    if not task.manifest.remakes or not _holds_configuration(ref):
        return
    if found is not None and _is_locked_against(found, body):
        await task.cluster.delete(ref, found)


def _check_taken_up(task: Task, ref: ResourceRef, made: JsonObject) -> None:
    """Raises unless what stands on this object can be applied after it."""
    _check_not_going(task, made)
    if ref.kind != DEFINITION:
        return
    name, status = made["metadata"]["name"], made.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    refused = conditions.get("NamesAccepted", {})
    if refused.get("status") == "False":
        raise Rejected(f"{DEFINITION} {name}: its names are not accepted: {refused.get('message', '')}")
    if conditions.get("Established", {}).get("status") != "True":
        # Its own looks, however many went by until one of its name was gone.
        raise _not_yet(task, f"{DEFINITION} {name} is applied and not established yet", GONE_ATTEMPTS + ATTEMPTS)


def _check_not_going(task: Task, found: JsonObject | None) -> None:
    if found is not None and _is_going(found):
        raise _not_yet(task, f"{_tell_going(task, found)}; it can be made again when it is gone", GONE_ATTEMPTS)


def _is_going(body: JsonObject) -> bool:
    return "deletionTimestamp" in body["metadata"]


def _tell_going(task: Task, body: JsonObject) -> str:
    """With the finalizers: they name who has something to take down before."""
    finalizers = body["metadata"].get("finalizers") or []
    kept = f" and still kept by its finalizers ({', '.join(finalizers)})" if finalizers else ""
    return f"{task.manifest.key} is being deleted{kept}"


def _not_yet(task: Task, what: str, attempts: int) -> Rejected | Retryable:
    if task.action.attempt < attempts:
        return Retryable(what)
    return Rejected(f"{what}, after {task.action.attempt} looks; see what the cluster says of it, and deploy again")


def _advise_on_immutable(body: JsonObject, error: Invalid) -> str:
    if body["kind"] not in ("ConfigMap", "Secret") or "immutable" not in error.message:
        return ""
    return "; give the new one another name, or let Headgate do it with deploymentConfig.snapshotConfig: true"


async def check_manifest(task: Task) -> Done:
    manifest = task.manifest
    body: JsonObject = json.loads(manifest.content)
    ref = health.resource_of(body["apiVersion"], body["kind"])
    if ref is None:
        return Done(f"{manifest.key} has no pods to wait for")
    found = await _find(task, ref, body)
    if found is None:
        raise Rejected(f"{manifest.key} was removed by somebody else during the rollout")
    if trouble := health.read_health(ref, found).trouble:
        raise Rejected(f"{manifest.key} is not as it should be: {trouble}")
    return Done(f"{manifest.key} is as it should be")


# --- back -------------------------------------------------------------------------------------------------------------


async def restore_manifest(task: Task) -> Done:
    key = task.manifest.key
    recorded = str(task.snapshot.facts.get(original_fact(key)) or "")
    original: JsonObject | None = json.loads(recorded) if recorded else None
    body: JsonObject = original or json.loads(task.manifest.content)
    try:
        ref = await task.cluster.resource_of(body["apiVersion"], body["kind"])
    except NotServed:
        return Done(f"{key} is gone, and its kind with it")
    found = await _find(task, ref, body)
    if original is None:
        return await _remove(task, ref, found)
    try:
        return await _put_back(task, ref, found, original)
    except Invalid as error:
        # Such as a volume that has grown, or a version of a kind in which objects are stored by now. Nothing else waits for it.
        if task.action.attempt < ATTEMPTS:
            raise
        return Done(f"{key} stays as it is, because the API server does not take it back: {error.message}")


async def _remove(task: Task, ref: ResourceRef, found: JsonObject | None) -> Done:
    key = task.manifest.key
    if found is not None and _is_going(found):
        return Done(f"{key}, which was not there before, is being deleted")
    if found is not None and ref.kind == DEFINITION and await _is_used(task, found):
        return Done(f"{key} stays, because there are objects of its kind that this rollout did not make")
    if found is not None:
        await task.cluster.delete(ref, found)
    return Done(f"{key}, which was not there before, is removed")


async def _is_used(task: Task, definition: JsonObject) -> bool:
    """With a definition go all the objects of its kind, whoever made them. Where they cannot be looked at, there may be some."""
    try:
        for kind in kinds_of(definition)[:1]:
            objects = await task.cluster.list_objects(kind, None)
            return any("deletionTimestamp" not in one["metadata"] for one in objects)
    except Forbidden:
        return True
    except NotFound:
        return False
    return False


async def _put_back(task: Task, ref: ResourceRef, found: JsonObject | None, original: JsonObject) -> Done:
    key = task.manifest.key
    is_another = found is None or found["metadata"]["uid"] != original["metadata"]["uid"]
    is_going = found is not None and _is_going(found)
    if ref.kind == _NOT_REPEATED and (is_another or is_going):
        return Done(f"{key} was removed by somebody else; a Job that has run is not run again")
    if found is not None and is_going:
        if task.action.attempt < GONE_ATTEMPTS:
            raise Retryable(f"{_tell_going(task, found)}; it is put back when it is gone")
        return Done(f"{_tell_going(task, found)}; it is not put back, so that the rest is")
    if found is not None and _holds_configuration(ref) and _is_locked_against(found, original):
        await task.cluster.delete(ref, found)
        found = None
    if found is None:
        made = await task.cluster.create(ref, without_server_fields(original))
        await task.cluster.return_fields(ref, made, original)
        return Done(f"{key}, which was replaced or removed, is put back as it was found")
    await task.cluster.restore(ref, found, original)
    return Done(f"{key} is as it was found")


def _holds_configuration(ref: ResourceRef) -> bool:
    return not ref.group and ref.kind in ("ConfigMap", "Secret")


def _is_locked_against(found: JsonObject, wanted: JsonObject) -> bool:
    """Whether the API server refuses to change the one into the other: the content of an immutable one, the type of a Secret."""
    differ = {field for field in _CONTENT if (found.get(field) or None) != (wanted.get(field) or None)}
    if "type" in differ and not wanted.get("type"):
        differ.discard("type")  # Whoever does not say it does not change it.
    return "type" in differ or (bool(found.get("immutable")) and bool(differ))


def without_server_fields(body: JsonObject) -> JsonObject:
    """The object as somebody would have written it: without what the API server adds."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in SERVER_FIELDS}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}

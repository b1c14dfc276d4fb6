"""The rules of an object's metadata from creation to removal, as pure functions on one object.

The rules are those of `k8s.io/apiserver/pkg/registry/rest` (BeforeCreate, BeforeUpdate, BeforeDelete) and of the
garbage collector's finalizers. Nothing here stores anything.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from adapters.embedded.errors import Conflict, UnclassifiedError, describe
from adapters.embedded.json_objects import JsonObject, format_time, metadata_of, parse_time, value_at
from adapters.embedded.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HORIZONTAL_POD_AUTOSCALERS,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Resource,
)

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
DEFAULT_GRACE_SECONDS = 30

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_GENERATED_BASE = 58
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_CHECKED_WHEN_GIVEN = ("uid", "deletionGracePeriodSeconds")
_REFUSED_WHEN_NEW = ("deletionTimestamp", "deletionGracePeriodSeconds")
"""What a client writes here is not passed over but looked at by validation, which refuses it."""
_UNCOUNTED = frozenset(
    kind.storage_key
    for kind in (
        HORIZONTAL_POD_AUTOSCALERS,
        LEASES,
        LIMIT_RANGES,
        NAMESPACES,
        NODES,
        PERSISTENT_VOLUME_CLAIMS,
        RESOURCE_QUOTAS,
        SERVICES,
    )
)
_STATUS_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def generate_name(prefix: str, uid: str) -> str:
    """The prefix with five letters and digits that follow from the object's uid (the real ones are random)."""
    digest = hashlib.blake2b(uid.encode(), digest_size=5).digest()
    suffix = "".join(_SUFFIX_ALPHABET[byte % len(_SUFFIX_ALPHABET)] for byte in digest)
    return prefix[:_LONGEST_GENERATED_BASE] + suffix


def begin_life(resource: Resource, obj: JsonObject, uid: str, now: datetime) -> None:
    """Give a new object the metadata that only the server gives, whatever the client wrote there."""
    metadata = obj["metadata"]
    counted = has_generation(resource, obj)
    for field in (*_SERVER_OWNED, "selfLink", "resourceVersion"):
        if counted or field != "generation":
            metadata.pop(field, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = format_time(now)
    if counted:
        metadata["generation"] = 1
    if "status" in resource.subresources:
        obj.pop("status", None)
    if resource == NAMESPACES:
        obj.pop("spec", None)


def has_generation(resource: Resource, obj: JsonObject) -> bool:
    """Whether the server counts changes of this object's desired state: custom kinds, and most that have a spec."""
    if resource.custom or resource == ENDPOINT_SLICES:
        return True
    return "spec" in obj and resource.storage_key not in _UNCOUNTED


def carry_over(resource: Resource, old: JsonObject, new: JsonObject, subresource: str) -> JsonObject:
    """What an update really asks for: the new object with everything that this write may not change taken from the old.

    A status update changes `status` only (and, of built-in kinds, labels, annotations, finalizers and owners, with the
    exceptions that the real server makes). Any other update never changes `status` where that is a subresource.
    """
    if subresource == "status":
        result = _take_status(resource, old, new)
    else:
        result = new
        if "status" in resource.subresources:
            _copy_or_drop(old, result, "status")
    metadata = result["metadata"]
    metadata.pop("selfLink", None)
    for field in _SERVER_OWNED:
        if field in metadata_of(old):
            if field not in _CHECKED_WHEN_GIVEN or field not in metadata:
                metadata[field] = metadata_of(old)[field]
        elif field not in _REFUSED_WHEN_NEW:
            metadata.pop(field, None)
    if subresource != "status" and _desired_state_changed(resource, old, result) and "generation" in metadata:
        metadata["generation"] += 1
    return result


def _take_status(resource: Resource, old: JsonObject, new: JsonObject) -> JsonObject:
    result = {**old, "metadata": dict(metadata_of(old))}
    _copy_or_drop(new, result, "status")
    _copy_or_drop(metadata_of(new), result["metadata"], "managedFields")
    for field in _STATUS_METADATA if not resource.custom else ():
        # the real status strategies reset the labels of a Deployment and the owners of a Pod, and nothing else
        if (resource, field) not in {(DEPLOYMENTS, "labels"), (PODS, "ownerReferences")}:
            _copy_or_drop(metadata_of(new), result["metadata"], field)
    return result


def _desired_state_changed(resource: Resource, old: JsonObject, new: JsonObject) -> bool:
    if resource == DEPLOYMENTS and metadata_of(old).get("annotations") != metadata_of(new).get("annotations"):
        return True  # so does the real one, see pkg/registry/apps/deployment/strategy.go
    if resource == ENDPOINT_SLICES:
        return any((old.get(field) or []) != (new.get(field) or []) for field in ("endpoints", "ports"))
    if not resource.custom:
        return bool(old.get("spec") != new.get("spec"))
    ignored = {"metadata", "apiVersion", "kind"} | ({"status"} if "status" in resource.subresources else set())
    return any(old.get(key) != new.get(key) for key in (old.keys() | new.keys()) - ignored)


def _copy_or_drop(source: JsonObject, target: JsonObject, field: str) -> None:
    if field in source:
        target[field] = source[field]
    else:
        target.pop(field, None)


def begin_deletion(
    resource: Resource, obj: JsonObject, now: datetime, *, propagation: str | None, grace_period_seconds: int | None
) -> JsonObject | None:
    """The object as a deletion request leaves it, or None when nothing holds it and it is to be removed now.

    Finalizers hold it (those of the propagation policy among them), and so does the grace period of a pod that runs
    on a node. An object that is returned unchanged was being deleted before.
    """
    metadata = dict(metadata_of(obj))
    finalizers = _with_propagation(metadata.get("finalizers") or [], propagation)
    _set_or_drop(metadata, "finalizers", finalizers)
    grace = _grace_seconds(resource, obj, grace_period_seconds)
    held = bool(finalizers) or grace > 0 or bool(resource == NAMESPACES and value_at(obj, "spec", "finalizers"))
    if not held:
        return None
    _mark_deleting(metadata, now, grace)
    marked = {**obj, "metadata": metadata}
    if resource == NAMESPACES:
        marked["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return marked


def _mark_deleting(metadata: JsonObject, now: datetime, grace: int) -> None:
    deadline = now + timedelta(seconds=grace)
    former = metadata.get("deletionTimestamp")
    if former is None and "generation" in metadata:
        metadata["generation"] += 1
    if former is None or parse_time(former) > deadline:
        metadata["deletionTimestamp"] = format_time(deadline)
        metadata["deletionGracePeriodSeconds"] = grace


def _grace_seconds(resource: Resource, obj: JsonObject, requested: int | None) -> int:
    """Seconds until the object may go. Only pods on a node that have not ended have any."""
    if resource != PODS or not value_at(obj, "spec", "nodeName"):
        return 0
    if value_at(obj, "status", "phase") in {"Succeeded", "Failed"}:
        return 0
    if requested is not None:
        return max(0, requested)
    pending = metadata_of(obj).get("deletionGracePeriodSeconds")
    if pending is not None:
        return int(pending)
    declared = value_at(obj, "spec", "terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if declared is None else int(declared)


def _with_propagation(finalizers: list[str], propagation: str | None) -> list[str]:
    if propagation is None:
        return finalizers
    kept = [name for name in finalizers if name not in {FOREGROUND, ORPHAN}]
    wanted = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(propagation, [])
    return kept + wanted


def _set_or_drop(metadata: JsonObject, field: str, value: list[str]) -> None:
    if value:
        metadata[field] = value
    else:
        metadata.pop(field, None)


def may_go(resource: Resource, obj: JsonObject) -> bool:
    """Whether nothing holds an object any more whose deletion was asked for."""
    metadata = metadata_of(obj)
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if resource == NAMESPACES:
        return not value_at(obj, "spec", "finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def is_unchanged(fresh: JsonObject, old: JsonObject) -> bool:
    """Whether a write changes nothing but, perhaps, the times at which managers last wrote."""
    if fresh == old:
        return True
    return _without_write_times(fresh) == _without_write_times(old)


def _without_write_times(obj: JsonObject) -> JsonObject:
    entries = [{**entry, "time": None} for entry in metadata_of(obj).get("managedFields") or ()]
    return {**obj, "metadata": {**metadata_of(obj), "managedFields": entries}}


def check_version(resource: Resource, name: str, given: str | None, obj: JsonObject) -> None:
    """Whoever names the version that is to be replaced must name the present one; none and 0 stand for any.

    Raises:
        Conflict: it is another one.
        UnclassifiedError: it is no version; the real server, too, takes that for a failure of its own.
    """
    if not given or given == "0":
        return
    if not given.isdigit():
        raise UnclassifiedError(f'strconv.ParseUint: parsing "{given}": invalid syntax')
    if given != metadata_of(obj)["resourceVersion"]:
        raise Conflict.of(resource, name)


def check_uid(resource: Resource, obj: JsonObject, uid: str | None) -> None:
    """An update that names the object's uid must not meet another object of that name.

    Raises:
        Conflict: it does.
    """
    present = metadata_of(obj)["uid"]
    if uid and uid != present:
        group = resource.group if resource.custom else ""
        plural = "services/specs" if resource == SERVICES else resource.plural
        place = (group, plural, metadata_of(obj).get("namespace"), metadata_of(obj)["name"])
        key = "/".join(part for part in ("/registry", *place) if part)
        failed = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
        why = f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {failed}"
        raise Conflict.of(resource, metadata_of(obj)["name"], why)


def check_preconditions(
    resource: Resource, name: str, obj: JsonObject, uid: str | None, resource_version: str | None
) -> None:
    """What a deletion takes for granted of its object must be so.

    Raises:
        Conflict: it is not.
    """
    metadata = metadata_of(obj)
    for what, field, wanted, more in (
        ("UID", "uid", uid, "The object might have been deleted and then recreated"),
        ("ResourceVersion", "resourceVersion", resource_version, "The object might have been modified"),
    ):
        if wanted is not None and wanted != metadata[field]:
            why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({metadata[field]}). {more}"
            kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
            message = f'Operation cannot be fulfilled on {kind} "{name}": {why}'
            raise Conflict(message, details={**describe(resource, name), "kind": resource.kind})

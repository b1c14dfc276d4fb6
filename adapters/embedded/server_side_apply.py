"""Server-side apply: a manager says what it wants of an object, owns exactly that, and lets go of the rest.

The rules are those of sigs.k8s.io/structured-merge-diff and the API server's field managers. It works on one object;
storing, defaults and validation are done by others.
"""

from __future__ import annotations

from dataclasses import replace

from adapters.embedded.errors import ApplyConflict, BadRequest, OwnedField, UnclassifiedError
from adapters.embedded.field_sets import FieldSet, difference, intersection, leaves, union
from adapters.embedded.json_objects import JsonObject, decode_json, encode_json, metadata_of
from adapters.embedded.managed_fields import (
    BEFORE_FIRST_APPLY,
    ManagedFields,
    Manager,
    Operation,
    Ownership,
    compare_content,
    ownable,
)
from adapters.embedded.schema import Schema
from adapters.embedded.structured_merge import compare, fields_of, merge, prune
from adapters.embedded.typed_check import tell_type_faults

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(
    schema: Schema, live: JsonObject, configuration: JsonObject, manager: Manager, *, force: bool, time: str
) -> JsonObject:
    """The object that an apply leads to, its managedFields included. Neither argument is changed.

    Args:
        live: the object as it is; one without a uid when the apply creates it.
        manager: the applier; its operation is Apply.
        force: take fields from other managers instead of failing.

    Raises:
        ApplyConflict: a field with another value belongs to another manager, and `force` is off.
        BadRequest: the configuration has managedFields.
        UnclassifiedError: it has a field that its kind does not declare, or a value of another type.
    """
    if metadata_of(configuration).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    faults = tell_type_faults(schema, configuration)
    if faults:
        metadata, group = metadata_of(configuration), "" if "/" in manager.api_version else "/"
        place = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {group}{manager.api_version}"
        kind = configuration.get("kind")
        raise UnclassifiedError(f"failed to create typed patch object ({place}, Kind={kind}): {faults}")
    try:
        result = _apply(schema, live, configuration, manager, force=force, time=time)
    except ApplyConflict as error:
        if manager.name != "kubectl" or not _came_from_client_side_apply(schema, live, error):
            raise
        result = _apply(schema, live, configuration, manager, force=True, time=time)
    if manager.name == "kubectl" and LAST_APPLIED in (metadata_of(result).get("annotations") or {}):
        metadata = result["metadata"]
        metadata["annotations"] = {**metadata["annotations"], LAST_APPLIED: _last_applied(configuration)}
    return result


def _apply(
    schema: Schema, live: JsonObject, configuration: JsonObject, manager: Manager, *, force: bool, time: str
) -> JsonObject:
    managed = ManagedFields.of(live)
    if not managed.owners and "uid" in metadata_of(live):
        everything = compare_content(schema, {"metadata": {}}, live)
        earlier = Manager(BEFORE_FIRST_APPLY, Operation.UPDATE, manager.api_version)
        managed.record_update(earlier, everything, time)
    former = _take_former(managed, manager)
    named = fields_of(schema, configuration)
    wanted = ownable(named)
    managed.set(manager, Ownership(named, time))
    merged = merge(schema, live, configuration)
    result = prune(schema, merged, former.fields if former else {}, managed.all_fields())
    made = compare_content(schema, live, result)
    _settle_conflicts(managed, manager, made.written, force=force)
    managed.take_away(made.removed, from_others_than=manager)
    # An apply that finds everything as it wants it is no write: it leaves no time, not even that of a new manager.
    unchanged_since = former.time if former else ""
    managed.set(manager, Ownership(wanted, time if made.written or made.removed else unchanged_since))
    metadata = dict(metadata_of(result))
    metadata["managedFields"] = managed.to_json()
    return {**result, "metadata": metadata}


def _take_former(managed: ManagedFields, manager: Manager) -> Ownership | None:
    """What the manager applied the last time, in whichever version of the kind: an applier is the same in all of them."""
    for other in list(managed.owners):
        if replace(other, api_version=manager.api_version) == manager:
            return managed.owners.pop(other)
    return None


def _settle_conflicts(managed: ManagedFields, applier: Manager, written: FieldSet, *, force: bool) -> None:
    conflicts: dict[Manager, FieldSet] = {}
    for manager, ownership in managed.owners.items():
        if manager != applier:
            common = intersection(ownership.fields, written)
            if common:
                conflicts[manager] = common
    if conflicts and not force:
        raise ApplyConflict([
            OwnedField(str(manager), path)
            for manager, fields in sorted(conflicts.items(), key=lambda item: str(item[0]))
            for path in leaves(fields)
        ])
    for fields in conflicts.values():
        managed.take_away(fields, from_others_than=applier)


def _came_from_client_side_apply(schema: Schema, live: JsonObject, error: ApplyConflict) -> bool:
    """Whether every conflicting field is as `kubectl apply` without --server-side last set it."""
    text = (metadata_of(live).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return False
    configuration = decode_json(text)
    if not isinstance(configuration, dict) or configuration.get("apiVersion") != live.get("apiVersion"):
        return False
    made = compare(schema, configuration, live)
    differing = union(made.modified, union(made.added, made.removed))
    unchanged = difference(fields_of(schema, configuration), differing)
    return {owned.field for owned in error.conflicts} <= set(leaves(unchanged))


def _last_applied(configuration: JsonObject) -> str:
    metadata = dict(metadata_of(configuration))
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED
    }
    if annotations or "annotations" in metadata:
        metadata["annotations"] = annotations
    return encode_json({**configuration, "metadata": metadata}).decode() + "\n"

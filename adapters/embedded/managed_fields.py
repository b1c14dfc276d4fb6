"""Who owns which field of an object: `metadata.managedFields`, and how a plain write changes it.

Every writer takes the fields that it changes. The rules are those of k8s.io/apimachinery/pkg/util/managedfields. It
knows nothing of server-side apply, which builds on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from adapters.embedded.errors import BadRequest
from adapters.embedded.field_sets import FieldSet, children, difference, union, without
from adapters.embedded.json_objects import JsonObject, decode_json, encode_json, metadata_of
from adapters.embedded.schema import Schema
from adapters.embedded.structured_merge import Comparison, compare

BEFORE_FIRST_APPLY = "before-first-apply"

_MOST_UPDATE_MANAGERS = 10
_ANCIENT = "ancient-changes"
_NEVER_OWNED = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
)


class Operation(StrEnum):
    """How a manager came to own fields."""

    APPLY = "Apply"
    UPDATE = "Update"


@dataclass(frozen=True, slots=True)
class Manager:
    """One owner: the same name owns separately by operation, version and subresource."""

    name: str
    operation: Operation
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        told = f'"{self.name}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{told} using {self.api_version}" if self.operation is Operation.UPDATE else told


@dataclass(frozen=True, slots=True)
class Ownership:
    """The fields of one manager and the time of its last change."""

    fields: FieldSet
    time: str


class ManagedFields:
    """The owners of one object's fields."""

    def __init__(self, owners: Mapping[Manager, Ownership] | None = None) -> None:
        self.owners = dict(owners or {})

    @classmethod
    def of(cls, obj: JsonObject) -> ManagedFields:
        """The owners that an object names; none when one of the entries cannot be read."""
        read = [_read_known_entry(encode_json(entry)) for entry in metadata_of(obj).get("managedFields") or ()]
        return cls(dict(entry for entry in read if entry is not None) if None not in read else {})

    def to_json(self) -> list[JsonObject]:
        """The entries as the object holds them: applies before updates, then by time and name."""
        return [_write_entry(manager, ownership) for manager, ownership in sorted(self.owners.items(), key=_order)]

    def all_fields(self) -> FieldSet:
        """What anybody owns."""
        total: FieldSet = {}
        for ownership in self.owners.values():
            total = union(total, ownership.fields)
        return total

    def take_away(self, fields: FieldSet, *, from_others_than: Manager | None = None) -> None:
        """Remove fields from the managers, and managers that own nothing any more."""
        if not fields:
            return
        for manager, ownership in list(self.owners.items()):
            if manager != from_others_than:
                self.set(manager, replace(ownership, fields=difference(ownership.fields, fields)))

    def set(self, manager: Manager, ownership: Ownership) -> None:
        """Give a manager exactly these fields; without any, it is no manager any more."""
        if ownership.fields:
            self.owners[manager] = ownership
        else:
            self.owners.pop(manager, None)

    def record_update(self, manager: Manager, difference_made: Comparison, time: str) -> None:
        """Note a plain write: the writer takes what it changed, everybody loses that and what is gone."""
        former = self.owners.get(manager)
        written = ownable(difference_made.written)
        self.take_away(union(written, difference_made.removed), from_others_than=manager)
        if former is not None:
            kept = difference(former.fields, difference_made.removed)
            self.set(manager, replace(former, fields=kept))
        if written:
            fields = union(self.owners[manager].fields, written) if manager in self.owners else written
            self.set(manager, Ownership(fields, time))
        self._merge_oldest_updates()

    def _merge_oldest_updates(self) -> None:
        updates = [manager for manager in self.owners if manager.operation is Operation.UPDATE]
        excess = len(updates) - _MOST_UPDATE_MANAGERS
        if excess <= 0:
            return
        updates.sort(key=lambda manager: (self.owners[manager].time, manager.name))
        for manager in updates[: excess + 1]:
            old = self.owners.pop(manager)
            bucket = Manager(_ANCIENT, Operation.UPDATE, manager.api_version)
            fields = union(self.owners[bucket].fields, old.fields) if bucket in self.owners else old.fields
            self.owners[bucket] = Ownership(fields, old.time)


@lru_cache(maxsize=4_096)
def _read_known_entry(encoded: bytes) -> tuple[Manager, Ownership] | None:
    """An object comes by with the same entries at each of its writes. What is read is shared, and never changed."""
    return _read_entry(decode_json(encoded))


def _read_entry(entry: object) -> tuple[Manager, Ownership] | None:
    if not isinstance(entry, dict) or entry.get("operation") not in {"Apply", "Update"}:
        return None
    fields = entry.get("fieldsV1")
    if entry.get("fieldsType") != "FieldsV1" or not isinstance(fields, dict) or not _is_set(fields):
        return None
    manager = Manager(
        str(entry.get("manager", "")),
        Operation(entry["operation"]),
        str(entry.get("apiVersion", "")),
        str(entry.get("subresource", "")),
    )
    return manager, Ownership(fields, str(entry.get("time", "")))


def _is_set(fields: FieldSet) -> bool:
    """Whether all keys of a tree are path elements."""
    return all(
        element == "." or (element[:2] in {"f:", "k:", "v:", "i:"} and isinstance(below, dict) and _is_set(below))
        for element, below in fields.items()
    )


def _write_entry(manager: Manager, ownership: Ownership) -> JsonObject:
    entry: JsonObject = {
        "manager": manager.name,
        "operation": manager.operation.value,
        "apiVersion": manager.api_version,
        **({"time": ownership.time} if ownership.time else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": ownership.fields,
    }
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def _order(item: tuple[Manager, Ownership]) -> tuple[str, str, str, str, str]:
    manager, ownership = item
    return (manager.operation.value, ownership.time, manager.name, manager.api_version, manager.subresource)


def ownable(fields: FieldSet) -> FieldSet:
    """The set without what belongs to the server alone (identity and bookkeeping)."""
    for name in ("apiVersion", "kind"):
        fields = without(fields, (f"f:{name}",))
    node = fields.get("f:metadata")
    if node is None:
        return fields
    metadata = children(node)
    for name in _NEVER_OWNED:
        metadata = without(metadata, (f"f:{name}",))
    rest = {element: below for element, below in fields.items() if element != "f:metadata"}
    return {**rest, "f:metadata": metadata} if metadata else rest


def is_reset(managed_fields: object) -> bool:
    """Whether a client asks to forget all owners: an empty list, or a list of one empty entry."""
    return managed_fields in ([], [{}])


def track_update(schema: Schema, old: JsonObject, new: JsonObject, manager: Manager, time: str) -> list[JsonObject]:
    """The managedFields of an object after a plain write.

    Args:
        old: the object before; one without a uid when it is being created.
        new: the object as it will be stored; owners that it names itself replace those of the old one.
    """
    creates = "uid" not in metadata_of(old)
    if is_reset(metadata_of(new).get("managedFields")) and not creates:
        return []
    managed = ManagedFields.of(new)
    if not creates:
        if manager.subresource or not managed.owners:
            managed = ManagedFields.of(old)
        if not managed.owners:
            return []
    try:
        managed.record_update(manager, compare_content(schema, old, new), time)
    except BadRequest:  # items that cannot be told apart are for validation to refuse, not for bookkeeping
        managed = ManagedFields.of(old)
    return managed.to_json()


def compare_content(schema: Schema, old: JsonObject, new: JsonObject) -> Comparison:
    """Where two objects differ, their managedFields aside."""
    return compare(schema, _without_managed_fields(old), _without_managed_fields(new))


def _without_managed_fields(obj: JsonObject) -> JsonObject:
    metadata = metadata_of(obj)
    if "managedFields" not in metadata and "resourceVersion" not in metadata:
        return obj
    kept = {key: value for key, value in metadata.items() if key not in {"managedFields", "resourceVersion"}}
    return {**obj, "metadata": kept}

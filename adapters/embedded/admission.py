"""What happens to an object between a request and the storage: its shape, defaults, owners of fields, addresses, rules.

One place for built-in and custom kinds; the parts that it puts together know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.conform import conform
from adapters.embedded.custom_kinds import CLEANUP, CustomKinds
from adapters.embedded.custom_schema import fill_defaults, prune
from adapters.embedded.custom_validation import check_object
from adapters.embedded.defaulting import set_defaults
from adapters.embedded.errors import Invalid
from adapters.embedded.json_objects import JsonObject, copy_json, format_time, metadata_of, name_of
from adapters.embedded.managed_fields import Manager, Operation, track_update
from adapters.embedded.new_objects import complete_new
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, SERVICES, Resource
from adapters.embedded.schema import Schema
from adapters.embedded.service_addresses import assign_addresses, keep_addresses
from adapters.embedded.validation import validate

if TYPE_CHECKING:
    from adapters.embedded.storage import Storage

UnknownFields: TypeAlias = Callable[[list[str]], None]
"""Told the paths of the fields that an object lost because its kind does not have them; may refuse by raising."""


class Admission:
    """Prepares each write of one storage; raises Invalid for what must not be stored."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.custom_kinds = CustomKinds(storage)

    def schema_of(self, resource: Resource) -> Schema:
        """How objects of this kind merge."""
        if resource.custom:
            return self.custom_kinds.version_of(resource).schema
        return schema_of_kind(resource.kind)

    def blank(self, resource: Resource) -> JsonObject:
        """An object of this kind that nobody has written yet; not to be changed."""
        return {"metadata": {}} if resource.custom else _blank(resource.kind)

    def shape(
        self, resource: Resource, obj: JsonObject, subresource: str = "", unknown: UnknownFields | None = None
    ) -> JsonObject:
        """A deep copy of the object as its kind holds it, without what the kind does not know.

        Raises:
            BadRequest: a value of a built-in kind has the wrong type.
        """
        if resource.custom:
            fresh, lost = self._shape_custom(resource, obj)
        elif subresource == "status":
            fresh, lost = _shape_status(self.schema_of(resource), obj)
        else:
            fresh, lost = conform(self.schema_of(resource), obj)
        if lost and unknown is not None:
            unknown(lost)
        return fresh

    def _shape_custom(self, resource: Resource, obj: JsonObject) -> tuple[JsonObject, list[str]]:
        version = self.custom_kinds.version_of(resource)
        fresh: JsonObject = copy_json(obj)
        lost: list[str] = []
        prune(version.json_schema, fresh, lost)
        fresh["metadata"], lost_metadata = conform(schema_of_kind("ObjectMeta"), metadata_of(obj))
        return fresh, lost + [f"metadata.{path}" for path in lost_metadata]

    def admit_new(self, resource: Resource, fresh: JsonObject, manager: str | None) -> None:
        """Complete and check an object that is about to be created."""
        if resource.custom:
            self.custom_kinds.require_open(resource)
        elif resource == CUSTOM_RESOURCE_DEFINITIONS:
            fresh["metadata"]["finalizers"] = [*(fresh["metadata"].get("finalizers") or ()), CLEANUP]
        self._set_defaults(resource, fresh)
        self._track(resource, self.blank(resource), fresh, "", manager)
        if resource == SERVICES:
            assign_addresses(fresh, self._services)
        if not resource.custom and "status" not in fresh and "status" in resource.subresources:
            fresh["status"] = _blank(resource.kind)["status"]
        complete_new(resource, fresh)
        self._check(resource, fresh, None)

    def complete(self, resource: Resource, fresh: JsonObject) -> None:
        """Fill in what an object leaves out."""
        self._set_defaults(resource, fresh)

    def admit_change(
        self, resource: Resource, fresh: JsonObject, old: JsonObject, subresource: str, manager: str | None
    ) -> None:
        """Check an object that is about to replace its former version, and note whose its fields are."""
        is_status = subresource == "status"
        self._track(resource, old, fresh, subresource, manager)
        if is_status:
            if resource.custom:
                self._check_custom(resource, fresh)
            return
        if resource == SERVICES:
            keep_addresses(fresh, old)
            assign_addresses(fresh, self._services)
        self._check(resource, fresh, old)

    def _set_defaults(self, resource: Resource, fresh: JsonObject) -> None:
        if resource.custom:
            fill_defaults(self.custom_kinds.version_of(resource).json_schema, fresh)
        else:
            set_defaults(resource, fresh)

    def _track(
        self, resource: Resource, old: JsonObject, fresh: JsonObject, subresource: str, manager: str | None
    ) -> None:
        if manager is None:
            if not fresh["metadata"].get("managedFields"):
                fresh["metadata"].pop("managedFields", None)
            return
        writer = Manager(manager, Operation.UPDATE, resource.api_version, subresource)
        entries = track_update(self.schema_of(resource), old, fresh, writer, format_time(self._storage.now))
        if entries:
            fresh["metadata"]["managedFields"] = entries
        else:
            fresh["metadata"].pop("managedFields", None)

    def _check(self, resource: Resource, fresh: JsonObject, old: JsonObject | None) -> None:
        validate(resource, fresh, old)
        if resource.custom:
            self._check_custom(resource, fresh)

    def _check_custom(self, resource: Resource, fresh: JsonObject) -> None:
        causes = check_object(self.custom_kinds.version_of(resource).json_schema, fresh)
        if causes:
            raise Invalid.of(resource, name_of(fresh), causes)

    def _services(self) -> Iterator[JsonObject]:
        return self._storage.iterate(SERVICES)


@cache
def _blank(kind: str) -> JsonObject:
    return conform(schema_of_kind(kind), {})[0]


def _shape_status(schema: Schema, obj: JsonObject) -> tuple[JsonObject, list[str]]:
    """Of a status update, only the status is shaped: the rest is taken from the stored object anyway."""
    fresh: JsonObject = {name: value for name, value in obj.items() if name not in {"status", "spec"}}
    fresh["metadata"] = copy_json(metadata_of(obj))
    status, lost = conform(schema.of_field("status"), obj.get("status") or {})
    fresh["status"] = status
    return fresh, [f"status.{path}" for path in lost]

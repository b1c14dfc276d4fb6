"""The custom kinds: a CustomResourceDefinition that is stored makes its kind served, one that is deleted ends it.

It listens to the storage, keeps the registry of resources current and answers what a custom kind's schema, scale paths
and printer columns are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.custom_schema import merge_schema
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, format_time, items_of, metadata_of, value_at
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from adapters.embedded.schema import Schema

if TYPE_CHECKING:
    from adapters.embedded.storage import Storage


@dataclass(frozen=True, slots=True, eq=False)
class CustomVersion:
    """One served version of a custom kind."""

    resource: Resource
    schema: Schema
    json_schema: JsonObject
    scale: Mapping[str, str]
    columns: tuple[JsonObject, ...]


class CustomKinds:
    """What the stored definitions make of the custom kinds."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._versions: dict[tuple[str, str, str], CustomVersion] = {}

    def version_of(self, resource: Resource) -> CustomVersion:
        """The definition of a custom resource.

        Raises:
            KeyError: it is not (or no more) a custom resource.
        """
        return self._versions[(resource.group, resource.version, resource.plural)]

    def notice(self, event: StorageEvent) -> None:
        """A listener of the storage."""
        if event.resource != CUSTOM_RESOURCE_DEFINITIONS:
            return
        if event.type is EventType.DELETED:
            self._retire(event.object)
        elif event.previous is None or event.previous.get("spec") != event.object.get("spec"):
            self._serve(event.object)

    def _serve(self, definition: JsonObject) -> None:
        spec = definition["spec"]
        versions = [_read_version(spec, version) for version in items_of(spec.get("versions"))]
        stored = [version["name"] for version in items_of(spec["versions"]) if version.get("storage")]
        served = {version["name"] for version in items_of(spec["versions"]) if version.get("served")}
        self._forget(spec)
        for version in versions:
            self._versions[(version.resource.group, version.resource.version, version.resource.plural)] = version
        ordered = sorted((version.resource for version in versions), key=lambda each: each.version not in stored)
        self._storage.registry.put(ordered, served=served)
        self._storage.update(CUSTOM_RESOURCE_DEFINITIONS, self._accepted(definition, stored), subresource="status")

    def _accepted(self, definition: JsonObject, stored: list[str]) -> JsonObject:
        now = format_time(self._storage.now)
        former = {condition["type"]: condition for condition in items_of(value_at(definition, "status", "conditions"))}
        conditions = [
            former.get(kind)
            or {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
            for kind, reason, message in (
                ("NamesAccepted", "NoConflicts", "no conflicts found"),
                ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            )
        ]
        earlier = value_at(definition, "status", "storedVersions") or []
        status = {
            "acceptedNames": definition["spec"]["names"],
            "conditions": conditions,
            "storedVersions": [*earlier, *(name for name in stored if name not in earlier)],
        }
        metadata = {
            key: value for key, value in metadata_of(definition).items() if key not in {"resourceVersion"}
        }
        return {**definition, "metadata": metadata, "status": status}

    def _retire(self, definition: JsonObject) -> None:
        spec = definition["spec"]
        group, plural = spec["group"], spec["names"]["plural"]
        for resource in [each for each in self._storage.registry.kinds() if each.storage_key == (group, plural)]:
            self._storage.purge(resource)
        self._storage.registry.remove(group, plural)
        self._forget(spec)

    def _forget(self, spec: JsonObject) -> None:
        group, plural = spec["group"], spec["names"]["plural"]
        for key in [key for key in self._versions if (key[0], key[2]) == (group, plural)]:
            del self._versions[key]


def _read_version(spec: JsonObject, version: JsonObject) -> CustomVersion:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    resource = Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        namespaced=spec.get("scope") == "Namespaced",
        subresources=frozenset(subresources) & {"status", "scale"},
        categories=tuple(names.get("categories") or ()),
        custom=True,
    )
    json_schema = value_at(version, "schema", "openAPIV3Schema") or {}
    return CustomVersion(
        resource,
        merge_schema(json_schema, schema_of_kind("ObjectMeta")),
        json_schema,
        subresources.get("scale") or {},
        tuple(items_of(version.get("additionalPrinterColumns"))),
    )

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
from adapters.embedded.errors import MethodNotAllowed
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, format_time, items_of, metadata_of, name_of, namespace_of, value_at
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, Resource
from adapters.embedded.schema import Schema

if TYPE_CHECKING:
    from adapters.embedded.storage import Storage


CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer by which a definition outlives the last object of its kind."""


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
        self._ending: set[tuple[str, str]] = set()

    def version_of(self, resource: Resource) -> CustomVersion:
        """The definition of a custom resource.

        Raises:
            KeyError: it is not (or no more) a custom resource.
        """
        return self._versions[(resource.group, resource.version, resource.plural)]

    def require_open(self, resource: Resource) -> None:
        """Refuse new objects of a kind whose definition is being deleted.

        Raises:
            MethodNotAllowed: it is.
        """
        if resource.storage_key in self._ending:
            raise MethodNotAllowed("create not allowed while custom resource definition is terminating")

    def notice(self, event: StorageEvent) -> None:
        """A listener of the storage."""
        if event.resource == CUSTOM_RESOURCE_DEFINITIONS:
            self._notice_definition(event)
        elif event.type is EventType.DELETED and event.resource.storage_key in self._ending:
            self._finish_if_empty(event.resource)

    def _notice_definition(self, event: StorageEvent) -> None:
        definition = event.object
        if event.type is EventType.DELETED:
            self._withdraw(definition["spec"])
        elif event.previous is None or event.previous.get("spec") != definition.get("spec"):
            self._serve(definition)
        elif "deletionTimestamp" in metadata_of(definition) and _key(definition["spec"]) not in self._ending:
            self._end(definition["spec"])

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

    def _end(self, spec: JsonObject) -> None:
        """Delete the objects of a kind whose definition is being deleted; the definition waits for the last of them."""
        self._ending.add(_key(spec))
        resource = next(each for each in self._storage.registry.kinds() if each.storage_key == _key(spec))
        for obj in self._storage.iterate(resource):
            self._storage.discard(resource, namespace_of(obj), name_of(obj))
        self._finish_if_empty(resource)

    def _finish_if_empty(self, resource: Resource) -> None:
        name = resource.qualified_name
        definition = self._storage.find(CUSTOM_RESOURCE_DEFINITIONS, None, name)
        if definition is None or self._storage.holds_any(resource):
            return
        finalizers = metadata_of(definition).get("finalizers") or []
        definition["metadata"]["finalizers"] = [each for each in finalizers if each != CLEANUP]
        self._storage.update(CUSTOM_RESOURCE_DEFINITIONS, definition)

    def _withdraw(self, spec: JsonObject) -> None:
        self._ending.discard(_key(spec))
        self._storage.registry.remove(*_key(spec))
        self._forget(spec)

    def _forget(self, spec: JsonObject) -> None:
        for key in [key for key in self._versions if (key[0], key[2]) == _key(spec)]:
            del self._versions[key]


def _key(spec: JsonObject) -> tuple[str, str]:
    return spec["group"], spec["names"]["plural"]


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

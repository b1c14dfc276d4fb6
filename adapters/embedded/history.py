"""What the storage keeps and tells: an object as stored, a change, and the bounded history of changes.

The objects here are shared by everybody who reads; nobody changes them. It knows no kinds and no HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from adapters.embedded.json_objects import JsonObject, decode_json, encode_json, name_of, namespace_of
from adapters.embedded.resources import Resource

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for a cluster-scoped object) and name."""


class EventType(StrEnum):
    """What happened to an object, in the words of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(slots=True, eq=False)
class StoredObject:
    """One version of one object: never changed, encoded at most once for each served version."""

    object: JsonObject
    resource_version: int
    _encoded: dict[str, bytes] = field(default_factory=dict)

    def encoded(self, api_version: str) -> bytes:
        """The object as JSON in the given version of its kind."""
        data = self._encoded.get(api_version)
        if data is None:
            data = self._encoded[api_version] = encode_json(self.in_version(api_version))
        return data

    def in_version(self, api_version: str) -> JsonObject:
        """The object in the given version of its kind; not to be changed."""
        if self.object.get("apiVersion") == api_version:
            return self.object
        return {**self.object, "apiVersion": api_version}

    def copy(self, api_version: str) -> JsonObject:
        """The object in the given version, for the caller to change."""
        copied: JsonObject = decode_json(self.encoded(api_version))
        return copied


@dataclass(frozen=True, slots=True, eq=False)
class StorageEvent:
    """One change. `resource` is the storage version of the kind; the objects are shared and not to be changed."""

    type: EventType
    resource: Resource
    stored: StoredObject
    previous_stored: StoredObject | None

    @property
    def object(self) -> JsonObject:
        """The object after the change; for a deletion, as it was last, with the deletion's resourceVersion."""
        return self.stored.object

    @property
    def previous(self) -> JsonObject | None:
        """The object before the change, None for a new one."""
        return self.previous_stored.object if self.previous_stored else None

    @property
    def resource_version(self) -> int:
        """The version that this change made; rising by one from change to change over the whole storage."""
        return self.stored.resource_version


class EventHistory:
    """The latest changes, oldest first, no more than `limit` of them."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"the history must hold at least one change, got {limit}")
        self._events: deque[StorageEvent] = deque(maxlen=limit)
        self._complete_after = 0

    @property
    def complete_after(self) -> int:
        """All changes later than this resourceVersion are still known."""
        return self._complete_after

    def append(self, event: StorageEvent) -> None:
        """Keep one more change, and forget the oldest when there are too many."""
        if len(self._events) == self._events.maxlen:
            self._complete_after = self._events[0].resource_version
        self._events.append(event)

    def forget(self, current: int) -> None:
        """Forget everything: what etcd's compaction does."""
        self._events.clear()
        self._complete_after = current

    def since(self, resource_version: int) -> list[StorageEvent]:
        """The changes later than a resourceVersion, oldest first. The caller has checked `complete_after`."""
        found: list[StorageEvent] = []
        for event in self.newest_first():
            if event.resource_version <= resource_version:
                break
            found.append(event)
        found.reverse()
        return found

    def newest_first(self) -> Iterator[StorageEvent]:
        """All known changes, the latest first."""
        return reversed(self._events)

    def rewind(
        self, objects: dict[Key, StoredObject], resource: Resource, namespace: str, at: int
    ) -> dict[Key, StoredObject]:
        """The objects of a kind (in one namespace, or in all when it is empty) as they were at an earlier version.

        Args:
            objects: those that there are now; changed in place.
        """
        for event in self.newest_first():
            if event.resource_version <= at:
                break
            key = (namespace_of(event.object), name_of(event.object))
            if event.resource.storage_key != resource.storage_key or namespace not in {"", key[0]}:
                continue
            if event.previous_stored is None:
                objects.pop(key, None)
            else:
                objects[key] = event.previous_stored
        return objects

"""The objects of the embedded cluster and the rules of writing them: versions, conflicts, finalizers, graceful deletion.

Synchronous and single-threaded; it runs on the event loop and is the only place where an object changes. The HTTP
server and the controllers meet it with the same rights. It knows no HTTP, no patch formats and no controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeAlias

from adapters.embedded.admission import Admission, UnknownFields
from adapters.embedded.collection import Collection
from adapters.embedded.custom_kinds import CustomKinds
from adapters.embedded.delivery import Delivery, Listener
from adapters.embedded.errors import AlreadyExists, BadRequest, Expired, NotFound
from adapters.embedded.history import EventHistory, EventType, Key, StorageEvent, StoredObject
from adapters.embedded.json_objects import JsonObject, copy_json, metadata_of, name_of, namespace_of
from adapters.embedded.lifecycle import (
    begin_deletion,
    begin_life,
    carry_over,
    check_preconditions,
    check_uid,
    check_version,
    generate_name,
    is_unchanged,
    may_go,
)
from adapters.embedded.namespaces import INITIAL, NamespaceSweeper, new_namespace, require_open
from adapters.embedded.resources import NAMESPACES, Registry, Resource
from adapters.embedded.schema import Schema

CONTROLLER_MANAGER = "embedded-controller"
"""The field manager of a writer that gives no name."""

Objects: TypeAlias = list[tuple[Key, StoredObject]]
Changes: TypeAlias = list[StorageEvent]

_NAME_ATTEMPTS = 8


class Storage:
    """All objects of one cluster.

    Args:
        clock: the current time, aware.
        new_uid: a fresh unique id for each object.
        history: how many changes a watch can reach back.
        registry: the kinds that are served; the built-in ones by default.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        new_uid: Callable[[], str],
        history: int = 10_000,
        registry: Registry | None = None,
    ) -> None:
        self.registry = registry or Registry()
        self._clock = clock
        self._new_uid = new_uid
        self._version = 0
        self._history = EventHistory(history)
        self._collections: dict[tuple[str, str], Collection] = {}
        self._delivery = Delivery()
        self._admission = Admission(self)
        self.subscribe(self._admission.custom_kinds.notice)
        self.subscribe(NamespaceSweeper(self).notice)
        for name in INITIAL:
            self.create(NAMESPACES, new_namespace(name))

    # Reading

    @property
    def resource_version(self) -> int:
        """The version of the latest change."""
        return self._version

    @property
    def now(self) -> datetime:
        """The time by which objects are stamped."""
        return self._clock()

    def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        """A copy of one object, for the caller to change.

        Raises:
            NotFound: there is no such object.
        """
        return self.stored(resource, namespace, name).copy(resource.api_version)

    def find(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        """A copy of one object, or None."""
        stored = self.find_stored(resource, namespace, name)
        return stored.copy(resource.api_version) if stored else None

    def peek(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        """One object as it is stored, or None; shared, not to be changed."""
        stored = self.find_stored(resource, namespace, name)
        return stored.in_version(resource.api_version) if stored else None

    def find_stored(self, resource: Resource, namespace: str | None, name: str) -> StoredObject | None:
        """One object with its cached encodings, or None."""
        return self._collection(resource).get((namespace or "", name))

    def stored(self, resource: Resource, namespace: str | None, name: str) -> StoredObject:
        """One object with its cached encodings.

        Raises:
            NotFound: there is no such object.
        """
        stored = self.find_stored(resource, namespace, name)
        if stored is None:
            raise NotFound.of(resource, name)
        return stored

    def list(self, resource: Resource, namespace: str | None = None) -> list[JsonObject]:
        """Copies of the objects of a kind, of one namespace or of all, ordered by namespace and name."""
        return [stored.copy(resource.api_version) for _, stored in self._collection(resource).in_order(namespace)]

    def iterate(self, resource: Resource, namespace: str | None = None) -> Iterator[JsonObject]:
        """The objects as they are stored, in order; shared, not to be changed. Writing meanwhile is allowed."""
        for _, stored in self._collection(resource).in_order(namespace):
            yield stored.in_version(resource.api_version)

    def list_stored(
        self, resource: Resource, namespace: str | None = None, at: int | None = None
    ) -> Objects:
        """The objects with their cached encodings, in order, now or as they were at an earlier resourceVersion.

        Raises:
            Expired: that version is older than the history.
        """
        current = self._collection(resource).in_order(namespace)
        if at is None or at >= self._version:
            return list(current)
        self.require_history(at)
        return sorted(self._history.rewind(dict(current), resource, namespace or "", at).items())

    def holds_any(self, resource: Resource, namespace: str | None = None) -> bool:
        """Whether the namespace (or any) has an object of this kind."""
        return next(self._collection(resource).in_order(namespace), None) is not None

    def schema_of(self, resource: Resource) -> Schema:
        """How objects of this kind merge."""
        return self._admission.schema_of(resource)

    @property
    def custom_kinds(self) -> CustomKinds:
        """What is known of the kinds that CustomResourceDefinitions have made."""
        return self._admission.custom_kinds

    def blank(self, resource: Resource) -> JsonObject:
        """An object of this kind that nobody has written yet; not to be changed."""
        return self._admission.blank(resource)

    # Changes

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener called synchronously after each change; returns the call that ends it.

        Every listener sees the changes in the order of their resourceVersion. A listener may write; its changes are
        told to everybody after the present one has been.
        """
        return self._delivery.subscribe(listener)

    def changes_since(self, resource_version: int) -> Changes:
        """All changes later than a version, oldest first.

        Raises:
            Expired: some of them are no longer known.
        """
        self.require_history(resource_version)
        return self._history.since(resource_version)

    def require_history(self, resource_version: int) -> None:
        """Raise Expired unless every change later than this version is known."""
        if resource_version < self._history.complete_after:
            raise Expired(f"too old resource version: {resource_version} ({self._history.complete_after})")

    def forget_history(self) -> None:
        """Forget all changes, as a compaction of the database does: watches and lists of older versions get 410."""
        self._history.forget(self._version)

    # Writing

    def create(
        self, resource: Resource, obj: JsonObject, *, manager: str = CONTROLLER_MANAGER, dry_run: bool = False
    ) -> JsonObject:
        """Store a new object and return a copy of it.

        Raises:
            AlreadyExists: there is one of that name.
            NotFound: its namespace does not exist.
            Forbidden: its namespace is being deleted.
            Invalid: it breaks a rule of its kind.
        """
        return self.insert(resource, obj, manager=manager, dry_run=dry_run).copy(resource.api_version)

    def update(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        subresource: str = "",
        manager: str = CONTROLLER_MANAGER,
        dry_run: bool = False,
    ) -> JsonObject:
        """Replace an object (with subresource="status": only its status) and return a copy of the result.

        An update that changes nothing keeps the resourceVersion and tells nobody. The last finalizer leaving an object
        that is being deleted removes it.

        Raises:
            NotFound: there is no such object.
            Conflict: the given resourceVersion or uid is not the present one.
            Invalid: it breaks a rule of its kind.
        """
        present = self.find_stored(resource, namespace_of(obj), name_of(obj))
        if present is not None:
            check_uid(resource, present.object, metadata_of(obj).get("uid"))
        stored = self.replace(resource, obj, subresource=subresource, manager=manager, dry_run=dry_run)
        return stored.copy(resource.api_version)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
        dry_run: bool = False,
    ) -> JsonObject:
        """Delete an object, or mark it as being deleted while finalizers or a grace period hold it.

        Args:
            propagation: Background, Foreground or Orphan. The last two leave a finalizer, which the garbage collector
                removes when it has done its part.
            uid, resource_version: preconditions.
            grace_period_seconds: for pods; 0 removes at once, None takes the pod's own.

        Returns:
            A copy of the object as the request leaves it.

        Raises:
            NotFound: there is no such object.
            Conflict: a precondition does not hold.
        """
        stored = self.stored(resource, namespace, name)
        check_preconditions(resource, name, stored.object, uid, resource_version)
        marked = begin_deletion(
            resource, stored.object, self.now, propagation=propagation, grace_period_seconds=grace_period_seconds
        )
        if dry_run:
            result: JsonObject = copy_json(marked if marked is not None else stored.object)
            return {**result, "apiVersion": resource.api_version}
        key = (namespace or "", name)
        if marked is None:
            return self._remove(resource, key, stored).copy(resource.api_version)
        if marked == stored.object:
            return stored.copy(resource.api_version)
        return self._commit(EventType.MODIFIED, resource, key, marked, stored).copy(resource.api_version)

    def discard(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Delete an object in the background if it is (still) there."""
        if self.find_stored(resource, namespace, name) is not None:
            self.delete(resource, namespace, name, propagation="Background")

    def insert(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        manager: str | None = CONTROLLER_MANAGER,
        dry_run: bool = False,
        unknown: UnknownFields | None = None,
    ) -> StoredObject:
        """`create`, returning the shared object.

        Args:
            manager: with None, the managedFields are taken as they are given.
            unknown: told the fields that are dropped because the kind does not have them.
        """
        fresh = self._in_stored_form(resource, self._admission.shape(resource, obj, unknown=unknown))
        metadata, uid = fresh["metadata"], self._new_uid()
        begin_life(resource, fresh, uid, self.now)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._free_name(resource, metadata, uid)
        name, namespace = name_of(fresh), namespace_of(fresh)
        if resource.namespaced and namespace:
            require_open(self, resource, name, namespace)
        self._admission.admit_new(resource, fresh, manager)
        key = (namespace, name)
        present = self._collection(resource).get(key)
        if present is not None:
            raise AlreadyExists.of(resource, name, terminating="deletionTimestamp" in metadata_of(present.object))
        if dry_run:
            return StoredObject(fresh, self._version)
        return self._commit(EventType.ADDED, resource, key, fresh, None)

    def restore(self, resource: Resource, obj: JsonObject) -> None:
        """An object as it was in another storage, with its uid, status and managed fields; only its version is a new one."""
        self._commit(EventType.ADDED, resource, (namespace_of(obj), name_of(obj)), self._in_stored_form(resource, obj), None)

    def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        subresource: str = "",
        manager: str | None = CONTROLLER_MANAGER,
        dry_run: bool = False,
        unknown: UnknownFields | None = None,
    ) -> StoredObject:
        """`update`, returning the shared object; the further arguments are those of `insert`. Another uid is for validation."""
        fresh = self._in_stored_form(resource, self._admission.shape(resource, obj, subresource, unknown))
        metadata = fresh["metadata"]
        key = (namespace_of(fresh), name_of(fresh))
        stored = self._collection(resource).get(key)
        if stored is None:
            raise NotFound.of(resource, key[1])
        old = stored.object
        check_version(resource, key[1], metadata.pop("resourceVersion", None), old)
        if subresource != "status":
            self._admission.complete(resource, fresh)
        fresh = carry_over(resource, old, fresh, subresource)
        fresh["metadata"]["resourceVersion"] = metadata_of(old)["resourceVersion"]
        self._admission.admit_change(resource, fresh, old, subresource, manager)
        if dry_run:
            return StoredObject(fresh, stored.resource_version)
        if is_unchanged(fresh, old):
            return stored
        if may_go(resource, fresh):
            return self._remove(resource, key, StoredObject(fresh, stored.resource_version))
        return self._commit(EventType.MODIFIED, resource, key, fresh, stored)

    def _in_stored_form(self, resource: Resource, fresh: JsonObject) -> JsonObject:
        """The object with the outside that it is stored with: version, kind and a fitting namespace."""
        metadata = fresh.get("metadata")
        if not isinstance(metadata, dict):
            raise BadRequest(f"the {resource.kind} has no metadata: give at least a name")
        if resource.namespaced and not metadata.get("namespace"):
            raise BadRequest("an empty namespace may not be set during creation")
        if not resource.namespaced:
            metadata.pop("namespace", None)
        body = {field: value for field, value in fresh.items() if field not in {"apiVersion", "kind"}}
        version = self.registry.storage_version(resource).api_version
        return {"apiVersion": version, "kind": resource.kind, **body}

    def _free_name(self, resource: Resource, metadata: JsonObject, uid: str) -> str:
        taken = self._collection(resource)
        for attempt in range(_NAME_ATTEMPTS):
            name = generate_name(metadata["generateName"], f"{uid}{attempt or ''}")
            if taken.get((metadata.get("namespace", ""), name)) is None:
                break
        return name

    def _remove(self, resource: Resource, key: Key, stored: StoredObject) -> StoredObject:
        return self._commit(EventType.DELETED, resource, key, stored.object, stored)

    def _commit(
        self, change: EventType, resource: Resource, key: Key, obj: JsonObject, previous: StoredObject | None
    ) -> StoredObject:
        self._version += 1
        stored = StoredObject(
            {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}, self._version
        )
        collection = self._collection(resource)
        if change is EventType.DELETED:
            collection.discard(key)
        else:
            collection.put(key, stored)
        event = StorageEvent(change, self.registry.storage_version(resource), stored, previous)
        self._history.append(event)
        self._delivery.tell(event)
        return stored

    def _collection(self, resource: Resource) -> Collection:
        collection = self._collections.get(resource.storage_key)
        if collection is None:
            collection = self._collections[resource.storage_key] = Collection()
        return collection

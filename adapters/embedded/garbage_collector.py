"""Removes what belonged to an owner that is gone, and carries out foreground and orphaning deletions."""

from __future__ import annotations

from collections import defaultdict

from adapters.embedded.controllers import Key
from adapters.embedded.errors import ApiError
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from adapters.embedded.lifecycle import FOREGROUND, ORPHAN
from adapters.embedded.resources import Resource
from adapters.embedded.storage import Storage

Dependent = tuple[Resource, str, str]


class GarbageCollector:
    """Implements `adapters.embedded.controllers.Reconciler`; its keys are ("", uid of an owner)."""

    name = "garbage"

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._dependents: dict[str, set[Dependent]] = defaultdict(set)
        self._owners: dict[str, Dependent] = {}

    def keys_for(self, event: StorageEvent) -> list[Key]:
        obj, metadata = event.object, metadata_of(event.object)
        me: Dependent = (event.resource, namespace_of(obj), name_of(obj))
        before = set(_owner_uids(event.previous)) if event.previous is not None else set[str]()
        now = set(_owner_uids(obj)) if event.type is not EventType.DELETED else set[str]()
        for uid in before - now:
            self._dependents[uid].discard(me)
        for uid in now:
            self._dependents[uid].add(me)
        if event.type is EventType.DELETED:
            self._owners.pop(metadata["uid"], None)
            return [("", metadata["uid"]), *(("", uid) for uid in before if self._is_being_deleted(uid))]
        self._owners[metadata["uid"]] = me
        keys: list[Key] = [("", uid) for uid in now - before if uid not in self._owners]
        if metadata.get("deletionTimestamp"):
            keys.append(("", metadata["uid"]))
        return keys

    def reconcile(self, key: Key) -> float | None:
        uid = key[1]
        place = self._owners.get(uid)
        owner = self._storage.peek(*place) if place is not None else None
        if place is None or owner is None:
            for dependent in sorted(self._dependents.pop(uid, ()), key=_order):
                self._abandon(dependent, uid)
            return None
        finalizers = metadata_of(owner).get("finalizers") or []
        if not metadata_of(owner).get("deletionTimestamp"):
            return None
        if ORPHAN in finalizers:
            for dependent in sorted(self._dependents.get(uid, ()), key=_order):
                self._set_free(dependent, uid)
            self._drop_finalizer(place, owner, ORPHAN)
        elif FOREGROUND in finalizers:
            self._delete_in_foreground(place, owner, uid)
        return None

    def _delete_in_foreground(self, place: Dependent, owner: JsonObject, uid: str) -> None:
        blocking = False
        for dependent in sorted(self._dependents.get(uid, ()), key=_order):
            found = self._storage.peek(*dependent)
            if found is None:
                continue
            blocking = blocking or any(one["uid"] == uid and one.get("blockOwnerDeletion") for one in _owners(found))
            if not metadata_of(found).get("deletionTimestamp"):
                self._delete(dependent, "Foreground")
        if not blocking:
            self._drop_finalizer(place, owner, FOREGROUND)

    def _abandon(self, dependent: Dependent, uid: str) -> None:
        """The owner is gone: the dependent goes too, unless somebody else owns it as well."""
        found = self._storage.peek(*dependent)
        if found is None or uid not in _owner_uids(found):
            return
        if any(other in self._owners for other in _owner_uids(found) if other != uid):
            self._set_free(dependent, uid)
        elif not metadata_of(found).get("deletionTimestamp"):
            self._delete(dependent, "Background")

    def _set_free(self, dependent: Dependent, uid: str) -> None:
        found = self._storage.peek(*dependent)
        if found is not None and uid in _owner_uids(found):
            owners = [one for one in _owners(found) if one["uid"] != uid]
            changed = {**found, "metadata": {**metadata_of(found), "ownerReferences": owners}}
            self._storage.update(dependent[0], changed)

    def _drop_finalizer(self, place: Dependent, owner: JsonObject, name: str) -> None:
        left = [one for one in metadata_of(owner)["finalizers"] if one != name]
        self._storage.update(place[0], {**owner, "metadata": {**metadata_of(owner), "finalizers": left}})

    def _delete(self, dependent: Dependent, propagation: str) -> None:
        try:
            self._storage.delete(*dependent, propagation=propagation)
        except ApiError:
            return  # It was faster.

    def _is_being_deleted(self, uid: str) -> bool:
        place = self._owners.get(uid)
        owner = self._storage.peek(*place) if place is not None else None
        return owner is not None and bool(metadata_of(owner).get("deletionTimestamp"))


def _owners(obj: JsonObject) -> list[JsonObject]:
    return list(metadata_of(obj).get("ownerReferences") or ())


def _owner_uids(obj: JsonObject) -> list[str]:
    return [one["uid"] for one in _owners(obj)]


def _order(dependent: Dependent) -> tuple[str, str, str]:
    return dependent[0].plural, dependent[1], dependent[2]

"""Who belongs to whom: an index of ReplicaSets and pods by their controlling owner, and the rules of adopting and releasing.

A controller takes objects that its selector matches and that nobody controls, and lets go of its own that the selector no longer
matches. The index follows the storage's changes, so that no reconciliation ever scans a namespace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from adapters.embedded.errors import Conflict, NotFound
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject, labels_of, metadata_of, name_of, namespace_of
from adapters.embedded.resources import Resource
from adapters.embedded.storage import Storage


def controller_of(obj: JsonObject) -> JsonObject | None:
    """The owner that controls the object, if one does."""
    return next((owner for owner in metadata_of(obj).get("ownerReferences") or () if owner.get("controller")), None)


def owner_reference(resource: Resource, owner: JsonObject) -> JsonObject:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": metadata_of(owner)["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def matches(selector: JsonObject, labels: dict[str, str]) -> bool:
    """A label selector of matchLabels and matchExpressions; an empty one matches nothing, as for workloads."""
    exact, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not exact and not expressions:
        return False
    return all(labels.get(key) == value for key, value in exact.items()) and all(_holds(one, labels) for one in expressions)


def _holds(expression: JsonObject, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


class OwnerIndex:
    """Objects of one kind, by the uid of their controller, and those without one by namespace."""

    def __init__(self, storage: Storage, resource: Resource) -> None:
        self._storage = storage
        self._resource = resource
        self._owned: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._free: dict[str, set[str]] = defaultdict(set)
        storage.subscribe(self._notice)

    def owned_by(self, uid: str) -> list[JsonObject]:
        """As they are stored: not to be changed."""
        return self._read(sorted(self._owned.get(uid, ())))

    def free_in(self, namespace: str) -> list[JsonObject]:
        return self._read((namespace, name) for name in sorted(self._free.get(namespace, ())))

    def _read(self, keys: Iterable[tuple[str, str]]) -> list[JsonObject]:
        found = (self._storage.peek(self._resource, namespace, name) for namespace, name in keys)
        return [obj for obj in found if obj is not None]

    def _notice(self, event: StorageEvent) -> None:
        if event.resource.storage_key != self._resource.storage_key:
            return
        if event.previous is not None:
            self._forget(event.previous)
        if event.type is not EventType.DELETED:
            self._learn(event.object)

    def _learn(self, obj: JsonObject) -> None:
        owner = controller_of(obj)
        if owner is not None:
            self._owned[owner["uid"]].add((namespace_of(obj), name_of(obj)))
        else:
            self._free[namespace_of(obj)].add(name_of(obj))

    def _forget(self, obj: JsonObject) -> None:
        owner = controller_of(obj)
        if owner is not None:
            keys = self._owned[owner["uid"]]
            keys.discard((namespace_of(obj), name_of(obj)))
            if not keys:
                del self._owned[owner["uid"]]
        else:
            self._free[namespace_of(obj)].discard(name_of(obj))


class Claims:
    """Adopts and releases objects of one kind for owners of another."""

    def __init__(self, storage: Storage, index: OwnerIndex, owned: Resource, owning: Resource) -> None:
        self._storage = storage
        self._index = index
        self._owned = owned
        self._owning = owning

    def claim(self, owner: JsonObject, living: Callable[[JsonObject], bool] = lambda _: True) -> list[JsonObject]:
        """What belongs to the owner after adoptions and releases, of those that are `living`: nobody cares for the others.

        Shared objects: not to be changed. An owner that is being deleted keeps what it has, and takes nothing.
        """
        return list(self._claim(owner, living))

    def _claim(self, owner: JsonObject, living: Callable[[JsonObject], bool]) -> Iterator[JsonObject]:
        selector, uid = owner["spec"].get("selector") or {}, metadata_of(owner)["uid"]
        ending = bool(metadata_of(owner).get("deletionTimestamp"))
        for obj in filter(living, self._index.owned_by(uid)):
            if matches(selector, labels_of(obj)):
                yield obj
            elif not ending:
                self._set_owners(obj, [one for one in metadata_of(obj)["ownerReferences"] if one.get("uid") != uid])
        if ending:
            return
        for obj in filter(living, self._index.free_in(namespace_of(owner))):
            if metadata_of(obj).get("deletionTimestamp") or not matches(selector, labels_of(obj)):
                continue
            others = [one for one in metadata_of(obj).get("ownerReferences") or () if one.get("uid") != uid]
            adopted = self._set_owners(obj, [*others, owner_reference(self._owning, owner)])
            if adopted is not None:
                yield adopted

    def _set_owners(self, obj: JsonObject, owners: list[JsonObject]) -> JsonObject | None:
        changed = {**obj, "metadata": {**metadata_of(obj), "ownerReferences": owners}}
        try:
            return self._storage.update(self._owned, changed)
        except (NotFound, Conflict):
            return None

"""The objects of one kind, by namespace and name, in the order of a list (namespace, then name).

It knows no rules of writing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from adapters.embedded.history import Key, StoredObject


class Collection:
    """Objects in order. Reading in order costs no sorting; finding, adding and removing cost no walk."""

    def __init__(self) -> None:
        self._objects: dict[Key, StoredObject] = {}
        self._order: list[Key] = []

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> StoredObject | None:
        """The object, or None."""
        return self._objects.get(key)

    def put(self, key: Key, stored: StoredObject) -> None:
        """Add the object, or put it in the place of its former version."""
        if key not in self._objects:
            insort(self._order, key)
        self._objects[key] = stored

    def discard(self, key: Key) -> None:
        """Remove the object if it is there."""
        if self._objects.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]

    def in_order(self, namespace: str | None) -> Iterator[tuple[Key, StoredObject]]:
        """A snapshot in order: of one namespace, or of everything when `namespace` is None or empty."""
        keys = self._order if not namespace else self._order[self._first(namespace) : self._first(namespace + "\0")]
        return iter([(key, self._objects[key]) for key in keys])

    def _first(self, namespace: str) -> int:
        return bisect_left(self._order, (namespace, ""))

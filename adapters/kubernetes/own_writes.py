"""What our own writes made, until a cache has seen it. Pure bookkeeping of one cache; knows no clock and no requests.

A verdict must not rest on what an object was before we changed it. So every write leaves a **mark** here that the watch
has to show first: the resourceVersion that the write made or, for a deletion, the uid of the object that has to go.
Marks are opaque and only compared for equality. The watch may be faster than the write's own answer, so the marks that
it showed lately are remembered.

When a mark does not come, the object is read by itself and taken into the cache ahead of the watch. What the watch then
still brings of that object is older than what is known, and is **held back** until the watch has caught up:

* the object was read in a version: until that very version comes, which it will, because it has not come before;
* the object was gone: until all marks have come, so that nothing from before our writes shows up again;
* the object was gone, and nothing was expected of it: until its deletion comes.
"""

from __future__ import annotations

from typing import TypeAlias

from adapters.kubernetes.wire import Key

Mark: TypeAlias = str
"""A resourceVersion, or the uid of an object that is gone. The two never look alike."""

_REMEMBERED = 4_096
"""Marks of the whole cache. The answer to a write is late by milliseconds, in which a watch brings some dozens."""
REQUEST_SECONDS = 60.0
"""The answer to a write is not later than this, or there is none."""
_DELETED: Mark = ""
"""The deletion of an object, whichever it was."""


class OwnWrites:
    def __init__(self) -> None:
        self._expected: dict[Key, dict[Mark, float]] = {}
        self._seen: dict[tuple[Key, Mark], None] = {}
        self._held: dict[Key, set[Mark]] = {}
        self._uncertain: set[tuple[Key, Mark]] = set()
        self._listed_at = float("-inf")

    def expect(self, key: Key, mark: Mark, at: float) -> bool:
        """A write that ended at `at` made this mark. Whether it is still to come."""
        if (key, mark) in self._seen:
            return False
        self._expected.setdefault(key, {})[mark] = at
        if at <= self._listed_at + REQUEST_SECONDS:
            self._uncertain.add((key, mark))
        return True

    def is_expected(self, key: Key, mark: Mark) -> bool:
        return mark in self._expected.get(key, ())

    def may_be_past(self, key: Key) -> bool:
        """Whether something is expected of this object that may never come: a list was under way while it was written,
        and may have gone past it. Only another list can tell."""
        return any((key, mark) in self._uncertain for mark in self._expected.get(key, ()))

    def are_seen(self, key: Key) -> bool:
        """Whether everything that we made of this object has been seen."""
        return key not in self._expected

    def see(self, key: Key, version: Mark, uid: str, *, deleted: bool) -> bool:
        """The watch brought an event. Whether it is news, and not older than what is known already."""
        brought = {version, uid, _DELETED} if deleted else {version}
        for mark in brought - {_DELETED}:
            self.show(key, mark)
        held = self._held.get(key)
        if held is None:
            return True
        held -= brought
        if not held:
            del self._held[key]
        return False

    def read(self, key: Key, version: Mark | None, *, began: float, known: Mark | None) -> list[Key]:
        """The object itself was read, beginning at `began`; `version` is None where it was gone.

        `known` is the version that the cache had of it and still has (None: it has none). For the answer, see `listed`.
        Of no use where the object was gone and something that is expected of it `may_be_past`.
        """
        covered = {mark for mark, at in self._expected.get(key, {}).items() if at < began}
        if version is None and (known is not None or covered):
            self._held.setdefault(key, set()).update(covered or {_DELETED})
        elif version is not None and version != known:
            self._held[key] = {version}
        return self._settle([key], began)

    def listed(self, *, began: float, ended: float) -> list[Key]:
        """A list that took from `began` to `ended` is in the cache now, so nothing is held back any more.

        What was written before it began has been seen with it. Returns the keys of which nothing is expected any more.
        """
        self._held.clear()
        self._listed_at = ended
        settled = self._settle(list(self._expected), began)
        self._uncertain = {(key, mark) for key, marks in self._expected.items() for mark in marks}
        return settled

    def _settle(self, keys: list[Key], began: float) -> list[Key]:
        for key in keys:
            for mark in [mark for mark, at in self._expected.get(key, {}).items() if at < began]:
                self._forget(key, mark)
        return [key for key in keys if self.are_seen(key)]

    def show(self, key: Key, mark: Mark) -> None:
        """This was seen, in a list or a watch."""
        self._seen[key, mark] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._forget(key, mark)

    def _forget(self, key: Key, mark: Mark) -> None:
        marks = self._expected.get(key, {})
        marks.pop(mark, None)
        self._uncertain.discard((key, mark))
        if not marks:
            self._expected.pop(key, None)

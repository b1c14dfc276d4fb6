"""Watches: each open one gets the changes that it selects, as lines ready to be sent, in the order of their versions.

The hub listens to the storage and fans out; a line is encoded once however many watches send it. Sending is done by the
server; nothing here knows connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from adapters.embedded.errors import ApiError, Expired
from adapters.embedded.faults import Match
from adapters.embedded.history import EventType, StorageEvent, StoredObject
from adapters.embedded.json_objects import JsonObject, encode_json, namespace_of
from adapters.embedded.options import ReadOptions
from adapters.embedded.representations import Form, Presenter
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS
from adapters.embedded.routes import Target
from adapters.embedded.selectors import Predicate
from adapters.embedded.storage import Storage

MOST_PENDING_LINES = 20_000
"""A watch whose client reads more slowly than this is ended, as the real server ends it."""

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Watch:
    """One open watch: the lines that wait to be sent, and whether it goes on."""

    def __init__(self, target: Target, presenter: Presenter, selection: Predicate | None, user_agent: str) -> None:
        self.target = target
        self.user_agent = user_agent
        self.ended = False
        self.cut_inside_line: bool | None = None
        """Set when the connection is to be cut: whether in the middle of a line."""
        self.is_silent = False
        """Nothing is told any more, though it goes on."""
        self._presenter = presenter
        self._selection = selection
        self._lines: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._told_any = False

    def selects(self, obj: JsonObject) -> bool:
        """Whether an object's labels and fields are those that are asked for."""
        return self._selection is None or self._selection(obj)

    def offer(self, event: StorageEvent, shared: dict[str, bytes]) -> None:
        """Take a change if it is selected; `shared` holds the lines that other watches made of it."""
        if self.target.namespace and namespace_of(event.object) != self.target.namespace:
            return
        change = self._change_seen(event)
        if change is not None:
            self._add(change, event, shared)

    def _change_seen(self, event: StorageEvent) -> EventType | None:
        """What the change is to a watch that sees only a part of the objects."""
        if self._selection is None:
            return event.type
        before = event.previous is not None and self._selection(event.previous)
        after = event.type is not EventType.DELETED and self._selection(event.object)
        if after:
            return EventType.MODIFIED if before else EventType.ADDED
        return EventType.DELETED if before else None

    def _add(self, change: EventType, event: StorageEvent, shared: dict[str, bytes]) -> None:
        stored = event.stored
        if change is EventType.DELETED and event.type is not EventType.DELETED:
            stored = _as_it_was(event)
            line = self._presenter.write_event(change, stored, first=not self._told_any)
        elif self._presenter.form is Form.PLAIN:
            key = f"{change}{self.target.resource.api_version}"
            known = shared.get(key)
            line = known if known is not None else self._presenter.write_event(change, stored, first=False)
            shared[key] = line
        else:
            line = self._presenter.write_event(change, stored, first=not self._told_any)
        self._push(line)

    def add_existing(self, objects: Iterable[StoredObject]) -> None:
        """Tell objects as ADDED that exist when the watch begins."""
        for stored in objects:
            self._push(self._presenter.write_event(EventType.ADDED, stored, first=not self._told_any))

    def add_bookmark(self, resource_version: int, *, initial_events_end: bool = False) -> None:
        """Tell the version up to which everything has been told."""
        self._push(self.bookmark(resource_version, initial_events_end=initial_events_end))

    def bookmark(self, resource_version: int, *, initial_events_end: bool = False) -> bytes:
        """The line of a bookmark."""
        metadata: JsonObject = {"resourceVersion": str(resource_version), "creationTimestamp": None}
        if initial_events_end:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        resource = self.target.resource
        body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return encode_json({"type": "BOOKMARK", "object": body}) + b"\n"

    def fail(self, error: ApiError) -> None:
        """Tell an error and end."""
        self._push(encode_json({"type": "ERROR", "object": error.to_status()}) + b"\n")
        self.end()

    def end(self) -> None:
        """Go no further than the lines that wait."""
        self.ended = True
        self._wake.set()

    def cut(self, *, inside_line: bool) -> None:
        """Have the connection cut."""
        self.cut_inside_line = inside_line
        self.end()

    def silence(self) -> None:
        """Tell nothing any more, and go on."""
        self.is_silent = True
        self._wake.set()

    def take(self) -> bytes:
        """All lines that wait, as one piece; empty when there are none."""
        if not self._lines:
            return b""
        piece = b"".join(self._lines)
        self._lines.clear()
        return piece

    async def wait(self, seconds: float) -> None:
        """Return when there is something to take, when the watch has ended, or after this time."""
        if self._lines or self.ended:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _push(self, line: bytes) -> None:
        if self.ended or self.is_silent:
            return
        self._told_any = True
        self._lines.append(line)
        self._wake.set()
        if len(self._lines) > MOST_PENDING_LINES:
            self.end()


def _as_it_was(event: StorageEvent) -> StoredObject:
    """An object that stops being selected is told as it was, with the version of the change."""
    assert event.previous is not None  # only what was selected before can stop being so
    metadata = {**event.previous["metadata"], "resourceVersion": str(event.resource_version)}
    return StoredObject({**event.previous, "metadata": metadata}, event.resource_version)


class WatchHub:
    """The open watches of one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open: dict[tuple[str, str], list[Watch]] = {}
        self._unsubscribe = storage.subscribe(self._notice)

    def open(self, watch: Watch, options: ReadOptions) -> None:
        """Begin a watch where its options say; what it missed since then waits in it at once.

        Its first line is an error, and it has ended, when that is longer ago than the history reaches.
        """
        resource = watch.target.resource
        version, initial = options.resource_version, options.send_initial_events
        if initial or (not version and initial is None):
            existing = self._storage.list_stored(resource, watch.target.namespace or None)
            watch.add_existing(stored for _, stored in existing if watch.selects(stored.object))
            if initial and options.allow_bookmarks:
                watch.add_bookmark(self._storage.resource_version, initial_events_end=True)
        elif version:
            self._replay(watch, version)
        self._open.setdefault(resource.storage_key, []).append(watch)

    def _replay(self, watch: Watch, version: int) -> None:
        try:
            missed = self._storage.changes_since(version)
        except Expired as error:
            watch.fail(error)
            return
        for event in missed:
            if event.resource.storage_key == watch.target.resource.storage_key:
                watch.offer(event, {})

    def close(self, watch: Watch) -> None:
        """Forget a watch."""
        watches = self._open.get(watch.target.resource.storage_key, [])
        if watch in watches:
            watches.remove(watch)

    def cut(self, match: Match, inside_line: bool) -> int:
        """Have the connections of matching watches cut; returns how many."""
        meant = self._meant(match)
        for watch in meant:
            watch.cut(inside_line=inside_line)
        return len(meant)

    def silence(self, match: Match) -> int:
        """Have matching watches tell nothing any more; returns how many."""
        meant = self._meant(match)
        for watch in meant:
            watch.silence()
        return len(meant)

    def _meant(self, match: Match) -> list[Watch]:
        return [watch for watch in self._all() if match.fits(watch.target, watch.user_agent)]

    def end(self) -> None:
        """End all watches and take no more changes."""
        self._unsubscribe()
        for watch in self._all():
            watch.end()

    def _all(self) -> list[Watch]:
        return [watch for watches in self._open.values() for watch in watches]

    def _notice(self, event: StorageEvent) -> None:
        shared: dict[str, bytes] = {}
        for watch in self._open.get(event.resource.storage_key, ()):
            watch.offer(event, shared)
        if event.resource == CUSTOM_RESOURCE_DEFINITIONS:
            self._end_unserved()

    def _end_unserved(self) -> None:
        for watch in self._all():
            if not self._storage.registry.serves(watch.target.resource):
                watch.end()

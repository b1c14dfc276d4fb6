"""Every change of a namespace in the order in which it was stored, and what must hold after each of them.

Several watches of one API server do not keep time with each other, but every resourceVersion is a revision of the one store
behind them: sorted by it, the changes of all kinds are one true story. It is judged when it is over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.conformance.routers.readings import Reading
from tests.conformance.routers.view import JsonObject, View, Way
from tests.e2e.recording import watching


@dataclass(frozen=True, slots=True)
class Change:
    revision: int
    gone: bool
    object: JsonObject

    @property
    def key(self) -> tuple[str, str]:
        return self.object["kind"], self.object["metadata"]["name"]


@dataclass(slots=True)
class Recording:
    read: Reading
    changes: dict[tuple[int, str, str], Change] = field(default_factory=dict)
    """By revision, kind and name: a watch that is begun again may tell things twice."""
    pods_may_fail: bool = False
    """A story in which somebody does harm: requests may meet nobody meanwhile."""
    begins: int = 0
    """The revision at which the application and its objects were complete."""

    def take(self, change: Change) -> None:
        self.changes[(change.revision, *change.key)] = change

    def last(self, kind: str) -> int:
        """The revision of the last change of a kind that is known."""
        return max((change.revision for change in self.changes.values() if change.key[0] == kind), default=0)

    def check(self) -> int:
        """Replay the story. Returns the number of changes; raises AssertionError with the first one after which something was
        named that is not there, or requests met nobody."""
        now: dict[tuple[str, str], JsonObject] = {}
        for _, change in sorted(self.changes.items()):
            if change.gone:
                now.pop(change.key, None)
            else:
                now[change.key] = change.object
            if change.revision > self.begins:
                what = "removed" if change.gone else "written"
                for problem in self._problems(View(now)):
                    raise AssertionError(f"revision {change.revision}, {'/'.join(change.key)} is {what}: {problem}")
        return len(self.changes)

    def _problems(self, view: View) -> Iterator[str]:
        if view.find("Service", "web") is None:
            return  # The namespace goes.
        for ways in self.read(view, {}):
            for way in ways:
                if (missing := _missing(view, way)) is not None:
                    yield f"{missing} is named with weight {way.weight}, and is not there"
            if not self.pods_may_fail:
                try:
                    view.share(ways)
                except AssertionError as error:
                    yield str(error)


def _missing(view: View, way: Way) -> str | None:
    if view.find("Service", way.service) is None:
        return f"Service {way.service}"
    return f"a subset of {way.service}" if way.subset is None else None


@asynccontextmanager
async def record(http: aiohttp.ClientSession, paths: Mapping[str, str], recording: Recording) -> AsyncIterator[Recording]:
    """`paths`: the collections to watch, by kind."""

    def take(revision: int, kind: str, gone: bool, body: JsonObject) -> None:
        recording.take(Change(revision, gone, {**body, "kind": kind}))

    async with watching(http, paths, take):
        yield recording

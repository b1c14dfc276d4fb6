"""A model of an API server with a slow and unreliable watch, for informers in virtual time: no sockets, every delay
drawn at random.

It stands in for the transport, because what is tried out here is the order in which answers, lists and events arrive.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from adapters.kubernetes.errors import Expired, NotFound, Unreachable
from tests.kubernetes.scripted_api import replica_set

Body = dict[str, Any]


class LaggingServer:
    def __init__(self, random: Random, *, lag: float) -> None:
        self.objects: dict[str, Body] = {}
        self.deleted_at: dict[str, list[int]] = {}
        self.revision = 1
        self._log: list[tuple[float, int, str, Body]] = []
        self._random = random
        self._lag = lag
        self._forgotten = 0
        self._snapshots: dict[str, list[Body]] = {}

    # --- what people and controllers do ------------------------------------------------------------------------------

    def write(self, name: str) -> Body:
        self.revision += 1
        uid = self.objects[name]["metadata"]["uid"] if name in self.objects else f"uid-{self.revision}"
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.objects[name] = replica_set(name, str(self.revision), replicas=self.revision, uid=uid)
        self._append(kind, self.objects[name])
        return self.objects[name]

    def delete(self, name: str) -> Body:
        self.revision += 1
        gone = self.objects.pop(name)
        last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.revision)}}
        self.deleted_at.setdefault(name, []).append(self.revision)
        self._append("DELETED", last)
        return last

    def forget_history(self) -> None:
        """Watches from before now expire."""
        self._forgotten = self.revision

    def _append(self, kind: str, body: Body) -> None:
        self._log.append((asyncio.get_running_loop().time(), self.revision, kind, body))

    # --- the transport -----------------------------------------------------------------------------------------------

    async def delay(self) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.001, 0.1, self._random.uniform(0, self._lag))))

    async def request_bytes(self, method: str, path: str, *, what: str, query: dict[str, str] | None = None) -> bytes:
        await self.delay()
        answer = self._list(query) if query is not None else self.objects.get(path.rpartition("/")[2])
        await self.delay()
        if self._random.random() < 0.1:
            raise Unreachable(what, "the answer was lost")
        if answer is None:
            raise NotFound(what, "gone")
        return json.dumps(answer).encode()

    def _list(self, query: dict[str, str]) -> Body:
        """In two pages of one snapshot."""
        token = query.get("continue")
        if token is not None:
            return {"metadata": {"resourceVersion": token}, "items": self._snapshots.pop(token)}
        version, items = str(self.revision), list(self.objects.values())
        self._snapshots[version] = items[1:]
        return {"metadata": {"resourceVersion": version, "continue": version}, "items": items[:1]}

    @asynccontextmanager
    async def watch(
        self, path: str, *, what: str, query: dict[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.delay()
        yield self._events(what, int(query["resourceVersion"]))

    async def _events(self, what: str, sent: int) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        end = now() + self._random.uniform(0, 60)
        lag = self._random.choice((0.0, 0.01, self._lag, self._lag * 3))
        while now() < end:
            if sent < self._forgotten:
                raise Expired(what, "too old")
            due = [entry for entry in self._log if entry[1] > sent and entry[0] + lag <= now()]
            for _, revision, kind, body in due:
                sent = revision
                yield json.dumps({"type": kind, "object": body}).encode()
            await asyncio.sleep(0.05)
        if self._random.random() < 0.5:
            raise Unreachable(what, "cut")

"""What a mesh's control plane sees of a cluster: every object of some kinds, by list and watch, for as long as it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import aiohttp
import anyio

from adapters.embedded.json_objects import JsonObject, metadata_of

AGAIN_SECONDS = 0.1
FOREVER = aiohttp.ClientTimeout(None)
Objects = dict[tuple[str, str], JsonObject]
"""By namespace and name."""


class Watched:
    """Kinds by their plural, each in its own watch: nobody keeps them in time with each other, as in any cluster."""

    def __init__(self, http: aiohttp.ClientSession, paths: Mapping[str, str]) -> None:
        self.changed = asyncio.Event()
        self._http = http
        self._paths = paths
        self._objects: dict[str, Objects] = {kind: {} for kind in paths}
        self._listed: set[str] = set()

    @property
    def is_complete(self) -> bool:
        return self._listed == self._paths.keys()

    def of(self, kind: str) -> Objects:
        return self._objects[kind]

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for kind, path in self._paths.items():
                tasks.start_soon(self._follow, kind, path)

    async def _follow(self, kind: str, path: str) -> None:
        while True:
            try:
                async with self._http.get(path) as answer:
                    answer.raise_for_status()
                    listed = await answer.json()
                self._show(kind, {_key(one): one for one in listed["items"]}, is_whole=True)
                self._listed.add(kind)
                await self._watch(kind, path, listed["metadata"]["resourceVersion"])
            except (aiohttp.ClientError, OSError, ValueError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, kind: str, path: str, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version}
        async with self._http.get(path, params=query, timeout=FOREVER) as answer:
            answer.raise_for_status()
            while line := await answer.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                gone = event["type"] == "DELETED"
                self._show(kind, {_key(event["object"]): None if gone else event["object"]})

    def _show(self, kind: str, found: Mapping[tuple[str, str], JsonObject | None], *, is_whole: bool = False) -> None:
        before = {} if is_whole else self._objects[kind]
        self._objects[kind] = {key: one for key, one in {**before, **found}.items() if one is not None}
        self.changed.set()


def _key(found: JsonObject) -> tuple[str, str]:
    metadata = metadata_of(found)
    return metadata.get("namespace", ""), metadata["name"]

"""What happened in a namespace, in the order in which etcd took it, and what must hold after each change of it.

Several watches of one API server do not keep time with each other, but every object's resourceVersion is a revision of the one
etcd behind them: sorted by it, the changes of all kinds are one true story. It is judged when it is over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp

from adapters.embedded.json_objects import JsonObject

KINDS = {
    "services": "/api/v1",
    "pods": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "trafficsplits": "/apis/split.smi-spec.io/v1alpha4",
    "virtualservices": "/apis/networking.istio.io/v1",
    "destinationrules": "/apis/networking.istio.io/v1",
}


@dataclass(frozen=True, slots=True)
class Change:
    revision: int
    kind: str
    gone: bool
    object: JsonObject

    @property
    def name(self) -> str:
        name: str = self.object["metadata"]["name"]
        return name


@dataclass(slots=True)
class Recording:
    changes: dict[tuple[int, str], Change] = field(default_factory=dict)
    """By revision and kind: a watch that is begun again may tell things twice."""

    def take(self, change: Change) -> None:
        self.changes[(change.revision, f"{change.kind}/{change.name}")] = change

    def in_order(self) -> list[Change]:
        return [self.changes[key] for key in sorted(self.changes)]

    def check(self) -> int:
        """Replay the story. Returns the number of changes; raises AssertionError with the first one after which traffic had
        nowhere to go."""
        now: dict[tuple[str, str], JsonObject] = {}
        story = self.in_order()
        for change in story:
            if change.gone:
                now.pop((change.kind, change.name), None)
            else:
                now[(change.kind, change.name)] = change.object
            for problem in (*_problems(now), *_problems_of_istio(now)):
                raise AssertionError(f"revision {change.revision} ({change.kind}/{change.name}): {problem}")
        return len(story)


def _problems(now: dict[tuple[str, str], JsonObject]) -> Iterator[str]:
    """Weights add up to a whole, and whatever has weight has a pod that is ready."""
    for (kind, name), split in now.items():
        if kind != "trafficsplits":
            continue
        weights = {one["service"]: int(one["weight"]) for one in split["spec"]["backends"]}
        if sum(weights.values()) not in (100, 1_000, 10_000) or min(weights.values()) < 0:
            yield f"TrafficSplit {name} has the weights {weights}"
        for service, weight in weights.items():
            if weight and not _has_ready_pod(now, service):
                yield f"TrafficSplit {name} sends {weight} to {service}, which has no ready pod"


def _problems_of_istio(now: dict[tuple[str, str], JsonObject]) -> Iterator[str]:
    """Whatever a VirtualService sends to a Service of the namespace meets a ready pod, in every route."""
    for (kind, name), found in now.items():
        for route in found["spec"]["http"] if kind == "virtualservices" else ():
            for one in route["route"]:
                host, subset = one["destination"]["host"].partition(".")[0], one["destination"].get("subset")
                weight = one.get("weight", 100 if len(route["route"]) == 1 else 0)
                labels = _labels_of_subset(now, host, subset) if subset else {}
                if ("services", host) in now and weight and not _has_ready_pod(now, host, labels):
                    yield f"VirtualService {name} sends {weight} to subset {subset} of {host}, which has no ready pod"


def _labels_of_subset(now: dict[tuple[str, str], JsonObject], host: str, subset: str) -> JsonObject:
    rules = (rule for (kind, _), rule in now.items() if kind == "destinationrules")
    subsets = (one for rule in rules if rule["spec"]["host"].partition(".")[0] == host for one in rule["spec"]["subsets"])
    named = [one.get("labels") or {} for one in subsets if one["name"] == subset]
    return named[0] if named else {"no": "such subset"}


def _has_ready_pod(now: dict[tuple[str, str], JsonObject], service: str, labels: JsonObject | None = None) -> bool:
    found = now.get(("services", service))
    if found is None:
        return False
    selector = {**found["spec"]["selector"], **(labels or {})}.items()
    pods = (pod for (kind, _), pod in now.items() if kind == "pods")
    return any(selector <= (pod["metadata"].get("labels") or {}).items() and _is_ready(pod) for pod in pods)


def _is_ready(pod: JsonObject) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@asynccontextmanager
async def record_namespace(http: aiohttp.ClientSession, namespace: str) -> AsyncIterator[Recording]:
    recording = Recording()
    paths = {kind: f"{group}/namespaces/{namespace}/{kind}" for kind, group in KINDS.items()}
    async with watching(http, paths, lambda revision, kind, gone, body: recording.take(Change(revision, kind, gone, body))):
        yield recording


Take: TypeAlias = Callable[[int, str, bool, JsonObject], None]
"""Told the revision of each change, the kind, whether the object is gone, and the object."""


@asynccontextmanager
async def watching(http: aiohttp.ClientSession, paths: Mapping[str, str], take: Take) -> AsyncIterator[None]:
    """`paths`: the collections to watch, by kind."""
    watches = [asyncio.create_task(_watch(http, kind, path, take)) for kind, path in paths.items()]
    try:
        yield
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def _watch(http: aiohttp.ClientSession, kind: str, path: str, take: Take) -> None:
    """The namespace is new, so the watch begins at its beginning; after an interruption it goes on where it was."""
    revision = "0"
    forever = aiohttp.ClientTimeout(None)
    while True:
        try:
            query = {"watch": "1", "resourceVersion": revision, "allowWatchBookmarks": "true"}
            async with http.get(path, params=query, timeout=forever) as answer:
                answer.raise_for_status()
                while line := await answer.content.readline():
                    event = json.loads(line)
                    revision = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        take(int(revision), kind, event["type"] == "DELETED", event["object"])
        except (aiohttp.ClientError, OSError, ValueError, KeyError):
            await asyncio.sleep(0.2)

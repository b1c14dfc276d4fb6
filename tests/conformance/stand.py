"""What the stories of controllers are told with: objects by kind and name, conditions waited for, and changes recorded.

It speaks plain HTTP to whichever control plane it is given, and knows nothing of either.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from adapters.embedded.json_objects import JsonObject

if TYPE_CHECKING:
    from tests.conformance.conftest import Plane

T = TypeVar("T")

DEPLOYMENTS = "apps/v1/deployments"
REPLICA_SETS = "apps/v1/replicasets"
PODS = "v1/pods"
SERVICES = "v1/services"
ENDPOINTS = "v1/endpoints"
ENDPOINT_SLICES = "discovery.k8s.io/v1/endpointslices"
AUTOSCALERS = "autoscaling/v2/horizontalpodautoscalers"
CONFIG_MAPS = "v1/configmaps"

PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.03
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
PRETENCE = "embedded.headgate.dev/"
"""Annotations with this prefix say what a simulated pod does: adapters/embedded/pods.py."""


class Refused(AssertionError):
    """The server said no; the answer is the message."""

    def __init__(self, status: int, answer: JsonObject) -> None:
        super().__init__(f"{status}: {answer.get('message')}")
        self.status = status


class Stand:
    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.namespace = plane.namespace

    # --- objects -------------------------------------------------------------------------------------------------------

    def path(self, resource: str, name: str = "", subresource: str = "") -> str:
        version, _, plural = resource.rpartition("/")
        root = "/api" if version == "v1" else "/apis"
        parts = [root, version, "namespaces", self.namespace, plural, name, subresource]
        return "/".join(part for part in parts if part)

    async def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> JsonObject:
        headers = {"Content-Type": kind} if body is not None else {}
        data = json.dumps(body) if body is not None else None
        async with self.plane.http.request(method, path, data=data, headers=headers) as answer:
            found: JsonObject = await answer.json()
        if answer.status >= 400:
            raise Refused(answer.status, found)
        return found

    async def create(self, resource: str, body: JsonObject) -> JsonObject:
        return await self.request("POST", self.path(resource), body)

    async def get(self, resource: str, name: str) -> JsonObject:
        return await self.request("GET", self.path(resource, name))

    async def find(self, resource: str, name: str) -> JsonObject | None:
        try:
            return await self.get(resource, name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def list_all(self, resource: str, selector: str = "") -> list[JsonObject]:
        query = f"?labelSelector={selector}" if selector else ""
        found: list[JsonObject] = (await self.request("GET", self.path(resource) + query))["items"]
        return found

    async def merge(self, resource: str, name: str, change: JsonObject, subresource: str = "") -> JsonObject:
        path = self.path(resource, name, subresource)
        return await self.request("PATCH", path, change, "application/merge-patch+json")

    async def patch(self, resource: str, name: str, *operations: JsonObject) -> JsonObject:
        return await self.request("PATCH", self.path(resource, name), list(operations), "application/json-patch+json")

    async def delete(self, resource: str, name: str, propagation: str = "Background", **options: Any) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation, **options}
        await self.request("DELETE", self.path(resource, name), body)

    # --- what is looked at again and again ----------------------------------------------------------------------------

    async def replica_sets(self) -> list[JsonObject]:
        """The oldest first, and of one age the one with the lower revision."""
        found = await self.list_all(REPLICA_SETS)
        return sorted(found, key=lambda one: (one["metadata"]["creationTimestamp"], revision(one)))

    async def pods(self, **labels: str) -> list[JsonObject]:
        """Those that are not on their way out."""
        found = await self.list_all(PODS, ",".join(f"{key.replace('_', '-')}={value}" for key, value in labels.items()))
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def pods_of(self, owner: str) -> list[JsonObject]:
        return [pod for pod in await self.pods() if any(one["name"] == owner for one in owners(pod))]

    async def status_of(self, resource: str, name: str) -> JsonObject:
        status: JsonObject = (await self.get(resource, name)).get("status") or {}
        return status

    async def condition(self, name: str, kind: str, resource: str = DEPLOYMENTS) -> JsonObject:
        conditions = (await self.status_of(resource, name)).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    # --- waiting -------------------------------------------------------------------------------------------------------

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str, within: float = PATIENCE_SECONDS) -> T:
        """What the look returns, as soon as it is something."""
        deadline = time.monotonic() + within
        while True:
            found = await look()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
            await asyncio.sleep(POLL_SECONDS)

    async def observed(self, name: str = "web") -> JsonObject:
        """The Deployment when its controller has looked at it once more, and so at everything that was there before."""
        change = {"metadata": {"annotations": {"touched": uuid4().hex}}}
        touched = await self.merge(DEPLOYMENTS, name, change)

        async def is_observed() -> JsonObject | None:
            found = await self.get(DEPLOYMENTS, name)
            seen: int = (found.get("status") or {}).get("observedGeneration", 0)
            return found if seen >= touched["metadata"]["generation"] else None

        return await self.until(is_observed, f"{name} is looked at")

    async def complete(self, name: str = "web", replicas: int | None = None) -> JsonObject:
        """The Deployment when all its pods are of its version and available."""

        async def is_complete() -> JsonObject | None:
            found = await self.get(DEPLOYMENTS, name)
            status, wanted = found.get("status") or {}, found["spec"]["replicas"]
            names = ("replicas", "updatedReplicas", "availableReplicas")
            observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            counts = [status.get(one, 0) for one in names] == [wanted] * 3
            return found if observed and counts and replicas in (None, wanted) else None

        return await self.until(is_complete, f"Deployment {name} is complete")

    async def available(self, name: str, replicas: int, resource: str = REPLICA_SETS) -> JsonObject:
        async def is_available() -> JsonObject | None:
            found = await self.get(resource, name)
            return found if (found.get("status") or {}).get("availableReplicas", 0) == replicas else None

        return await self.until(is_available, f"{name} has {replicas} available pods")

    async def reason(self, name: str, kind: str, reason: str) -> JsonObject:
        async def is_said() -> JsonObject | None:
            found = await self.condition(name, kind)
            return found if found.get("reason") == reason else None

        return await self.until(is_said, f"Deployment {name} is {kind} because of {reason}")

    async def older_than(self, seconds: float, moment: str) -> None:
        """Until a time that an object bears, in whole seconds, is so long ago."""
        then = datetime.fromisoformat(moment) + timedelta(seconds=seconds)
        await asyncio.sleep(max((then - datetime.now(UTC)).total_seconds(), 0.0))

    async def gone(self, resource: str, name: str) -> None:
        async def is_gone() -> bool:
            return await self.find(resource, name) is None

        await self.until(is_gone, f"{resource} {name} is gone")

    # --- a Deployment that is live -------------------------------------------------------------------------------------

    async def live(self, replicas: int = 3, name: str = "web", **spec: Any) -> JsonObject:
        await self.create(DEPLOYMENTS, deployment(name, replicas=replicas, **spec))
        return await self.complete(name)

    async def set_image(self, image: str, name: str = "web") -> JsonObject:
        return await self.patch(DEPLOYMENTS, name, replace("/spec/template/spec/containers/0/image", image))

    async def scale(self, replicas: int, name: str = "web", resource: str = DEPLOYMENTS) -> JsonObject:
        return await self.merge(resource, name, {"spec": {"replicas": replicas}})

    async def pause(self, paused: bool = True, name: str = "web") -> JsonObject:
        return await self.merge(DEPLOYMENTS, name, {"spec": {"paused": paused}})

    async def set_pod(self, name: str, *, ready: bool | None = None, **status: Any) -> None:
        """Write into a pod's status, as its kubelet does."""
        found = await self.get(PODS, name)
        if ready is not None:
            conditions = copy.deepcopy(found["status"]["conditions"])
            for one in conditions:
                if one["type"] in ("Ready", "ContainersReady"):
                    one["status"] = str(ready)
            status["conditions"] = conditions
        await self.merge(PODS, name, {"status": status}, "status")

    @asynccontextmanager
    async def recording(self, resource: str) -> AsyncIterator[Recording]:
        """Every state of the objects of a kind, from now on, in order."""
        listed = await self.request("GET", self.path(resource))
        recording = Recording(self, resource, {one["metadata"]["name"]: one for one in listed["items"]})
        task = asyncio.create_task(recording.follow(listed["metadata"]["resourceVersion"]))
        try:
            yield recording
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass
class Recording:
    stand: Stand
    resource: str
    objects: dict[str, JsonObject]
    checks: list[Callable[[list[JsonObject]], None]] = field(default_factory=list)
    broken: AssertionError | None = None
    events: count[int] = field(default_factory=count)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def always(self, check: Callable[[list[JsonObject]], None]) -> None:
        """An assertion on all objects of the kind, after each change."""
        self.checks.append(check)

    async def follow(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version}
        async with self.stand.plane.http.get(self.stand.path(self.resource), params=query) as answer:
            while line := await answer.content.readline():
                self._take(json.loads(line))

    def _take(self, event: JsonObject) -> None:
        obj = event["object"]
        if event["type"] == "DELETED":
            self.objects.pop(obj["metadata"]["name"], None)
        else:
            self.objects[obj["metadata"]["name"]] = obj
        next(self.events)
        try:
            for check in self.checks:
                check(list(self.objects.values()))
        except AssertionError as broken:
            self.broken = self.broken or broken
        self.changed.set()
        self.changed = asyncio.Event()

    async def verify(self) -> None:
        """Raise the first assertion that failed, up to now."""
        mark = uuid4().hex
        name = next(name for name, one in self.objects.items() if not one["metadata"].get("deletionTimestamp"))
        await self.stand.merge(self.resource, name, {"metadata": {"annotations": {"mark": mark}}})
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (self.objects[name]["metadata"].get("annotations") or {}).get("mark") != mark:
                await self.changed.wait()
        assert next(self.events) > 1, "nothing was recorded"
        if self.broken is not None:
            raise self.broken


# --- builders ----------------------------------------------------------------------------------------------------------


def template(
    image: str = "web:1", *, app: str = "web", pretend: dict[str, str] | None = None, labels: dict[str, str] | None = None
) -> JsonObject:
    """`pretend`: what the simulated pods do, for example {"boot-seconds": "0.5"}."""
    metadata: JsonObject = {"labels": {"app": app, **(labels or {})}}
    if pretend:
        metadata["annotations"] = {PRETENCE + name: value for name, value in pretend.items()}
    container = {"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": metadata, "spec": {"containers": [container]}}


def deployment(
    name: str = "web", *, image: str = "web:1", replicas: int = 3, pretend: dict[str, str] | None = None, **spec: Any
) -> JsonObject:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(image, app=name, pretend=pretend),
            **spec,
        },
    }


def replica_set(
    name: str = "bare", *, app: str = "web", replicas: int = 1, image: str = "web:1", hash_value: str = "", **metadata: Any
) -> JsonObject:
    """Bare: its own labels are no Deployment's business."""
    labels = {HASH: hash_value or name}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app, **labels}},
            "template": template(image, app=app, labels=labels),
        },
    }


def pod(name: str, labels: dict[str, str], *, image: str = "web:1", pretend: dict[str, str] | None = None) -> JsonObject:
    body = template(image, pretend=pretend)
    metadata = {**body["metadata"], "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body["spec"]}


def service(name: str = "web", selector: dict[str, str] | None = None, **spec: Any) -> JsonObject:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    chosen = {"app": name} if selector is None else selector
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, **({"selector": chosen} if chosen else {}), **spec},
    }


def rolling(surge: int | str, unavailable: int | str) -> JsonObject:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def replace(path: str, value: object) -> JsonObject:
    return {"op": "replace", "path": path, "value": value}


# --- readings ----------------------------------------------------------------------------------------------------------


def owners(obj: JsonObject) -> list[JsonObject]:
    return list(obj["metadata"].get("ownerReferences") or ())


def notes_of(obj: JsonObject) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def revision(obj: JsonObject) -> int:
    return int(notes_of(obj).get(REVISION, "0"))


def names(objects: list[JsonObject]) -> set[str]:
    return {one["metadata"]["name"] for one in objects}


def uids(objects: list[JsonObject]) -> set[str]:
    return {one["metadata"]["uid"] for one in objects}


def restarts(pods: list[JsonObject]) -> set[int]:
    return {one["restartCount"] for pod in pods for one in pod["status"]["containerStatuses"]}


def is_ready(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def serving(pods: list[JsonObject]) -> list[JsonObject]:
    """Ready, and not on their way out."""
    return [one for one in pods if is_ready(one) and not one["metadata"].get("deletionTimestamp")]

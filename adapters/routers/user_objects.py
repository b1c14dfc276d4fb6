"""Objects of the user's that a router edits: where one is found, and how it stands.

An edit is a JSON patch of one leaf, tied to the version of the object that was read. Server-side apply is of no use here: in the
definitions of most traffic kinds every list is atomic, so whoever applies one route owns all routes and overwrites everybody
else's. A merge or a PUT of the whole object would do the same.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected
from engine.model import UNDOING_STATES, Snapshot, State
from engine.traffic import RoutePlan

Read: TypeAlias = Callable[[Task, ResourceRef, str], Awaitable[JsonObject | None]]


async def read_live(task: Task, resource: ResourceRef, name: str) -> JsonObject | None:
    return await task.cluster.find(resource, task.namespace, name)


async def read_declared(task: Task, resource: ResourceRef, name: str) -> JsonObject | None:
    """The object as it will be once the manifests are applied: what they say of it, or else what is live."""
    for manifest in task.spec.plan.manifests:
        body: JsonObject = json.loads(manifest.content)
        group = str(body.get("apiVersion", "")).partition("/")[0]
        if body.get("kind") == resource.kind and body["metadata"]["name"] == name and group in (resource.group, "v1"):
            return body
    return await read_live(task, resource, name)


def absent(task: Task, route: RoutePlan, resource: ResourceRef, name: str) -> Rejected:
    return Rejected(
        f"route {route.name}: there is no {resource.kind} {name} in namespace {task.namespace}; it must exist, or be among "
        "the manifests"
    )


def gone(task: Task, what: str) -> Done:
    """What an edit comes to whose object somebody has removed."""
    if task.is_undoing:
        return Done(f"{what} is gone; there is nothing to put back")
    raise Rejected(f"{what} was removed by somebody else during the rollout")


def stands_as_ordered(snapshot: Snapshot, made: str, removed: str) -> bool:
    """Whether the objects between these two operations stand as we ordered them: no write of ours is under way."""
    states = UNDOING_STATES | {State.PREPARING, State.FINALISING}
    if snapshot.state in states or snapshot.action is not None or snapshot.is_between_routes:
        return False
    return made in snapshot.begun and removed not in snapshot.begun

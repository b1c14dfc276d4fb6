"""Putting a field of an object back that others go on editing, and leaving it to whoever managed it before us.

An edit is a JSON patch of one leaf, tied to the version of the object that was read.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kubernetes.field_owners import is_our_edit, owners_without_us
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject


def change_of(path: str, now: object, wanted: object) -> list[JsonObject]:
    """The patch of one leaf; empty where it is as wanted."""
    return [{"op": "add", "path": path, "value": wanted}] if now != wanted else []


async def put_back(
    task: Task, resource: ResourceRef, found: JsonObject, change: list[JsonObject], before: Sequence[JsonObject] | None
) -> None:
    """Write what a leaf is without us, and leave it to whoever managed it: whoever applies next must not meet us as a rival, nor
    somebody lose what they wrote in the meantime. `before`: the managers as they were found, for the last edit of the object."""
    theirs = owners_without_us(owners_of(found), before or [])
    if change:
        found = await task.cluster.patch(resource, found, change)
    if before is None:
        if owners_without_us(owners_of(found), []) == theirs:
            return
        theirs = [*theirs, *(one for one in owners_of(found) if is_our_edit(one))]
    if owners := change_of("/metadata/managedFields", owners_of(found), theirs):
        await task.cluster.patch(resource, found, owners)


def owners_of(found: JsonObject) -> list[JsonObject]:
    """Its `managedFields`."""
    owners: list[JsonObject] = found["metadata"].get("managedFields") or []
    return owners

"""Two versions as two Services of the user's, which a VirtualService names as hosts.

Both Services are the user's: during a rollout their selectors are pinned on one version each, and in the end they are as they
were found.
"""

from __future__ import annotations

import json

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import SERVICES
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL, JsonObject
from adapters.routers.istio_places import Side
from adapters.routers.istio_sides import Look
from adapters.routers.services import in_words
from adapters.routers.user_objects import Read, absent, gone, read_live
from engine.errors import Rejected
from engine.model import Facts, RolloutSpec, Snapshot
from engine.traffic import RoutePlan


class HostSides:
    """Implements `adapters.routers.istio_sides.Sides`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        names = (route.stable_service, route.canary_service)
        edited = {one for name in names for one in needs.named(SERVICES, name, Verb.GET, Verb.PATCH)}
        return needs.watch(SERVICES) | edited

    async def look(self, task: Task, route: RoutePlan, version: str, read: Read) -> Look:
        facts: Facts = {}
        for side, name in (("stable", route.stable_service), ("canary", route.canary_service)):
            found = await read(task, SERVICES, name)
            if found is None:
                raise absent(task, route, SERVICES, name)
            where = f"route {route.name}: Service {name}"
            if not _selector(found):
                raise Rejected(f"{where} has no selector, so no pods stand behind it; add one")
            await _check_unpinned(task, where, name)
            before = {"selector": _selector(found), "managedFields": found["metadata"].get("managedFields") or []}
            facts[f"{route.name}.{side}_service"] = json.dumps(before)
        selects = json.loads(str(facts[f"{route.name}.stable_service"]))["selector"]
        return Look(Side(route.stable_service), Side(route.canary_service), selects, facts)

    async def pin(self, task: Task, hash_value: str) -> Done:
        return await self._select(task, "stable", task.route.stable_service, hash_value)

    async def show(self, task: Task) -> Done:
        hash_value = task.fact(task.route.workload, "canary_hash")
        return await self._select(task, "canary", task.route.canary_service, hash_value)

    async def free(self, task: Task) -> Done:
        return await self._select(task, "stable", task.route.stable_service, "")

    async def hide(self, task: Task) -> Done:
        return await self._select(task, "canary", task.route.canary_service, "")

    async def _select(self, task: Task, side: str, name: str, hash_value: str) -> Done:
        """Without a hash, as it was found. The canary's selects by the old version's labels, whatever it selected before."""
        found = await task.cluster.find(SERVICES, task.namespace, name)
        if found is None:
            return gone(task, f"Service {name}")
        before = task.json_fact(task.route.name, f"{side}_service")
        own = task.json_fact(task.route.name, "stable_service")["selector"]
        selector = {**own, HASH_LABEL: hash_value} if hash_value else before["selector"]
        change = change_of("/spec/selector", _selector(found), selector)
        if not hash_value:
            await put_back(task, SERVICES, found, change, before["managedFields"])
        elif change:
            await task.cluster.patch(SERVICES, found, change)
        return Done(f"Service {name} selects {in_words(selector)}")

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, version: str) -> list[ObjectKey]:
        cluster.watch(SERVICES, spec.plan.namespace)
        names = (route.stable_service, route.canary_service)
        return [cluster.key(SERVICES, spec.plan.namespace, name) for name in names]

    def drift(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> str:
        own = json.loads(str(snapshot.facts[f"{route.name}.stable_service"]))["selector"]
        for version, name, side in (("old", route.stable_service, "stable"), ("new", route.canary_service, "canary")):
            found = cluster.cached_object(SERVICES, spec.plan.namespace, name)
            wanted = str(snapshot.facts.get(f"{route.workload}.{side}_hash"))
            if found is None:
                return f"Service {name} was removed by somebody else; put it back and resume, or abort"
            selector = {**own, HASH_LABEL: wanted}
            if _selector(found) != selector:
                return (
                    f"the selector of Service {name} was edited by somebody else, so it is not the {version} version's alone any "
                    f"more; put {in_words(selector)} back and resume, or abort"
                )
        return ""


def _selector(service: JsonObject) -> JsonObject:
    found: JsonObject = (service.get("spec") or {}).get("selector") or {}
    return found


async def _check_unpinned(task: Task, where: str, name: str) -> None:
    live = await read_live(task, SERVICES, name)
    if (pinned := _selector(live or {}).get(HASH_LABEL)) is not None:
        raise Rejected(
            f"{where} is pinned on {HASH_LABEL}={pinned} already: another rollout uses it, or has left it so. Wait for that one, "
            "or take it out of the selector"
        )

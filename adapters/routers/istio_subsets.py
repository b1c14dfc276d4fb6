"""Two versions as subsets of the user's DestinationRule.

During a rollout the active subset selects by `pod-template-hash` too, or it would match the new version's pods; and the canary
subset has that label alone, with the traffic policy of the active one. Whatever else stands in the list of subsets is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb
from adapters.kubernetes.putting_back import change_of, put_back
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import HASH_LABEL, JsonObject
from adapters.routers.istio_objects import VERSIONS, destination_rules, place_of
from adapters.routers.istio_places import Side, service_of
from adapters.routers.istio_sides import Look
from adapters.routers.user_objects import Read, absent, gone, read_live
from engine.errors import Rejected
from engine.model import RolloutSpec, Snapshot
from engine.traffic import RoutePlan

Subsets: TypeAlias = list[JsonObject]
Edit: TypeAlias = Callable[[Subsets], Subsets]


class SubsetSides:
    """Implements `adapters.routers.istio_sides.Sides`."""

    def permissions(self, route: RoutePlan, needs: Needs) -> set[Permission]:
        rules = destination_rules(VERSIONS[0])
        return needs.watch(rules) | needs.named(rules, place_of(route).destination_rule, Verb.GET, Verb.PATCH)

    async def look(self, task: Task, route: RoutePlan, version: str, read: Read) -> Look:
        place, rules = place_of(route), destination_rules(version)
        found = await read(task, rules, place.destination_rule)
        if found is None:
            raise absent(task, route, rules, place.destination_rule)
        where = f"route {route.name}: DestinationRule {place.destination_rule}"
        host = str((found.get("spec") or {}).get("host") or "")
        _check_host(where, host, task.namespace)
        active = _active_of(where, found, place.active_subset, place.canary_subset)
        await _check_unpinned(task, where, rules, place.destination_rule, str(active["name"]))
        before = {"subsets": subsets_of(found), "managedFields": found["metadata"].get("managedFields") or []}
        facts = {f"{route.name}.active": str(active["name"]), f"{route.name}.rule": json.dumps(before)}
        stable, canary = Side(host, str(active["name"])), Side(host, place.canary_subset)
        return Look(stable, canary, active.get("labels") or {}, dict(facts))

    async def pin(self, task: Task, hash_value: str) -> Done:
        active = _active(task)
        note = f"{_rule(task)}: subset {active} is the version {hash_value} only"
        return await self._edit(task, note, lambda now: pinned(now, active, hash_value), needs=active)

    async def show(self, task: Task) -> Done:
        active, canary = _active(task), place_of(task.route).canary_subset
        hash_value = task.fact(task.route.workload, "canary_hash")
        note = f"{_rule(task)}: subset {canary} is the version {hash_value}"
        return await self._edit(task, note, lambda now: shown(now, active, canary, hash_value), needs=active)

    async def free(self, task: Task) -> Done:
        active, before = _active(task), _before(task)
        note = f"{_rule(task)}: subset {active} has its own labels again"
        return await self._undo(task, note, lambda now: freed(now, active, before))

    async def hide(self, task: Task) -> Done:
        canary, before = place_of(task.route).canary_subset, _before(task)
        note = f"{_rule(task)}: subset {canary} is as it was found"
        return await self._undo(task, note, lambda now: hidden(now, canary, before))

    async def _edit(self, task: Task, note: str, edit: Edit, *, needs: str) -> Done:
        """`needs`: the subset that has to be there for the edit to mean anything."""
        found = await _find(task)
        if found is None:
            return gone(task, _rule(task))
        now = subsets_of(found)
        if subset_called(now, needs) is None:
            return gone(task, f"subset {needs} of {_rule(task)}")
        if change := change_of("/spec/subsets", now, edit(now)):
            await task.cluster.patch(_resource(task), found, change)
        return Done(note)

    async def _undo(self, task: Task, note: str, edit: Edit) -> Done:
        found = await _find(task)
        if found is None or not (now := subsets_of(found)):
            return Done(f"{_rule(task)} has no subsets any more; there is nothing to put back")
        wanted = edit(now)
        managers = task.json_fact(task.route.name, "rule").get("managedFields") or []
        before = managers if is_clean(wanted, _hashes(task)) else None
        await put_back(task, _resource(task), found, change_of("/spec/subsets", now, wanted), before)
        return Done(note)

    def watch(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, version: str) -> list[ObjectKey]:
        rules = destination_rules(version)
        cluster.watch(rules, spec.plan.namespace)
        return [cluster.key(rules, spec.plan.namespace, place_of(route).destination_rule)]

    def drift(self, cluster: Cluster, spec: RolloutSpec, route: RoutePlan, snapshot: Snapshot) -> str:
        place, facts = place_of(route), snapshot.facts
        rules, name = destination_rules(str(facts[f"{route.name}.version"])), place.destination_rule
        found = cluster.cached_object(rules, spec.plan.namespace, name)
        if found is None:
            return f"DestinationRule {name} was removed by somebody else; put it back and resume, or abort"
        sides = (("old", str(facts[f"{route.name}.active"]), "stable"), ("new", place.canary_subset, "canary"))
        for version, subset, side in sides:
            wanted = facts.get(f"{route.workload}.{side}_hash")
            there = subset_called(subsets_of(found), subset)
            if there is None or (there.get("labels") or {}).get(HASH_LABEL) != wanted:
                return (
                    f"subset {subset} of DestinationRule {name} was edited by somebody else, so it is not the {version} "
                    f"version's alone any more; put its label {HASH_LABEL}: {wanted} back and resume, or abort"
                )
        return ""


def _rule(task: Task) -> str:
    return f"DestinationRule {place_of(task.route).destination_rule}"


def _resource(task: Task) -> ResourceRef:
    return destination_rules(task.fact(task.route.name, "version"))


async def _find(task: Task) -> JsonObject | None:
    return await task.cluster.find(_resource(task), task.namespace, place_of(task.route).destination_rule)


def _active(task: Task) -> str:
    return task.fact(task.route.name, "active")


def _before(task: Task) -> Subsets:
    found: Subsets = task.json_fact(task.route.name, "rule").get("subsets") or []
    return found


def _hashes(task: Task) -> set[str]:
    return {task.fact(task.route.workload, f"{side}_hash") for side in ("stable", "canary")}


def _check_host(where: str, host: str, namespace: str) -> None:
    service = service_of(host, namespace)
    if service is None:
        raise Rejected(
            f"{where} is for the host {host}, which is not the name of a Service; write its short name, or all of it "
            f"(name.{namespace}.svc.cluster.local)"
        )
    if service[1] != namespace:
        raise Rejected(f"{where} is for a Service in namespace {service[1]}; a rollout moves traffic in its own ({namespace})")


async def _check_unpinned(task: Task, where: str, rules: ResourceRef, name: str, active: str) -> None:
    live = await read_live(task, rules, name)
    found = subset_called(subsets_of(live or {}), active) or {}
    if (pinned := (found.get("labels") or {}).get(HASH_LABEL)) is not None:
        raise Rejected(
            f"{where}: subset {active} is pinned on {HASH_LABEL}={pinned} already: another rollout uses it, or has left it so. "
            "Wait for that one, or take the label out"
        )


def _active_of(where: str, rule: JsonObject, active: str, canary: str) -> JsonObject:
    others = [one for one in subsets_of(rule) if one.get("name") != canary]
    names = ", ".join(str(one.get("name")) for one in others) or "none"
    if active:
        found = subset_called(others, active)
        if found is None:
            raise Rejected(f"{where} has no subset {active}; its subsets are: {names}")
        return found
    if len(others) != 1:
        raise Rejected(f"{where}: which subset serves now cannot be told, there are {names}; name it with activeSubsetName")
    return others[0]


# --- the list of subsets, pure -----------------------------------------------------------------------------------------


def subsets_of(rule: JsonObject) -> Subsets:
    found: Subsets = (rule.get("spec") or {}).get("subsets") or []
    return found


def subset_called(subsets: Sequence[JsonObject], name: str) -> JsonObject | None:
    return next((one for one in subsets if one.get("name") == name), None)


def _with(subsets: Subsets, name: str, wanted: JsonObject | None) -> Subsets:
    """With this subset in the place of the one of its name: at the end if there is none, and without it for None."""
    if wanted is not None and subset_called(subsets, name) is None:
        return [*subsets, wanted]
    changed = [wanted if one.get("name") == name else one for one in subsets]
    return [one for one in changed if one is not None]


def pinned(subsets: Subsets, active: str, hash_value: str) -> Subsets:
    found = subset_called(subsets, active) or {"name": active}
    return _with(subsets, active, {**found, "labels": {**(found.get("labels") or {}), HASH_LABEL: hash_value}})


def shown(subsets: Subsets, active: str, canary: str, hash_value: str) -> Subsets:
    model = subset_called(subsets, canary) or subset_called(subsets, active) or {}
    policy = {"trafficPolicy": model["trafficPolicy"]} if "trafficPolicy" in model else {}
    return _with(subsets, canary, {"name": canary, "labels": {HASH_LABEL: hash_value}, **policy})


def freed(subsets: Subsets, active: str, before: Subsets) -> Subsets:
    """Only our label goes; what somebody else has made of the subset in the meantime stays."""
    now, then = subset_called(subsets, active), subset_called(before, active) or {}
    if now is None:
        return subsets
    labels = {key: value for key, value in (now.get("labels") or {}).items() if key != HASH_LABEL}
    bare = {key: value for key, value in now.items() if key != "labels"}
    return _with(subsets, active, {**bare, "labels": labels} if labels or "labels" in then else bare)


def hidden(subsets: Subsets, canary: str, before: Subsets) -> Subsets:
    return _with(subsets, canary, subset_called(before, canary))


def is_clean(subsets: Subsets, hashes: Collection[str]) -> bool:
    """Whether no subset is pinned on a version of ours."""
    return not any((one.get("labels") or {}).get(HASH_LABEL) in hashes for one in subsets)

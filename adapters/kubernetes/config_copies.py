"""Removes the copies of configuration (`snapshotConfig`) that no version refers to any more, at the end of a rollout.

What still refers to one: every ReplicaSet of the namespace, with pods or kept as history, every Deployment, and the version that
the rollout found, which may have to come back. A rollout that has succeeded does not fail for what is left over: the next one
tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.paths import CONFIG_KINDS, DEPLOYMENTS, REPLICA_SETS
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.model import TargetPlan
from strategies.config_references import references_of
from strategies.config_snapshots import COPY_LABEL, WORKLOADS_ANNOTATION, copied_kinds


async def remove_copies(task: Task) -> Done:
    removed: list[str] = []
    try:
        referred = set(await _referred(task))
        for resource in (CONFIG_KINDS[kind] for kind in copied_kinds(task.spec.plan.manifests)):
            for found in await task.cluster.list_objects(resource, task.namespace, labels=f"{COPY_LABEL}=true"):
                name = found["metadata"]["name"]
                if (resource.kind, name) not in referred and _is_for(found, task.spec.plan):
                    await task.cluster.delete(resource, found)
                    removed.append(f"{resource.kind} {name}")
    except ApiError as error:
        return Done(f"copies of configuration that nothing refers to any more are left for the next rollout: {error}")
    if not removed:
        return Done("no copy of configuration is left over")
    return Done(f"removed, because no version refers to it any more: {', '.join(removed)}")


async def _referred(task: Task) -> Iterator[tuple[str, str]]:
    replica_sets = await task.cluster.list_objects(REPLICA_SETS, task.namespace)
    deployments = await task.cluster.list_objects(DEPLOYMENTS, task.namespace)
    found = [task.json_fact(workload.name, "original_template") for workload in task.spec.plan.workloads]
    return _named([*(one["spec"]["template"] for one in (*replica_sets, *deployments)), *found])


def _named(templates: Iterable[JsonObject]) -> Iterator[tuple[str, str]]:
    return ((reference.kind, reference.name) for template in templates for reference in references_of(template))


def _is_for(found: JsonObject, plan: TargetPlan) -> bool:
    """Other applications in the namespace make copies for other Deployments, and may not have begun to refer to them."""
    names = (found["metadata"].get("annotations") or {}).get(WORKLOADS_ANNOTATION, "").split(",")
    return any(workload.name in names for workload in plan.workloads)

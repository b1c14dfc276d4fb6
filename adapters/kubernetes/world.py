"""Reads the clusters for the engine: from shared caches, in the engine's words, without a single request.

An observation is only called current when the caches are complete and have delivered every write of ours to the objects that it
is made of, so that no verdict ever rests on what was there before we changed it. Nor is it where one of them is not heard of any
more, except on the way back, which does not wait: it goes by what is known, and has its objects read one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from adapters.kubernetes import health
from adapters.kubernetes.cluster import Cluster, ObjectKey
from adapters.kubernetes.paths import DEPLOYMENTS, PODS, REPLICA_SETS, ResourceRef
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.wire import Deployment, Pod, ReplicaSet
from engine.bus import Bus
from engine.model import UNDOING_STATES, RolloutSpec, Snapshot, State, WorkloadPlan
from engine.observation import ObjectObservation, Observation, Template, WorkloadObservation

_WATCHED = (DEPLOYMENTS, REPLICA_SETS, PODS)
_AWAITING = (State.PREPARING, State.SCALING)
_MOST_TROUBLES = 5


class KubernetesWorld:
    """Implements `engine.ports.World`."""

    def __init__(self, clusters: Mapping[str, Cluster], routers: Routers, bus: Bus) -> None:
        self._clusters = clusters
        self._routers = routers
        self._bus = bus
        self._wakes: dict[str, Callable[[], None]] = {}
        self._keys: dict[str, frozenset[ObjectKey]] = {}

    def attach(self, spec: RolloutSpec, wake: Callable[[], None]) -> None:
        """The account may not be logged in yet; then the rollout is woken when it is."""
        self._wakes[spec.id] = wake
        self._bus.subscribe(spec.id, [("account", spec.plan.account)], wake)
        self._watch(spec)

    def _watch(self, spec: RolloutSpec) -> Cluster | None:
        cluster = self._clusters.get(spec.plan.account)
        if cluster is not None:
            for resource in _WATCHED if spec.plan.workloads else ():
                cluster.watch(resource, spec.plan.namespace)
        return cluster

    def detach(self, spec: RolloutSpec) -> None:
        self._bus.unsubscribe(spec.id)
        self._wakes.pop(spec.id, None)
        self._keys.pop(spec.id, None)

    def observe(self, spec: RolloutSpec, snapshot: Snapshot) -> Observation:
        cluster = self._watch(spec)
        if cluster is None:
            return Observation(current=False)
        keys = self._subscribe(cluster, spec, snapshot)
        if snapshot.state in UNDOING_STATES:
            cluster.read_singly(keys)
        elif unheard := cluster.unheard(keys):
            return Observation(current=False, behind_seconds=cluster.behind_seconds, unheard=unheard)
        if not cluster.is_current(keys):
            return Observation(current=False, behind_seconds=cluster.behind_seconds)
        workloads = {
            workload.name: _Reading(cluster, spec, snapshot, workload).observe()
            for workload in spec.plan.workloads
            if not _is_finished(snapshot, workload.name)
        }
        routes = {
            route.name: self._routers.of(route).observe(cluster, spec, route, snapshot) for route in spec.plan.routes
        }
        drift = _drift(snapshot, workloads) or next((route.drift for route in routes.values() if route.drift), "")
        objects = _objects(cluster, spec, snapshot)
        return Observation(True, workloads, routes, drift, objects, cluster.behind_seconds)

    def _subscribe(self, cluster: Cluster, spec: RolloutSpec, snapshot: Snapshot) -> frozenset[ObjectKey]:
        """The objects that the rollout looks at, which grow as their names become known."""
        namespace, keys = spec.plan.namespace, set[ObjectKey]()
        for workload in spec.plan.workloads:
            keys.add(cluster.key(DEPLOYMENTS, namespace, workload.name))
            names = [str(snapshot.facts.get(f"{workload.name}.{side}") or "") for side in ("stable_name", "canary_name")]
            keys.update(cluster.key(REPLICA_SETS, namespace, name) for name in names if name)
            keys.update(cluster.key(REPLICA_SETS, namespace, name) for name in _history(snapshot, workload.name))
        for _, resource, name in _awaited(spec, snapshot):
            cluster.watch(resource, namespace)
            keys.add(cluster.key(resource, namespace, name))
        for route in spec.plan.routes:
            keys.update(self._routers.of(route).watch(cluster, spec, route, snapshot))
        wanted = frozenset(keys)
        if spec.id in self._wakes and self._keys.get(spec.id) != wanted:
            self._keys[spec.id] = wanted
            self._bus.subscribe(spec.id, wanted, self._wakes[spec.id])
        return wanted


def _awaited(spec: RolloutSpec, snapshot: Snapshot) -> Iterator[tuple[str, ResourceRef, str]]:
    """The supporting objects whose pods are waited for: (key of the manifest, kind, name). Looked at while that matters."""
    for manifest in spec.plan.manifests if snapshot.state in _AWAITING else ():
        if manifest.awaited:
            body = json.loads(manifest.content)
            resource = health.resource_of(body["apiVersion"], body["kind"])
            if resource is not None:
                yield manifest.key, resource, body["metadata"]["name"]


def _is_finished(snapshot: Snapshot, workload: str) -> bool:
    """Whether it was applied whole, without a canary, and has come up: what becomes of it is no longer this rollout's."""
    applied = snapshot.facts.get(f"{workload}.mode") in ("create", "apply")
    return applied and snapshot.state not in (State.WAITING, State.PREPARING, State.SCALING)


def _objects(cluster: Cluster, spec: RolloutSpec, snapshot: Snapshot) -> dict[str, ObjectObservation]:
    found = {
        key: cluster.cached_health(resource, spec.plan.namespace, name)
        for key, resource, name in _awaited(spec, snapshot)
    }
    return {key: ObjectObservation(one.settled) for key, one in found.items() if one is not None}


class _Reading:
    """One workload of one rollout, read from the caches."""

    def __init__(self, cluster: Cluster, spec: RolloutSpec, snapshot: Snapshot, workload: WorkloadPlan) -> None:
        self._cluster = cluster
        self._namespace = spec.plan.namespace
        self._facts = snapshot.facts
        self._name = workload.name
        self._deployment: Deployment | None = cluster.cached_deployment(self._namespace, workload.name)
        self._stable = self._replica_set("stable_name")
        self._canary = self._replica_set("canary_name")
        names = _history(snapshot, workload.name)
        cached = [cluster.cached_replica_set(self._namespace, name) for name in names]
        self._history = [one for one in cached if one is not None]

    def observe(self) -> WorkloadObservation:
        found, stable, canary = self._deployment, self._stable, self._canary
        pods = self._canary_pods()
        return WorkloadObservation(
            exists=found is not None,
            desired=found.replicas if found is not None else 0,
            paused=found is not None and found.paused,
            frozen=found is not None and found.paused and found.is_observed,
            template=self._template(),
            rolled_out=found is not None and _is_rolled_out(found),
            stable_replicas=stable.current if stable is not None else 0,
            stable_available=self._stable_available(),
            stable_owned=stable is not None and self._owns(stable),
            history_owned=sum(self._owns(one) for one in self._history),
            owned_available=found.available if found is not None else 0,
            canary_exists=canary is not None,
            canary_desired=canary.replicas if canary is not None else 0,
            canary_replicas=canary.current if canary is not None else sum(not pod.is_leaving for pod in pods),
            canary_available=canary.available if canary is not None else 0,
            canary_owned=canary is not None and self._owns(canary),
            recognised=self._is_recognised(),
            trouble=_troubles(pods),
        )

    def _replica_set(self, fact: str) -> ReplicaSet | None:
        name = self._facts.get(f"{self._name}.{fact}")
        return self._cluster.cached_replica_set(self._namespace, str(name)) if name else None

    def _canary_pods(self) -> list[Pod]:
        """None where nothing is heard of pods: they would never be seen to go, and an abort would wait for ever. They go with
        their ReplicaSet; and before anything of the user's selects them again, the API server is asked whether one is left
        (`adapters.kubernetes.endpoints`)."""
        if self._cluster.watch(PODS, self._namespace).unheard is not None:
            return []
        name = self._facts.get(f"{self._name}.canary_name")
        return self._cluster.cached_pods(self._namespace, str(name)) if name else []

    def _template(self) -> Template:
        if self._deployment is None:
            return Template.FOREIGN
        there = self._deployment.template_digest
        if there == self._facts.get(f"{self._name}.new_digest"):
            return Template.NEW
        original = self._facts.get(f"{self._name}.original_digest")
        return Template.ORIGINAL if original is None or there == original else Template.FOREIGN

    def _stable_available(self) -> int:
        """As its ReplicaSet says, and not more than its Deployment does. We write the Deployment, and its cache is waited for;
        that of the ReplicaSet may be from before pods went."""
        found, stable = self._deployment, self._stable
        if stable is None:
            return 0
        return min(stable.available, found.available) if found is not None and self._owns(stable) else stable.available

    def _owns(self, replica_set: ReplicaSet) -> bool:
        return self._deployment is not None and replica_set.owner_uid == self._deployment.uid

    def _is_recognised(self) -> bool:
        """The controller has seen the adoption, and counts exactly the canary's pods as those of the current version."""
        found, canary = self._deployment, self._canary
        if found is None or canary is None or not found.is_observed or not self._owns(canary):
            return False
        return found.updated == canary.current and canary.revision == found.revision


def _history(snapshot: Snapshot, workload: str) -> list[str]:
    """The names of the workload's older versions."""
    return [name for name in str(snapshot.facts.get(f"{workload}.history") or "").split(",") if name]


def _is_rolled_out(found: Deployment) -> bool:
    complete = found.updated == found.replicas and found.current == found.updated
    return found.is_observed and complete and found.available >= found.replicas


def _troubles(pods: list[Pod]) -> tuple[str, ...]:
    sentences = [f"pod {pod.name}: {reason}" for pod in pods if (reason := pod.trouble)]
    return tuple(sorted(sentences)[:_MOST_TROUBLES])


def _drift(snapshot: Snapshot, workloads: Mapping[str, WorkloadObservation]) -> str:
    """Edits by somebody else between the first look and the end, which make it unsafe to go on."""
    if snapshot.state in (State.WAITING, State.PREPARING, State.FINALISING, State.VERIFYING):
        return ""
    for name, seen in workloads.items():
        if snapshot.facts.get(f"{name}.mode") != "canary" or f"unfreeze:{name}" in snapshot.begun:
            continue
        if not seen.exists:
            return f"Deployment {name} was removed by somebody else"
        if not seen.paused and _is_frozen(snapshot, name):
            return f"Deployment {name} was unpaused by somebody else while its new version is being tested"
        if seen.template is Template.FOREIGN:
            return f"the template of Deployment {name} was edited by somebody else"
    return ""


def _is_frozen(snapshot: Snapshot, name: str) -> bool:
    """Whether the Deployment was read back as paused. A late freeze is only known to be over when what follows it has begun."""
    begun = f"freeze:{name}" in snapshot.begun
    return begun and (snapshot.state is not State.PROMOTING or f"replace-template:{name}" in snapshot.begun)

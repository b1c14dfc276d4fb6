"""The embedded cluster without its HTTP server: the storage, the controllers and the one node, running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from adapters.embedded.autoscaler_controller import AutoscalerController
from adapters.embedded.controllers import ControllerLoop, Reconciler
from adapters.embedded.deployment_controller import DeploymentController
from adapters.embedded.endpoint_controller import EndpointController
from adapters.embedded.garbage_collector import GarbageCollector
from adapters.embedded.job_controller import JobController
from adapters.embedded.kubelet import Kubelet
from adapters.embedded.other_workloads import other_workload_controllers
from adapters.embedded.ownership import OwnerIndex
from adapters.embedded.pods import PodRuntime, SimulatedPodRuntime
from adapters.embedded.replicaset_controller import ReplicaSetController
from adapters.embedded.resources import PODS, REPLICA_SETS
from adapters.embedded.storage import Storage
from engine.clock import Clock


@dataclass(frozen=True, slots=True)
class ControlPlane:
    storage: Storage
    kubelet: Kubelet
    controllers: ControllerLoop


@asynccontextmanager
async def run_control_plane(
    clock: Clock,
    new_uid: Callable[[], str],
    *,
    pods: PodRuntime | None = None,
    history: int = 10_000,
    extend: Callable[[Storage], Sequence[Reconciler]] = lambda storage: (),
) -> AsyncIterator[ControlPlane]:
    """A control plane that runs until the block ends; its pods are simulated unless a runtime is given. `extend`: makes the
    controllers that somebody has installed beside Kubernetes's own."""
    storage = Storage(clock.now, new_uid, history)
    replica_sets, owned_pods = OwnerIndex(storage, REPLICA_SETS), OwnerIndex(storage, PODS)
    loop = ControllerLoop(
        [
            # Before the Deployments, so that these find their ReplicaSets counted.
            ReplicaSetController(storage, owned_pods, clock.now),
            DeploymentController(storage, replica_sets, owned_pods, clock.now),
            *other_workload_controllers(storage, owned_pods),
            EndpointController(storage),
            JobController(storage, owned_pods, clock.now),
            AutoscalerController(storage),
            GarbageCollector(storage),
            *extend(storage),
        ],
        clock,
    )
    async with anyio.create_task_group() as tasks:
        kubelet = Kubelet(storage, pods or SimulatedPodRuntime(clock), clock.now, tasks)
        storage.subscribe(loop.notice)
        storage.subscribe(kubelet.notice)
        tasks.start_soon(loop.run, name="controllers")
        try:
            yield ControlPlane(storage, kubelet, loop)
        finally:
            tasks.cancel_scope.cancel()

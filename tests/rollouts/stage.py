"""A daemon's parts around an embedded cluster, and the words in which its stories are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random

import anyio
from msgspec.structs import replace

from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.istio_definitions import ISTIO_VERSIONS
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from adapters.embedded.traefik_definitions import TRAEFIK_GROUP
from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import Cluster, WatchScope, open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.templates import REVISION_ANNOTATION
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.world import KubernetesWorld
from adapters.routers.active_service import ActiveServiceRouter
from adapters.routers.custom import CustomRouter
from adapters.routers.gateway import GatewayRouter
from adapters.routers.ingress_nginx import IngressNginxRouter
from adapters.routers.istio import IstioRouter
from adapters.routers.pod_ratio import PodRatioRouter
from adapters.routers.smi import SmiRouter
from adapters.routers.traefik import TraefikRouter
from engine.bus import Bus
from engine.clock import Clock, SystemClock
from engine.daemon import Engine, start_engine
from engine.events import ActionSucceeded, Measured, Measurements, MeasureOutcome
from engine.gates import step_of
from engine.model import (
    FINAL_STATUSES,
    Action,
    ActionKind,
    Analysis,
    Release,
    ReleasePlan,
    ReleaseStatus,
    RolloutSpec,
    Snapshot,
    State,
)
from engine.observation import Observation
from engine.ports import Commit, Store
from engine.traffic import RouterKind
from store.sqlite import open_store
from strategies.canary import CanaryStrategy
from tests.builders import Names, deployment, service
from tests.invariants import Journal
from tests.rollouts.rights import Rights
from tests.rollouts.traffic_watch import TrafficWatch


class CheckedStore:
    """Feeds every commit to the invariants on its way to the real store."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def commit(self, commit: Commit) -> None:
        await self._store.commit(commit)
        self._journal.check(commit)

    async def update_release(self, release: Release) -> None:
        await self._store.update_release(release)
        self._journal.notify()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class MeasuredActuator:
    """Answers measurements as the story says, and leaves everything else to the cluster."""

    def __init__(self, cluster: KubernetesActuator, journal: Journal, error_rate: Mapping[str, float]) -> None:
        self._cluster = cluster
        self._journal = journal
        self._error_rate = error_rate

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        self._journal.check_action(spec.id, action.number)
        if action.kind is ActionKind.PREPARE_METRICS:
            return ActionSucceeded(action.number)
        if action.kind is not ActionKind.MEASURE:
            return await self._cluster.perform(spec, snapshot, action)
        step = step_of(spec.plan, str(action.args["gate"]))
        assert isinstance(step, Analysis)
        value = self._error_rate.get(spec.plan.namespace, 0.0)
        results = tuple(Measured(query.name, MeasureOutcome.VALUE, value) for query in step.queries)
        return Measurements(action.number, results)


class Stage:
    restart: Callable[[], Awaitable[None]]
    """Ends the daemon's engine and caches, and begins anew with what the store says."""

    def __init__(
        self,
        embedded: EmbeddedCluster,
        engine: Engine,
        cluster: Cluster,
        store: Store,
        journal: Journal,
        error_rate: dict[str, float],
    ) -> None:
        self.embedded = embedded
        self.storage = embedded.storage
        self.engine = engine
        self.store = store
        self.journal = journal
        self.cluster = cluster
        self.error_rate = error_rate
        self.traffic = TrafficWatch(embedded.storage, journal)
        self.rights = Rights(embedded, ROUTERS, watches_all=cluster.scope is WatchScope.CLUSTER)

    async def until(self, condition: Callable[[], bool], within: float = 20.0) -> None:
        """Woken by every commit of the engine and, as nothing tells of the cluster here, every few milliseconds."""
        with anyio.fail_after(within):
            while not condition():
                with anyio.move_on_after(0.02):
                    await self.journal.changed.wait()

    async def observe(self, release: str = "r1", *, begun: Sequence[str] = ()) -> Observation:
        """What the daemon sees now of a release's only rollout; or would see if it had begun these actions too."""
        (stored,) = await self.store.rollouts(release)
        snapshot = replace(stored.snapshot, begun=(*stored.snapshot.begun, *begun))
        return KubernetesWorld({"embedded": self.cluster}, ROUTERS, Bus()).observe(stored.spec, snapshot)

    async def until_state(self, state: State, rollout: str = "r1.production") -> Snapshot:
        snapshots = self.journal.snapshots
        await self.until(lambda: rollout in snapshots and snapshots[rollout].state is state)
        return snapshots[rollout]

    async def until_ended(self, release: str = "r1", within: float = 30.0) -> Release:
        with anyio.move_on_after(within):
            while True:
                changed = self.journal.changed  # Taken before the look, so that no change falls between the two.
                found = await self.store.release(release)
                if found is not None and found.status in FINAL_STATUSES:
                    return found
                await changed.wait()
        raise AssertionError(f"{release} did not end within {within:g} s:\n{await self.tell(release)}")

    async def tell(self, release: str) -> str:
        """Where the release's rollouts stand and how they got there: for a test that fails."""
        lines = [f"{entry.seq} {entry.event}: {entry.destination}: {entry.text}" for entry in await self.store.journal(release)]
        for stored in await self.store.rollouts(release):
            at = stored.snapshot
            lines.append(f"{stored.spec.id}: {at.state}, action {at.action}, next {at.procedure[at.cursor :][:1]}, {at.timers}")
        lines.extend(f"{informer.what}: {informer.trouble or 'healthy'}" for informer in self.cluster.informers)
        return "\n".join(lines)

    async def submit(self, plan: ReleasePlan) -> Release:
        self.rights.grant(plan.targets)
        return await self.engine.submit(plan, by="a test", source="test")

    async def roll_out(self, plan: ReleasePlan) -> ReleaseStatus:
        release = await self.submit(plan)
        return (await self.until_ended(release.id)).status

    # --- the cluster ---------------------------------------------------------------------------------------------------

    async def live(self, *, namespace: str = "shop", name: str = "web", image: str = "web:1", replicas: int = 3) -> None:
        """The application as it is before the story begins: a complete Deployment and its Service."""
        self.install(namespace, name, image, replicas)
        await self.until(lambda: self.status(namespace, name, "availableReplicas") == replicas)

    def install(self, namespace: str, name: str, image: str, replicas: int) -> None:
        if self.storage.find(NAMESPACES, None, namespace) is None:
            self.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        self.storage.create(SERVICES, service(name, namespace=namespace), manager="kubectl")
        body = deployment(name, image=image, replicas=replicas, namespace=namespace)
        self.storage.create(DEPLOYMENTS, body, manager="kubectl")

    def deployment(self, namespace: str = "shop", name: str = "web") -> JsonObject:
        return self.storage.get(DEPLOYMENTS, namespace, name)

    def status(self, namespace: str, name: str, count: str) -> int:
        found = self.storage.peek(DEPLOYMENTS, namespace, name)
        return int(found.get("status", {}).get(count, 0)) if found is not None else 0

    def pods(self, namespace: str = "shop", image: str | None = None) -> list[JsonObject]:
        pods = [pod for pod in self.storage.list(PODS, namespace) if not pod["metadata"].get("deletionTimestamp")]
        return [pod for pod in pods if image in (None, pod["spec"]["containers"][0]["image"])]

    @property
    def splits(self) -> Resource:
        return next(one for one in self.storage.registry if one.kind == "TrafficSplit")

    @property
    def istio(self) -> list[Resource]:
        kinds = ("VirtualService", "DestinationRule")
        return [one for one in self.storage.registry.kinds() if one.kind in kinds]

    @property
    def profiles(self) -> list[Resource]:
        """Linkerd's ServiceProfile, where there is one."""
        return [one for one in self.storage.registry.kinds() if one.kind == "ServiceProfile"]

    @property
    def routed(self) -> list[Resource]:
        """The kinds of the other routers that name Services."""
        kinds = ("Ingress", "TraefikService", "WeightedRoute", "HTTPRoute", "GRPCRoute")
        return [one for one in self.storage.registry.kinds() if one.kind in kinds]

    def picture(self, namespace: str = "shop") -> dict[str, JsonObject]:
        """Everything in the namespace that people and we write, without what only counts versions."""
        kinds = [DEPLOYMENTS, SERVICES, CONFIG_MAPS, self.splits, *self.istio, *self.profiles, *self.routed]
        found = {f"{one['kind']}/{one['metadata']['name']}": one for kind in kinds for one in self.storage.list(kind, namespace)}
        return {name: without_versions(body) for name, body in found.items()}

    def ours(self, namespace: str = "shop") -> list[str]:
        """What is in the namespace with our label, annotation or field manager."""
        kinds = (DEPLOYMENTS, REPLICA_SETS, SERVICES, CONFIG_MAPS, self.splits, *self.istio, *self.profiles, *self.routed)
        bodies = [body for kind in kinds for body in self.storage.list(kind, namespace)]
        return [f"{one['kind']}/{one['metadata']['name']}" for one in bodies if "headgate" in str(one["metadata"])]


def without_versions(body: JsonObject) -> JsonObject:
    metadata = {k: v for k, v in body["metadata"].items() if k not in ("resourceVersion", "generation", "managedFields")}
    if "annotations" in metadata:
        # A version that was live again after another one has a new number in its controller's count.
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != REVISION_ANNOTATION}
    return {**{k: v for k, v in body.items() if k != "status"}, "metadata": metadata}


ROUTERS = Routers(
    {
        RouterKind.SMI: SmiRouter(),
        RouterKind.ISTIO: IstioRouter(),
        RouterKind.GATEWAY_API: GatewayRouter(),
        RouterKind.INGRESS_NGINX: IngressNginxRouter(),
        RouterKind.TRAEFIK: TraefikRouter(),
        RouterKind.CUSTOM: CustomRouter(),
        RouterKind.POD_RATIO: PodRatioRouter(),
        RouterKind.SERVICE: ActiveServiceRouter(),
    }
)


def _embedded(
    clock: SystemClock,
    numbers: Iterator[int],
    split_versions: Sequence[str],
    istio_versions: Sequence[str],
    traefik_groups: Sequence[str],
    gateway_channel: GatewayChannel | None,
    linkerd: bool,
) -> AbstractAsyncContextManager[EmbeddedCluster]:
    def new_uid() -> str:
        return f"uid-{next(numbers)}"

    return run_embedded_cluster(
        clock,
        new_uid,
        split_versions=split_versions,
        istio_versions=istio_versions,
        traefik_groups=traefik_groups,
        gateway_channel=gateway_channel,
        takes_up_routes=gateway_channel is not None,
        linkerd=linkerd,
    )


@asynccontextmanager
async def stage(
    path: Path,
    *,
    scope: WatchScope = WatchScope.CLUSTER,
    split_versions: Sequence[str] = ("v1alpha2", "v1alpha4"),
    istio_versions: Sequence[str] = ISTIO_VERSIONS,
    traefik_groups: Sequence[str] = (TRAEFIK_GROUP,),
    gateway_channel: GatewayChannel | None = None,
    linkerd: bool = False,
    found: Callable[[EmbeddedCluster, Store, Journal], Awaitable[None]] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Stage]:
    """One embedded cluster as account `embedded`, and one daemon's engine on a store under `path`. `gateway_channel`: with the
    Gateway API, and a controller that takes up its routes. `found`: what is there already when the daemon comes up. `clock`: the
    daemon's."""
    # What is found has uids of its own already.
    numbers = count(1) if found is None else count(1_000_000)
    clock, journal, names = clock or SystemClock(), Journal(), Names()
    async with AsyncExitStack() as stack:
        running = _embedded(SystemClock(), numbers, split_versions, istio_versions, traefik_groups, gateway_channel, linkerd)
        embedded = await stack.enter_async_context(running)
        store = await stack.enter_async_context(open_store(path / "headgate.db"))
        if found is not None:
            await found(embedded, store, journal)
        error_rate: dict[str, float] = {}
        life = await stack.enter_async_context(AsyncExitStack())

        async def begin() -> tuple[Engine, Cluster]:
            bus = Bus()
            transport = await life.enter_async_context(open_transport(await load_kubeconfig_content(embedded.kubeconfig())))
            opening = open_cluster("embedded", transport, bus, clock=clock, random=Random(1), scope=scope)
            cluster = await life.enter_async_context(opening)
            actuator = KubernetesActuator({"embedded": cluster}, ROUTERS, AccessReviews(clock))
            checked: Store = CheckedStore(store, journal)  # type: ignore[assignment]
            starting = start_engine(
                store=checked,
                clock=clock,
                strategy=CanaryStrategy(),
                world=KubernetesWorld({"embedded": cluster}, ROUTERS, bus),
                actuator=MeasuredActuator(actuator, journal, error_rate),
                new_id=names.new_id,
                new_secret=names.new_secret,
            )
            return await life.enter_async_context(starting), cluster

        told = Stage(embedded, *await begin(), store, journal, error_rate)

        async def restart() -> None:
            await life.aclose()
            told.engine, told.cluster = await begin()

        told.restart = restart
        yield told
        told.traffic.raise_violations()

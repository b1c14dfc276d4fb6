"""Opens the way to the clusters and the metric providers that the settings name, or to a rehearsal of one release.

A daemon is patient: an account whose login fails (a broken plugin, a missing kubeconfig) is tried again and holds up nobody else.
A command in the foreground is not: whoever stands before the terminal wants to know at once.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TypeAlias
from uuid import uuid4

import aiohttp
import anyio
import structlog

from adapters.cli.composition import EMBEDDED_PROVIDER, Connected, EmbeddedOptions
from adapters.embedded.rehearsal import Rehearsal, RehearsalImpossible, rehearse
from adapters.hooks.templates import TemplateError, render_query
from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import Cluster, WatchScope, open_cluster
from adapters.kubernetes.credentials import Credentials, load_in_cluster, load_kubeconfig, load_kubeconfig_content
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.service_proxy import ServiceProxies
from adapters.kubernetes.templates import JsonObject
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.world import KubernetesWorld
from adapters.leadership import UNDISPUTED, Leadership
from adapters.metrics.configured import access_of, build_provider
from adapters.metrics.effects import EffectChecker
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.measuring import Measurer, QueryNotRendered
from adapters.metrics.outcome import MetricProvider
from adapters.metrics.sampler import EndpointSource
from adapters.metrics.scrape import ScrapeProvider
from adapters.routers.active_service import ActiveServiceRouter
from adapters.routers.custom import CustomRouter
from adapters.routers.gateway import GatewayRouter
from adapters.routers.ingress_nginx import IngressNginxRouter
from adapters.routers.istio import IstioRouter
from adapters.routers.pod_ratio import PodRatioRouter
from adapters.routers.smi import SmiRouter
from adapters.routers.traefik import TraefikRouter
from adapters.settings import AccountSettings, ScrapeSettings, Settings
from engine.bus import Bus
from engine.clock import Clock
from engine.errors import ClusterUnreachable
from engine.events import ActionSucceeded, Measurements
from engine.model import Action, ActionKind, Analysis, RolloutSpec, Snapshot
from engine.traffic import RouterKind

log = structlog.get_logger()

PATIENCE_SECONDS = 15.0
REHEARSAL_SCRAPE_SECONDS = 0.5


class _Actuator:
    """Implements `engine.ports.Actuator`: measurements for the providers, everything else for the clusters."""

    def __init__(self, clusters: KubernetesActuator, measurer: Measurer, clock: Clock) -> None:
        self._clusters = clusters
        self._measurer = measurer
        self._effects = EffectChecker(measurer, clock)

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        if action.kind is ActionKind.MEASURE:
            return await self._measurer.measure(spec, snapshot, action)
        if action.kind is ActionKind.PREPARE_METRICS:
            return await self._measurer.prepare(spec, snapshot, action)
        if action.kind is ActionKind.CHECK_EFFECT:
            return await self._effects.perform(spec, snapshot, action)
        return await self._clusters.perform(spec, snapshot, action)


Providers: TypeAlias = Mapping[str, MetricProvider]


def routers() -> Routers:
    """Every router that this Headgate has."""
    return Routers(
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


@dataclass(frozen=True, slots=True)
class _Way:
    """What all clusters have in common."""

    bus: Bus
    clock: Clock
    leadership: Leadership = UNDISPUTED


@asynccontextmanager
async def connect(
    settings: Settings,
    embedded: EmbeddedOptions | None,
    clock: Clock,
    *,
    patient: bool = False,
    leadership: Leadership = UNDISPUTED,
) -> AsyncIterator[Connected]:
    """Implements `adapters.cli.composition.Connect`. `leadership` is asked before each write. Raises `ClusterUnreachable`
    unless it is patient."""
    clusters = dict[str, Cluster]()
    way = _Way(Bus(), clock, leadership)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        rehearsal = await _rehearse(stack, embedded, clock)
        accounts = {name: found for name, found in settings.accounts.items() if name not in rehearsal.clusters}
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        for account, cluster in rehearsal.clusters.items():
            credentials = await load_kubeconfig_content(cluster.kubeconfig())
            clusters[account] = await _open(stack, account, credentials, way, WatchScope.CLUSTER)
        for account, found in accounts.items():
            if patient:
                tasks.start_soon(_keep_trying, account, found, clusters, way, name=f"account {account}")
            else:
                await _open_account(stack, account, found, clusters, way)
        providers = await _open_providers(stack, settings, rehearsal, session, clock)
        everybody = frozenset(accounts) | frozenset(rehearsal.clusters)
        yield _join(clusters, everybody, providers, way, settings.public_url)


@asynccontextmanager
async def connect_clusters(
    kubeconfigs: Mapping[str, JsonObject], providers: Providers, clock: Clock, public_url: str | None = None
) -> AsyncIterator[Connected]:
    """The way to clusters whose kubeconfigs are at hand, by account, with providers that run already."""
    way, clusters = _Way(Bus(), clock), dict[str, Cluster]()
    async with AsyncExitStack() as stack:
        for account, kubeconfig in kubeconfigs.items():
            credentials = await load_kubeconfig_content(kubeconfig)
            clusters[account] = await _open(stack, account, credentials, way, WatchScope.CLUSTER)
        yield _join(clusters, frozenset(clusters), providers, way, public_url)


def _join(
    clusters: Mapping[str, Cluster],
    accounts: frozenset[str],
    providers: Providers,
    way: _Way,
    public_url: str | None,
) -> Connected:
    known, clock = routers(), way.clock
    kubernetes = KubernetesActuator(clusters, known, AccessReviews(clock), accounts, public_url=public_url)
    actuator = _Actuator(kubernetes, Measurer(providers, _render), clock)
    return Connected(KubernetesWorld(clusters, known, way.bus), actuator, ServiceProxies(clusters))


async def _rehearse(stack: AsyncExitStack, embedded: EmbeddedOptions | None, clock: Clock) -> Rehearsal:
    if embedded is None:
        return Rehearsal({})
    try:
        return await stack.enter_async_context(rehearse(embedded.plan, clock, lambda: str(uuid4()), linkerd=embedded.linkerd))
    except RehearsalImpossible as error:
        raise ClusterUnreachable(f"the embedded cluster cannot rehearse this file: {error}") from error


# --- accounts ----------------------------------------------------------------------------------------------------------


async def _open(
    stack: AsyncExitStack, account: str, credentials: Credentials, way: _Way, scope: WatchScope
) -> Cluster:
    transport = await stack.enter_async_context(open_transport(credentials, leadership=way.leadership))
    return await stack.enter_async_context(
        open_cluster(
            account,
            transport,
            way.bus,
            clock=way.clock,
            random=Random(),
            scope=scope,
            behind_seconds=way.leadership.behind_seconds(account),
        )
    )


async def log_in(settings: AccountSettings) -> Credentials:
    """Raises `ApiError`."""
    if settings.in_cluster:
        return await load_in_cluster()
    return await load_kubeconfig(settings.kubeconfig, settings.context)


@asynccontextmanager
async def open_account(account: str, settings: AccountSettings, clock: Clock) -> AsyncIterator[Cluster]:
    """One account alone, logged in and not asked anything yet. Raises `ClusterUnreachable`."""
    async with AsyncExitStack() as stack:
        try:
            credentials = await log_in(settings)
            cluster = await _open(stack, account, credentials, _Way(Bus(), clock), WatchScope(settings.watch))
        except ApiError as error:
            raise ClusterUnreachable(f"account {account}: {error}") from error
        yield cluster


async def _open_account(
    stack: AsyncExitStack,
    account: str,
    settings: AccountSettings,
    clusters: dict[str, Cluster],
    way: _Way,
) -> None:
    try:
        credentials = await log_in(settings)
        cluster = await _open(stack, account, credentials, way, WatchScope(settings.watch))
        await cluster.transport.request("GET", "/version", what="GET /version")
    except ApiError as error:
        raise ClusterUnreachable(f"account {account}: {error}") from error
    clusters[account] = cluster


async def _keep_trying(account: str, settings: AccountSettings, clusters: dict[str, Cluster], way: _Way) -> None:
    async with AsyncExitStack() as stack:
        while account not in clusters:
            try:
                credentials = await log_in(settings)
                clusters[account] = await _open(stack, account, credentials, way, WatchScope(settings.watch))
            except ApiError as error:
                log.warning("account.unreachable", account=account, error=str(error), again_in_s=PATIENCE_SECONDS)
                await way.clock.sleep(PATIENCE_SECONDS)
        way.bus.publish_to_all()
        await anyio.sleep_forever()


# --- metric providers --------------------------------------------------------------------------------------------------


async def _open_providers(
    stack: AsyncExitStack, settings: Settings, rehearsal: Rehearsal, session: aiohttp.ClientSession, clock: Clock
) -> Providers:
    providers: dict[str, MetricProvider] = {}
    for name, found in settings.metric_providers.items():
        if not isinstance(found, ScrapeSettings):
            providers[name] = build_provider(found, session, clock, os.environ)
            continue
        pages = tuple(Endpoint(url) for url in found.urls)
        access = access_of(found, os.environ)
        scraper = ScrapeProvider(session, _fixed(pages), clock, interval_s=found.interval, access=access)
        providers[name] = await stack.enter_async_context(scraper)
    if rehearsal.metrics_urls:
        simulated = tuple(Endpoint(url) for url in rehearsal.metrics_urls)
        rehearsed = ScrapeProvider(session, _fixed(simulated), clock, interval_s=REHEARSAL_SCRAPE_SECONDS)
        providers[EMBEDDED_PROVIDER] = await stack.enter_async_context(rehearsed)
    return providers


def _fixed(endpoints: tuple[Endpoint, ...]) -> EndpointSource:
    return lambda: endpoints


def _render(
    template: str, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, end: datetime
) -> str:
    try:
        return render_query(template, spec, snapshot, step, start, end)
    except TemplateError as error:
        raise QueryNotRendered(str(error)) from error

"""The demo from its start to its end: one embedded cluster with served pods, Envoy, load, and a rollout by the real engine.

Everything is in one process tree, on loopback and in one temporary directory; leaving the scenario removes all of it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import aiohttp
import anyio
import anyio.abc
from aiohttp import web

from adapters.cli.composition import Connect, Connected, EmbeddedOptions, Running, compose
from adapters.cli.connecting import Providers, connect_clusters
from adapters.dataplane.envoy import Envoy
from adapters.dataplane.load import LoadGenerator
from adapters.demo.integration_test import TestService
from adapters.demo.mesh import Mesh
from adapters.demo.served_pods import ServedPods
from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.rehearsal import install_previous, wait_until_live
from adapters.http.callbacks import Callbacks
from adapters.metrics.endpoint import Endpoint
from adapters.metrics.scrape import ScrapeProvider
from adapters.settings import Settings
from engine.clock import Clock, SystemClock
from engine.errors import HeadgateError
from engine.model import ReleasePlan
from strategies.deployfile import Problems, SourceText, compile_release, parse_deploy_text

ACCOUNT = "demo"
NAMESPACE = "harbour"
ROOT = "web"
CANARY_SERVICE = "web-canary"
PROVIDER = "mesh"
REQUESTS_PER_SECOND = 240.0
SCRAPE_SECONDS = 0.5
BAD_ERROR_RATIO = "0.05"
"""What `headgate demo --bad` ships: one answer in twenty is a 500."""


@dataclass(frozen=True, slots=True)
class Scenario:
    plan: ReleasePlan
    running: Running
    cluster: EmbeddedCluster
    envoy: Envoy
    load: LoadGenerator


class DemoBroken(HeadgateError):
    """The demo's own deploy file cannot be used: the installation is damaged."""


def load_plan(tests_url: str, *, bad: bool) -> ReleasePlan:
    text = (resources.files("adapters.demo") / "deploy.yaml").read_text("utf-8")
    if bad:
        text = text.replace('error-ratio: "0.0"', f'error-ratio: "{BAD_ERROR_RATIO}"')
    loaded = parse_deploy_text(text, "deploy.yaml", _read_nothing)
    plan = compile_release(loaded, context={"tests": tests_url})
    if isinstance(plan, Problems):
        raise DemoBroken("; ".join(str(problem) for problem in plan.errors))
    return plan


def _read_nothing(path: str) -> list[SourceText]:
    raise DemoBroken(f"the demo's deploy file has everything inline, and asks for {path}")


@asynccontextmanager
async def play(*, bad: bool) -> AsyncIterator[Scenario]:
    """Everything up and running, the old version under load; the rollout is the caller's to submit."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headgate-demo-")))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        listening = socket.create_server(("127.0.0.1", 0))
        public_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        plan = load_plan(public_url, bad=bad)
        envoy = await stack.enter_async_context(Envoy())
        cluster = await _start_cluster(stack, clock, envoy, plan, tasks)
        settings = Settings(source=None, store=folder / "headgate.db", socket=folder / "s", public_url=public_url)
        connect = _connection(cluster, envoy, session)
        running = await stack.enter_async_context(compose(settings, connect=connect, embedded=EmbeddedOptions(plan)))
        test_service = TestService(session, envoy.url, CANARY_SERVICE, tasks)
        routes = [*Callbacks(running.service).routes(), *test_service.routes()]
        await stack.enter_async_context(_serve(listening, routes))
        load = await stack.enter_async_context(LoadGenerator(envoy.url, ROOT, rate=REQUESTS_PER_SECOND))
        yield Scenario(plan, running, cluster, envoy, load)


async def _start_cluster(
    stack: AsyncExitStack, clock: Clock, envoy: Envoy, plan: ReleasePlan, tasks: anyio.abc.TaskGroup
) -> EmbeddedCluster:
    pods = ServedPods(clock)
    stack.push_async_callback(pods.close)
    cluster = await stack.enter_async_context(run_embedded_cluster(clock, lambda: str(uuid4()), pods=pods))
    mesh = Mesh(cluster.storage, envoy, NAMESPACE)
    pods.leave = mesh.leave
    tasks.start_soon(mesh.run, name="mesh")
    install_previous(cluster, plan.targets[0], tag="1.0")
    await wait_until_live(cluster, clock)
    return cluster


def _connection(cluster: EmbeddedCluster, envoy: Envoy, session: aiohttp.ClientSession) -> Connect:
    @asynccontextmanager
    async def connect(
        settings: Settings, embedded: EmbeddedOptions | None, clock: Clock
    ) -> AsyncIterator[Connected]:
        page = (Endpoint(envoy.stats_url),)
        async with ScrapeProvider(session, lambda: page, clock, interval_s=SCRAPE_SECONDS) as provider:
            providers: Providers = {PROVIDER: provider}
            async with connect_clusters({ACCOUNT: cluster.kubeconfig()}, providers, clock) as connected:
                yield connected

    return connect


@asynccontextmanager
async def _serve(listening: socket.socket, routes: list[web.RouteDef]) -> AsyncIterator[None]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    try:
        yield
    finally:
        await runner.cleanup()

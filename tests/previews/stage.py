"""A daemon on an embedded cluster whose pods are real HTTP servers, and visitors of its previews."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
from aiohttp import web

from adapters.access import Token
from adapters.cli.composition import Connected, EmbeddedOptions, Running, compose
from adapters.cli.connecting import connect_clusters
from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pods import PodPhase, PodReport, PodRuntime, Report, SimulatedPodRuntime
from adapters.embedded.resources import DEPLOYMENTS, NAMESPACES, SERVICES
from adapters.http.server import serve_api
from adapters.settings import AccountSettings, Address, CommandSettings, SecretReference, Settings
from engine.clock import Clock, SystemClock
from engine.model import FINAL_STATUSES, Release, ReleasePlan, Snapshot, State, Step
from tests.builders import deployment, release_plan, service, target_plan
from tests.http.stage import until

TOKEN_HASH = "0" * 64


@dataclass
class Visited:
    """What the pods were asked."""

    requests: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last(self) -> tuple[str, str, dict[str, str], str]:
        return self.requests[-1]


class WebPods:
    """Implements `adapters.embedded.pods.PodRuntime`: pods with a port are servers, all others are simulated."""

    def __init__(self, clock: Clock, visited: Visited) -> None:
        self._simulated: PodRuntime = SimulatedPodRuntime(clock)
        self._visited = visited
        self._runners: dict[str, web.AppRunner] = {}

    async def run(self, pod: JsonObject, report: Report) -> None:
        container = pod["spec"]["containers"][0]
        if not container.get("ports"):
            await self._simulated.run(pod, report)
            return
        application = web.Application()
        version = container["image"].rpartition(":")[2]

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, version)

        application.router.add_route("*", "/{tail:.*}", answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._runners[metadata_of(pod)["uid"]] = runner
        port: int = runner.addresses[0][1]
        report(PodReport(PodPhase.READY, "127.0.0.1", {container["ports"][0]["containerPort"]: port}))

    async def stop(self, pod: JsonObject) -> None:
        if (runner := self._runners.pop(metadata_of(pod)["uid"], None)) is not None:
            await runner.cleanup()
        else:
            await self._simulated.stop(pod)

    async def close(self) -> None:
        for runner in self._runners.values():
            await runner.cleanup()

    async def _answer(self, request: web.Request, version: str) -> web.StreamResponse:
        body = await request.text()
        self._visited.requests.append((request.method, request.raw_path, dict(request.headers), body))
        match request.path:
            case "/redirect":
                return web.Response(status=302, headers={"Location": "/login?next=/", "Set-Cookie": "session=1"})
            case "/missing":
                return web.json_response({"kind": "Page", "message": "not here"}, status=404)
            case "/stream":
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await response.prepare(request)
                await response.write(b"data: 1\n\n")
                await self._visited.gate.wait()
                await response.write(b"data: 2\n\n")
                return response
            case _:
                return web.Response(text=f"version {version}\n", headers={"X-Version": version})


@dataclass
class Stage:
    running: Running
    cluster: EmbeddedCluster
    visited: Visited
    http: aiohttp.ClientSession
    public_url: str
    release: str = ""

    async def submit(self, plan: ReleasePlan) -> Release:
        return await self.running.engine.submit(plan, by="a test", source="test")

    @property
    def snapshot(self) -> Snapshot:
        (stored,) = self.running.engine.rollouts(self.release)
        return stored.snapshot

    async def begin(self, *steps: Step) -> str:
        """Submit a rollout with these steps; the release's id."""
        self.release = (await self.submit(release_plan(target_plan(steps, settle=0.05)))).id
        return self.release

    async def until_state(self, state: State) -> Snapshot:
        async def reached() -> bool:
            return self.snapshot.state is state

        await until(reached)
        return self.snapshot

    async def until_ended(self) -> Release:
        async def ended() -> bool:
            found = await self.running.service.store.release(self.release)
            return found is not None and found.status in FINAL_STATUSES

        await until(ended)
        found = await self.running.service.store.release(self.release)
        assert found is not None
        return found

    async def outputs(self) -> list[str]:
        entries = await self.running.service.store.journal(self.release)
        return [str(entry.detail["output"]) for entry in entries if "output" in entry.detail]

    async def reason(self) -> str:
        return (await self.running.service.store.rollouts(self.release))[0].snapshot.reason


@asynccontextmanager
async def stage(
    path: Path,
    *,
    commands: Mapping[str, Sequence[str]] | None = None,
    secrets: dict[str, SecretReference] | None = None,
    is_public: bool = True,
    clock: Clock | None = None,
) -> AsyncIterator[Stage]:
    """With version 1 of Deployment and Service `web` live in namespace `shop`."""
    clock, visited, numbers = clock or SystemClock(), Visited(), count(1)
    async with AsyncExitStack() as stack:
        pods = WebPods(clock, visited)
        stack.push_async_callback(pods.close)
        cluster = await stack.enter_async_context(run_embedded_cluster(clock, lambda: f"uid-{next(numbers)}", pods=pods))
        cluster.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        cluster.storage.create(SERVICES, service())
        cluster.storage.create(DEPLOYMENTS, deployment(image="web:1"))
        port = _free_port()
        public_url = f"http://127.0.0.1:{port}"

        @asynccontextmanager
        async def connect(settings: Settings, embedded: EmbeddedOptions | None, clock: Clock) -> AsyncIterator[Connected]:
            kubeconfigs = {"embedded": cluster.kubeconfig()}
            async with connect_clusters(kubeconfigs, {}, clock, settings.public_url) as connected:
                yield connected

        settings = Settings(
            source=None,
            store=path / "headgate.db",
            socket=path / "headgate.sock",
            listen=Address("127.0.0.1", port),
            tokens=(Token(name="ci", sha256=TOKEN_HASH),),
            public_url=public_url if is_public else None,
            accounts={"embedded": AccountSettings()},
            commands={name: CommandSettings(argv=tuple(argv)) for name, argv in (commands or {}).items()},
            secrets=secrets or {},
        )
        running = await stack.enter_async_context(compose(settings, connect=connect))
        await stack.enter_async_context(serve_api(running.application, settings.socket, settings.listen))
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        told = Stage(running, cluster, visited, http, public_url)

        async def live() -> bool:
            found = cluster.storage.get(DEPLOYMENTS, "shop", "web")
            return bool(found.get("status", {}).get("availableReplicas") == 3)

        await until(live)
        yield told


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def job_manifest(log: str) -> str:
    container = {"name": "test", "image": "tests:1", "args": ["{{armory.preview.web-canary}}"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    notes = {"embedded.headgate.dev/log": log}
    spec = {"backoffLimit": 0, "template": {"metadata": {"annotations": notes}, "spec": pod}}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "smoke"}, "spec": spec})

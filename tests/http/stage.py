"""A real daemon in this process: the composition's own parts on a Unix socket, with a model instead of clusters."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from adapters.access import Token
from adapters.cli.composition import Connected, EmbeddedOptions, Running, compose
from adapters.http.bodies import Accepted, RolloutBody, SourceBody, SubmitBody
from adapters.http.certificates import ServerCertificate
from adapters.http.client import DaemonClient, SocketPlace, TcpPlace
from adapters.http.server import serve_api
from adapters.settings import (
    AccountSettings,
    Address,
    CommandSettings,
    ListenTlsSettings,
    PrometheusSettings,
    SecretReference,
    Settings,
)
from engine.clock import Clock
from engine.model import FINAL_STATUSES, ReleaseStatus, State
from tests.engine.model_world import ModelWorld
from tests.invariants import Journal

DEADLINE_SECONDS = 20.0

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: "web:2"}]
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""

APPROVAL = "pause: {untilApproved: true}"
WEBHOOK = "runWebhook: {name: smoke}"


def percent(weight: float) -> str:
    return f"setWeight: {{weight: {weight}}}"


def deploy_text(
    *steps: str,
    application: str = "shop",
    targets: Sequence[str] = ("production",),
    account: str = "model",
    mesh: bool = False,
    url: str = "http://127.0.0.1:9/hook",
    in_progress: str = "reject",
) -> str:
    """A deploy file with these steps, one target after the other; without a mesh, because that takes fewer actions."""
    lines = ["version: v1", f"application: {application}", "description: the shop's web", "targets:"]
    for index, target in enumerate(targets):
        namespace = target if application == "shop" else f"{application}-{target}"
        lines += [f"  {target}:", f"    account: {account}", f"    namespace: {namespace}", "    strategy: gentle"]
        if index:
            lines.append(f"    constraints: {{dependsOn: [{targets[index - 1]}]}}")
    lines += ["manifests:", "  - path: web.yaml", "deploymentConfig:", "  settle: {duration: 0, unit: seconds}"]
    lines.append(f"  ifDeploymentInProgress: {{strategy: {in_progress}}}")
    lines += ["strategies:", "  gentle:", "    canary:", "      steps:", *(f"        - {step}" for step in steps)]
    if any("analysis" in step for step in steps):
        lines += ["analysis:", "  defaultMetricProviderName: metrics", "  queries:"]
        lines.append("    - {name: errors, upperLimit: 0.1, queryTemplate: errors}")
    if any("runWebhook" in step for step in steps):
        lines += ["webhooks:", "  - name: smoke", "    method: POST", f"    uriTemplate: {url}"]
        lines.append('    bodyTemplate: {inline: \'{"back": "{{armory.callbackUri}}/callback"}\'}')
    if mesh:
        lines += ["trafficManagement:", "  - smi: [{rootServiceName: web}]"]
    return "\n".join(lines) + "\n"


def submission(*steps: str, **options: Any) -> SubmitBody:
    manifests = {"web.yaml": [SourceBody("web.yaml", MANIFEST + (SERVICE if options.get("mesh") else ""))]}
    return SubmitBody(name="deploy.yaml", text=deploy_text(*steps, **options), manifests=manifests)


def write_files(folder: Path, *steps: str, **options: Any) -> Path:
    """The same as files on disk; returns the deploy file."""
    (folder / "web.yaml").write_text(MANIFEST + (SERVICE if options.get("mesh") else ""))
    path = folder / "deploy.yaml"
    path.write_text(deploy_text(*steps, **options))
    return path


def token(name: str, **options: Any) -> Token:
    """Somebody whose secret is `the-NAME-token`."""
    return Token(name=name, sha256=hashlib.sha256(_secret(name).encode()).hexdigest(), **options)


def _secret(name: str) -> str:
    return f"the-{name}-token"


def over_tcp(daemon: Daemon, name: str) -> DaemonClient:
    """A client that holds the token of that name."""
    return DaemonClient(TcpPlace(f"http://{daemon.address}", _secret(name)))


class _Trusting(Journal):
    """The order of journal and action is checked where the store can be seen; here it is a real one."""

    def check_action(self, rollout: str, number: int) -> None: ...


@dataclass
class Stage:
    """What outlives a daemon: its store, its socket's name, and the world."""

    folder: Path
    tokens: tuple[Token, ...] = ()
    listen: Address | None = None
    public_url: str | None = None
    tls: ListenTlsSettings | None = None
    world: ModelWorld = field(default_factory=lambda: ModelWorld(lag=0.02, journal=_Trusting()))

    @property
    def settings(self) -> Settings:
        provider = PrometheusSettings(type="prometheus", url="http://127.0.0.1:9")
        return Settings(
            source=None,
            store=self.folder / "headgate.db",
            socket=self.folder / "headgate.sock",
            listen=self.listen,
            tls=self.tls,
            tokens=self.tokens,
            public_url=self.public_url,
            accounts={"model": AccountSettings()},
            metric_providers={"metrics": provider},
            commands={"smoke": CommandSettings(argv=("true",))},
            secrets={"hook-key": SecretReference(env="HOOK_KEY")},
        )

    @property
    def place(self) -> SocketPlace:
        return SocketPlace(self.settings.socket)

    @asynccontextmanager
    async def connect(
        self, settings: Settings, embedded: EmbeddedOptions | None, clock: Clock
    ) -> AsyncIterator[Connected]:
        yield Connected(self.world, self.world)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Daemon]:
        settings = self.settings
        certificate = ServerCertificate(settings.tls) if settings.tls is not None else None
        async with (
            compose(settings, connect=self.connect) as running,
            serve_api(running.application, settings.socket, settings.listen, certificate) as address,
            DaemonClient(self.place) as client,
        ):
            yield Daemon(running, client, address, certificate)


@dataclass
class Daemon:
    """A running daemon, and a client of it."""

    running: Running
    client: DaemonClient
    address: Address | None
    certificate: ServerCertificate | None = None

    async def submit(self, *steps: str, **options: Any) -> Accepted:
        return await self.client.submit(submission(*steps, **options))

    async def rollout(self, release: str, target: str = "production") -> RolloutBody:
        detail = await self.client.release(release)
        return next(rollout for rollout in detail.rollouts if rollout.target == target)

    async def until_state(self, release: str, state: State, target: str = "production") -> RolloutBody:
        async def reached() -> bool:
            return (await self.rollout(release, target)).state is state

        await until(reached)
        return await self.rollout(release, target)

    async def until_ended(self, release: str) -> ReleaseStatus:
        """Until the end is on disk, and the application free for its next release."""

        async def has_ended() -> bool:
            return (await self.client.release(release)).release.status in FINAL_STATUSES

        await until(has_ended)
        return (await self.client.release(release)).release.status


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(DEADLINE_SECONDS):
        while not await condition():
            await anyio.sleep(0.01)

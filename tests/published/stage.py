"""A whole daemon, one embedded cluster for each account that a file names, and people with and without roles.

Pods with ports are real HTTP servers; the API is served over TCP; webhooks and metric providers are called over HTTP. Only
time is not left to itself: what nothing but time ends is skipped.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import aiohttp
import anyio

from adapters.access import Token
from adapters.cli.composition import Connect, Connected, EmbeddedOptions, Running, compose
from adapters.cli.connecting import connect_clusters
from adapters.cli.files import Choices, compile_plan, load
from adapters.cli.orders import bundle
from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.rehearsal import install_previous, wait_until_live
from adapters.embedded.resources import PODS, SERVICES
from adapters.embedded.storage import Storage
from adapters.http.bodies import Accepted, CommandBody, RolloutBody
from adapters.http.client import DaemonClient, TcpPlace
from adapters.http.server import serve_api
from adapters.metrics.configured import build_provider
from adapters.settings import (
    AccountSettings,
    Address,
    CommandSettings,
    NewRelicSettings,
    PrometheusSettings,
    ScrapeSettings,
    SecretReference,
    Settings,
)
from engine.clock import Clock
from engine.events import CommandKind
from engine.gates import step_of
from engine.model import (
    FINAL_STATUSES,
    Analysis,
    Pause,
    ReleasePlan,
    ReleaseStatus,
    Settle,
    State,
    TargetPlan,
    TimerName,
    Verdict,
)
from engine.ports import StoredRollout
from strategies.deployfile import LoadedFile
from tests.clocks import SkippingClock
from tests.previews.stage import Visited, WebPods
from tests.published.outside import Call, Outside, outside

BEFORE = "before"
"""The tag of the images that are live when a story begins."""
KEY = "open sesame"
"""The one secret of the settings."""
ADMIN, SAILOR = "the-admin", "the-sailor"
_TICK = 0.01


@dataclass
class Stage:
    running: Running
    clusters: dict[str, EmbeddedCluster]
    world: Outside
    clock: SkippingClock
    loaded: LoadedFile
    choices: Choices
    plan: ReleasePlan
    admin: DaemonClient
    """Holds the role Organization Admin."""
    sailor: DaemonClient
    """Holds none."""
    http: aiohttp.ClientSession
    release: str = ""

    async def begin(self) -> Accepted:
        accepted = await self.admin.submit(bundle(self.loaded, self.choices))
        self.release = accepted.release.id
        return accepted

    # --- what happens ----------------------------------------------------------------------------------------------------

    async def rollout(self, target: str) -> RolloutBody:
        detail = await self.admin.release(self.release)
        return next(one for one in detail.rollouts if one.target == target)

    async def until(self, condition: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
        with anyio.move_on_after(within):
            while True:
                waited_for = self._next_instant()  # Seen before the look, so that the look sees all that time would end.
                if await condition():
                    return
                if waited_for is not None:
                    self.clock.skip(max((waited_for - self.clock.now()).total_seconds(), 0.0))
                await anyio.sleep(_TICK)
        raise AssertionError(f"nothing came of it within {within:g} s:\n{await self.tell()}")

    async def until_asked(self, target: str, answers: int = 1) -> RolloutBody:
        """Until so many conditions of the target wait for a person."""

        async def asked() -> bool:
            found = await self.rollout(target)
            return sum(gate.awaits_answer for gate in found.gates) == answers

        await self.until(asked)
        return await self.rollout(target)

    async def approve(self, target: str, *, by: DaemonClient | None = None) -> None:
        await (by or self.admin).command(self.release, CommandBody(CommandKind.APPROVE, target))

    async def until_called(self, url: str, times: int = 1) -> Call:
        async def called() -> bool:
            return len(self.world.called(url)) >= times

        await self.until(called)
        return self.world.called(url)[-1]

    async def report_success(self, target: str) -> None:
        """For a called side that was not told where to report to."""

        async def taken() -> bool:
            return any(gate.called and not gate.passed for gate in self.stored(target).snapshot.gates)

        await self.until(taken)
        stored = self.stored(target)
        (token,) = [gate.callback_token for gate in stored.snapshot.gates if gate.called and not gate.passed]
        assert self.running.engine.callback(stored.spec.id, token, Verdict.PASSED, "")

    async def until_ended(self) -> ReleaseStatus:
        async def ended() -> bool:
            return (await self.admin.release(self.release)).release.status in FINAL_STATUSES

        await self.until(ended)
        return (await self.admin.release(self.release)).release.status

    async def until_state(self, target: str, state: State) -> RolloutBody:
        async def reached() -> bool:
            return (await self.rollout(target)).state is state

        await self.until(reached)
        return await self.rollout(target)

    def stored(self, target: str) -> StoredRollout:
        """As it stands; of a release that has not ended."""
        return next(one for one in self.running.engine.rollouts(self.release) if one.spec.plan.target == target)

    async def tell(self) -> str:
        entries = await self.running.service.store.journal(self.release)
        return "\n".join(f"{one.rollout} {one.seq} {one.event}: {one.destination}: {one.text}" for one in entries)

    def _next_instant(self) -> datetime | None:
        """The next that somebody waits for who waits for nothing else; None while an analysis is at work, whose answers are
        awaited on the same clock."""
        rollouts = self.running.engine.rollouts(self.release)
        if any(map(_is_measuring, rollouts)):
            return None
        return min((at for one in rollouts for at in _ends_of_waiting(one)), default=None)

    # --- the clusters ----------------------------------------------------------------------------------------------------

    def target(self, name: str) -> TargetPlan:
        return next(one for one in self.plan.targets if one.target == name)

    def storage_of(self, target: str) -> Storage:
        return self.clusters[self.target(target).account].storage

    def images(self, target: str) -> set[str]:
        """What runs in the target's namespace, by tag."""
        return self._tags(target, lambda pod: True)

    def _tags(self, target: str, is_meant: Callable[[JsonObject], bool]) -> set[str]:
        pods = self.storage_of(target).list(PODS, self.target(target).namespace)
        live = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and is_meant(pod)]
        return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in live}

    def service(self, target: str, name: str) -> JsonObject:
        return self.storage_of(target).get(SERVICES, self.target(target).namespace, name)

    def selected(self, target: str, service: str) -> set[str]:
        """The tags of the pods that a Service selects."""
        selector = self.service(target, service)["spec"]["selector"]
        return self._tags(target, lambda pod: bool(selector.items() <= pod["metadata"]["labels"].items()))

    def objects(self, target: str, kind: str) -> dict[str, JsonObject]:
        """By name."""
        storage = self.storage_of(target)
        resource = next(one for one in storage.registry.kinds() if one.kind == kind)
        return {one["metadata"]["name"]: one for one in storage.list(resource, self.target(target).namespace)}

    async def preview(self, target: str, service: str) -> str:
        """What a visitor of the preview address sees."""
        fact = f"preview.{service}"

        async def exposed() -> bool:
            return fact in self.stored(target).snapshot.facts

        await self.until(exposed)
        async with self.http.get(str(self.stored(target).snapshot.facts[fact])) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()


def _is_measuring(stored: StoredRollout) -> bool:
    """Also where an analysis has not got as far as to know when its first run is due."""
    analyses = [gate for gate in stored.snapshot.gates if isinstance(step_of(stored.spec.plan, gate.id), Analysis)]
    return any(gate.action is not None or not (gate.prepared or gate.passed) for gate in analyses)


def _ends_of_waiting(stored: StoredRollout) -> Iterator[datetime]:
    """The ends of pauses and settle times, and the next runs of analyses: what nothing but time brings on."""
    at, plan = stored.snapshot, stored.spec.plan
    if at.cursor < len(at.procedure) and isinstance(at.procedure[at.cursor], Settle) and TimerName.WAIT in at.timers:
        yield at.timers[TimerName.WAIT]
    for gate in at.gates:
        if gate.action is None and isinstance(step_of(plan, gate.id), Pause | Analysis):
            yield from gate.deadlines.values()


@asynccontextmanager
async def published(path: Path, folder: Path, *, filtered: bool = False) -> AsyncIterator[Stage]:
    """The file as it stands, and all of its targets, also where it filters them (unless `filtered`). Before, an older version is
    live everywhere."""
    loaded = load(path)
    assert loaded.document is not None
    choices = Choices(targets=() if filtered else tuple(loaded.document.targets))
    plan, clock = compile_plan(loaded, choices), SkippingClock()
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(outside())
        clusters = {account: await _cluster(stack, plan, account, clock) for account in _accounts(plan)}
        settings = _settings(folder, plan, world)
        running = await stack.enter_async_context(
            compose(settings, connect=_connect(clusters), clock=clock, open_session=world.open_session)
        )
        await stack.enter_async_context(serve_api(running.application, settings.socket, settings.listen))
        people = [DaemonClient(TcpPlace(str(settings.public_url), secret)) for secret in (ADMIN, SAILOR)]
        admin, sailor = [await stack.enter_async_context(client) for client in people]
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(running, clusters, world, clock, loaded, choices, plan, admin, sailor, http)


def _accounts(plan: ReleasePlan) -> list[str]:
    return list(dict.fromkeys(target.account for target in plan.targets))


async def _cluster(stack: AsyncExitStack, plan: ReleasePlan, account: str, clock: Clock) -> EmbeddedCluster:
    numbers, pods = count(1), WebPods(clock, Visited())
    stack.push_async_callback(pods.close)
    cluster = await stack.enter_async_context(
        run_embedded_cluster(clock, lambda: f"{account}-{next(numbers)}", pods=pods)
    )
    for target in plan.targets:
        if target.account == account:
            install_previous(cluster, target, tag=BEFORE)
    await wait_until_live(cluster, clock)
    return cluster


def _connect(clusters: dict[str, EmbeddedCluster]) -> Connect:
    @asynccontextmanager
    async def connect(settings: Settings, embedded: EmbeddedOptions | None, clock: Clock) -> AsyncIterator[Connected]:
        kubeconfigs = {account: cluster.kubeconfig() for account, cluster in clusters.items()}
        async with aiohttp.ClientSession() as session:
            providers = {
                name: build_provider(found, session, clock, os.environ)
                for name, found in settings.metric_providers.items()
                if not isinstance(found, ScrapeSettings)
            }
            async with connect_clusters(kubeconfigs, providers, clock, settings.public_url) as connected:
                yield connected

    return connect


def _settings(folder: Path, plan: ReleasePlan, world: Outside) -> Settings:
    """With everything that the files name."""
    key, port = folder / "key", _free_port()
    key.write_text(KEY)
    secret = SecretReference(file=key)
    return Settings(
        source=None,
        store=folder / "headgate.db",
        socket=folder / "headgate.sock",
        listen=Address("127.0.0.1", port),
        public_url=f"http://127.0.0.1:{port}",
        tokens=(_token(ADMIN, "Organization Admin"), _token(SAILOR)),
        accounts={account: AccountSettings() for account in _accounts(plan)},
        metric_providers={
            "lighthouse": PrometheusSettings(type="prometheus", url=world.metrics_url),
            "newrelic-prod": NewRelicSettings(
                type="newrelic", account_id=4711, api_key=secret, url=f"{world.metrics_url}/graphql"
            ),
        },
        secrets={"ci_token": secret, "sea-key": secret},
        commands={"soundings": CommandSettings(argv=(sys.executable, "-c", "print('12 fathoms')"))},
    )


def _token(secret: str, *roles: str) -> Token:
    return Token(name=secret, sha256=hashlib.sha256(secret.encode()).hexdigest(), roles=roles)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port

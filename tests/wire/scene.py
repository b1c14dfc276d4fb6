"""One application that is rolled out while clients never stop asking for it, by a daemon that is a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import CommandBody, EntryBody, ReleaseBody, SourceBody, SubmitBody
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.site import APPLY, Site, deployment, open_site, service
from tests.wire.clients import Load, Window
from tests.wire.ground import Ground
from tests.wire.ways import Way

CONNECTIONS = 8
CALM = 0.04
"""Seconds between an answer and the next request of a connection, while nothing is counted: two hundred requests a second."""
REPLICAS = 4
PRE_STOP_SECONDS, GRACE_SECONDS = 5, 12
"""As applications behind proxies are told to have it: proxies hear late of a pod that goes."""
WIRE_SECONDS = 30.0
APPROVAL: JsonObject = {"pause": {"untilApproved": True}}


@dataclass(slots=True)
class Scene:
    ground: Ground
    site: Site
    way: Way
    load: Load
    pre_stop: int = PRE_STOP_SECONDS
    patience: float = 90.0
    """Seconds in which a rollout has to come to its next place, where nothing stands in its way."""
    version: int = 1
    """The newest that was shipped: the tag of its image, and what its pods answer."""
    live: int = 1
    """The one that served everything when that was last looked at."""

    async def deploy(
        self, steps: Sequence[JsonObject], *, blue_green: JsonObject | None = None, settle: int | None = None
    ) -> str:
        """Ship the next version. The release's id. `settle`, in seconds, is as users have it who say nothing of it."""
        self.version += 1
        strategy: JsonObject = {"blueGreen": blue_green} if blue_green is not None else {"canary": {"steps": list(steps)}}
        file: JsonObject = {
            "version": "v1",
            "kind": "kubernetes",
            "application": self.site.namespace,
            "targets": {"production": {"account": "real", "namespace": self.site.namespace, "strategy": "gentle"}},
            "manifests": [{"path": "web.yaml"}],
            "strategies": {"gentle": strategy},
            "deploymentConfig": {"ifDeploymentInProgress": {"strategy": "replace"}},
        }
        if settle is not None:
            file["deploymentConfig"]["settle"] = {"duration": settle, "unit": "seconds"}
        if self.way.traffic:
            file["trafficManagement"] = self.way.traffic
        text = json.dumps(careful_deployment(f"web:{self.version}", self.pre_stop))
        body = SubmitBody("deploy.yaml", json.dumps(file), {"web.yaml": [SourceBody("web.yaml", text)]})
        async with self.site.client() as client:
            return (await client.submit(body)).release.id

    async def until_asked(self, release: str, step: int) -> None:
        """Until it waits for an answer at this step, counted from 1."""
        await self.site.until_rollout(release, lambda one: one.step == step and one.awaits_answer, within=self.patience)

    async def approve(self, release: str) -> None:
        await self.site.order(release, CommandKind.APPROVE)

    async def abort(self, release: str) -> float:
        """When it was ordered, by the wall's clock."""
        async with self.site.client() as client:
            ordered = time.time()
            await client.command(release, CommandBody(CommandKind.ABORT))
        return ordered

    async def until_ended(self, release: str, status: ReleaseStatus) -> ReleaseBody:
        ended = await self.site.until_ended(release, within=2 * self.patience)
        assert ended.status is status, await self.site.tell(release)
        return ended

    async def journal(self, release: str) -> tuple[EntryBody, ...]:
        async with self.site.client() as client:
            return (await client.journal(release)).entries

    async def until_state(self, release: str, state: State) -> None:
        """At this state or past it: a state may be too short to be met."""
        order = list(State)
        await self.site.until_rollout(release, lambda one: order.index(one.state) >= order.index(state), within=self.patience)

    async def kill_and_restart_daemon(self) -> None:
        await self.site.kill_daemon()
        await self.site.start_daemon()

    async def until_on_wire(self, share: float) -> float:
        """Wait until the data plane works by this split, 0 to 1. The loop's time at which it was seen."""
        with anyio.fail_after(WIRE_SECONDS):
            return await self.way.until_on_wire(self, share)

    async def count(self, requests: int) -> Window:
        """That many requests, or a few more, as fast as they are answered."""
        pause, each = self.load.pause, self.load.requests_each
        self.load.pause, self.load.requests_each = 0.0, 1 if self.way.per_connection else 0
        window = self.load.open_window()
        while window.requests < requests:
            await anyio.sleep(0.02)
        self.load.pause, self.load.requests_each = pause, each
        return self.load.close_window(window)


def careful_deployment(image: str, pre_stop: int = PRE_STOP_SECONDS) -> JsonObject:
    """Its pods go on serving for a while after they have left the endpoints."""
    body = deployment("web", image, REPLICAS)
    pods = body["spec"]["template"]["spec"]
    pods["terminationGracePeriodSeconds"] = GRACE_SECONDS - PRE_STOP_SECONDS + pre_stop
    pods["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": pre_stop}}}
    return body


@asynccontextmanager
async def open_scene(
    ground: Ground, way: Way, folder: Path, pre_stop: int = PRE_STOP_SECONDS
) -> AsyncIterator[Scene]:
    """The first version is live and asked for, and a daemon runs."""
    async with open_site(ground.plane, folder) as site:
        await site.start_daemon()
        for plural, body in (("services", service("web")), ("deployments", careful_deployment("web:1", pre_stop))):
            path = site.path(plural, "web")
            async with site.http.patch(path, json=body, params={"fieldManager": "kubectl"}, headers=APPLY) as answer:
                assert answer.status == 201, await answer.text()
        await site.until_live("web", REPLICAS)
        await way.prepare(ground, site)
        address, host = await way.place(ground, site)
        await until_served(address, host)
        each = 50 if way.per_connection else 0
        async with Load(
            address, host, connections=CONNECTIONS, pause=CALM, requests_each=each, by_connection=way.per_connection
        ) as load:
            yield Scene(ground, site, way, load, pre_stop)


async def until_served(address: tuple[str, int], host: str) -> None:
    """Until the data plane has heard of the application: before that nobody is promised anything."""
    with anyio.fail_after(WIRE_SECONDS):
        while True:
            async with Load(address, host, connections=1, pause=0.05) as load:
                await load.expect(lambda _: True)
                if not load.all.failed:
                    return
            await anyio.sleep(0.1)

"""The demo's pods: each is a real HTTP server on loopback, and ends only when no client can choose it any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

from adapters.dataplane.applications import Application
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pods import PodPhase, PodReport, Report, seconds
from engine.clock import Clock

BOOT_SECONDS = 0.6

Leave = Callable[[tuple[str, int]], Awaitable[None]]
"""Returns when the mesh sends nothing new to the address."""


class ServedPods:
    """Implements `adapters.embedded.pods.PodRuntime`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[str, Application] = {}
        self._seeds = count(1)
        self.leave: Leave | None = None

    async def run(self, pod: JsonObject, report: Report) -> None:
        report(PodReport(PodPhase.STARTING))
        await self._clock.sleep(BOOT_SECONDS)
        container = pod["spec"]["containers"][0]
        version = container["image"].rpartition(":")[2]
        application = Application(version, error_ratio=seconds(pod, "error-ratio", 0.0), seed=next(self._seeds))
        await application.start()
        self._running[metadata_of(pod)["uid"]] = application
        host, port = application.address
        report(PodReport(PodPhase.READY, host, {container["ports"][0]["containerPort"]: port}))

    async def stop(self, pod: JsonObject) -> None:
        application = self._running.pop(metadata_of(pod)["uid"], None)
        if application is None:
            return
        if self.leave is not None:
            await self.leave(application.address)
        await application.stop()

    async def close(self) -> None:
        for application in self._running.values():
            await application.stop(grace=0.0)
        self._running.clear()

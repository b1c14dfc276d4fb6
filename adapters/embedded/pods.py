"""Pods: the port behind which they run, and simulated ones whose boot, readiness and failures are written in annotations.

    embedded.headgate.dev/boot-seconds          how long until it is ready (default 0.05)
    embedded.headgate.dev/ready: "never"        starts and never becomes ready
    embedded.headgate.dev/image-pull: "fail"    waits in ImagePullBackOff
    embedded.headgate.dev/crash-loop: "true"    crashes at every start, in CrashLoopBackOff between
    embedded.headgate.dev/crash-after-seconds   ready first, crashes then, and is in a crash loop from there on
    embedded.headgate.dev/terminate-seconds     how long it takes to end (default 0.05)

An image with the tag `missing` or `crash` does the same as the annotations for it. This module knows no storage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Protocol

from adapters.embedded.json_objects import JsonObject, metadata_of
from engine.clock import Clock

PREFIX = "embedded.headgate.dev/"
DEFAULT_SECONDS = 0.05


class PodPhase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    CRASHED = "crashed"
    IMAGE_MISSING = "image missing"


@dataclass(frozen=True, slots=True)
class PodReport:
    """What a runtime says of a pod."""

    phase: PodPhase
    ip: str = ""
    ports: dict[int, int] = field(default_factory=dict)
    """Where a container port is really listened on, when that is another port (pods that share one address)."""
    message: str = ""


Report = Callable[[PodReport], None]


class PodRuntime(Protocol):
    """Runs pods. Each call is a task of its own."""

    async def run(self, pod: JsonObject, report: Report) -> None:
        """Start the pod and report what becomes of it. Returns when there is nothing more to say; cancelled when it ends."""

    def stop(self, pod: JsonObject) -> Awaitable[None]:
        """End the pod gracefully, after it has left the endpoints."""


class SimulatedPodRuntime:
    """Pods that exist only as what they report."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count(1)

    async def run(self, pod: JsonObject, report: Report) -> None:
        ip = self._next_ip()
        report(PodReport(PodPhase.STARTING, ip))
        await self._clock.sleep(seconds(pod, "boot-seconds", DEFAULT_SECONDS))
        tags = {container["image"].rpartition(":")[2] for container in pod["spec"]["containers"]}
        if setting(pod, "image-pull") == "fail" or "missing" in tags:
            image = pod["spec"]["containers"][0]["image"]
            report(PodReport(PodPhase.IMAGE_MISSING, ip, message=f'Back-off pulling image "{image}"'))
        elif setting(pod, "ready") == "never":
            report(PodReport(PodPhase.UNREADY, ip))
        elif setting(pod, "crash-loop") == "true" or "crash" in tags:
            await self._crash_for_ever(pod, report, ip)
        else:
            report(PodReport(PodPhase.READY, ip))
            if after := setting(pod, "crash-after-seconds"):
                await self._clock.sleep(float(after))
                await self._crash_for_ever(pod, report, ip)

    async def _crash_for_ever(self, pod: JsonObject, report: Report, ip: str) -> None:
        wait = 0.2
        while True:
            report(PodReport(PodPhase.CRASHED, ip, message="back-off restarting failed container"))
            await self._clock.sleep(wait)
            wait = min(wait * 2, 300.0)

    async def stop(self, pod: JsonObject) -> None:
        await self._clock.sleep(seconds(pod, "terminate-seconds", DEFAULT_SECONDS))

    def _next_ip(self) -> str:
        number = next(self._numbers)
        return f"10.244.{number // 250 % 256}.{number % 250 + 2}"


def setting(pod: JsonObject, name: str) -> str:
    return str((metadata_of(pod).get("annotations") or {}).get(PREFIX + name, ""))


def seconds(pod: JsonObject, name: str, otherwise: float) -> float:
    text = setting(pod, name)
    return float(text) if text else otherwise

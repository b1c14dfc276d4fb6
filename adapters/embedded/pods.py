"""Pods: the port behind which they run, and simulated ones whose boot, readiness and failures are written in annotations.

    embedded.headgate.dev/boot-seconds          how long until it is ready (default 0.05)
    embedded.headgate.dev/ready: "never"        starts and never becomes ready
    embedded.headgate.dev/image-pull: "fail"    waits in ImagePullBackOff
    embedded.headgate.dev/crash-loop: "true"    crashes at every start, in CrashLoopBackOff between
    embedded.headgate.dev/crash-after-seconds   ready first, crashes then, and is in a crash loop from there on
    embedded.headgate.dev/terminate-seconds     how long it takes to end (default 0.05)
    embedded.headgate.dev/run-seconds           of a pod that is to end (restartPolicy Never or OnFailure): how long it runs
    embedded.headgate.dev/exit-code             and what it ends with (default 0)
    embedded.headgate.dev/log                   what it prints: adapters/embedded/pod_logs.py

A pod that is not restarted always (one of a Job) ends by itself, a moment after others would be ready.

An image with the tag `missing` or `crash` does the same as the annotations for it. A pod whose annotations make no sense never
starts: it waits in CreateContainerConfigError, with a message that says which one and why. This module knows no storage.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Protocol

import structlog

from adapters.embedded.json_objects import JsonObject, metadata_of, name_of, namespace_of
from engine.clock import Clock

log = structlog.get_logger()

PREFIX = "embedded.headgate.dev/"
DEFAULT_SECONDS = 0.05


class PodSettingError(Exception):
    """An annotation of a pod that makes no sense; the message names it and says what was expected."""


class PodPhase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    CRASHED = "crashed"
    IMAGE_MISSING = "image missing"
    MISCONFIGURED = "misconfigured"
    BROKEN = "broken"
    ENDED = "ended"
    FAILED = "failed"
    """It has ended by itself, and not with 0."""
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class PodReport:
    """What a runtime says of a pod."""

    phase: PodPhase
    ip: str = ""
    ports: dict[int, int] = field(default_factory=dict)
    """Where a container port is really listened on, when that is another port (pods that share one address)."""
    message: str = ""
    exit_code: int = 0


Report = Callable[[PodReport], None]


class PodRuntime(Protocol):
    """Runs pods. Each call is a task of its own."""

    async def run(self, pod: JsonObject, report: Report) -> None:
        """Start the pod and report what becomes of it. Returns when there is nothing more to say; cancelled when it ends.

        Raises:
            PodSettingError: it cannot be started as it is described.
        """

    def stop(self, pod: JsonObject) -> Awaitable[None]:
        """End the pod gracefully, after it has left the endpoints."""


async def run_guarded(runtime: PodRuntime, pod: JsonObject, report: Report) -> None:
    """Run a pod; one that cannot be run waits with the reason in its status, and harms nobody else."""
    address = ""

    def note(said: PodReport) -> None:
        nonlocal address
        address = said.ip or address
        report(said)

    try:
        await runtime.run(pod, note)
    except PodSettingError as error:
        report(PodReport(PodPhase.MISCONFIGURED, address, message=str(error)))
    except Exception as error:
        log.exception("embedded.pod_failed", pod=name_of(pod), namespace=namespace_of(pod))
        report(PodReport(PodPhase.BROKEN, address, message=f"{type(error).__name__}: {error}"))


async def stop_guarded(runtime: PodRuntime, pod: JsonObject) -> None:
    """End a pod; one that cannot be ended in order ends all the same."""
    try:
        await runtime.stop(pod)
    except PodSettingError as error:
        log.warning("embedded.pod_ends_at_once", pod=name_of(pod), namespace=namespace_of(pod), why=str(error))
    except Exception:
        log.exception("embedded.pod_end_failed", pod=name_of(pod), namespace=namespace_of(pod))


class SimulatedPodRuntime:
    """Pods that exist only as what they report."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = count(1)

    async def run(self, pod: JsonObject, report: Report) -> None:
        ip = self._next_ip()
        report(PodReport(PodPhase.STARTING, ip))
        boots, crashes = seconds(pod, "boot-seconds", DEFAULT_SECONDS), seconds(pod, "crash-after-seconds", math.inf)
        seconds(pod, "terminate-seconds", DEFAULT_SECONDS)
        await self._clock.sleep(boots)
        tags = {container["image"].rpartition(":")[2] for container in pod["spec"]["containers"]}
        if setting(pod, "image-pull") == "fail" or "missing" in tags:
            image = pod["spec"]["containers"][0]["image"]
            report(PodReport(PodPhase.IMAGE_MISSING, ip, message=f'Back-off pulling image "{image}"'))
        elif setting(pod, "ready") == "never":
            report(PodReport(PodPhase.UNREADY, ip))
        elif setting(pod, "crash-loop") == "true" or "crash" in tags:
            await self._crash(pod, report, ip)
        elif pod["spec"].get("restartPolicy", "Always") != "Always":
            await self._run_to_its_end(pod, report, ip)
        else:
            report(PodReport(PodPhase.READY, ip))
            if crashes < math.inf:
                await self._clock.sleep(crashes)
                await self._crash_for_ever(pod, report, ip)

    async def _run_to_its_end(self, pod: JsonObject, report: Report, ip: str) -> None:
        code = int(seconds(pod, "exit-code", 0))
        report(PodReport(PodPhase.READY, ip))
        await self._clock.sleep(seconds(pod, "run-seconds", DEFAULT_SECONDS))
        if code == 0:
            report(PodReport(PodPhase.ENDED, ip))
        else:
            await self._crash(pod, report, ip, code)

    async def _crash(self, pod: JsonObject, report: Report, ip: str, code: int = 1) -> None:
        if pod["spec"].get("restartPolicy") == "Never":
            report(PodReport(PodPhase.FAILED, ip, exit_code=code))
        else:
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
    """A number of an annotation, 0 or more.

    Raises:
        PodSettingError: it is something else.
    """
    text = setting(pod, name)
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise PodSettingError(f"the annotation {PREFIX}{name} is {text!r}, not a number of 0 or more; correct it in the template")
    return value

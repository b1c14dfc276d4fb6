"""Pods that serve: each is a real HTTP server on its pod's own address, and ends as a pod of a real cluster does.

What is deleted leaves the endpoints at once, but proxies hear of it later. So it goes on serving for as long as its preStop
hook sleeps, as the template of a careful application says; then it is told to end, lets each client go after its answer, and is
cut off when its grace period is over.
"""

from __future__ import annotations

from itertools import count

import anyio

from adapters.dataplane.applications import Application
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pods import PodPhase, PodReport, Report, seconds

BOOT_SECONDS = 0.3
PORT = 8080
GRACE_SECONDS = 30.0


class ServingPods:
    """Implements `adapters.embedded.pods.PodRuntime`."""

    def __init__(self) -> None:
        self._running: dict[str, Application] = {}
        self._numbers = count(1)

    async def run(self, pod: JsonObject, report: Report) -> None:
        number = next(self._numbers)
        address = f"10.244.{number // 250 % 256}.{number % 250 + 2}"
        report(PodReport(PodPhase.STARTING, address))
        await anyio.sleep(seconds(pod, "boot-seconds", BOOT_SECONDS))
        version = pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        ratio = seconds(pod, "error-ratio", 0.0)
        async with Application(version, error_ratio=ratio, seed=number, endpoint=(address, PORT)) as application:
            self._running[metadata_of(pod)["uid"]] = application
            report(PodReport(PodPhase.READY, address))
            await anyio.sleep_forever()

    async def stop(self, pod: JsonObject) -> None:
        application = self._running.pop(metadata_of(pod)["uid"], None)
        if application is None:
            return
        sleeps = pre_stop_seconds(pod)
        await anyio.sleep(sleeps)
        grace = metadata_of(pod).get("deletionGracePeriodSeconds", GRACE_SECONDS)
        # Half a second before a kubelet would kill it.
        await application.stop(max(grace - sleeps - 0.5, 0.0))


def pre_stop_seconds(pod: JsonObject) -> float:
    hook = (pod["spec"]["containers"][0].get("lifecycle") or {}).get("preStop") or {}
    return float((hook.get("sleep") or {}).get("seconds", 0))

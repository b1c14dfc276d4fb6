"""Pods that take their time, and that fall ill while there is trouble with pods."""

from __future__ import annotations

import asyncio
from itertools import count

import anyio

from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pods import PodPhase, PodReport, Report
from tests.simulation.dice import Dice, Trouble

BROKEN = "broken"
"""The tag of a version whose pods never become ready."""


class SimulatedPods:
    """Implements `adapters.embedded.pods.PodRuntime`."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._numbers = count(1)
        self._reports: dict[str, tuple[Report, str]] = {}
        self.calm = False
        self.troubled = 0

    async def run(self, pod: JsonObject, report: Report) -> None:
        random, number = self._dice.of("pods' times"), next(self._numbers)
        ip = f"10.244.{number // 250 % 256}.{number % 250 + 2}"
        report(PodReport(PodPhase.STARTING, ip))
        await anyio.sleep(random.choice([0.2, 1.0, 3.0, 10.0]))
        if any(one["image"].endswith(f":{BROKEN}") for one in pod["spec"]["containers"]):
            while True:
                report(PodReport(PodPhase.CRASHED, ip, message="back-off restarting failed container"))
                await anyio.sleep(20.0)
        while not self.calm and self._dice.happens(Trouble.PODS, 0.1):
            self.troubled += 1
            report(PodReport(PodPhase.UNREADY, ip))
            await anyio.sleep(random.choice([1.0, 30.0, 120.0]))
        report(PodReport(PodPhase.READY, ip))
        self._reports[metadata_of(pod)["uid"]] = (report, ip)
        await anyio.sleep_forever()

    async def stop(self, pod: JsonObject) -> None:
        self._reports.pop(metadata_of(pod)["uid"], None)
        await anyio.sleep(self._dice.of("pods' times").choice([0.1, 1.0, 5.0]))

    def fall_ill(self) -> None:
        """One of the pods that are ready is not so for a while, or crashes and starts again."""
        if not self._reports:
            return
        random = self._dice.of("ill pods")
        uid = random.choice(sorted(self._reports))
        report, ip = self._reports[uid]
        self.troubled += 1
        report(PodReport(random.choice([PodPhase.UNREADY, PodPhase.CRASHED]), ip, message="out of memory"))
        asyncio.get_running_loop().call_later(random.choice([0.5, 5.0, 60.0]), self._get_well, uid)

    def lose_node(self) -> list[str]:
        """About half of the pods that are ready are not so, all at once. Their uids: in the end they are evicted."""
        random = self._dice.of("lost nodes")
        lost = [uid for uid in sorted(self._reports) if random.random() < 0.5]
        for uid in lost:
            report, ip = self._reports.pop(uid)
            self.troubled += 1
            report(PodReport(PodPhase.UNREADY, ip, message="the node was lost"))
        return lost

    def _get_well(self, uid: str) -> None:
        if uid in self._reports:
            report, ip = self._reports[uid]
            report(PodReport(PodPhase.READY, ip))

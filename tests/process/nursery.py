"""Starts a daemon as a process again and again, each time the one before was killed, until its rollouts have ended.

The daemon is the real engine on a real store, and it is killed with SIGKILL: once before and once after each action is sent, and
once after the commit by which each state is entered. Which deaths it has died is kept in a file. Everything is imported before
the fork, so that a restart costs milliseconds; the child shares nothing else with its parent.

    python -m tests.process.nursery KUBECONFIG STORE DEATHS PLANS [--immortal]
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec
import structlog

from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.cluster import open_cluster
from adapters.kubernetes.credentials import load_kubeconfig
from adapters.kubernetes.transport import open_transport
from adapters.kubernetes.world import KubernetesWorld
from engine.bus import Bus
from engine.clock import SystemClock
from engine.daemon import start_engine
from engine.events import ActionSucceeded, Command, CommandKind, Measured, Measurements, MeasureOutcome
from engine.gates import step_of
from engine.model import FINAL_STATUSES, Action, ActionKind, Analysis, ReleasePlan, RolloutSpec, Snapshot
from engine.orders import awaits_answer
from engine.ports import Commit
from store.sqlite import SqliteStore, open_store
from strategies.canary import CanaryStrategy
from tests.rollouts.stage import ROUTERS

BAD_NAMESPACE = "bad"


class Deaths:
    """The deaths that were died, one a line. Each is died once."""

    def __init__(self, path: Path, *, immortal: bool) -> None:
        self._path = path
        self._died = set(path.read_text("utf-8").split("\n")) if path.exists() else set()
        self._immortal = immortal

    def die(self, how: str) -> None:
        if self._immortal or how in self._died:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(how + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


class MortalActuator:
    def __init__(self, actuator: KubernetesActuator, deaths: Deaths) -> None:
        self._actuator = actuator
        self._deaths = deaths

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        self._deaths.die(f"before {spec.id} {action.name}")
        result = await self._answer(spec, snapshot, action)
        self._deaths.die(f"after {spec.id} {action.name}")
        return result

    async def _answer(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        if action.kind is ActionKind.PREPARE_METRICS:
            return ActionSucceeded(action.number)
        if action.kind is not ActionKind.MEASURE:
            return await self._actuator.perform(spec, snapshot, action)
        step = step_of(spec.plan, str(action.args["gate"]))
        assert isinstance(step, Analysis)
        value = 0.5 if spec.plan.namespace.startswith(BAD_NAMESPACE) else 0.0
        results = tuple(Measured(query.name, MeasureOutcome.VALUE, value) for query in step.queries)
        return Measurements(action.number, results)


class MortalStore:
    def __init__(self, store: SqliteStore, deaths: Deaths) -> None:
        self._store = store
        self._deaths = deaths

    async def commit(self, commit: Commit) -> None:
        await self._store.commit(commit)
        if commit.entry.source is not commit.entry.destination:
            self._deaths.die(f"in {commit.spec.id} {commit.entry.destination}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def live(kubeconfig: Path, path: Path, deaths: Deaths, plans: list[ReleasePlan]) -> None:
    """One life of the daemon: submit what was not submitted, answer approvals, and end when everything has ended."""
    clock, bus = SystemClock(), Bus()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(path))
        known = {release.application: release for release in await store.releases()}
        # A death of a sibling may have come between a commit and the death that was due after it.
        for release in await store.unfinished_releases():
            for stored in await store.rollouts(release.id):
                if stored.snapshot.seq > 0:
                    deaths.die(f"in {stored.spec.id} {stored.snapshot.state}")
        transport = await stack.enter_async_context(open_transport(await load_kubeconfig(kubeconfig)))
        cluster = await stack.enter_async_context(open_cluster("embedded", transport, bus, clock=clock, random=Random(1)))
        engine = await stack.enter_async_context(
            start_engine(
                store=MortalStore(store, deaths),
                clock=clock,
                strategy=CanaryStrategy(),
                world=KubernetesWorld({"embedded": cluster}, ROUTERS, bus),
                actuator=MortalActuator(KubernetesActuator({"embedded": cluster}, ROUTERS, AccessReviews(clock)), deaths),
                new_id=iter(plan.application for plan in plans if plan.application not in known).__next__,
                new_secret=lambda: "secret",
            )
        )
        for plan in plans:
            if plan.application not in known:
                await engine.submit(plan, by="nursery", source="nursery")
        while not await _all_ended(store, plans):
            for plan in plans:
                for stored in engine.rollouts(plan.application):
                    if awaits_answer(stored.spec, stored.snapshot):
                        await engine.command(plan.application, Command(CommandKind.APPROVE, by="nursery"))
            await anyio.sleep(0.01)


async def _all_ended(store: SqliteStore, plans: list[ReleasePlan]) -> bool:
    found = await store.releases()
    return len(found) == len(plans) and all(release.status in FINAL_STATUSES for release in found)


def main(arguments: list[str]) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    importlib.import_module("kubernetes_asyncio.config")  # Most of a second, once instead of in every life.
    immortal = "--immortal" in arguments
    kubeconfig, store, deaths, plans_file = (Path(one) for one in arguments[:4])
    plans = msgspec.json.decode(plans_file.read_bytes(), type=list[ReleasePlan])
    lives = 0
    while True:
        lives += 1
        child = os.fork()
        if child == 0:
            anyio.run(live, kubeconfig, store, Deaths(deaths, immortal=immortal), plans)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            continue
        sys.stdout.write(json.dumps({"lives": lives, "exit": os.waitstatus_to_exitcode(status)}))
        return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A cache that does not hear of its cluster any more, in the middle of a canary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from adapters.embedded.controllers import Key
from adapters.embedded.errors import InternalError
from adapters.embedded.faults import Match
from adapters.embedded.garbage_collector import GarbageCollector
from adapters.embedded.resources import REPLICA_SETS, SERVICES
from adapters.kubernetes.informer import UNHEARD_SECONDS
from adapters.kubernetes.permissions import Permission, Verb
from engine.events import Command, CommandKind
from engine.model import Approval, Pause, ReleaseStatus, Snapshot, State, Step
from tests.builders import error_rate, percent, release_plan, service_route, target_plan
from tests.clocks import SkippingClock
from tests.rollouts.stage import Stage, stage
from tests.rollouts.test_blue_green import GOOD, HASH, at_step, selected

WATCH_PODS = Permission("", "pods", Verb.WATCH)


def at(told: Stage) -> Snapshot:
    return told.journal.snapshots["r1.production"]


@asynccontextmanager
async def canary(path: Path, *steps: Step) -> AsyncIterator[tuple[Stage, SkippingClock]]:
    """At 25 %, before the first of the steps."""
    clock = SkippingClock()
    async with stage(path, clock=clock) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), *steps, percent(50)], settle=0.05)))
        await told.until(lambda: "r1.production" in told.journal.snapshots and bool(at(told).gates))
        yield told, clock


def lose_right(told: Stage) -> None:
    """To watch pods, with what is open at the moment."""
    told.rights.deny(WATCH_PODS)
    told.embedded.server.faults.cut_watches(Match(resource="pods"))


async def pass_until(told: Stage, clock: SkippingClock, condition: Callable[[], bool]) -> float:
    """Let time pass until it is so. For how long that was."""
    began = clock.monotonic()

    def is_so() -> bool:
        clock.skip(5.0)
        return condition()

    await told.until(is_so)
    return clock.monotonic() - began


async def pass_time(told: Stage, clock: SkippingClock, seconds: float) -> None:
    until = clock.monotonic() + seconds
    await pass_until(told, clock, lambda: clock.monotonic() >= until)


@pytest.mark.parametrize("condition", [Pause(400.0), error_rate(runs=2, interval=100.0)], ids=["a pause", "an analysis"])
async def test_no_step_is_made_on_pods_that_are_not_heard_of_until_they_are(tmp_path: Path, condition: Step) -> None:
    async with canary(tmp_path, condition) as (told, clock):
        lose_right(told)
        waited = await pass_until(told, clock, lambda: bool(at(told).held))
        assert UNHEARD_SECONDS - 5 <= waited <= UNHEARD_SECONDS + 80
        assert at(told).held.startswith("nothing is heard of pods in all namespaces of account embedded since ")
        assert 'pods is forbidden: User "embedded-admin" cannot watch resource "pods"' in at(told).held
        assert "It goes on by itself when that is mended" in at(told).held
        await pass_until(told, clock, lambda: all(gate.passed for gate in at(told).gates))
        await pass_time(told, clock, 300.0)
        assert (at(told).step, at(told).weight) == (1, 2_500)
        told.rights.allow(WATCH_PODS)
        await pass_until(told, clock, lambda: at(told).state is State.SUCCEEDED)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "not known yet"])
async def test_an_abort_is_not_held_up_by_pods_that_are_not_heard_of(tmp_path: Path, is_known: bool) -> None:
    async with canary(tmp_path, Approval()) as (told, clock):
        lose_right(told)
        if is_known:
            await pass_until(told, clock, lambda: bool(at(told).held))
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await pass_until(told, clock, lambda: at(told).state is State.ROLLED_BACK)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.ours() == []
        assert not told.deployment()["spec"].get("paused")


async def test_a_new_version_that_died_unheard_is_undone_as_soon_as_it_is_heard_of(tmp_path: Path) -> None:
    """Nothing in between is concluded from what was known before."""
    async with canary(tmp_path, Pause(300.0)) as (told, clock):
        told.traffic.pods_may_fail = True
        told.embedded.server.faults.answer(Match(verb="watch"), InternalError("the conversion webhook failed"), times=10_000)
        told.embedded.server.faults.cut_watches()
        await pass_until(told, clock, lambda: "the conversion webhook failed" in at(told).held)
        told.storage.delete(REPLICA_SETS, "shop", str(at(told).facts["web.canary_name"]))
        await pass_until(told, clock, lambda: all(gate.passed for gate in at(told).gates))
        told.embedded.server.faults.clear()
        await pass_until(told, clock, lambda: at(told).state is State.ROLLED_BACK)
        assert "is available while it serves traffic" in at(told).reason
        assert at(told).step == 1
        told.traffic.violations.clear()


@pytest.mark.parametrize("resource", ["deployments", "replicasets", "services", "trafficsplits"])
async def test_a_new_daemon_aborts_by_what_it_reads_where_it_cannot_list(tmp_path: Path, resource: str) -> None:
    """Its caches are empty, so that nothing is known to go by. By the clock on the wall: two minutes are not waited for."""
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        await told.submit(release_plan(target_plan([percent(25), Approval()], settle=0.05)))
        await told.until_state(State.APPROVING)
        lists = Match(verb="list", resource=resource, user_agent="headgate")
        told.embedded.server.faults.answer(lists, InternalError("the conversion webhook failed"), times=10_000)
        await told.restart()
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert (told.picture(), told.ours()) == (before, [])


async def test_blue_green_is_not_opened_to_pods_that_nothing_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ReplicaSet is gone, and whoever takes its pods after it is slow."""
    let_go = anyio.Event()
    collect = GarbageCollector.reconcile

    def collect_late(collector: GarbageCollector, key: Key) -> float | None:
        return collect(collector, key) if let_go.is_set() else 0.05

    clock = SkippingClock()
    async with stage(tmp_path, clock=clock) as told:
        await told.live()
        await told.submit(release_plan(target_plan(GOOD, route=service_route(), settle=0.05)))
        await told.until(lambda: at_step(told, 0))
        lose_right(told)
        await pass_until(told, clock, lambda: bool(at(told).held))
        monkeypatch.setattr(GarbageCollector, "reconcile", collect_late)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await told.until(lambda: "pods of the new version of web are still there" in at(told).failure)
        assert selected(told, "web") == {"web:1"}
        let_go.set()
        seen: set[str] = set()

        def is_open() -> bool:
            seen.update(selected(told, "web"))
            return HASH not in told.storage.get(SERVICES, "shop", "web")["spec"]["selector"]

        await pass_until(told, clock, is_open)
        assert seen == {"web:1"}
        await pass_until(told, clock, lambda: at(told).state is State.ROLLED_BACK)

"""Somebody edits a traffic object in the middle of a rollout: held, put back a few times, or undone, as the file says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import Approval, OnDrift, ReleaseStatus, Snapshot, State, Step
from tests.builders import percent, release_plan, target_plan
from tests.rollouts.stage import Stage, stage


@asynccontextmanager
async def waiting(path: Path, policy: OnDrift, limit: int = 3) -> AsyncIterator[Stage]:
    """A rollout that waits for an approval at 34 %."""
    async with stage(path) as told:
        await told.live()
        steps: list[Step] = [percent(34), Approval()]
        plan = replace(target_plan(steps, settle=0.05), on_drift=policy, reassert_limit=limit)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        yield told
        told.traffic.violations.clear()


def at(told: Stage) -> Snapshot:
    return told.journal.snapshots["r1.production"]


def split(told: Stage) -> JsonObject:
    return told.storage.get(told.splits, "shop", "web")


def weights(told: Stage) -> list[int]:
    return [int(one["weight"]) for one in split(told)["spec"]["backends"]]


def meddle(told: Stage, *, canary: int) -> None:
    found = split(told)
    backends = [{**one, "weight": canary if "canary" in one["service"] else 100 - canary} for one in found["spec"]["backends"]]
    told.storage.update(told.splits, {**found, "spec": {**found["spec"], "backends": backends}}, manager="gitops")


async def end(told: Stage, kind: CommandKind) -> ReleaseStatus:
    await told.engine.command("r1", Command(kind, by="ada"))
    return (await told.until_ended()).status


async def resume(told: Stage) -> None:
    """As soon as the watch has told that it is put back: before, a resume is refused."""
    with anyio.fail_after(10):
        while at(told).held:
            with suppress(CommandRefused):
                await told.engine.command("r1", Command(CommandKind.RESUME, by="ada"))
            await anyio.lowlevel.checkpoint()


async def test_an_edit_is_held_where_the_file_says_nothing(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.HOLD) as told:
        meddle(told, canary=20)
        await told.until(lambda: "somebody else set TrafficSplit web to 20 %" in at(told).held)
        assert weights(told) == [80, 20]
        assert await end(told, CommandKind.ABORT) is ReleaseStatus.FAILED


async def test_an_edit_is_put_back_and_the_rollout_goes_on(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        meddle(told, canary=20)
        await told.until(lambda: weights(told) == [66, 34] and at(told).action is None)
        assert at(told).held == ""
        assert any("somebody else set TrafficSplit web to 20 %" in one.text for one in told.journal.entries["r1.production"])
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED


async def test_an_object_of_ours_that_is_removed_is_made_again(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT) as told:
        told.storage.delete(told.splits, "shop", "web")
        await told.until(lambda: told.storage.peek(told.splits, "shop", "web") is not None)
        assert weights(told) == [66, 34]
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED
        assert told.storage.peek(told.splits, "shop", "web") is None


async def test_two_managers_in_a_fight_end_in_a_hold(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.REASSERT, limit=2) as told:
        for _ in range(2):
            meddle(told, canary=20)
            await told.until(lambda: weights(told) == [66, 34] and at(told).action is None)
        meddle(told, canary=20)
        await told.until(lambda: "put back 2 times and changed again: somebody fights for it" in at(told).held)
        assert weights(told) == [80, 20]
        assert sum(name.startswith("reassert:") for name in at(told).begun) == 2
        meddle(told, canary=34)
        await resume(told)
        assert await end(told, CommandKind.APPROVE) is ReleaseStatus.SUCCEEDED


async def test_an_edit_ends_the_rollout_where_the_file_says_so(tmp_path: Path) -> None:
    async with waiting(tmp_path, OnDrift.ABORT) as told:
        before = told.deployment()["spec"]["template"]
        meddle(told, canary=20)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "drift: somebody else set TrafficSplit web to 20 %" in at(told).reason
        assert told.deployment()["spec"]["template"] == before
        assert told.ours() == []

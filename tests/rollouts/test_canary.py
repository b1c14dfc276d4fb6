"""Canaries on the embedded cluster, from the first look to the last object removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import Command, CommandKind
from engine.model import Approval, Pause, ReleaseStatus, State
from engine.traffic import RoutePlan
from tests.builders import error_rate, percent, pod_ratio_route, release_plan, smi_route, target_plan
from tests.rollouts.stage import stage

STEPS = (percent(25), error_rate(runs=1, interval=0.05), percent(50))


@pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_a_good_version_is_promoted_and_its_tested_pods_serve_on(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        tested: set[str] = set()
        plan = target_plan([*STEPS, Approval()], route=route, settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        tested = {pod["metadata"]["uid"] for pod in told.pods(image="web:2")}
        assert tested
        await told.engine.command("r1", Command(CommandKind.APPROVE, by="ada"))
        ended = await told.until_ended()
        assert (ended.status, ended.reason) == (ReleaseStatus.SUCCEEDED, "")
        assert not told.pods(image="web:1")
        serving = told.pods(image="web:2")
        assert len(serving) == 3
        assert tested <= {pod["metadata"]["uid"] for pod in serving}
        assert all(one["restartCount"] == 0 for pod in serving for one in pod["status"]["containerStatuses"])
        live = told.deployment()
        assert "paused" not in live["spec"]
        assert live["spec"]["replicas"] == 3
        assert live["status"]["updatedReplicas"] == 3
        assert live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        assert sorted(told.picture()) == ["Deployment/web", "Service/web"]


@pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_a_bad_version_is_undone_and_nothing_of_ours_is_left(tmp_path: Path, route: RoutePlan) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        told.error_rate["shop"] = 0.05
        status = await told.roll_out(release_plan(target_plan(STEPS, route=route, settle=0.05)))
        assert status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []
        assert len(told.pods(image="web:1")) == 3
        assert not told.pods(image="web:2")


@pytest.mark.parametrize("order", [CommandKind.APPROVE, CommandKind.ABORT])
@pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_a_step_may_move_all_of_the_traffic_before_the_end(tmp_path: Path, route: RoutePlan, order: CommandKind) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        await told.submit(release_plan(target_plan([percent(100), Approval()], route=route, settle=0.05)))
        snapshot = await told.until_state(State.APPROVING)
        assert (snapshot.served, snapshot.held) == (10_000, "")
        await told.engine.command("r1", Command(order, by="ada"))
        promoted = order is CommandKind.APPROVE
        assert (await told.until_ended()).status is (ReleaseStatus.SUCCEEDED if promoted else ReleaseStatus.FAILED)
        assert len(told.pods()) == len(told.pods(image="web:2" if promoted else "web:1")) == 3
        assert promoted or told.picture() == before


async def test_a_pause_holds_the_weight_that_was_read_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(0.1), Pause(0.2)], settle=0.05)))
        at = await told.until_state(State.PAUSING)
        assert (at.weight, at.served) == (10, 10)
        split = told.storage.get(told.splits, "shop", "web")
        assert [(one["service"], one["weight"]) for one in split["spec"]["backends"]] == [("web-stable", 999), ("web-canary", 1)]
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED

"""An abort at the last moment: while the hand-over, or the clearing up after it, is under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.faults import Match
from adapters.embedded.resources import DEPLOYMENTS
from engine.events import Command, CommandKind
from engine.model import Approval, Freeze, OnFailure, ReleaseStatus, State
from engine.traffic import RoutePlan
from tests.builders import percent, pod_ratio_route, release_plan, target_plan
from tests.rollouts.stage import stage

HANDING_OVER = {
    "the template is replaced": ("patch", "deployments", 1),
    "the canary is adopted": ("patch", "replicasets", 0),
    "the Deployment is unpaused": ("patch", "deployments", 2),
    "the split is removed": ("delete", "trafficsplits", 0),
    "the canary Service is removed": ("delete", "services", 0),
    "the stable Service is removed": ("delete", "services", 1),
    "the declaration is applied": ("patch", "deployments", 3),
}


@pytest.mark.parametrize("after", [False, True], ids=["not yet", "already"])
@pytest.mark.parametrize("moment", HANDING_OVER)
@pytest.mark.parametrize("freeze", Freeze)
async def test_an_abort_while(tmp_path: Path, freeze: Freeze, moment: str, after: bool) -> None:
    """The write hangs, has taken effect already or not yet, and in that moment the operator aborts."""
    verb, resource, skip = HANDING_OVER[moment]
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        hanging = Match(verb=verb, resource=resource, user_agent="headgate", dry_run=False)
        told.embedded.server.faults.hang(hanging, 20.0, skip=skip, after_effect=after)
        await told.submit(release_plan(target_plan([percent(25)], settle=0.05, freeze=freeze)))
        await told.until(lambda: told.embedded.server.faults.pending == 0)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []
        await told.until(lambda: len(told.pods(image="web:1")) == 3 and not told.pods(image="web:2"))


RATIO = {
    "the old version is let go": ("patch", "replicasets", 1),
    "the template is replaced": ("patch", "deployments", 3),
    "the canary is adopted": ("patch", "replicasets", 2),
    "the old version is taken back": ("patch", "replicasets", 3),
    "its fields are given back": ("patch", "replicasets", 4),
    "the Deployment is unpaused": ("patch", "deployments", 4),
}


@pytest.mark.parametrize("after", [False, True], ids=["not yet", "already"])
@pytest.mark.parametrize("moment", RATIO)
async def test_an_abort_of_a_pod_ratio_while(tmp_path: Path, moment: str, after: bool) -> None:
    verb, resource, skip = RATIO[moment]
    route: RoutePlan = pod_ratio_route()
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        hanging = Match(verb=verb, resource=resource, user_agent="headgate", dry_run=False)
        told.embedded.server.faults.hang(hanging, 20.0, skip=skip, after_effect=after)
        await told.submit(release_plan(target_plan([percent(34)], route=route, settle=0.05)))
        await told.until(lambda: told.embedded.server.faults.pending == 0)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []
        await told.until(lambda: len(told.pods(image="web:1")) == 3 and not told.pods(image="web:2"))




async def test_an_old_version_that_somebody_has_restarted_is_gone_back_to_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """Its pods are others than the ones that were found, which nobody waits for."""
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(50)], after=[Approval()], on_failure=OnFailure.ROLL_BACK, settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.VERIFYING)
        live = told.deployment()
        live["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        told.storage.update(DEPLOYMENTS, live, manager="kubectl-rollout")
        await told.until(lambda: told.status("shop", "web", "updatedReplicas") == 3)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(within=60.0)).status is ReleaseStatus.FAILED
        assert told.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
        await told.until(lambda: len(told.pods(image="web:1")) == 3 and not told.pods(image="web:2"))
        assert "not true after" not in await told.tell("r1")


@pytest.mark.parametrize(("scaled", "left"), [(None, 3), (6, 6)], ids=["by nobody", "by somebody"])
async def test_an_undone_release_takes_back_its_own_number_of_pods_and_nobody_elses(
    tmp_path: Path, scaled: int | None, left: int
) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(50)], after=[Approval()], on_failure=OnFailure.ROLL_BACK, settle=0.05, replicas=4)
        await told.submit(release_plan(plan))
        await told.until_state(State.VERIFYING)
        live = told.deployment()
        assert live["spec"]["replicas"] == 4
        if scaled is not None:
            live["spec"]["replicas"] = scaled
            told.storage.update(DEPLOYMENTS, live, manager="an autoscaler")
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(within=60.0)).status is ReleaseStatus.FAILED
        assert told.deployment()["spec"]["replicas"] == left
        await told.until(lambda: len(told.pods(image="web:1")) == left and not told.pods(image="web:2"))

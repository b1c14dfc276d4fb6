"""An API server that fails, forgets, hangs and lies: the rollout comes to its end all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.errors import Conflict, Forbidden, InternalError, ServiceUnavailable, TooManyRequests
from adapters.embedded.faults import Match
from engine import absorbing
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State, Step
from engine.traffic import RoutePlan, RouterKind
from tests.builders import error_rate, percent, pod_ratio_route, release_plan, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

STEPS = (percent(25), error_rate(runs=1, interval=0.05), percent(50))
WRITES = ("create", "patch", "delete")
OURS = "headgate"

MESH_AND_RATIO = pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])


def match(verb: str = "") -> Match:
    return Match(verb=verb, user_agent=OURS)


async def end(told: Stage, route: RoutePlan, error: float) -> ReleaseStatus:
    told.error_rate["shop"] = error
    return await told.roll_out(release_plan(target_plan(STEPS, route=route, settle=0.05)))


@MESH_AND_RATIO
@pytest.mark.parametrize("error", [0.0, 0.5], ids=["good", "bad"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after the effect"])
async def test_every_write_is_cut_off_once(tmp_path: Path, route: RoutePlan, error: float, after: bool) -> None:
    """Each write's connection breaks, before it took effect or after; nobody knows which, so the world is looked at again."""
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        for skip in range(0, 40, 2):
            for verb in WRITES:
                told.embedded.server.faults.cut(match(verb), skip=skip, after_effect=after)
        status = await end(told, route, error)
        assert status is (ReleaseStatus.FAILED if error else ReleaseStatus.SUCCEEDED)
        images = {pod["spec"]["containers"][0]["image"] for pod in told.pods()}
        assert images == {"web:1" if error else "web:2"}
        if error:
            assert told.picture() == before
            assert told.ours() == []


@pytest.mark.parametrize(
    "error",
    [
        InternalError("etcd is slow"),
        ServiceUnavailable("not ready"),
        TooManyRequests("later"),
        Conflict("the object has been modified"),
    ],
    ids=["500", "503", "429", "409"],
)
async def test_passing_errors_are_waited_out(tmp_path: Path, error: Exception) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        for verb in (*WRITES, "get"):
            told.embedded.server.faults.answer(match(verb), error, times=2, skip=1)  # type: ignore[arg-type]
        assert await end(told, smi_route(), 0.0) is ReleaseStatus.SUCCEEDED


async def test_watches_that_are_cut_and_expire_lose_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([*STEPS, Approval()], settle=0.05)))
        await told.until_state(State.SHIFTING)
        assert told.embedded.server.faults.cut_watches() > 0
        told.embedded.server.faults.expire_watches(match(), times=4)
        await told.until_state(State.APPROVING)
        told.embedded.server.faults.cut_watches()
        await told.engine.command("r1", Command(CommandKind.APPROVE, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED


async def test_an_abort_does_not_wait_for_a_request_that_hangs(tmp_path: Path) -> None:
    """And the hanging write, when it arrives in the end, finds that the object has moved on."""
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        hanging = Match(verb="patch", resource="trafficsplits", user_agent=OURS)
        told.embedded.server.faults.hang(hanging, 3.0)
        await told.submit(release_plan(target_plan([percent(25)], settle=0.05)))
        await told.until(lambda: told.embedded.server.faults.pending == 0)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended(within=2.5)).status is ReleaseStatus.FAILED
        assert told.picture() == before


@pytest.mark.parametrize("resource", ["services", "trafficsplits", "replicasets", "deployments"])
async def test_a_missing_right_ends_the_rollout_with_the_servers_words_and_everything_put_back(
    tmp_path: Path, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absorbing, "DOUBTS", 1)
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        verb = "patch" if resource == "deployments" else "create"
        denied = Forbidden(f'{resource} is forbidden: User "headgate" cannot {verb} resource "{resource}"')
        meant = Match(verb=verb, resource=resource, user_agent=OURS, dry_run=False)
        told.embedded.server.faults.answer(meant, denied, times=2)
        status = await told.roll_out(release_plan(target_plan(STEPS, settle=0.05)))
        assert status in (ReleaseStatus.FAILED, ReleaseStatus.REJECTED)
        assert f"{resource} is forbidden" in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before
        assert told.ours() == []


@pytest.mark.parametrize("route", [pod_ratio_route(), smi_route()], ids=lambda route: str(route.kind))
async def test_pods_that_go_while_a_write_is_refused_get_no_traffic_by_it(tmp_path: Path, route: RoutePlan) -> None:
    """The API server is busy when the weight is to rise; meanwhile the new version's pods are not ready any more."""
    by_pods = route.kind is RouterKind.POD_RATIO
    async with stage(tmp_path) as told:
        await told.live()
        busy = Match(verb="patch", resource="deployments" if by_pods else "trafficsplits", user_agent="headgate", dry_run=False)
        told.embedded.server.faults.answer(busy, ServiceUnavailable("busy"), times=3, skip=1 if by_pods else 0)
        steps: list[Step] = [percent(100 if by_pods else 50), Approval()]
        await told.submit(release_plan(target_plan(steps, route=route, settle=0.05, ready_timeout=4.0)))
        at = told.journal.snapshots
        await told.until(lambda: "r1.production" in at and at["r1.production"].failures == 2)
        for pod in told.pods(image="web:2"):
            told.embedded.plane.kubelet.set_ready("shop", pod["metadata"]["name"], ready=False)
        told.traffic.pods_may_fail = by_pods  # Where pods are the weight, some requests meet those that are not ready.
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert len(told.pods(image="web:1")) == 3
        if by_pods:
            assert "the old version of web is scaled to 0" not in await told.tell("r1")


async def test_after_an_outage_nothing_more_is_written_until_the_proxies_can_have_heard_of_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([Approval(), percent(25)], settle=0.05)))
        await told.until_state(State.APPROVING)
        starting = ServiceUnavailable("the server is starting")
        told.embedded.server.faults.answer(match("watch"), starting, times=12)
        told.embedded.server.faults.cut_watches()
        await told.until(lambda: told.cluster.behind_seconds > 0)
        await told.engine.command("r1", Command(CommandKind.APPROVE, by="ada"))
        assert (await told.until_ended(within=90.0)).status is ReleaseStatus.SUCCEEDED
        assert "the API server was away" in await told.tell("r1")

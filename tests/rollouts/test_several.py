"""Several Deployments in one target: they roll forward together, and they go back together."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.errors import Forbidden, ServiceUnavailable
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from engine.events import Command, CommandKind
from engine.model import Approval, Freeze, ReleaseStatus, State, Step, TargetPlan
from engine.traffic import RoutePlan
from tests.builders import (
    error_rate,
    percent,
    pod_ratio_route,
    release_plan,
    service_route,
    smi_route,
    target_plan,
    together,
    watched,
)
from tests.rollouts.stage import Stage, stage

TWO_ROOTS = (smi_route("web"), smi_route("api"))
MESH_AND_RATIO = (smi_route("web"), pod_ratio_route("api"))
RATIO_AND_MESH = (pod_ratio_route("web"), smi_route("api"))
THREE_RATIOS = (pod_ratio_route("web"), pod_ratio_route("api"), pod_ratio_route("worker"))
KINDS = pytest.mark.parametrize(
    "routes",
    [TWO_ROOTS, MESH_AND_RATIO, RATIO_AND_MESH, THREE_RATIOS],
    ids=["two roots", "mesh and ratio", "ratio and mesh", "three ratios"],
)


def plan_of(
    routes: tuple[RoutePlan, ...], steps: list[Step], *, images: dict[str, str] | None = None, **options: object
) -> TargetPlan:
    options = {"settle": 0.05, **options}
    named = images or {}
    return together(
        *(
            target_plan(steps, workload=one.workload, route=one, image=named.get(one.workload, "web:2"), **options)  # type: ignore[arg-type]
            for one in routes
        )
    )


async def all_live(told: Stage, routes: tuple[RoutePlan, ...], replicas: int = 3) -> None:
    for route in routes:
        await told.live(name=route.workload, replicas=replicas)


def images(told: Stage, name: str) -> list[str]:
    pods = [pod for pod in told.pods() if pod["metadata"]["labels"]["app"] == name]
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods)


def weight(told: Stage, name: str) -> int:
    """The share of the new version in a TrafficSplit, in percent."""
    backends: list[JsonObject] = told.storage.get(told.splits, "shop", name)["spec"]["backends"]
    total = sum(int(one["weight"]) for one in backends)
    return 100 * int(backends[1]["weight"]) // total


async def order(told: Stage, kind: CommandKind) -> None:
    await told.engine.command("r1", Command(kind, by="ada"))


@KINDS
async def test_a_step_may_move_all_of_the_traffic_of_all_of_them(tmp_path: Path, routes: tuple[RoutePlan, ...]) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        assert await told.roll_out(release_plan(plan_of(routes, [percent(100)]))) is ReleaseStatus.SUCCEEDED
        assert all(images(told, one.workload) == ["web:2"] * 3 for one in routes)


@pytest.mark.parametrize(
    ("routes", "resource"),
    [(TWO_ROOTS, "trafficsplits"), ((service_route("web"), service_route("api")), "services")],
    ids=["two roots", "two pairs"],
)
async def test_a_route_whose_turn_has_not_come_is_not_taken_for_one_that_somebody_else_has_set(
    tmp_path: Path, routes: tuple[RoutePlan, ...], resource: str
) -> None:
    """The routes are written one after another, and a measurement that is due comes in between."""
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        match = Match(verb="patch", resource=resource, user_agent="headgate")
        told.embedded.server.faults.hang(match, 0.03, times=100, after_effect=True)
        steps: list[Step] = [percent(100)] if resource == "services" else [percent(weight) for weight in range(5, 101, 5)]
        plan = plan_of(routes, steps, background=[watched(interval=0.02)])
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert "held" not in await told.tell("r1")


@KINDS
async def test_all_of_them_are_promoted(tmp_path: Path, routes: tuple[RoutePlan, ...]) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        plan = plan_of(routes, [percent(25), error_rate(runs=1, interval=0.05), percent(60), Approval()])
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        assert all("web:2" in images(told, one.workload) for one in routes)
        tested = {pod["metadata"]["uid"] for pod in told.pods(image="web:2")}
        await order(told, CommandKind.APPROVE)
        ended = await told.until_ended()
        assert (ended.status, ended.reason) == (ReleaseStatus.SUCCEEDED, "")
        assert all(images(told, one.workload) == ["web:2"] * 3 for one in routes)
        assert tested <= {pod["metadata"]["uid"] for pod in told.pods()}
        assert sorted(told.picture()) == sorted(f"{kind}/{one.workload}" for kind in ("Deployment", "Service") for one in routes)


@KINDS
async def test_the_second_one_never_becomes_ready_and_all_of_them_go_back(
    tmp_path: Path, routes: tuple[RoutePlan, ...]
) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        before = told.picture()
        plan = plan_of(routes, [percent(25), percent(60)], images={"api": "web:crash"}, ready_timeout=1.0)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "api" in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before
        assert told.ours() == []
        assert all(images(told, one.workload) == ["web:1"] * 3 for one in routes)


@KINDS
@pytest.mark.parametrize("freeze", [Freeze.FROM_START, Freeze.AT_HAND_OVER])
async def test_a_bad_analysis_sends_all_of_them_back(tmp_path: Path, routes: tuple[RoutePlan, ...], freeze: Freeze) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        before = told.picture()
        told.error_rate["shop"] = 0.5
        steps: list[Step] = [percent(25), error_rate(runs=1, interval=0.05)]
        assert await told.roll_out(release_plan(plan_of(routes, steps, freeze=freeze))) is ReleaseStatus.FAILED
        assert told.picture() == before
        assert told.ours() == []


@KINDS
async def test_one_that_has_not_changed_is_applied_and_does_not_hold_up_the_others(
    tmp_path: Path, routes: tuple[RoutePlan, ...]
) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, routes)
        plan = plan_of(routes, [percent(25), percent(60), Approval()], images={"api": "web:1"})
        await told.submit(release_plan(plan))
        at = await told.until_state(State.APPROVING)
        assert at.served > 0
        assert images(told, "api") == ["web:1"] * 3
        await order(told, CommandKind.APPROVE)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert images(told, "web") == ["web:2"] * 3
        assert images(told, "api") == ["web:1"] * 3


async def test_one_that_is_new_comes_up_beside_the_canary_of_the_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        plan = plan_of(TWO_ROOTS, [percent(25), Approval()])
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        assert (images(told, "api"), weight(told, "web")) == (["web:2"] * 3, 25)
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        await told.until(lambda: images(told, "api") == [])
        assert images(told, "web") == ["web:1"] * 3


async def test_a_step_counts_only_when_every_route_is_read_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, TWO_ROOTS)
        busy = ServiceUnavailable("not now")
        told.embedded.server.faults.answer(Match(verb="patch", resource="trafficsplits", name="api"), busy, times=2)
        await told.submit(release_plan(plan_of(TWO_ROOTS, [percent(25), Approval()])))
        await told.until(lambda: told.storage.find(told.splits, "shop", "web") is not None and weight(told, "web") == 25)
        assert told.journal.snapshots["r1.production"].state is State.SHIFTING
        assert told.journal.snapshots["r1.production"].served == 0
        await told.until_state(State.APPROVING)
        assert (weight(told, "web"), weight(told, "api")) == (25, 25)
        await order(told, CommandKind.ABORT)
        await told.until_ended()


@pytest.mark.parametrize("refusing", ["web", "api"])
async def test_a_router_that_refuses_for_ever_keeps_no_other_from_going_back(tmp_path: Path, refusing: str) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, TWO_ROOTS)
        before = told.picture()
        await told.submit(release_plan(plan_of(TWO_ROOTS, [percent(25), Approval()])))
        await told.until_state(State.APPROVING)
        other = "api" if refusing == "web" else "web"
        denied = Forbidden("a webhook of somebody's refuses this")
        told.embedded.server.faults.answer(Match(verb="patch", resource="trafficsplits", name=refusing), denied, times=100_000)
        await order(told, CommandKind.ABORT)
        await told.until(lambda: weight(told, other) == 0)
        assert weight(told, refusing) == 25
        assert told.journal.snapshots["r1.production"].state is State.ABORTING
        told.embedded.server.faults.clear()
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before


async def test_nor_the_pods_of_a_ratio_from_coming_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await all_live(told, MESH_AND_RATIO)
        before = told.picture()
        await told.submit(release_plan(plan_of(MESH_AND_RATIO, [percent(60), Approval()])))
        await told.until_state(State.APPROVING)
        assert images(told, "api").count("web:1") == 1
        denied = Forbidden("a webhook of somebody's refuses this")
        told.embedded.server.faults.answer(Match(verb="patch", resource="trafficsplits"), denied, times=100_000)
        await order(told, CommandKind.ABORT)
        await told.until(lambda: told.status("shop", "api", "availableReplicas") == 3)
        assert weight(told, "web") == 60
        told.embedded.server.faults.clear()
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before


async def test_a_late_abort_takes_back_what_was_handed_over_and_what_was_not(tmp_path: Path) -> None:
    """The first Deployment has its new version already, the second one is about to get it."""
    async with stage(tmp_path) as told:
        await all_live(told, TWO_ROOTS)
        before = told.picture()
        held = ServiceUnavailable("not now")
        adopting = Match(verb="patch", resource="deployments", name="api")
        await told.submit(release_plan(plan_of(TWO_ROOTS, [percent(25), Approval()])))
        await told.until_state(State.APPROVING)
        told.embedded.server.faults.answer(adopting, held, times=100_000)
        await order(told, CommandKind.APPROVE)
        await told.until(lambda: "replace-template:api" in told.journal.snapshots["r1.production"].begun)
        told.embedded.server.faults.clear()
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.picture() == before
        assert all(images(told, name) == ["web:1"] * 3 for name in ("web", "api"))

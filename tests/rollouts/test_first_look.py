"""What is written last is tried first: what the API server would refuse once the new version serves everybody is refused while
nothing has been changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, NAMESPACES
from engine.model import ReleaseStatus, TargetPlan, WorkloadPlan
from tests.builders import deployment, percent, pod_ratio_route, release_plan, target_plan
from tests.rollouts.stage import Stage, stage

Change = Callable[[JsonObject], None]


def plan_of(body: JsonObject, **more: object) -> TargetPlan:
    plan = target_plan([percent(25)], settle=0.05, **more)  # type: ignore[arg-type]
    return replace(plan, workloads=(WorkloadPlan("web", json.dumps(body)),))


def container(body: JsonObject) -> JsonObject:
    found: JsonObject = body["spec"]["template"]["spec"]["containers"][0]
    return found


def name_a_variable_twice(body: JsonObject) -> None:
    container(body)["env"] = [{"name": "MODE", "value": "a"}, {"name": "MODE", "value": "b"}]


def name_a_port_twice(body: JsonObject) -> None:
    container(body)["ports"] = [{"name": name, "containerPort": 8080} for name in ("http", "also")]


def misspell_a_probe(body: JsonObject) -> None:
    container(body)["livenesProbe"] = {"httpGet": {"path": "/", "port": 8080}}


def recreate(body: JsonObject) -> None:
    body["spec"]["strategy"] = {"type": "Recreate"}


MISTYPED = [
    (name_a_variable_twice, 'env: duplicate entries for key [name="MODE"]'),
    (name_a_port_twice, "ports: duplicate entries for key"),
    (misspell_a_probe, "livenesProbe: field not declared in schema"),
]


@pytest.mark.parametrize(("change", "sentence"), [*MISTYPED, (recreate, "rollingUpdate")])
async def test_what_could_not_be_applied_in_the_end_is_not_begun(tmp_path: Path, change: Change, sentence: str) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        body: JsonObject = deployment()
        change(body)
        assert await told.roll_out(release_plan(plan_of(body))) is ReleaseStatus.REJECTED
        assert sentence in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before
        assert told.ours() == []


@pytest.mark.parametrize(("change", "sentence"), MISTYPED)
async def test_nor_is_a_deployment_made_that_was_not_there(tmp_path: Path, change: Change, sentence: str) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        body: JsonObject = deployment()
        change(body)
        assert await told.roll_out(release_plan(plan_of(body))) is ReleaseStatus.REJECTED
        assert sentence in told.journal.snapshots["r1.production"].reason
        assert told.picture() == {}


async def test_it_is_tried_under_its_own_name_and_makes_nothing(tmp_path: Path) -> None:
    """A quota of Deployments may be used up, and what is admitted may depend on the name."""
    async with stage(tmp_path) as told:
        await told.live()
        assert await told.roll_out(release_plan(plan_of(deployment()))) is ReleaseStatus.SUCCEEDED
        tried = [one for one in told.embedded.server.audit.writes("deployments.apps") if "dryRun" in one.query]
        assert {(one.verb, one.name) for one in tried} == {("patch", "web")}


def read_from_a_secret(body: JsonObject) -> None:
    container(body)["env"] = [{"name": "MODE", "valueFrom": {"secretKeyRef": {"name": "web", "key": "mode"}}}]


async def live_with_variables(told: Stage, replicas: int) -> None:
    """As somebody else has applied it, who owns every one of its fields."""
    told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    body: JsonObject = deployment(image="web:1", replicas=replicas)
    container(body)["env"] = [{"name": name, "value": "1"} for name in ("MODE", "SIZE", "ZONE")]
    told.storage.create(DEPLOYMENTS, body, manager="kubectl")
    await told.until(lambda: told.status("shop", "web", "observedGeneration") > 0)
    await told.until(lambda: told.status("shop", "web", "availableReplicas") == replicas)


@pytest.mark.parametrize("replicas", [3, 0])
@pytest.mark.parametrize("change", [read_from_a_secret, lambda body: None], ids=["another source", "none of them"])
async def test_a_declared_template_takes_the_place_of_the_live_one_whole(
    tmp_path: Path, replicas: int, change: Change
) -> None:
    """A variable cannot have a value and a source, so the two could not be merged, and what is left out would stay."""
    async with stage(tmp_path) as told:
        await live_with_variables(told, replicas)
        body: JsonObject = deployment(replicas=replicas)
        change(body)
        assert await told.roll_out(release_plan(plan_of(body, route=pod_ratio_route()))) is ReleaseStatus.SUCCEEDED
        assert container(told.deployment()).get("env") == container(body).get("env")
        assert container(told.deployment())["image"] == "web:2"


async def test_a_deployment_that_is_paused_with_an_edit_is_told_of_and_not_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        live = told.deployment()
        live["spec"]["paused"] = True
        container(live)["image"] = "web:1b"
        told.storage.update(DEPLOYMENTS, live, manager="somebody")
        before = told.picture()
        assert await told.roll_out(release_plan(plan_of(deployment()))) is ReleaseStatus.REJECTED
        reason = told.journal.snapshots["r1.production"].reason
        assert "Deployment web is paused with a template that runs nowhere; let it roll out" in reason
        assert told.picture() == before

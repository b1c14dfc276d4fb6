"""Somebody replaces what a rollout made, or makes anew what it found: an abort ends all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES, Resource
from adapters.kubernetes.templates import HASH_LABEL
from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State, Step
from tests.builders import deployment, percent, release_plan, service, smi_route, target_plan
from tests.rollouts.stage import Stage, stage
from tests.rollouts.test_meddling import at, order, waiting


def lose_mark(told: Stage, resource: Resource, name: str) -> None:
    """As `kubectl replace` with a manifest of one's own does."""
    found = told.storage.get(resource, "shop", name)
    told.storage.update(resource, {**found, "metadata": {**found["metadata"], "annotations": {}}}, manager="kubectl")


@pytest.mark.parametrize("name", ["web-stable", "web-canary", "the split"])
async def test_an_object_that_lost_our_mark_neither_stops_an_abort_nor_is_left_behind(tmp_path: Path, name: str) -> None:
    async with waiting(tmp_path) as told:
        resource, found = (told.splits, "web") if name == "the split" else (SERVICES, name)
        lose_mark(told, resource, found)
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert sorted(told.picture()) == ["Deployment/web", "Service/web"]


async def test_a_split_of_somebody_elses_in_the_place_of_ours_is_left_as_it_is(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        found = told.storage.get(told.splits, "shop", "web")
        theirs = {**found["spec"], "backends": [{"service": "another", "weight": 1}]}
        told.storage.update(told.splits, {**found, "metadata": {**found["metadata"], "annotations": {}}, "spec": theirs})
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.storage.get(told.splits, "shop", "web")["spec"]["backends"] == theirs["backends"]


async def test_a_split_without_a_spec_stops_neither_the_daemon_nor_an_abort(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        found = told.storage.get(told.splits, "shop", "web")
        told.storage.update(told.splits, {key: value for key, value in found.items() if key != "spec"}, manager="somebody")
        await told.until(lambda: "the backends of TrafficSplit web were edited" in at(told).held)
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED


@asynccontextmanager
async def adopting(path: Path) -> AsyncIterator[Stage]:
    """A rollout whose canary Service is the user's own."""
    async with stage(path) as told:
        told.install("shop", "web", "web:1", 3)
        told.storage.create(SERVICES, service("theirs", app="web"), manager="kubectl")
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == 3)
        route = replace(smi_route(), canary_service="theirs", adopts_canary_service=True)
        steps: list[Step] = [percent(34), Approval()]
        await told.submit(release_plan(target_plan(steps, route=route, settle=0.05)))
        await told.until_state(State.APPROVING)
        told.traffic.pods_may_fail = True
        yield told
        told.traffic.violations.clear()


async def test_a_canary_service_of_the_users_that_is_gone_does_not_stop_an_abort(tmp_path: Path) -> None:
    async with adopting(tmp_path) as told:
        told.storage.delete(SERVICES, "shop", "theirs")
        if at(told).state is State.APPROVING:
            await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert sorted(told.picture()) == ["Deployment/web", "Service/web"]


async def test_a_supporting_object_that_was_made_anew_is_put_back_as_it_was_found(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        body: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}
        told.storage.create(CONFIG_MAPS, {**body, "data": {"colour": "blue"}}, manager="kubectl")
        plan = target_plan([percent(34), Approval()], manifests=[{**body, "data": {"colour": "green"}}], settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        told.storage.delete(CONFIG_MAPS, "shop", "settings")
        told.storage.create(CONFIG_MAPS, {**body, "data": {"colour": "red"}}, manager="kubectl")
        await order(told, CommandKind.ABORT)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert told.storage.get(CONFIG_MAPS, "shop", "settings")["data"] == {"colour": "blue"}


async def test_the_stable_service_follows_a_deployment_that_was_made_anew(tmp_path: Path) -> None:
    async with waiting(tmp_path) as told:
        told.storage.delete(DEPLOYMENTS, "shop", "web")
        told.storage.create(DEPLOYMENTS, deployment("web", image="web:hotfix"), manager="kubectl")
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == 3)
        (hash_value,) = {pod["metadata"]["labels"][HASH_LABEL] for pod in told.pods(image="web:hotfix")}
        await told.until(
            lambda: told.storage.get(SERVICES, "shop", "web-stable")["spec"]["selector"][HASH_LABEL] == hash_value
        )
        entries = await told.store.journal("r1")
        assert len([one for one in entries if "follow-stable" in one.text]) <= 3, json.dumps([one.text for one in entries[-9:]])

"""What is waited for before the pods are handed over does not come: it is said, and everything goes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.ownership import Claims
from adapters.embedded.resources import DEPLOYMENTS
from engine.model import Freeze, ReleaseStatus
from tests.builders import percent, pod_ratio_route, release_plan, target_plan
from tests.rollouts.stage import Stage, stage


def unpause_at_once(told: Stage) -> None:
    """By somebody who does so again and again."""

    def unpause() -> None:
        live = told.deployment()
        if live["spec"].pop("paused", False):
            told.storage.update(DEPLOYMENTS, live, manager="somebody")

    def notice(event: StorageEvent) -> None:
        if event.resource.plural == "deployments" and event.object["spec"].get("paused"):
            asyncio.get_running_loop().call_soon(unpause)

    told.storage.subscribe(notice)


@pytest.mark.parametrize("freeze", Freeze)
async def test_a_deployment_that_does_not_stay_paused_fails_the_rollout(tmp_path: Path, freeze: Freeze) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        unpause_at_once(told)
        told.traffic.pods_may_fail = True
        await told.submit(release_plan(target_plan([percent(34)], settle=0.05, freeze=freeze, ready_timeout=3.0)))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "web is frozen: not true after 3 s" in await told.tell("r1")
        assert told.picture() == before


async def test_an_old_version_that_is_not_let_go_fails_the_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its labels say that it is nobody's, and the controller does not come to it."""
    set_owners = Claims._set_owners

    def let_nothing_go(self: Claims, obj: JsonObject, owners: list[JsonObject]) -> JsonObject | None:
        return set_owners(self, obj, owners) if owners else None

    monkeypatch.setattr(Claims, "_set_owners", let_nothing_go)
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        await told.submit(release_plan(target_plan([percent(34)], route=pod_ratio_route(), settle=0.05, ready_timeout=3.0)))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "the old versions of web are let go: not true after 3 s" in await told.tell("r1")
        assert told.picture() == before

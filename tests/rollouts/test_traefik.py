"""Canaries by the weights of a TraefikService: other people's Services, clients that stay, and the two groups of the kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.traefik_definitions import TRAEFIK_OLD_GROUP
from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State
from engine.traffic import Sticky
from tests.builders import percent, release_plan, target_plan, traefik_route
from tests.rollouts.routed import Routed, entry, routed, traefik_service
from tests.rollouts.test_user_routes import BOTH_ENDS, ENDS


@BOTH_ENDS
async def test_other_services_of_the_list_keep_their_part(tmp_path: Path, answer: CommandKind) -> None:
    body = traefik_service(entry("legacy", 30), entry(weight=60, passHostHeader=False), entry("beta"))
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(traefik_route(), steps=[percent(0.1), Approval(), percent(25), Approval()])
        assert story.weights == [("legacy", 1_500), ("web-stable", 2_997), ("web-canary", 3), ("beta", 50)]
        await story.order(CommandKind.APPROVE)
        await story.told.until(lambda: story.at.step == 3 and story.at.state is State.APPROVING)
        assert story.weights == [("legacy", 30), ("web-stable", 45), ("web-canary", 15), ("beta", None)]
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


@BOTH_ENDS
@pytest.mark.parametrize("own", [{}, {"sticky": {"cookie": {"name": "theirs", "secure": True}}}], ids=["none before", "theirs"])
async def test_clients_stay_by_a_cookie_of_this_rollout(tmp_path: Path, answer: CommandKind, own: JsonObject) -> None:
    body = traefik_service()
    body["spec"]["weighted"] |= own
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(traefik_route(sticky=Sticky("seat", 60.0)))
        cookie = story.get("TraefikService")["spec"]["weighted"]["sticky"]["cookie"]
        assert cookie["name"].startswith("seat-") and cookie["maxAge"] == 60
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


async def test_a_cookie_that_somebody_else_edits_holds_the_rollout(tmp_path: Path) -> None:
    async with routed(tmp_path, traefik_service()) as story:
        await story.begin(traefik_route(sticky=Sticky("seat", 60.0)))
        found = story.get("TraefikService")
        found["spec"]["weighted"]["sticky"]["cookie"]["name"] = "theirs"
        story.update(found)
        await story.told.until(lambda: "the cookie of TraefikService web was edited by somebody else" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.get("TraefikService")["spec"]["weighted"]["sticky"] == {"cookie": {"name": "theirs", "maxAge": 60}}


async def test_an_older_traefik_has_its_old_group(tmp_path: Path) -> None:
    body = traefik_service(group=TRAEFIK_OLD_GROUP)
    async with routed(tmp_path, body, traefik_groups=(TRAEFIK_OLD_GROUP,)) as story:
        before = story.belongings()
        await story.begin(traefik_route())
        assert story.weights == [("web-stable", 3), ("web-canary", 1)]
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


async def test_what_somebody_adds_to_the_list_is_kept_by_an_abort(tmp_path: Path) -> None:
    async with routed(tmp_path, traefik_service(entry(weight=100))) as story:
        await story.begin(traefik_route())
        found = story.get("TraefikService")
        found["spec"]["weighted"]["services"].append(entry("legacy", 5))
        story.update(found)
        await story.told.until(lambda: "the list of weights of TraefikService web was edited" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.weights == [("web", 100), ("legacy", 5)]
        assert story.told.ours() == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (traefik_service(entry("legacy")), "TraefikService web does not name the Service web"),
        ({**traefik_service(), "spec": {"mirroring": {"name": "web"}}}, "has no spec.weighted.services"),
        (traefik_service(entry(), entry("web-canary", 0)), "names the Service web-canary already"),
    ],
)
async def test_what_stands_in_the_way_is_said(tmp_path: Path, body: JsonObject, sentence: str) -> None:
    async with routed(tmp_path) as story:
        story.watch.theirs |= {"web", "web-canary"}
        story.add(body)
        assert await roll_out(story) is ReleaseStatus.REJECTED
        assert sentence in story.at.reason


async def roll_out(story: Routed) -> ReleaseStatus:
    return await story.told.roll_out(release_plan(target_plan([percent(25)], route=traefik_route())))


async def test_a_cluster_without_traefik_is_told_what_to_install(tmp_path: Path) -> None:
    async with routed(tmp_path, traefik_groups=()) as story:
        assert await roll_out(story) is ReleaseStatus.REJECTED
        assert "the cluster serves no TraefikService (traefik.io); install the definitions of Traefik" in story.at.reason

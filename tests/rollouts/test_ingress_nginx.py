"""Canaries by a canary Ingress of ingress-nginx: what it says, beside whom it stands, and what stands in its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State
from engine.traffic import MatchKind, NamedMatch, RequestMatch, RoutePlan, SetHeaderRoute, ValueMatch
from tests.builders import ingress_route, percent, release_plan, target_plan
from tests.rollouts.routed import backend, ingress, path, routed
from tests.rollouts.routes_watch import NGINX
from tests.rollouts.test_user_routes import BOTH_ENDS, ENDS


@BOTH_ENDS
async def test_only_what_leads_to_the_root_service_is_renamed_and_canaried(tmp_path: Path, answer: CommandKind) -> None:
    """Three places, one of somebody else's, and a default backend."""
    body = ingress(path("/"), path("/old", "legacy"), path("/v2"), defaultBackend=backend())
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(ingress_route())
        assert story.named == ["web-stable", "web-stable", "legacy", "web-stable"]
        canary = story.get("Ingress", "web-canary")["spec"]
        assert canary["defaultBackend"]["service"]["name"] == "web-canary"
        assert [one["path"] for one in canary["rules"][0]["http"]["paths"]] == ["/", "/v2"]
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


@BOTH_ENDS
async def test_two_ingresses_of_one_service_move_together(tmp_path: Path, answer: CommandKind) -> None:
    inside = ingress(name="inside")
    inside["spec"]["rules"][0]["host"] = "shop.internal"
    async with routed(tmp_path, ingress(), inside) as story:
        before = story.belongings()
        await story.begin(ingress_route(), ingress_route("inside"))
        assert read(story.get("Ingress", "inside-canary")) == read(story.get("Ingress", "web-canary")) == "25"
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before
        assert not [name for name in story.told.ours() if name.startswith(("Ingress/", "Service/"))]


def read(canary: JsonObject) -> str:
    return str(canary["metadata"]["annotations"][f"{NGINX}canary-weight"])


async def test_header_routes_are_said_beside_the_weight_and_end_with_it(tmp_path: Path) -> None:
    anna = RequestMatch(headers=(NamedMatch("x-user", ValueMatch(MatchKind.EXACT, "anna")),))
    beta = RequestMatch(cookies=(NamedMatch("beta", ValueMatch(MatchKind.EXACT, "always")),))
    route = SetHeaderRoute("testers", (anna, beta))
    async with routed(tmp_path, ingress()) as story:
        before = story.belongings()
        await story.begin(ingress_route(), steps=[route, Approval(), percent(25), Approval()])
        told = {"canary-by-header": "x-user", "canary-by-header-value": "anna", "canary-by-cookie": "beta"}
        assert story.said == {"canary": "true", "canary-weight": "0", **told}
        await story.order(CommandKind.APPROVE)
        await story.told.until(lambda: story.at.step == 3 and story.at.state is State.APPROVING)
        assert story.said == {"canary": "true", "canary-weight": "25", **told}
        found = story.get("Ingress", "web-canary")
        found["metadata"]["annotations"][f"{NGINX}canary-by-header-value"] = "everybody"
        story.update(found)
        await story.told.until(lambda: "changed for which requests Ingress web-canary is a canary" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.belongings() == before


async def test_finer_weights_need_a_total_and_whole_percents_do_not(tmp_path: Path) -> None:
    async with routed(tmp_path, ingress()) as story:
        await story.begin(ingress_route(), steps=[percent(0.01), Approval(), percent(7), Approval()])
        assert (story.said["canary-weight"], story.said["canary-weight-total"]) == ("1", "10000")
        await story.order(CommandKind.APPROVE)
        await story.told.until(lambda: story.at.step == 3 and story.at.state is State.APPROVING)
        assert story.said == {"canary": "true", "canary-weight": "7"}
        assert await story.end() is ReleaseStatus.SUCCEEDED


async def test_session_affinity_and_an_old_class_are_repeated_and_rewrites_are_not(tmp_path: Path) -> None:
    own = {"kubernetes.io/ingress.class": "nginx", f"{NGINX}affinity": "cookie", f"{NGINX}session-cookie-name": "seat"}
    body = ingress(annotations={**own, f"{NGINX}rewrite-target": "/$1", "cert-manager.io/issuer": "letters"})
    del body["spec"]["ingressClassName"]
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(ingress_route())
        found = story.get("Ingress", "web-canary")["metadata"]["annotations"]
        assert {name: found[name] for name in own} == own
        assert f"{NGINX}rewrite-target" not in found and "cert-manager.io/issuer" not in found
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


def name_root_again(body: JsonObject) -> None:
    body["spec"]["rules"][0]["http"]["paths"].append(path("/new"))


def name_nobody(body: JsonObject) -> None:
    body["spec"]["rules"][0]["http"]["paths"] = [path("/", "legacy")]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (name_root_again, "so requests reach the pods of both versions; let it name web-stable instead of web and resume"),
        (name_nobody, "the backends of Ingress web were edited by somebody else; let it name web-stable again and resume"),
    ],
)
async def test_an_edit_of_the_users_ingress_that_leads_elsewhere_holds_and_an_abort_keeps_the_rest(
    tmp_path: Path, edit: object, sentence: str
) -> None:
    assert callable(edit)
    async with routed(tmp_path, ingress()) as story:
        await story.begin(ingress_route())
        story.told.traffic.pods_may_fail = True
        found = story.get("Ingress")
        edit(found)
        story.update(found)
        await story.told.until(lambda: sentence in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.named == (["web", "web"] if edit is name_root_again else ["legacy"])
        assert story.told.ours() == []


async def test_a_canary_ingress_that_somebody_removes_holds_the_rollout(tmp_path: Path) -> None:
    async with routed(tmp_path, ingress()) as story:
        before = story.belongings()
        await story.begin(ingress_route())
        story.told.traffic.pods_may_fail = True
        story.remove("Ingress", "web-canary")
        await story.told.until(lambda: "Ingress web-canary, the canary, was removed by somebody else" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.belongings() == before


def other_canary() -> JsonObject:
    return ingress(path("/", "beta"), name="their-canary", annotations={f"{NGINX}canary": "true", f"{NGINX}canary-weight": "1"})


REFUSED: dict[str, tuple[list[JsonObject], RoutePlan, str]] = {
    "another Service": ([ingress(path("/", "legacy"))], ingress_route(), "does not name the Service web; the Services that it"),
    "a canary": (
        [ingress(annotations={f"{NGINX}canary": "true", f"{NGINX}canary-weight": "5"})],
        ingress_route(),
        "Ingress web is a canary Ingress itself; name the one beside which it stands",
    ),
    "a taken name": ([ingress(), ingress(name="web-canary")], ingress_route(), "a Ingress web-canary exists and was not made"),
    "another canary for the place": (
        [ingress(), other_canary()],
        ingress_route(),
        "Ingress their-canary is a canary for shop.example.com/ already, and ingress-nginx takes one for each place",
    ),
    "another name": ([ingress()], replace(ingress_route(), ingress="shop"), "there is no Ingress shop in namespace shop"),
}


@pytest.mark.parametrize("obstacle", REFUSED)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(tmp_path: Path, obstacle: str) -> None:
    bodies, route, sentence = REFUSED[obstacle]
    async with routed(tmp_path, *bodies) as story:
        picture = story.told.picture()
        assert await story.told.roll_out(release_plan(target_plan([percent(25)], route=route))) is ReleaseStatus.REJECTED
        assert sentence in story.at.reason
        assert (story.told.picture(), story.told.ours()) == (picture, [])
        story.watch.violations.clear()

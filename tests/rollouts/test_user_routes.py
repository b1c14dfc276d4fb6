"""Canaries by an Ingress, by a TraefikService, by an HTTPRoute and by an object that is known by pointers: what is the same for
all of them, and that the user's objects are as they were in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import SERVICES
from engine.errors import CommandRefused
from engine.events import CommandKind
from engine.model import Approval, OnDrift, ReleaseStatus, State, Step
from tests.builders import error_rate, percent, release_plan, service, target_plan
from tests.rollouts.routed import KINDS, WAITING, Kind, Routed, path, path_match, routed
from tests.rollouts.test_rollback import back

ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
BOTH_ENDS = pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.ABORT], ids=["approved", "aborted"])
ENDS = {CommandKind.APPROVE: ReleaseStatus.SUCCEEDED, CommandKind.ABORT: ReleaseStatus.FAILED}


def expect_share(story: Routed, kind: Kind, weight: str) -> None:
    match kind.kind:
        case "Ingress":
            assert (story.said["canary-weight"], story.named) == (weight, ["web-stable"])
        case "TraefikService" | "HTTPRoute":
            assert story.weights == [("web-stable", 3), ("web-canary", 1)]
        case _:
            assert story.weights == [("web-stable", 75), ("web-canary", 25)]


@ALL
async def test_a_good_version_is_promoted_and_the_objects_are_as_before(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        await story.begin(kind.route)
        expect_share(story, kind, "25")
        tested = {pod["metadata"]["uid"] for pod in story.told.pods(image="web:2")}
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before
        assert tested == {pod["metadata"]["uid"] for pod in story.told.pods()}
        assert sorted(story.told.picture()) == sorted(["Deployment/web", "Service/web", *before])


@ALL
@pytest.mark.parametrize("bad_after", [1, 2], ids=["at the first weight", "at the second"])
async def test_a_bad_version_is_undone_and_the_objects_are_as_before(tmp_path: Path, kind: Kind, bad_after: int) -> None:
    async with routed(tmp_path, kind.body) as story:
        before, picture = story.belongings(), story.told.picture()
        check = error_rate(runs=1, interval=0.05)
        steps: list[Step] = [percent(10), check] if bad_after == 1 else [percent(10), percent(60), check]
        story.told.error_rate["shop"] = 0.5
        plan = target_plan(steps, route=kind.route, settle=0.05)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])


@ALL
@pytest.mark.parametrize("after", [False, True], ids=["not yet", "already"])
@pytest.mark.parametrize("number", range(6))
async def test_an_abort_while_a_write_to_the_route_hangs(tmp_path: Path, kind: Kind, number: int, after: bool) -> None:
    """Each of the patches to the route's objects, from the first edit to the last giving back of fields: the write has taken
    effect already or not yet, and in that moment the operator aborts."""
    async with routed(tmp_path, kind.body) as story:
        before, picture = story.belongings(), story.told.picture()
        faults = story.told.embedded.server.faults
        faults.hang(Match(verb="patch", resource=kind.plural, user_agent="headgate"), 20.0, skip=number, after_effect=after)
        await story.told.submit(release_plan(target_plan([percent(25), percent(50)], route=kind.route, settle=0.05)))
        await story.told.until(lambda: faults.pending == 0 or _has_ended(story))
        if not _has_ended(story):
            # A try by a dry run, at the first look, changes nothing.
            changed = "freeze:web" in story.at.begun
            assert await story.end(CommandKind.ABORT) is (ReleaseStatus.FAILED if changed else ReleaseStatus.REJECTED)
            assert story.told.picture() == picture
            await story.told.until(lambda: len(story.told.pods(image="web:1")) == 3 and not story.told.pods(image="web:2"))
        assert story.belongings() == before
        assert story.told.ours() == []


def _has_ended(story: Routed) -> bool:
    snapshot = story.told.journal.snapshots.get("r1.production")
    return snapshot is not None and snapshot.state in (State.SUCCEEDED, State.ROLLED_BACK)


HANDING_OVER = {
    "the template is replaced": ("deployments", 1),
    "the canary is adopted": ("replicasets", 0),
    "the Deployment is unpaused": ("deployments", 2),
    "the declaration is applied": ("deployments", 3),
}


@ALL
@pytest.mark.parametrize("after", [False, True], ids=["not yet", "already"])
@pytest.mark.parametrize("moment", HANDING_OVER)
async def test_an_abort_while_the_pods_are_handed_over(tmp_path: Path, kind: Kind, moment: str, after: bool) -> None:
    resource, skip = HANDING_OVER[moment]
    async with routed(tmp_path, kind.body) as story:
        before, picture = story.belongings(), story.told.picture()
        faults = story.told.embedded.server.faults
        hanging = Match(verb="patch", resource=resource, user_agent="headgate", dry_run=False)
        faults.hang(hanging, 20.0, skip=skip, after_effect=after)
        await story.told.submit(release_plan(target_plan([percent(25)], route=kind.route, settle=0.05)))
        await story.told.until(lambda: faults.pending == 0)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])
        await story.told.until(lambda: len(story.told.pods(image="web:1")) == 3 and not story.told.pods(image="web:2"))


@ALL
@BOTH_ENDS
async def test_what_is_shipped_is_applied_first_and_stays_as_declared(
    tmp_path: Path, kind: Kind, answer: CommandKind
) -> None:
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        declared = deepcopy(kind.body)
        declared["metadata"]["labels"] = {"declared": "yes"}
        await story.begin(kind.route, manifests=[declared])
        expect_share(story, kind, "25")
        assert await story.end(answer) is ENDS[answer]
        found = story.get(kind.kind)
        assert found["spec"] == kind.body["spec"]
        if answer is CommandKind.ABORT:
            assert story.belongings() == before
        else:
            assert found["metadata"]["labels"] == {"declared": "yes"}


@ALL
@BOTH_ENDS
async def test_a_canary_service_of_the_users_is_borrowed_and_given_back(
    tmp_path: Path, kind: Kind, answer: CommandKind
) -> None:
    async with routed(tmp_path, kind.body) as story:
        story.told.storage.create(SERVICES, service("web-next", app="web"), manager="kubectl")
        story.told.traffic.for_new_version.add("web-next")
        before = story.told.picture()
        await story.begin(replace(kind.route, canary_service="web-next", adopts_canary_service=True))
        assert story.told.storage.get(SERVICES, "shop", "web-next")["spec"]["selector"]["pod-template-hash"]
        assert await story.end(answer) is ENDS[answer]
        after = story.told.picture()
        assert {name: one for name, one in after.items() if name != "Deployment/web"} == {
            name: one for name, one in before.items() if name != "Deployment/web"
        }


@ALL
async def test_what_a_rollback_puts_in_place_comes_by_the_same_route(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        plan = release_plan(target_plan([percent(50)], route=kind.route, settle=0.05))
        assert await story.told.roll_out(plan) is ReleaseStatus.SUCCEEDED
        assert await story.told.roll_out(await back(story.told)) is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before
        assert {pod["spec"]["containers"][0]["image"] for pod in story.told.pods()} == {"web:1"}
        story.watch.violations.clear()  # Here the version that serves is the one that the watch takes for the new one.


# --- somebody else -----------------------------------------------------------------------------------------------------

Edit = Callable[[JsonObject], None]


def more_to_the_canary(body: JsonObject) -> None:
    if body["kind"] == "Ingress":
        body["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = "90"
    elif body["kind"] == "TraefikService":
        body["spec"]["weighted"]["services"][1]["weight"] = 27
    elif body["kind"] == "HTTPRoute":
        body["spec"]["rules"][0]["backendRefs"][1]["weight"] = 27
    else:
        body["spec"]["backends"][0]["weight"], body["spec"]["backends"][1]["weight"] = 10, 90


SENTENCES = {
    "Ingress": "somebody else set Ingress web-canary to 90 % instead of 25 % to the new version; put it back",
    "TraefikService": "somebody else set TraefikService web to 90 % instead of 25 %; put back web-stable 3, web-canary 1",
    "HTTPRoute": "somebody else set HTTPRoute web to 90 % instead of 25 %; put back web-stable 3, web-canary 1",
    "WeightedRoute": "the weights of WeightedRoute web were edited by somebody else; put back /spec/backends/0/weight: 75",
}


@ALL
async def test_a_weight_that_somebody_else_sets_holds_the_rollout_until_it_is_put_back(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        await story.begin(kind.route)
        story.told.traffic.pods_may_fail = True
        found = story.get(kind.kind, kind.weighs_in)
        before = deepcopy(found)
        more_to_the_canary(found)
        story.update(found)
        await story.told.until(lambda: SENTENCES[kind.kind] in story.at.held)
        with pytest.raises(CommandRefused, match="still held: drift"):
            await story.order(CommandKind.RESUME)
        now = story.get(kind.kind, kind.weighs_in)
        story.update({**before, "metadata": {**before["metadata"], "resourceVersion": now["metadata"]["resourceVersion"]}})
        while story.at.held:
            with suppress(CommandRefused):
                await story.order(CommandKind.RESUME)
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.get(kind.kind)["spec"] == kind.body["spec"]


@ALL
async def test_an_edited_weight_does_not_stop_an_abort(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        picture = story.told.picture()
        await story.begin(kind.route)
        story.told.traffic.pods_may_fail = True
        found = story.get(kind.kind, kind.weighs_in)
        more_to_the_canary(found)
        story.update(found)
        await story.told.until(lambda: bool(story.at.held))
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert (story.told.picture(), story.told.ours()) == (picture, [])


@ALL
async def test_where_the_file_says_so_an_edit_is_written_over(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        plan = replace(target_plan(WAITING, route=kind.route, settle=0.05), on_drift=OnDrift.REASSERT)
        await story.told.submit(release_plan(plan))
        await story.told.until_state(State.APPROVING)
        story.told.traffic.pods_may_fail = True
        found = story.get(kind.kind, kind.weighs_in)
        more_to_the_canary(found)
        story.update(found)
        name = f"reassert:{kind.route.name}:1"
        await story.told.until(lambda: name in story.at.begun and story.at.action is None)
        expect_share(story, kind, "25")
        assert not story.at.held
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert {name: one["spec"] for name, one in story.belongings().items()} == {
            name: one["spec"] for name, one in before.items()
        }


@ALL
async def test_a_removed_object_holds_the_rollout_and_an_abort_makes_no_other(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        await story.begin(kind.route)
        story.told.traffic.pods_may_fail = True
        story.remove(kind.kind)
        await story.told.until(lambda: f"{kind.kind} web was removed by somebody else" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.find(kind.kind, "web") is None
        assert story.told.ours() == []


def edit_elsewhere(body: JsonObject) -> None:
    body["metadata"]["annotations"] = {"theirs": "yes"}
    if body["kind"] == "Ingress":
        body["spec"]["rules"][0]["http"]["paths"].insert(0, path("/old", "legacy"))
    elif body["kind"] == "HTTPRoute":
        redirect = {"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}
        body["spec"]["rules"].insert(0, {"matches": [path_match("/old")], "filters": [redirect]})
        body["spec"]["rules"][1]["timeouts"] = {"request": "5s"}
    elif body["kind"] == "WeightedRoute":
        body["spec"]["host"] = "theirs"


@ALL
@BOTH_ENDS
async def test_what_somebody_else_does_elsewhere_in_the_object_is_kept(
    tmp_path: Path, kind: Kind, answer: CommandKind
) -> None:
    async with routed(tmp_path, kind.body) as story:
        await story.begin(kind.route)
        found = story.get(kind.kind)
        edit_elsewhere(found)
        story.update(found)
        assert await story.end(answer) is ENDS[answer]
        wanted = deepcopy(kind.body)
        edit_elsewhere(wanted)
        after = story.get(kind.kind)
        assert after["spec"] == wanted["spec"]
        assert after["metadata"]["annotations"] == {"theirs": "yes"}
        managers = {one["manager"] for one in after["metadata"]["managedFields"] if one.get("subresource") != "status"}
        assert managers == {"kubectl", "somebody"}


@ALL
async def test_a_service_of_ours_that_somebody_removes_is_made_again(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        await story.begin(kind.route)
        story.told.traffic.pods_may_fail = True
        story.told.storage.delete(SERVICES, "shop", "web-canary")
        await story.told.until(lambda: story.told.storage.find(SERVICES, "shop", "web-canary") is not None)
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


# --- what stands in the way --------------------------------------------------------------------------------------------


@ALL
async def test_an_object_that_is_not_there_is_said_before_anything_is_changed(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path) as story:
        picture = story.told.picture()
        plan = target_plan([percent(25)], route=kind.route)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        assert f"there is no {kind.kind} web in namespace shop" in story.at.reason
        assert (story.told.picture(), story.told.ours()) == (picture, [])


@ALL
async def test_names_that_are_taken_are_said_before_anything_is_changed(tmp_path: Path, kind: Kind) -> None:
    async with routed(tmp_path, kind.body) as story:
        story.told.storage.create(SERVICES, service("web-stable", app="web"), manager="kubectl")
        picture = story.told.picture()
        plan = target_plan([percent(25)], route=kind.route)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        assert "a Service web-stable exists and was not made by Headgate" in story.at.reason
        assert (story.told.picture(), story.told.ours()) == (picture, [])


@ALL
@pytest.mark.parametrize("weight", [0.01, 12.4, 99.99])
async def test_nothing_of_a_percent_is_lost(tmp_path: Path, kind: Kind, weight: float) -> None:
    route = kind.route
    if route.custom is not None:
        route = replace(route, custom=replace(route.custom, total=10_000))
    async with routed(tmp_path, kind.body) as story:
        before = story.belongings()
        await story.begin(route, steps=[percent(weight), Approval()])
        assert (story.at.weight, story.at.served) == (round(weight * 100), round(weight * 100))
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before

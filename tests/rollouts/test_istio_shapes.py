"""Header routes, mirrors and clients that stay, beside the weights in the user's own VirtualService."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import Approval, OnDrift, Pause, ReleaseStatus, State, Step
from engine.traffic import MatchKind, NamedMatch, RequestMatch, RoutePlan, SetHeaderRoute, SetMirror, Sticky, ValueMatch
from tests.builders import error_rate, header_match, header_route, istio_route, percent, release_plan, target_plan
from tests.rollouts.istio_objects import Meshed, destination, destination_rule, http_route, meshed, virtual_service
from tests.rollouts.istio_requests import Request, follow, shares
from tests.rollouts.test_istio import ENDS, GOOD_AND_ABORTED, at, begin, end, order

ANNA, BEN = Request(headers={"x-user": "anna"}), Request(headers={"x-user": "ben"})
OLD, NEW = {"active": 100}, {"canary": 100}


def whole(mesh: Meshed, request: Request) -> dict[str, int]:
    return shares(mesh.get("VirtualService"), request)


async def until_step(mesh: Meshed, step: int) -> None:
    await mesh.told.until(lambda: at(mesh).step == step and at(mesh).state is State.APPROVING)


async def go_on(mesh: Meshed, step: int) -> None:
    """Approve, and wait for the approval at `step`."""
    await order(mesh, CommandKind.APPROVE)
    await until_step(mesh, step)


def sticky_route(**more: object) -> RoutePlan:
    return replace(istio_route(**more), sticky=Sticky("version", 3_600.0))  # type: ignore[arg-type]


# --- header routes -----------------------------------------------------------------------------------------------------

AB_TEST: list[Step] = [header_route(), Approval(), percent(25), Approval(), header_route("gamma", header_match("x-user", "ben")),
                       Approval(), SetHeaderRoute("beta"), Approval(), percent(50), Approval()]  # fmt: skip


@GOOD_AND_ABORTED
async def test_a_test_by_header_and_then_by_weights(tmp_path: Path, kind: CommandKind) -> None:
    """What is singled out goes to the new version at any weight, also at none; all others go by the weight."""
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        await begin(mesh, AB_TEST)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == (NEW, OLD)
        await go_on(mesh, 3)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == (NEW, {"active": 75, "canary": 25})
        await go_on(mesh, 5)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == (NEW, NEW)
        await go_on(mesh, 7)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == ({"active": 75, "canary": 25}, NEW)
        await go_on(mesh, 9)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == ({"active": 50, "canary": 50}, NEW)
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


async def test_a_header_route_is_the_users_own_route_for_some_requests_and_stands_right_in_front_of_it(tmp_path: Path) -> None:
    """With its timeout and its matches: no request is taken that would have come to another route."""
    own = {**http_route(name="main"), "match": [{"uri": {"prefix": "/shop"}}], "retries": {"attempts": 2}}
    first = {"name": "first", "match": [{"headers": {"x-user": {"exact": "anna"}}, "uri": {"prefix": "/first"}}],
             "route": [destination(subset="active")]}  # fmt: skip
    last = http_route(name="last")
    async with meshed(tmp_path, virtual_service(first, own, last), destination_rule()) as mesh:
        await begin(mesh, [header_route(), Approval()], routes=(istio_route(http_route="main"),))
        assert [one["name"] for one in mesh.get("VirtualService")["spec"]["http"]] == [
            "first", "headgate/main/route/beta", "main", "last"]  # fmt: skip
        ours = mesh.get("VirtualService")["spec"]["http"][1]
        assert (ours["timeout"], ours["retries"]) == (own["timeout"], own["retries"])
        assert [whole(mesh, replace_path(ANNA, path)) for path in ("/first", "/shop", "/else")] == [OLD, NEW, OLD]
        assert await end(mesh) is ReleaseStatus.SUCCEEDED


def replace_path(request: Request, path: str) -> Request:
    return Request(path, request.headers, request.method)


async def test_each_of_several_routes_gets_the_header_routes_that_concern_it(tmp_path: Path) -> None:
    """Where a route's own matches leave nothing to a header route, there is nothing of it in front."""
    shop, api = (
        {**http_route(name=name), "match": [{"uri": {"prefix": f"/{name}"}}]} for name in ("shop", "api")
    )
    paths = RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/api/v2"))
    async with meshed(tmp_path, virtual_service(shop, api), destination_rule()) as mesh:
        before = mesh.belongings()
        routes = (istio_route(http_route="shop"), istio_route(http_route="api"))
        await begin(mesh, [header_route(), SetHeaderRoute("paths", (paths,)), Approval()], routes=routes)
        names = [one["name"] for one in mesh.get("VirtualService")["spec"]["http"]]
        assert names == ["headgate/shop/route/beta", "shop", "headgate/api/route/beta", "headgate/api/route/paths", "api"]
        assert whole(mesh, Request("/api/v2/x")) == NEW
        assert whole(mesh, Request("/api/v1/x")) == whole(mesh, Request("/shop/api/v2")) == OLD
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.belongings() == before


@pytest.mark.parametrize("step", range(1, 10, 2))
async def test_an_abort_takes_weight_and_shape_away_in_one_write(tmp_path: Path, step: int) -> None:
    async with meshed(tmp_path) as mesh:
        before, picture = mesh.belongings(), mesh.told.picture()
        await begin(mesh, [*AB_TEST[:6], SetMirror(5_000), Approval(), *AB_TEST[8:]], routes=(sticky_route(),))
        for approved in range(3, step + 1, 2):
            await go_on(mesh, approved)
        assert at(mesh).shape
        writes = writes_of(mesh, "VirtualService")
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert [one.get("weight") for one in writes[0]["spec"]["http"][-1]["route"]][1:] in ([0], [])
        assert len(writes[0]["spec"]["http"]) == 1
        assert "mirror" not in writes[0]["spec"]["http"][0] and "headers" not in str(writes[0]["spec"])
        assert (mesh.belongings(), mesh.told.picture(), mesh.told.ours()) == (before, picture, [])


def writes_of(mesh: Meshed, kind: str) -> list[JsonObject]:
    """Each version of the objects of a kind from now on."""
    found: list[JsonObject] = []

    def note(event: StorageEvent) -> None:
        if event.resource.kind == kind and event.type is EventType.MODIFIED:
            found.append(deepcopy(event.object))

    mesh.told.storage.subscribe(note)
    return found


async def test_a_promotion_in_the_middle_ends_all_exceptions_with_the_move_to_all_traffic(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        steps: list[Step] = [header_route(), SetMirror(1_000), Pause(3_600.0), percent(10), Pause(3_600.0), header_route("gamma")]
        await mesh.told.submit(release_plan(target_plan(steps, route=sticky_route(), settle=0.05)))
        await mesh.told.until_state(State.PAUSING)
        writes = writes_of(mesh, "VirtualService")
        assert await end(mesh, CommandKind.PROMOTE) is ReleaseStatus.SUCCEEDED
        assert [one.get("weight") for one in writes[0]["spec"]["http"][0]["route"]] == [0, 100]
        assert mesh.belongings() == before


async def test_what_is_skipped_is_the_wait_and_never_the_route(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        await begin(mesh, [header_route(), Approval(), percent(10), Approval()])
        await order(mesh, CommandKind.SKIP)
        await until_step(mesh, 3)
        assert (whole(mesh, ANNA), whole(mesh, BEN)) == (NEW, {"active": 90, "canary": 10})
        assert await end(mesh) is ReleaseStatus.SUCCEEDED


async def test_a_bad_version_that_only_testers_met_is_undone(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        mesh.told.error_rate["shop"] = 0.5
        plan = target_plan([header_route(), error_rate(runs=1, interval=0.05), percent(50)], route=istio_route(), settle=0.05)
        assert await mesh.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert mesh.belongings() == before


# --- mirrors -----------------------------------------------------------------------------------------------------------


@GOOD_AND_ABORTED
async def test_copies_of_requests_go_to_the_new_version_until_they_are_ended(tmp_path: Path, kind: CommandKind) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        await begin(mesh, [SetMirror(1_250), Approval(), SetMirror(10_000), Approval(), SetMirror(0), Approval()])
        (route,) = mesh.get("VirtualService")["spec"]["http"]
        assert route["mirror"] == {"host": "web", "subset": "canary"}
        assert route["mirrorPercentage"] == {"value": 12.5}
        assert mesh.weights() == [("active", 100), ("canary", 0)]
        await go_on(mesh, 3)
        assert mesh.get("VirtualService")["spec"]["http"][0]["mirrorPercentage"] == {"value": 100}
        await go_on(mesh, 5)
        assert "mirror" not in str(mesh.get("VirtualService")["spec"])
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


# --- clients that stay -------------------------------------------------------------------------------------------------


def cookie_of(mesh: Meshed) -> str:
    """What the new version's answers set, by the weight."""
    route = follow(mesh.get("VirtualService"), Request())
    assert route is not None
    given: str = route["route"][1]["headers"]["response"]["add"]["set-cookie"]
    return given


@GOOD_AND_ABORTED
async def test_a_client_that_was_drawn_once_stays(tmp_path: Path, kind: CommandKind) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        steps: list[Step] = [header_route(), Approval(), percent(10), Approval(), percent(50), Approval()]
        await begin(mesh, steps, routes=(sticky_route(),))
        assert "set-cookie" not in str(mesh.get("VirtualService"))
        await go_on(mesh, 3)
        pair, *attributes = cookie_of(mesh).split("; ")
        assert attributes == ["Max-Age=3600", "Path=/", "HttpOnly", "SameSite=Lax"]
        drawn = [Request(headers={"cookie": text}) for text in (pair, f"a=1; {pair}", f"{pair}; b=2")]
        assert [whole(mesh, one) for one in drawn] == [NEW] * 3
        others = [Request(headers={"cookie": text}) for text in ("version=another", f"x{pair}", f"{pair}1")]
        assert [whole(mesh, one) for one in others] == [{"active": 90, "canary": 10}] * 3
        await go_on(mesh, 5)
        assert whole(mesh, drawn[0]) == NEW and cookie_of(mesh).startswith(pair)
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


async def test_a_new_rollout_draws_anew(tmp_path: Path) -> None:
    cookies = []
    async with meshed(tmp_path) as mesh:
        for release in ("r1", "r2"):
            plan = target_plan([percent(10), Approval()], route=sticky_route(), settle=0.05)
            mesh.watch.rollout = f"{release}.production"
            await mesh.told.submit(release_plan(plan))
            await mesh.told.until_state(State.APPROVING, mesh.watch.rollout)
            cookies.append(cookie_of(mesh).partition(";")[0])
            await mesh.told.engine.command(release, Command(CommandKind.ABORT, by="ada"))
            await mesh.told.until_ended(release)
    assert [one.partition("=")[0] for one in cookies] == ["version", "version"]
    assert cookies[0] != cookies[1]


# --- somebody else -----------------------------------------------------------------------------------------------------


Edit = Callable[[JsonObject], None]


def take_out(service: JsonObject) -> None:
    del service["spec"]["http"][0]


def widen(service: JsonObject) -> None:
    service["spec"]["http"][0]["match"] = [{"uri": {"prefix": "/"}}]


def redirect(service: JsonObject) -> None:
    service["spec"]["http"][0]["route"] = [destination(subset="active")]


def move_behind(service: JsonObject) -> None:
    service["spec"]["http"].reverse()


def end_mirror(service: JsonObject) -> None:
    del service["spec"]["http"][1]["mirror"]


def narrow(service: JsonObject) -> None:
    service["spec"]["http"][1]["match"] = [{"uri": {"prefix": "/shop"}}]


EDITS = [take_out, widen, redirect, move_behind, end_mirror, narrow]
BOTH: list[Step] = [header_route(), SetMirror(1_000), Approval()]


@pytest.mark.parametrize("how", EDITS)
async def test_an_edit_of_what_is_singled_out_holds_the_rollout(tmp_path: Path, how: Edit) -> None:
    async with meshed(tmp_path) as mesh:
        mesh.told.traffic.pods_may_fail = True
        before = mesh.belongings()
        await begin(mesh, BOTH)
        found = mesh.get("VirtualService")
        ordered = deepcopy(found["spec"])
        how(found)
        mesh.update(found)
        sentence = "what stands beside the weights of the http route of VirtualService web was edited by somebody else; put back"
        await mesh.told.until(lambda: sentence in at(mesh).held)
        mesh.update({**mesh.get("VirtualService"), "spec": ordered})
        while at(mesh).held:
            with suppress(CommandRefused):
                await order(mesh, CommandKind.RESUME)
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.get("VirtualService")["spec"] == before["VirtualService/web"]["spec"]


@pytest.mark.parametrize("how", EDITS)
async def test_an_edit_of_what_is_singled_out_is_put_back_where_the_plan_says_so(tmp_path: Path, how: Edit) -> None:
    async with meshed(tmp_path) as mesh:
        mesh.told.traffic.pods_may_fail = True
        plan = replace(target_plan(BOTH, route=istio_route(), settle=0.05), on_drift=OnDrift.REASSERT)
        await mesh.told.submit(release_plan(plan))
        await mesh.told.until_state(State.APPROVING)
        found = mesh.get("VirtualService")
        how(found)
        mesh.update(found)
        await mesh.told.until(lambda: "reassert:web:1" in at(mesh).begun and at(mesh).action is None)
        if how is not narrow:  # The match is the user's own, and kept; the header route follows it.
            assert (whole(mesh, ANNA), whole(mesh, BEN)) == (NEW, OLD)
        assert whole(mesh, replace_path(ANNA, "/shop/a")) == NEW
        assert await end(mesh) is ReleaseStatus.SUCCEEDED


@GOOD_AND_ABORTED
async def test_what_the_user_changes_in_their_route_is_kept_and_taken_up_by_ours(tmp_path: Path, kind: CommandKind) -> None:
    async with meshed(tmp_path) as mesh:
        await begin(mesh, [header_route(), Approval(), percent(25), Approval()])
        found = mesh.get("VirtualService")
        found["spec"]["http"][1]["timeout"] = "1s"
        mesh.update(found)
        await go_on(mesh, 3)
        assert [one["timeout"] for one in mesh.get("VirtualService")["spec"]["http"]] == ["1s", "1s"]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.get("VirtualService")["spec"]["http"] == [{**http_route(), "timeout": "1s"}]


# --- what stands in the way --------------------------------------------------------------------------------------------

COOKIE = RequestMatch(cookies=(NamedMatch("beta", ValueMatch(MatchKind.EXACT, "1")),))
LEFT_OVER = {**http_route(name="headgate//route/beta"), "match": [{"uri": {"exact": "/x"}}]}
OBSTACLES: dict[str, tuple[list[JsonObject], list[Step], RoutePlan, str]] = {
    "a mirror of the user's": (
        [{**http_route(), "mirror": {"host": "legacy"}}],
        [SetMirror(100), Approval()],
        istio_route(),
        "mirrors requests already, and a route has one mirror",
    ),
    "a mirror of the user's to where the new version's will be": (
        [{**http_route(), "mirror": {"host": "web", "subset": "canary"}}],
        [percent(10), Approval()],
        istio_route(),
        "mirrors requests to the new version's place, as only a setMirror step may",
    ),
    "two expressions on one header": (
        [{**http_route(), "match": [{"headers": {"cookie": {"regex": "a=.*"}}}]}],
        [header_route("beta", COOKIE), Approval()],
        istio_route(),
        'matches the header cookie by regex "a=.*", which Istio cannot ask for together with regex',
    ),
    "nothing in common": (
        [{**http_route(), "match": [{"headers": {"x-user": {"exact": "ben"}}}]}],
        [header_route(), Approval()],
        istio_route(),
        "gets no request that fits the header route beta: header x-user = anna; its own matches leave it none",
    ),
    "a cookie of the user's": (
        [http_route(destination(subset="active", headers={"response": {"add": {"Set-Cookie": "a=1"}}}))],
        [percent(10), Approval()],
        sticky_route(),
        "says in the headers of a destination what becomes of set-cookie",
    ),
    "what another rollout has left": (
        [LEFT_OVER, http_route()],
        [header_route(), Approval()],
        istio_route(),
        "has routes of a rollout in front of it",
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(tmp_path: Path, obstacle: str) -> None:
    routes, steps, route, sentence = OBSTACLES[obstacle]
    async with meshed(tmp_path, virtual_service(*routes), destination_rule()) as mesh:
        before, picture = mesh.belongings(), mesh.told.picture()
        plan = target_plan(steps, route=route, settle=0.05)
        assert await mesh.told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        assert sentence in at(mesh).reason
        assert (mesh.belongings(), mesh.told.picture()) == (before, picture)
        mesh.watch.violations.clear()

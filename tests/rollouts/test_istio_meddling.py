"""Somebody else edits the Istio objects that a rollout edits, or has made them so that it cannot be carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, SERVICES
from engine.errors import CommandRefused
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from engine.traffic import IstioRoute, RoutePlan, RouterKind
from tests.builders import istio_route, percent, release_plan, service, target_plan
from tests.rollouts.istio_objects import Meshed, destination, destination_rule, http_route, meshed, virtual_service
from tests.rollouts.stage import stage
from tests.rollouts.test_istio import HASH, at, begin, end, order

Edit = Callable[[JsonObject], None]


@asynccontextmanager
async def meddled(path: Path) -> AsyncIterator[Meshed]:
    """A rollout that waits for an approval at 25 %, and a meddler who may harm traffic."""
    async with meshed(path) as mesh:
        await begin(mesh)
        mesh.told.traffic.pods_may_fail = True
        yield mesh


def edit(mesh: Meshed, kind: str, how: Edit, name: str = "web") -> JsonObject:
    """What stood there before."""
    found = mesh.get(kind, name)
    before = deepcopy(found)
    how(found)
    mesh.update(found)
    return before


def add_route(service: JsonObject) -> None:
    service["spec"]["http"].append(http_route(destination("legacy"), name="theirs"))


@pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.ABORT])
async def test_a_route_that_somebody_adds_beside_the_only_one_takes_nothing_from_it(tmp_path: Path, answer: CommandKind) -> None:
    """The deploy file names none, and now there are two: the divided one is known by the versions that it names."""
    async with meshed(tmp_path) as mesh:
        mesh.watch.ignores.add("legacy")
        before = deepcopy(mesh.get("VirtualService")["spec"])
        await begin(mesh)
        edit(mesh, "VirtualService", add_route)
        await end(mesh, answer)
        assert at(mesh).held == ""
        assert mesh.get("VirtualService")["spec"]["http"] == [*before["http"], http_route(destination("legacy"), name="theirs")]


def set_weights(service: JsonObject) -> None:
    for one, weight in zip(service["spec"]["http"][0]["route"], (10, 90), strict=True):
        one["weight"] = weight


def take_out_canary(service: JsonObject) -> None:
    del service["spec"]["http"][0]["route"][1]


def add_destination(service: JsonObject) -> None:
    service["spec"]["http"][0]["route"].append(destination("legacy", weight=0))


def add_headers(service: JsonObject) -> None:
    service["spec"]["http"][0]["route"][0]["headers"] = {"request": {"set": {"x": "y"}}}


def take_out_route(service: JsonObject) -> None:
    service["spec"]["http"] = [http_route(name="a"), http_route(name="b")]


def unpin(rule: JsonObject) -> None:
    del rule["spec"]["subsets"][0]["labels"][HASH]


def take_out_subset(rule: JsonObject) -> None:
    del rule["spec"]["subsets"][1]


MEDDLED = {
    "weights": ("VirtualService", set_weights, "somebody else set the http route of VirtualService web to 90 % instead of 25 %"),
    "the canary's destination": ("VirtualService", take_out_canary, "destinations of the http route of VirtualService web were"),
    "another destination": ("VirtualService", add_destination, "put back active 75, canary 25 and resume, or abort"),
    "headers": ("VirtualService", add_headers, "the destinations of the http route of VirtualService web were edited"),
    "the whole route": ("VirtualService", take_out_route, "the http route of VirtualService web was taken out by somebody else"),
    "the pin": ("DestinationRule", unpin, "subset active of DestinationRule web was edited by somebody else, so it"),
    "the subset": ("DestinationRule", take_out_subset, "subset canary of DestinationRule web was edited by somebody else"),
}


@pytest.mark.parametrize("what", MEDDLED)
async def test_an_edit_of_what_is_ours_holds_the_rollout_until_it_is_put_back(tmp_path: Path, what: str) -> None:
    kind, how, sentence = MEDDLED[what]
    async with meddled(tmp_path) as mesh:
        before = edit(mesh, kind, how)
        await mesh.told.until(lambda: sentence in at(mesh).held)
        with pytest.raises(CommandRefused, match="still held: drift"):
            await order(mesh, CommandKind.RESUME)
        mesh.update({**mesh.get(kind), "spec": before["spec"]})
        while at(mesh).held:
            with suppress(CommandRefused):
                await order(mesh, CommandKind.RESUME)
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.get("VirtualService")["spec"] == virtual_service()["spec"]
        assert mesh.get("DestinationRule")["spec"] == destination_rule()["spec"]


@pytest.mark.parametrize("rule", ["web", "outside"])
async def test_a_side_that_one_route_has_freed_is_not_somebodys_edit_for_those_that_share_it(tmp_path: Path, rule: str) -> None:
    """A measurement may come between the two, and the cluster is looked at then."""
    outside = virtual_service(name="web-gateway", gateways=["public"], http=[http_route()])
    rules = [destination_rule(name=name) for name in sorted({"web", rule})]
    async with meshed(tmp_path, virtual_service(), outside, *rules) as mesh:
        await begin(mesh, routes=(istio_route(), istio_route("web-gateway", rule=rule)))
        mesh.told.traffic.pods_may_fail = True
        edited = f"subset active of DestinationRule {rule} was edited"
        edit(mesh, "DestinationRule", unpin, rule)
        await mesh.told.until(lambda: edited in at(mesh).held)
        seen = await mesh.told.observe(begun=["free-stable:web"])
        assert seen.routes["web"].drift == ""
        assert (edited in seen.routes["web-gateway"].drift) is (rule == "outside")


@pytest.mark.parametrize("what", MEDDLED)
async def test_an_edit_of_what_is_ours_does_not_stop_an_abort(tmp_path: Path, what: str) -> None:
    """And what somebody else has put beside our edits is still there."""
    kind, how, sentence = MEDDLED[what]
    async with meddled(tmp_path) as mesh:
        edit(mesh, kind, how)
        await mesh.told.until(lambda: sentence in at(mesh).held)
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        theirs = virtual_service()["spec"]
        if how is take_out_route:
            theirs["http"] = [http_route(name="a"), http_route(name="b")]
        if how is add_destination:
            theirs["http"][0]["route"] = [destination(subset="active", weight=100), destination("legacy", weight=0)]
        if how is take_out_canary:
            theirs["http"][0]["route"] = [destination(subset="active", weight=75)]
        assert mesh.get("VirtualService")["spec"] == theirs
        assert mesh.get("DestinationRule")["spec"] == destination_rule()["spec"]
        assert mesh.told.ours() == []


@pytest.mark.parametrize("kind", ["VirtualService", "DestinationRule"])
async def test_a_removed_object_holds_the_rollout_and_an_abort_makes_no_other(tmp_path: Path, kind: str) -> None:
    async with meddled(tmp_path) as mesh:
        mesh.told.storage.delete(mesh.kind(kind), "shop", "web")
        await mesh.told.until(lambda: f"{kind} web was removed by somebody else" in at(mesh).held)
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert f"{kind}/web" not in mesh.belongings()
        assert mesh.told.ours() == []


@pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.ABORT])
async def test_what_somebody_else_does_elsewhere_in_the_objects_is_kept(tmp_path: Path, answer: CommandKind) -> None:
    """Another route, another subset, an annotation, the timeout of our own route: all stay, and belong to who wrote them."""
    canary_only = {"name": "blue", "labels": {"colour": "blue"}}

    def widen(service: JsonObject) -> None:
        service["metadata"]["annotations"] = {"theirs": "yes"}
        service["spec"]["http"][0]["timeout"] = "1s"
        service["spec"]["http"].insert(0, {"name": "first", "match": [{"uri": {"prefix": "/x"}}], "redirect": {"uri": "/y"}})

    def add_subset(rule: JsonObject) -> None:
        rule["spec"]["subsets"].insert(0, canary_only)
        rule["spec"]["trafficPolicy"] = {}

    async with meshed(tmp_path, virtual_service(http_route(name="main")), destination_rule()) as mesh:
        await begin(mesh, routes=(istio_route(http_route="main"),))
        edit(mesh, "VirtualService", widen)
        edit(mesh, "DestinationRule", add_subset)
        await end(mesh, answer)
        service, rule = mesh.get("VirtualService"), mesh.get("DestinationRule")
        assert service["metadata"]["annotations"] == {"theirs": "yes"}
        first, main = service["spec"]["http"]
        assert (first["name"], main) == ("first", {**http_route(name="main"), "timeout": "1s"})
        assert rule["spec"]["subsets"] == [canary_only, *destination_rule()["spec"]["subsets"]]
        assert rule["spec"]["trafficPolicy"] == {}
        for body in (service, rule):
            managers = {one["manager"] for one in body["metadata"]["managedFields"]}
            assert managers == {"kubectl", "somebody"}


async def test_the_old_versions_subset_follows_pods_that_somebody_replaced(tmp_path: Path) -> None:
    """Unpaused and restarted: the pods that it was pinned on are gone, and others of the old version are there."""
    async with meddled(tmp_path) as mesh:
        pinned = mesh.labels()["active"][HASH]
        live = mesh.told.deployment()
        del live["spec"]["paused"]
        live["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
        mesh.told.storage.update(DEPLOYMENTS, live, manager="somebody")
        await mesh.told.until(lambda: at(mesh).facts["web.stable_hash"] != pinned)
        assert mesh.labels()["active"][HASH] == at(mesh).facts["web.stable_hash"]
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.labels() == {"active": {"app": "web"}}


# --- what stands in the way --------------------------------------------------------------------------------------------

def divided(*shares: tuple[str, int]) -> JsonObject:
    return virtual_service(http_route(*(destination(subset=subset, weight=weight) for subset, weight in shares)))


ONE, TWO = http_route(), http_route(destination(subset="active"), name="main")
REFUSED: dict[str, tuple[list[JsonObject], RoutePlan, str]] = {
    "no VirtualService": ([destination_rule()], istio_route(), "there is no VirtualService web in namespace shop"),
    "no DestinationRule": ([virtual_service()], istio_route(), "there is no DestinationRule web in namespace shop"),
    "two routes and no name": (
        [virtual_service(ONE, TWO), destination_rule()],
        istio_route(),
        "the http route of VirtualService web cannot be told: there are 2; name it with httpRouteName",
    ),
    "an unknown route": (
        [virtual_service(TWO), destination_rule()],
        istio_route(http_route="mian"),
        "the http route mian of VirtualService web does not exist; the names that there are: main",
    ),
    "a redirect": (
        [virtual_service({"name": "main", "redirect": {"uri": "/"}}), destination_rule()],
        istio_route(http_route="main"),
        "has no destinations, it redirects or delegates",
    ),
    "another host": (
        [virtual_service(http_route(destination("shop"))), destination_rule()],
        istio_route(),
        "has no destination for subset active of web; add it",
    ),
    "two of a kind": (
        [divided(("active", 5), ("active", 95)), destination_rule()],
        istio_route(),
        "has 2 destinations for subset active of web",
    ),
    "a canary that has traffic": (
        [divided(("active", 95), ("canary", 5)), destination_rule()],
        istio_route(),
        "sends 5 to canary already, which is for the new version",
    ),
    "no share": (
        [divided(("active", 0), ("legacy", 100)), destination_rule()],
        istio_route(),
        "sends nothing to subset active of web, so there is no share to divide",
    ),
    "an unknown subset": (
        [virtual_service(), destination_rule({"name": "live"})],
        istio_route(),
        "DestinationRule web has no subset active; its subsets are: live",
    ),
    "two subsets and no name": (
        [virtual_service(), destination_rule({"name": "live"}, {"name": "idle"})],
        replace(istio_route(), istio=IstioRoute("web", destination_rule="web", canary_subset="canary")),
        "which subset serves now cannot be told, there are live, idle; name it with activeSubsetName",
    ),
    "a subset of another version": (
        [virtual_service(), destination_rule({"name": "active", "labels": {"version": "1"}})],
        istio_route(),
        "active selects version=1, which the live version of Deployment web does not have",
    ),
    "a subset that is in use": (
        [virtual_service(), destination_rule({"name": "active", "labels": {"app": "web", HASH: "abc"}})],
        istio_route(),
        "subset active is pinned on pod-template-hash=abc already: another rollout uses it",
    ),
    "another namespace": (
        [virtual_service(), destination_rule(host="web.depot.svc.cluster.local")],
        istio_route(),
        "is for a Service in namespace depot; a rollout moves traffic in its own (shop)",
    ),
    "a host that is no Service": (
        [virtual_service(), destination_rule(host="web.example.com")],
        istio_route(),
        "is for the host web.example.com, which is not the name of a Service",
    ),
    "no second Service": (
        [virtual_service(http_route(destination()))],
        RoutePlan("web", RouterKind.ISTIO, "web", stable_service="web", canary_service="none", istio=IstioRoute("web")),
        "there is no Service none in namespace shop",
    ),
}


@pytest.mark.parametrize("obstacle", REFUSED)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(tmp_path: Path, obstacle: str) -> None:
    bodies, route, sentence = REFUSED[obstacle]
    async with meshed(tmp_path, *bodies) as mesh:
        before, picture = mesh.belongings(), mesh.told.picture()
        assert await mesh.told.roll_out(release_plan(target_plan([percent(25)], route=route))) is ReleaseStatus.REJECTED
        assert sentence in at(mesh).reason
        assert (mesh.belongings(), mesh.told.picture(), mesh.told.ours()) == (before, picture, [])
        mesh.watch.violations.clear()


async def test_a_cluster_without_istio_is_told_what_to_install(tmp_path: Path) -> None:
    async with stage(tmp_path, istio_versions=()) as told:
        await told.live()
        assert await told.roll_out(release_plan(target_plan([percent(25)], route=istio_route()))) is ReleaseStatus.REJECTED
        reason = told.journal.snapshots["r1.production"].reason
        assert "the cluster serves no VirtualService (networking.istio.io); install Istio" in reason


async def test_a_service_that_is_removed_holds_the_rollout_and_an_abort_still_ends(tmp_path: Path) -> None:
    async with meshed(tmp_path, virtual_service(http_route(destination()))) as mesh:
        mesh.told.storage.create(SERVICES, service("web-next", app="web"), manager="kubectl")
        mesh.told.traffic.for_new_version.add("web-next")
        named = IstioRoute("web")
        await begin(
            mesh,
            routes=(
                RoutePlan("web", RouterKind.ISTIO, "web", stable_service="web", canary_service="web-next", istio=named),
            ),
        )
        mesh.told.traffic.pods_may_fail = True
        mesh.told.storage.delete(SERVICES, "shop", "web-next")
        await mesh.told.until(lambda: "Service web-next was removed by somebody else" in at(mesh).held)
        assert at(mesh).state is State.APPROVING
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.get("VirtualService")["spec"] == virtual_service(http_route(destination()))["spec"]



"""Canaries by the user's own VirtualService and DestinationRule, which are as they were in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.faults import Match
from adapters.embedded.resources import NAMESPACES, SERVICES
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, Snapshot, State, Step
from engine.traffic import IstioProtocol, IstioRoute, RoutePlan, RouterKind
from tests.builders import error_rate, istio_route, percent, release_plan, service, target_plan
from tests.rollouts.istio_objects import (
    FULL_NAME,
    Meshed,
    destination,
    destination_rule,
    http_route,
    meshed,
    virtual_service,
)
from tests.rollouts.stage import stage
from tests.rollouts.test_rollback import back

WAITING: list[Step] = [percent(25), Approval()]
HASH = "pod-template-hash"


async def order(mesh: Meshed, kind: CommandKind) -> None:
    await mesh.told.engine.command("r1", Command(kind, by="ada"))


async def begin(mesh: Meshed, steps: list[Step] | None = None, *, routes: tuple[RoutePlan, ...] = (), **more: object) -> None:
    plan = target_plan(steps or WAITING, routes=routes or (istio_route(),), settle=0.05, **more)  # type: ignore[arg-type]
    await mesh.told.submit(release_plan(plan))
    await mesh.told.until_state(State.APPROVING)


async def end(mesh: Meshed, kind: CommandKind = CommandKind.APPROVE) -> ReleaseStatus:
    await order(mesh, kind)
    return (await mesh.told.until_ended()).status


async def test_a_good_version_is_promoted_and_the_objects_are_as_before(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        await begin(mesh)
        facts = mesh.told.journal.snapshots["r1.production"].facts
        assert mesh.weights() == [("active", 75), ("canary", 25)]
        assert mesh.labels() == {
            "active": {"app": "web", HASH: facts["web.stable_hash"]},
            "canary": {HASH: facts["web.canary_hash"]},
        }
        active, canary = mesh.get("DestinationRule")["spec"]["subsets"]
        assert active["trafficPolicy"] == canary["trafficPolicy"]
        tested = {pod["metadata"]["uid"] for pod in mesh.told.pods(image="web:2")}
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before
        assert tested == {pod["metadata"]["uid"] for pod in mesh.told.pods()}
        assert sorted(mesh.told.picture()) == ["Deployment/web", "DestinationRule/web", "Service/web", "VirtualService/web"]


@pytest.mark.parametrize("bad_after", [1, 2], ids=["at the first weight", "at the second"])
async def test_a_bad_version_is_undone_and_the_objects_are_as_before(tmp_path: Path, bad_after: int) -> None:
    async with meshed(tmp_path) as mesh:
        before, picture = mesh.belongings(), mesh.told.picture()
        check = error_rate(runs=1, interval=0.05)
        steps: list[Step] = [percent(10), check] if bad_after == 1 else [percent(10), percent(60), check]
        mesh.told.error_rate["shop"] = 0.5
        plan = target_plan(steps, route=istio_route(), settle=0.05)
        assert await mesh.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert mesh.belongings() == before
        assert mesh.told.picture() == picture
        assert mesh.told.ours() == []


HANDING_OVER = {
    "the list of destinations is first written": ("virtualservices", 0),
    "the active subset is pinned": ("destinationrules", 0),
    "the canary subset is made": ("destinationrules", 1),
    "all traffic moves": ("virtualservices", 2),
    "the template is replaced": ("deployments", 1),
    "the canary is adopted": ("replicasets", 0),
    "the Deployment is unpaused": ("deployments", 2),
    "the active subset is freed": ("destinationrules", 2),
    "the list of destinations is put back": ("virtualservices", 3),
    "its fields are given back": ("virtualservices", 4),
    "the canary subset goes": ("destinationrules", 3),
    "the declaration is applied": ("deployments", 3),
}


@pytest.mark.parametrize("after", [False, True], ids=["not yet", "already"])
@pytest.mark.parametrize("moment", HANDING_OVER)
async def test_an_abort_while(tmp_path: Path, moment: str, after: bool) -> None:
    """The write hangs, has taken effect already or not yet, and in that moment the operator aborts."""
    resource, skip = HANDING_OVER[moment]
    async with meshed(tmp_path) as mesh:
        before, picture = mesh.belongings(), mesh.told.picture()
        faults = mesh.told.embedded.server.faults
        hanging = Match(verb="patch", resource=resource, user_agent="headgate", dry_run=False)
        faults.hang(hanging, 20.0, skip=skip, after_effect=after)
        await mesh.told.submit(release_plan(target_plan([percent(25)], route=istio_route(), settle=0.05)))
        await mesh.told.until(lambda: faults.pending == 0)
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.belongings() == before
        assert mesh.told.picture() == picture
        assert mesh.told.ours() == []
        await mesh.told.until(lambda: len(mesh.told.pods(image="web:1")) == 3 and not mesh.told.pods(image="web:2"))


GOOD_AND_ABORTED = pytest.mark.parametrize("kind", [CommandKind.APPROVE, CommandKind.ABORT], ids=["approved", "aborted"])
ENDS = {CommandKind.APPROVE: ReleaseStatus.SUCCEEDED, CommandKind.ABORT: ReleaseStatus.FAILED}


@GOOD_AND_ABORTED
async def test_other_destinations_of_the_route_keep_their_part_of_the_traffic(tmp_path: Path, kind: CommandKind) -> None:
    """The share of the version that serves now is divided: a quarter of 60 is 15. A tenth of a percent needs finer weights."""
    legacy, beta = destination("legacy", weight=30), destination("beta", weight=10)
    route = http_route(legacy, destination(subset="active", weight=60), beta)
    async with meshed(tmp_path, virtual_service(route), destination_rule()) as mesh:
        mesh.watch.ignores |= {"legacy", "beta"}
        before = mesh.belongings()
        await begin(mesh, [percent(0.1), Approval(), percent(25), Approval()])
        assert mesh.weights() == [("legacy", 1500), ("active", 2997), ("canary", 3), ("beta", 500)]
        await order(mesh, CommandKind.APPROVE)
        await mesh.told.until(lambda: at(mesh).step == 3 and at(mesh).state is State.APPROVING)
        assert mesh.weights() == [("legacy", 30), ("active", 45), ("canary", 15), ("beta", 10)]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


@pytest.mark.parametrize("in_rule", ["web", FULL_NAME])
@pytest.mark.parametrize("in_service", ["web", FULL_NAME])
async def test_hosts_may_be_written_short_or_in_full(tmp_path: Path, in_service: str, in_rule: str) -> None:
    service = virtual_service(http_route(destination(in_service, "active")))
    async with meshed(tmp_path, service, destination_rule(host=in_rule)) as mesh:
        before = mesh.belongings()
        await begin(mesh)
        assert [one["destination"]["host"] for one in mesh.destinations()] == [in_service] * 2
        assert mesh.weights() == [("active", 75), ("canary", 25)]
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before


async def test_a_destination_that_names_no_subset_names_the_active_one_until_the_end(tmp_path: Path) -> None:
    """Or it would send requests to the pods of both versions."""
    async with meshed(tmp_path, virtual_service(http_route(destination())), destination_rule()) as mesh:
        before = mesh.belongings()
        await begin(mesh)
        assert mesh.weights() == [("active", 75), ("canary", 25)]
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before


async def test_a_canary_subset_and_its_destination_may_be_there_already(tmp_path: Path) -> None:
    policy = {"tls": {"mode": "ISTIO_MUTUAL"}}
    theirs = {"name": "canary", "labels": {"track": "canary"}, "trafficPolicy": policy}
    rule = destination_rule({"name": "active", "labels": {"app": "web"}}, theirs)
    route = http_route(destination(subset="canary", weight=0), destination(subset="active", weight=100))
    async with meshed(tmp_path, virtual_service(route), rule) as mesh:
        before = mesh.belongings()
        await begin(mesh)
        assert mesh.weights() == [("canary", 25), ("active", 75)]
        assert mesh.get("DestinationRule")["spec"]["subsets"][1]["trafficPolicy"] == policy
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before


@GOOD_AND_ABORTED
async def test_two_routes_of_one_virtual_service_move_together_and_a_third_is_left_alone(
    tmp_path: Path, kind: CommandKind
) -> None:
    routes = [http_route(name=name) for name in ("main", "health", "api")]
    async with meshed(tmp_path, virtual_service(*routes), destination_rule()) as mesh:
        before = mesh.belongings()
        await begin(mesh, routes=(istio_route(http_route="main"), istio_route(http_route="api")))
        assert [mesh.weights(index) for index in range(3)] == [
            [("active", 75), ("canary", 25)],
            [("active", None)],
            [("active", 75), ("canary", 25)],
        ]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


@GOOD_AND_ABORTED
async def test_several_virtual_services_may_share_a_destination_rule(tmp_path: Path, kind: CommandKind) -> None:
    inside, outside = virtual_service(), virtual_service(name="web-gateway", gateways=["public"], http=[http_route()])
    async with meshed(tmp_path, inside, outside, destination_rule()) as mesh:
        before = mesh.belongings()
        await begin(mesh, routes=(istio_route(), istio_route("web-gateway")))
        assert mesh.weights() == mesh.weights(name="web-gateway") == [("active", 75), ("canary", 25)]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


@GOOD_AND_ABORTED
async def test_tls_and_tcp_routes_are_found_by_what_they_match(tmp_path: Path, kind: CommandKind) -> None:
    target = [destination(subset="active")]
    tls = [{"match": [{"port": 443, "sniHosts": [host]}], "route": target} for host in ("a.example.com", "b.example.com")]
    tcp = [{"match": [{"port": port}], "route": target} for port in (5432, 6379)]
    async with meshed(tmp_path, virtual_service(tls=tls, tcp=tcp), destination_rule()) as mesh:
        before = mesh.belongings()
        place = IstioRoute("web", IstioProtocol.TLS, "", 443, ("b.example.com",), "web", "active", "canary")
        other = replace(place, protocol=IstioProtocol.TCP, port=5432, sni_hosts=())
        plans = (RoutePlan(name, RouterKind.ISTIO, "web", istio=one) for name, one in (("web/tls", place), ("web/tcp", other)))
        await begin(mesh, routes=tuple(plans))
        divided, whole = [("active", 75), ("canary", 25)], [("active", None)]
        assert [mesh.weights(index, protocol="tls") for index in range(2)] == [whole, divided]
        assert [mesh.weights(index, protocol="tcp") for index in range(2)] == [divided, whole]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before


@pytest.mark.parametrize("in_service", ["web", FULL_NAME])
@GOOD_AND_ABORTED
async def test_two_services_may_tell_the_versions_apart(tmp_path: Path, kind: CommandKind, in_service: str) -> None:
    """Where the users name no DestinationRule: their Services are pinned on a version each, and given back."""
    async with meshed(tmp_path, virtual_service(http_route(destination(in_service)))) as mesh:
        mesh.told.storage.create(SERVICES, service("web-next", app="web"), manager="kubectl")
        mesh.told.traffic.for_new_version.add("web-next")
        before, picture = mesh.belongings(), mesh.told.picture()
        fields = [mesh.told.storage.get(SERVICES, "shop", name)["metadata"]["managedFields"] for name in ("web", "web-next")]
        route = RoutePlan(
            "web", RouterKind.ISTIO, "web", stable_service="web", canary_service="web-next", istio=IstioRoute("web")
        )
        await begin(mesh, routes=(route,))
        assert mesh.weights() == [(in_service, 75), (in_service.replace("web", "web-next"), 25)]
        selectors = [mesh.told.storage.get(SERVICES, "shop", name)["spec"]["selector"] for name in ("web", "web-next")]
        assert [one[HASH] for one in selectors] == [at(mesh).facts["web.stable_hash"], at(mesh).facts["web.canary_hash"]]
        assert await end(mesh, kind) is ENDS[kind]
        assert mesh.belongings() == before
        services = {name: body for name, body in picture.items() if name.startswith("Service/")}
        assert {name: body for name, body in mesh.told.picture().items() if name in services} == services
        again = [mesh.told.storage.get(SERVICES, "shop", name)["metadata"]["managedFields"] for name in ("web", "web-next")]
        assert again == fields


@pytest.mark.parametrize("versions", [["v1beta1"], ["v1alpha3"]], ids=str)
async def test_an_older_istio_gets_whole_percents_and_is_told_what_that_comes_to(tmp_path: Path, versions: list[str]) -> None:
    async with meshed(tmp_path, versions=versions) as mesh:
        before = mesh.belongings()
        await begin(mesh, [percent(12.4), Approval()])
        assert mesh.weights() == [("active", 88), ("canary", 12)]
        assert (at(mesh).weight, at(mesh).served) == (1_240, 1_200)
        texts = [entry.text for entry in mesh.told.journal.entries["r1.production"]]
        assert any("asked for 12.4 %, reached 12 %" in text for text in texts)
        assert any("12 % to the new version, as near to 12.4 % as whole weights come here" in text for text in texts)
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before


async def test_nothing_of_a_percent_is_lost_where_istio_takes_any_weights(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        await begin(mesh, [percent(0.01), Approval()])
        assert mesh.weights() == [("active", 9_999), ("canary", 1)]
        assert (at(mesh).weight, at(mesh).served) == (1, 1)
        assert await end(mesh) is ReleaseStatus.SUCCEEDED


def at(mesh: Meshed) -> Snapshot:
    return mesh.told.journal.snapshots["r1.production"]


async def test_objects_that_are_shipped_are_applied_first_and_stay_as_declared(tmp_path: Path) -> None:
    """The manifests say something new of both; what is edited is what they have come to."""
    async with meshed(tmp_path) as mesh:
        new_service = virtual_service({**http_route(name="main"), "timeout": "9s"})
        new_rule = destination_rule({"name": "active", "labels": {"app": "web"}})
        await begin(mesh, routes=(istio_route(http_route="main"),), manifests=[new_service, new_rule])
        assert mesh.get("VirtualService")["spec"]["http"][0]["timeout"] == "9s"
        assert mesh.weights() == [("active", 75), ("canary", 25)]
        assert await end(mesh) is ReleaseStatus.SUCCEEDED
        assert mesh.get("VirtualService")["spec"] == new_service["spec"]
        assert mesh.get("DestinationRule")["spec"] == new_rule["spec"]
        for kind in ("VirtualService", "DestinationRule"):
            fields = mesh.get(kind)["metadata"]["managedFields"]
            assert {one["manager"]: one["operation"] for one in fields if one["manager"] == "headgate"} == {"headgate": "Apply"}


async def test_objects_that_are_shipped_are_as_they_were_found_after_an_abort(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        shipped = [virtual_service({**http_route(name="main"), "timeout": "9s"}), destination_rule(host=FULL_NAME)]
        await begin(mesh, routes=(istio_route(http_route="main"),), manifests=shipped)
        assert await end(mesh, CommandKind.ABORT) is ReleaseStatus.FAILED
        assert mesh.belongings() == before


async def test_a_first_deployment_applies_its_istio_objects_and_edits_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        shipped = [service(), virtual_service(), destination_rule()]
        plan = target_plan([percent(25)], route=istio_route(), manifests=shipped)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert told.storage.get(Meshed(told).kind("VirtualService"), "shop", "web")["spec"] == virtual_service()["spec"]


async def test_a_completed_release_is_taken_back_by_the_same_routes(tmp_path: Path) -> None:
    async with meshed(tmp_path) as mesh:
        before = mesh.belongings()
        plan = release_plan(target_plan([percent(50)], route=istio_route(), settle=0.05))
        assert await mesh.told.roll_out(plan) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before
        assert await mesh.told.roll_out(await back(mesh.told)) is ReleaseStatus.SUCCEEDED
        assert mesh.belongings() == before
        assert {pod["spec"]["containers"][0]["image"] for pod in mesh.told.pods()} == {"web:1"}
        mesh.watch.violations.clear()  # Here the version that serves is the one that the watch takes for the new one.

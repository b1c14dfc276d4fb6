"""Canaries by a TrafficSplit on Linkerd: a weight counts when the ServiceProfile says it, which is as it was in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, PODS, SERVICES
from adapters.kubernetes.permissions import Permission, Verb
from engine.events import CommandKind
from engine.model import Approval, OnDrift, ReleaseStatus, State
from tests.builders import definition, error_rate, percent, release_plan, service, smi_route, target_plan
from tests.rollouts.linkerd_objects import LINKERD_VERSIONS, PROFILE, ROUTES, Linkerd, linkerd, overrides
from tests.rollouts.stage import stage

SKIP = "smi.linkerd.io/skip"


@pytest.mark.parametrize(
    "versions", [["v1alpha1"], ["v1alpha1", "v1alpha2"], ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"]], ids=str
)
async def test_a_good_version_is_promoted_and_no_profile_is_left(tmp_path: Path, versions: list[str]) -> None:
    async with linkerd(tmp_path, versions=versions) as mesh:
        await mesh.begin([percent(0.01), percent(12.5), Approval()])
        await mesh.until_asked()
        assert mesh.at.served == 1_250
        assert mesh.get()["spec"]["dstOverrides"] == overrides(stable=875, canary=125)
        await mesh.order(CommandKind.APPROVE)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.history == [(100, 0), (9999, 1), (875, 125), (0, 100), None]
        assert all(weight < 429_000 for weights in mesh.history for weight in weights or ())
        assert sorted(mesh.told.picture()) == ["Deployment/web", "Service/web"]
        assert f"ServiceProfile {PROFILE} came with the split and is removed" in mesh.story()


@pytest.mark.parametrize("versions", [["v1alpha1"], ["v1alpha2"], ["v1alpha3"], ["v1alpha4"]], ids=str)
async def test_the_smallest_weight_is_of_whole_numbers_in_every_version(tmp_path: Path, versions: list[str]) -> None:
    async with stage(tmp_path, split_versions=versions) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(0.01), Approval()], settle=0.05)))
        at = await told.until_state(State.APPROVING)
        assert at.served == 1
        backends = told.storage.get(told.splits, "shop", "web")["spec"]["backends"]
        assert [one["weight"] for one in backends] == [9999, 1]


@pytest.mark.parametrize("promoted", [True, False], ids=["promoted", "aborted"])
async def test_a_profile_of_the_users_is_as_it_was_found(tmp_path: Path, promoted: bool) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.add(ROUTES)
        before, picture = mesh.letters(), mesh.told.picture()
        await mesh.begin()
        await mesh.until_asked()
        assert mesh.get()["spec"] == {**ROUTES, "dstOverrides": overrides(stable=75, canary=25)}
        await mesh.order(CommandKind.APPROVE if promoted else CommandKind.ABORT)
        status = (await mesh.told.until_ended()).status
        assert status is (ReleaseStatus.SUCCEEDED if promoted else ReleaseStatus.FAILED)
        assert mesh.letters() == before
        assert "headgate" not in mesh.managers()
        assert promoted or mesh.told.picture() == picture


async def test_a_bad_version_is_undone_and_the_profile_that_came_goes(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        picture = mesh.told.picture()
        mesh.told.error_rate["shop"] = 0.5
        plan = target_plan([percent(10), error_rate(runs=1, interval=0.05)], settle=0.05)
        assert await mesh.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert mesh.told.picture() == picture
        assert mesh.told.ours() == []


async def test_an_empty_profile_that_was_there_stays(tmp_path: Path) -> None:
    """Whose it is cannot be told: it may be meant to keep routes from taking effect."""
    async with linkerd(tmp_path) as mesh:
        mesh.add({})
        before = mesh.letters()
        await mesh.begin([percent(50)])
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.letters() == before


async def test_what_somebody_writes_into_the_profile_that_came_is_kept(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        await mesh.begin()
        await mesh.until_asked()
        found = mesh.get()
        found["spec"].update(ROUTES)
        mesh.told.storage.update(mesh.kind, found, manager="somebody")
        await mesh.order(CommandKind.APPROVE)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.get()["spec"] == ROUTES


# --- the extension -----------------------------------------------------------------------------------------------------


async def test_a_weight_is_waited_for_until_the_profile_says_it(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        await mesh.begin([percent(10), Approval(), percent(25), Approval()])
        await mesh.until_asked()
        mesh.extension.runs = False
        await mesh.order(CommandKind.APPROVE)
        splits = mesh.told.splits
        await mesh.told.until(lambda: mesh.told.storage.get(splits, "shop", "web")["spec"]["backends"][1]["weight"] == 25)
        at = await mesh.told.until_state(State.SHIFTING)
        await mesh.told.until(lambda: mesh.at.action is None)
        assert (mesh.at.state, at.served, mesh.at.held) == (State.SHIFTING, 1_000, "")
        route = (await mesh.told.observe()).routes["web"]
        assert (route.weight, route.waits_for) == (None, f"ServiceProfile {PROFILE} says 10 %, 25 % was asked for")
        mesh.extension.runs = True
        await mesh.until_asked()
        assert mesh.at.served == 2_500


async def test_an_extension_that_is_slow_only_costs_time(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.extension.lag_seconds = 0.3
        await mesh.begin([percent(10), percent(60)])
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.history == [(100, 0), (90, 10), (40, 60), (0, 100), None]
        assert "drift" not in mesh.story()


async def test_without_the_extension_nothing_is_begun_and_the_reason_is_told(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.extension.runs = False
        picture = mesh.told.picture()
        await mesh.begin(ready_timeout=0.5)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.FAILED
        reason = mesh.at.reason
        assert "no ServiceProfile web.shop.svc.<cluster domain>: is the linkerd-smi extension running?" in reason
        created = [one for one in mesh.told.embedded.server.audit.writes() if "replicasets" in one.path]
        assert created == [], "a pod of the new version would have been reached by the root Service"
        assert mesh.told.picture() == picture


async def test_an_abort_takes_the_weight_away_though_the_extension_has_stopped(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.add(ROUTES)
        before = mesh.letters()
        await mesh.begin()
        await mesh.until_asked()
        mesh.extension.runs = False
        await mesh.order(CommandKind.ABORT)
        await mesh.told.until(lambda: mesh.history[-1] == (100, 0))
        assert mesh.told.pods(image="web:2"), "pods go when nothing is sent to them any more"
        # The split is gone by then, and its end is only waited for so long: virtual minutes would be real ones here.
        mesh.extension.runs = True
        assert (await mesh.told.until_ended()).status is ReleaseStatus.FAILED
        assert mesh.letters() == before
        assert "headgate" not in mesh.managers()


async def test_a_way_back_after_the_end_waits_until_the_split_is_followed_once_more(tmp_path: Path) -> None:
    """Until then the root Service reaches the pods of both versions, and none of them may go."""
    async with linkerd(tmp_path) as mesh:
        plan = target_plan([percent(50)], settle=0.05, after=[Approval()])
        await mesh.told.submit(release_plan(plan))
        await mesh.told.until_state(State.VERIFYING)
        assert mesh.find() is None
        said: list[tuple[int, ...] | None] = []

        def notice(event: StorageEvent) -> None:
            if event.resource.plural == "replicasets" and event.type is EventType.DELETED:
                said.append(mesh.history[-1])

        mesh.told.storage.subscribe(notice)
        mesh.extension.lag_seconds = 3.0
        await mesh.order(CommandKind.ABORT)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.FAILED
        assert said == [(100, 0)]
        assert sorted(mesh.told.picture()) == ["Deployment/web", "Service/web"]


async def test_services_stay_while_the_profile_still_sends_to_them(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        await mesh.begin()
        await mesh.until_asked()
        mesh.extension.runs = True
        await mesh.order(CommandKind.APPROVE)
        await mesh.told.until(lambda: mesh.history[-1] == (0, 100))
        mesh.extension.runs = False
        await mesh.told.until(lambda: mesh.told.storage.find(mesh.told.splits, "shop", "web") is None)
        await mesh.told.until(lambda: mesh.at.action is None)
        waits = (await mesh.told.observe()).routes["web"].waits_for
        assert waits.startswith(f"ServiceProfile {PROFILE} still sends to web-stable and web-canary")
        assert mesh.told.storage.find(SERVICES, "shop", "web-canary") is not None
        mesh.extension.runs = True
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.find() is None


@pytest.mark.parametrize("promoted", [True, False], ids=["promoted", "aborted"])
@pytest.mark.parametrize("theirs", [True, False], ids=["a profile of the user's", "one that came"])
async def test_an_extension_that_never_comes_back_leaves_nothing_to_services_that_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promoted: bool, theirs: bool
) -> None:
    monkeypatch.setattr("strategies.pieces.ACKNOWLEDGE_SECONDS", 0.2)
    async with linkerd(tmp_path) as mesh:
        if theirs:
            mesh.add(ROUTES)
        before = mesh.letters() if theirs else ""
        await mesh.begin([percent(100), Approval()])
        await mesh.until_asked()
        mesh.extension.runs = False
        await mesh.order(CommandKind.APPROVE if promoted else CommandKind.ABORT)
        status = (await mesh.told.until_ended()).status
        assert status is (ReleaseStatus.SUCCEEDED if promoted else ReleaseStatus.FAILED)
        if theirs:
            assert mesh.letters() == before
            assert "headgate" not in mesh.managers()
        assert theirs or mesh.find() is None
        mesh.extension.runs = True


# --- meddling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edited", "told"),
    [
        (overrides(stable=10, canary=90), f"somebody else set ServiceProfile {PROFILE} to 90 % instead of 25 %"),
        (overrides(other=1), f"the dstOverrides of ServiceProfile {PROFILE} were edited by somebody else"),
        (None, f"the dstOverrides of ServiceProfile {PROFILE} were taken out by somebody else"),
    ],
    ids=["weights", "backends", "all of them"],
)
async def test_an_edit_of_the_profile_holds_the_rollout_and_an_abort_ends_it(
    tmp_path: Path, edited: list[JsonObject] | None, told: str
) -> None:
    async with linkerd(tmp_path) as mesh:
        picture = mesh.told.picture()
        await mesh.begin()
        await mesh.until_asked()
        mesh.edit(edited)
        await mesh.told.until(lambda: bool(mesh.at.held))
        assert told in mesh.at.held
        await mesh.order(CommandKind.ABORT)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.FAILED
        left = {key: value for key, value in mesh.told.picture().items() if not key.startswith("ServiceProfile")}
        assert left == picture


@pytest.mark.parametrize("how", ["edited", "emptied", "removed"])
async def test_where_that_is_the_policy_the_profile_is_put_back(tmp_path: Path, how: str) -> None:
    async with linkerd(tmp_path) as mesh:
        plan = replace(target_plan([percent(25), Approval()], settle=0.05), on_drift=OnDrift.REASSERT)
        await mesh.told.submit(release_plan(plan))
        await mesh.until_asked()
        if how == "removed":
            mesh.told.storage.delete(mesh.kind, "shop", PROFILE)
        else:
            mesh.edit(overrides(stable=1, canary=1) if how == "edited" else None)
        await mesh.told.until(lambda: mesh.history[-1] == (75, 25) and len(mesh.history) > 3)
        await mesh.order(CommandKind.APPROVE)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert sorted(mesh.told.picture()) == ["Deployment/web", "Service/web"]


async def test_a_second_edit_of_the_profile_is_noticed_as_the_first_was(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        plan = target_plan([percent(25), Approval()], settle=0.05)
        await mesh.told.submit(release_plan(replace(plan, on_drift=OnDrift.REASSERT, reassert_limit=1)))
        await mesh.until_asked()
        mesh.edit(overrides(stable=1, canary=1))
        await mesh.told.until(lambda: "reassert:web:1" in mesh.at.begun and mesh.at.action is None)
        assert mesh.history[-1] == (75, 25)
        mesh.edit(overrides(stable=1, canary=1))
        await mesh.told.until(lambda: "put back 1 times and changed again: somebody fights for it" in mesh.at.held)
        await mesh.order(CommandKind.ABORT)
        assert (await mesh.told.until_ended()).status is ReleaseStatus.FAILED
        assert sorted(mesh.told.picture()) == ["Deployment/web", "Service/web"]


# --- what is looked at before anything is changed -----------------------------------------------------------------------


async def refused(mesh: Linkerd, **more: object) -> str:
    """The reason, after it was seen that nothing was written."""
    picture = mesh.told.picture()
    await mesh.begin(**more)  # type: ignore[arg-type]
    assert (await mesh.told.until_ended()).status is ReleaseStatus.REJECTED
    assert mesh.told.picture() == picture
    return mesh.at.reason


async def test_a_profile_that_is_to_be_skipped(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.add(ROUTES, annotations={SKIP: "true"})
        reason = await refused(mesh)
        assert f"has the annotation {SKIP}" in reason
        assert f"kubectl annotate serviceprofile {PROFILE} -n shop {SKIP}-" in reason


async def test_overrides_that_no_split_has_made(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.add({"dstOverrides": overrides(blue=1, green=1)})
        assert "has dstOverrides to web-blue and web-green, and no TrafficSplit that they come from" in await refused(mesh)


async def test_overrides_that_an_earlier_rollout_has_left_are_taken_for_what_they_are(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.add({"dstOverrides": overrides(stable=0, canary=100)})
        await mesh.begin([percent(50)])
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert mesh.get()["spec"] == {}


@pytest.mark.parametrize("root", ["web", "web.shop", "web.shop.svc.cluster.local"])
async def test_another_split_of_the_root(tmp_path: Path, root: str) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.extension.runs = False
        _add_split(mesh, root)
        assert "TrafficSplit theirs splits the root Service web already" in await refused(mesh)


async def test_a_split_of_a_service_of_that_name_elsewhere_is_another_one(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.extension.runs = False
        _add_split(mesh, "web.stock.svc.cluster.local")
        mesh.extension.runs = True
        await mesh.begin([percent(50)])
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED


def _add_split(mesh: Linkerd, root: str) -> None:
    spec = {"service": root, "backends": [{"service": "web-a", "weight": 1}]}
    metadata = {"name": "theirs", "namespace": "shop"}
    body = {"apiVersion": mesh.told.splits.api_version, "kind": "TrafficSplit", "metadata": metadata, "spec": spec}
    mesh.told.storage.create(mesh.told.splits, body, manager="kubectl")


async def test_a_canary_service_without_the_roots_port(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        theirs = service("theirs", app="web")
        theirs["spec"]["ports"] = [{"name": "http", "port": 8080}]  # type: ignore[index]
        mesh.told.storage.create(SERVICES, theirs, manager="kubectl")
        assert "Service theirs lacks port 80 of web" in await refused(mesh, route=smi_route(canary="theirs"))


async def test_a_headless_root(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.told.storage.delete(SERVICES, "shop", "web")
        headless = service()
        headless["spec"]["clusterIP"] = "None"  # type: ignore[index]
        mesh.told.storage.create(SERVICES, headless, manager="kubectl")
        assert "web is headless" in await refused(mesh)


async def test_a_backend_that_is_the_root(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        assert "web is the root Service and a backend of its own split" in await refused(mesh, route=smi_route(canary="web"))


async def test_a_definition_that_the_extension_does_not_watch(tmp_path: Path) -> None:
    async with linkerd(tmp_path, versions=["v1alpha4"]) as mesh:
        assert "linkerd-smi watches TrafficSplit v1alpha1, and the cluster serves only v1alpha4" in await refused(mesh)


def _route_of_the_root(mesh: Linkerd) -> None:
    body = definition("HTTPRoute", group="gateway.networking.k8s.io")
    body["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com"}  # type: ignore[index]
    mesh.told.storage.create(CUSTOM_RESOURCE_DEFINITIONS, body)
    kind = next(one for one in mesh.told.storage.registry if one.kind == "HTTPRoute")
    spec = {"parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}]}
    metadata = {"name": "theirs", "namespace": "shop"}
    route = {"apiVersion": kind.api_version, "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
    mesh.told.storage.create(kind, route, manager="kubectl")


async def test_a_route_that_the_profile_would_silence(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        _route_of_the_root(mesh)
        assert "HTTPRoute theirs routes Service web, and would be without effect" in await refused(mesh)


async def test_a_route_that_a_profile_silences_anyway_is_no_obstacle(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        _route_of_the_root(mesh)
        mesh.add(ROUTES)
        await mesh.begin([percent(50)])
        assert (await mesh.told.until_ended()).status is ReleaseStatus.SUCCEEDED


async def test_pods_without_a_proxy_are_told_of_and_no_obstacle(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        await mesh.begin()
        await mesh.until_asked()
        assert "warning: 3 of 3 pods of Deployment web carry no linkerd-proxy" in mesh.story()


async def test_pods_with_a_proxy_are_not_told_of(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        live = mesh.told.deployment()
        live["spec"]["template"]["spec"]["initContainers"] = [
            {"name": "linkerd-proxy", "image": "proxy:1", "restartPolicy": "Always"}
        ]
        mesh.told.storage.update(DEPLOYMENTS, live, manager="kubectl")
        counts = ("updatedReplicas", "availableReplicas", "replicas")

        def is_rolled_out() -> bool:
            pods = mesh.told.storage.list(PODS, "shop")
            carry = len(pods) == 3 and all(one["spec"].get("initContainers") for one in pods)
            found = mesh.told.deployment()
            is_seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
            return carry and is_seen and all(mesh.told.status("shop", "web", count) == 3 for count in counts)

        await mesh.told.until(is_rolled_out)
        await mesh.begin()
        await mesh.until_asked()
        assert "warning" not in mesh.story()


async def test_a_right_to_the_profiles_that_is_missing_is_named_before_anything_is_changed(tmp_path: Path) -> None:
    async with linkerd(tmp_path) as mesh:
        mesh.told.rights.grant([target_plan()])
        mesh.told.rights.deny(Permission("linkerd.io", "serviceprofiles", Verb.DELETE, "shop"))
        reason = await refused(mesh)
        assert "may not delete serviceprofiles.linkerd.io in namespace shop" in reason


# --- matches -----------------------------------------------------------------------------------------------------------


def _group(name: str = "beta") -> JsonObject:
    spec = {"matches": [{"name": "firefox", "headers": [{"user-agent": ".*Firefox.*"}]}]}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("shipped", [False, True], ids=["live", "among the manifests"])
@pytest.mark.parametrize("version", ["v1alpha3", "v1alpha4"])
async def test_a_split_of_some_requests_only(tmp_path: Path, version: str, shipped: bool) -> None:
    async with stage(tmp_path, split_versions=[version]) as told:
        await told.live()
        kind = next(one for one in told.storage.registry.kinds() if one.kind == "HTTPRouteGroup")
        if not shipped:
            told.storage.create(kind, _group(), manager="kubectl")
        plan = target_plan(
            [percent(25), Approval()],
            route=smi_route(matches=["beta"]),
            settle=0.05,
            manifests=[_group()] if shipped else (),
        )
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        split = told.storage.get(told.splits, "shop", "web")
        assert split["spec"]["matches"] == [{"kind": "HTTPRouteGroup", "name": "beta"}]
        split["spec"]["matches"] = []
        told.storage.update(told.splits, split, manager="somebody")
        await told.until(lambda: "the matches of TrafficSplit web were edited" in told.journal.snapshots["r1.production"].held)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["v1alpha1", "v1alpha2"], "matches need TrafficSplit v1alpha3 or later, and the cluster serves v1alpha1, v1alpha2"),
        (["v1alpha4"], "there is no HTTPRouteGroup beta in namespace shop"),
    ],
    ids=["of a version that has none", "of a group that is not there"],
)
async def test_matches_that_cannot_be_are_refused(tmp_path: Path, versions: list[str], expected: str) -> None:
    async with stage(tmp_path, split_versions=versions) as told:
        await told.live()
        plan = target_plan([percent(25)], route=smi_route(matches=["beta"]))
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
        assert expected in told.journal.snapshots["r1.production"].reason


async def test_linkerd_knows_no_matches(tmp_path: Path) -> None:
    async with linkerd(tmp_path, versions=[*LINKERD_VERSIONS, "v1alpha4"]) as mesh:
        assert "linkerd-smi knows no matches" in await refused(mesh, route=smi_route(matches=["beta"]))

"""Canaries by HTTPRoutes and GRPCRoutes of the Gateway API: a weight counts when the route's status says so, and the route is
as it was in the end. What is the same for all routers of the user's own objects is told in `test_user_routes`."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.gateway_controller import GatewayController, Verdict
from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, SERVICES
from engine.events import CommandKind
from engine.model import Approval, OnDrift, ReleasePlan, ReleaseStatus, State, Step
from engine.traffic import (
    GatewayParent,
    GatewayRoute,
    MatchKind,
    RequestMatch,
    RoutePlan,
    SetHeaderRoute,
    SetMirror,
    Sticky,
    ValueMatch,
)
from strategies.deployfile import compile_release, load_deploy_file
from tests.builders import (
    definition,
    error_rate,
    gateway_route,
    header_match,
    header_route,
    percent,
    release_plan,
    service,
    target_plan,
)
from tests.rollouts.routed import (
    Routed,
    backend_ref,
    grpc_route,
    http_route,
    parent,
    path_match,
    routed,
    rule,
)
from tests.rollouts.test_user_routes import BOTH_ENDS, ENDS

HERE = Path(__file__).parent
MESH = (GatewayParent("Service", "web"),)


def controller_of(story: Routed) -> GatewayController:
    found = story.told.embedded.gateway
    assert found is not None
    return found


def rules_of(story: Routed, kind: str = "HTTPRoute", name: str = "web") -> list[JsonObject]:
    rules: list[JsonObject] = story.get(kind, name)["spec"]["rules"]
    return rules


def header(name: str, value: str, kind: str = "Exact") -> JsonObject:
    return {"type": kind, "name": name, "value": value}


def shares(rule: JsonObject) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in rule["backendRefs"]}


async def until_asked_at(story: Routed, step: int) -> None:
    await story.told.until(lambda: story.at.step == step and story.at.state is State.APPROVING)


async def refused(story: Routed, route: RoutePlan, *steps: Step) -> str:
    """Why a rollout is rejected, with nothing changed."""
    before, picture = story.belongings(), story.told.picture()
    plan = target_plan(steps or [percent(25)], route=route, settle=0.05)
    assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.REJECTED
    assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])
    return story.at.reason


# --- both kinds, both parents ------------------------------------------------------------------------------------------


@BOTH_ENDS
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("at", ["Gateway", "Service"])
async def test_a_route_of_the_users_is_as_it_was_in_the_end(tmp_path: Path, kind: str, at: str, answer: CommandKind) -> None:
    make = http_route if kind == "HTTPRoute" else grpc_route
    body = make(parents=[parent() if at == "Gateway" else parent("Service", "web", port=80)])
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(gateway_route(kind=kind))
        assert shares(rules_of(story, kind)[0]) == {"web-stable": 3, "web-canary": 1}
        assert story.at.served == 2_500
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before
        assert answer is CommandKind.APPROVE or story.told.ours() == []


@BOTH_ENDS
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
async def test_a_route_that_is_made_for_a_mesh_stands_for_the_time_of_the_rollout(
    tmp_path: Path, kind: str, answer: CommandKind
) -> None:
    async with routed(tmp_path) as story:
        picture = story.told.picture()
        await story.begin(gateway_route("web-rollout", kind=kind, parents=MESH))
        made = story.get(kind, "web-rollout")
        assert made["spec"]["parentRefs"] == [parent("Service", "web")]
        assert shares(made["spec"]["rules"][0]) == {"web-stable": 3, "web-canary": 1}
        assert await story.end(answer) is ENDS[answer]
        assert (sorted(story.told.picture()), story.belongings()) == (sorted(picture), {})


async def test_a_route_that_is_made_behind_a_gateway_has_its_hosts_and_its_listener(tmp_path: Path) -> None:
    parents = (GatewayParent("Gateway", "shop", section="http"),)
    async with routed(tmp_path, http_route(rule(backend_ref("legacy")), name="other")) as story:
        await story.begin(gateway_route("web-rollout", parents=parents, hostnames=["new.example.com"]))
        spec = story.get("HTTPRoute", "web-rollout")["spec"]
        assert spec["parentRefs"] == [parent(sectionName="http")]
        assert spec["hostnames"] == ["new.example.com"]
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.find("HTTPRoute", "web-rollout") is None


async def test_what_a_deploy_file_says_is_what_is_carried_out(tmp_path: Path) -> None:
    loaded = load_deploy_file(HERE.parent / "strategies" / "published" / "gateway-api.yaml")
    plan = compile_release(loaded)
    assert isinstance(plan, ReleasePlan)
    edge, calls, mesh = (target.routes[0] for target in plan.targets)
    assert (edge.gateway, edge.sticky) == (GatewayRoute("HTTPRoute", "fleet", rule="main"), Sticky("fleet-version", 3_600.0))
    assert (edge.root_service, edge.stable_service, edge.canary_service) == ("fleet", "fleet-old", "fleet-new")
    assert edge.adopts_canary_service
    assert calls.gateway == GatewayRoute("GRPCRoute", "fleet")
    assert (calls.stable_service, calls.canary_service) == ("fleet-stable", "fleet-canary")
    parents = (GatewayParent("Service", "fleet", port=80), GatewayParent("Gateway", "yard", "gates", "https"))
    assert mesh.gateway == GatewayRoute("HTTPRoute", "fleet-rollout", parents, ("fleet.example.com",), port=80)

    # And that is how it is carried out, for an application that is called web.
    body = http_route(rule(name="main"), rule(name="other", matches=[path_match("/other")]))
    async with routed(tmp_path, body) as story:
        await story.begin(gateway_route(rule="main"))
        assert [shares(one) for one in rules_of(story)] == [{"web-stable": 3, "web-canary": 1}, {"web": 1}]
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert rules_of(story) == body["spec"]["rules"]
        story.watch.violations.clear()  # The rule that was left out leads to both versions, as the file wants it.


# --- weights -----------------------------------------------------------------------------------------------------------


@BOTH_ENDS
async def test_all_rules_that_name_the_root_service_are_divided_and_others_keep_their_shares(
    tmp_path: Path, answer: CommandKind
) -> None:
    added = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x", "value": "y"}]}}
    body = http_route(
        rule(backend_ref("legacy", 30), backend_ref(weight=70, filters=[added]), matches=[path_match("/api")]),
        rule(backend_ref("legacy"), matches=[path_match("/old")]),
        rule(timeouts={"request": "5s"}),
    )
    async with routed(tmp_path) as story:
        story.told.storage.create(SERVICES, service("legacy", app="legacy"), manager="kubectl")
        story.add(body)
        await story.told.until(lambda: bool(story.get("HTTPRoute").get("status")))
        before = story.belongings()
        await story.begin(gateway_route(), steps=[percent(0.01), Approval(), percent(50), Approval()])
        api, old, rest = rules_of(story)
        assert shares(api) == {"legacy": 30_000, "web-stable": 69_993, "web-canary": 7}
        assert [one.get("filters") for one in api["backendRefs"]] == [None, [added], [added]]
        assert shares(old) == {"legacy": 1}
        assert shares(rest) == {"web-stable": 9_999, "web-canary": 1}
        await story.order(CommandKind.APPROVE)
        await until_asked_at(story, 3)
        assert [shares(one) for one in rules_of(story)] == [
            {"legacy": 30, "web-stable": 35, "web-canary": 35},
            {"legacy": 1},
            {"web-stable": 1, "web-canary": 1},
        ]
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


async def test_where_a_million_does_not_suffice_the_nearest_weight_is_taken_and_told(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        story.told.storage.create(SERVICES, service("legacy", app="legacy"), manager="kubectl")
        body = http_route(rule(backend_ref("legacy", 999_999), backend_ref(weight=5)))
        story.add(body)
        await story.told.until(lambda: bool(story.get("HTTPRoute").get("status")))
        before = story.belongings()
        await story.begin(gateway_route(), steps=[percent(10), Approval()])
        assert shares(rules_of(story)[0]) == {"legacy": 999_999, "web-stable": 4, "web-canary": 1}
        assert (story.at.weight, story.at.served) == (1_000, 2_000)
        texts = [entry.text for entry in story.told.journal.entries["r1.production"]]
        assert any("20 % to the new version, as near to 10 % as whole weights come here" in text for text in texts)
        story.watch.violations.clear()  # Rounding up is more than was ordered, and is told.
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


# --- what a weight stands on -------------------------------------------------------------------------------------------


async def test_a_weight_counts_when_the_routes_status_says_so(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        await story.begin(gateway_route(), steps=[percent(10), Approval(), percent(25), Approval()])
        controller = controller_of(story)
        controller.runs = False
        await story.order(CommandKind.APPROVE)
        await story.told.until(lambda: shares(rules_of(story)[0]) == {"web-stable": 3, "web-canary": 1})
        await story.told.until(lambda: story.at.action is None)
        assert (story.at.state, story.at.served, story.at.held) == (State.SHIFTING, 1_000, "")
        seen = (await story.told.observe()).routes["httproute/web"]
        generation = story.get("HTTPRoute")["metadata"]["generation"]
        assert seen.weight is None
        assert seen.waits_for == (
            f"HTTPRoute web at Gateway shop: embedded.headgate.dev/gateway has come to generation {generation - 1}, and it is at "
            f"{generation}"
        )
        controller.runs = True
        await until_asked_at(story, 3)
        assert story.at.served == 2_500
        assert await story.end() is ReleaseStatus.SUCCEEDED


async def test_a_controller_that_is_slow_only_costs_time(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        controller_of(story).lag_seconds = 0.2
        before = story.belongings()
        plan = target_plan([percent(10), percent(60)], route=gateway_route(), settle=0.05)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


VERDICTS = {
    "not accepted": (
        Verdict("Accepted", "False", "NotAllowedByListeners", "no listener takes it"),
        "says Accepted False (NotAllowedByListeners: no listener takes it)",
    ),
    "a backend is missing": (
        Verdict("ResolvedRefs", "False", "BackendNotFound", "there is no Service shop/web-stable"),
        "says ResolvedRefs False (BackendNotFound: there is no Service shop/web-stable)",
    ),
    "only some rules are taken": (
        Verdict("PartiallyInvalid", "True", "UnsupportedValue", "Dropped Rule(s): 1"),
        "says PartiallyInvalid True (UnsupportedValue: Dropped Rule(s): 1)",
    ),
}


@pytest.mark.parametrize("verdict", VERDICTS)
async def test_what_is_never_taken_up_is_undone_with_what_the_status_says(tmp_path: Path, verdict: str) -> None:
    said, sentence = VERDICTS[verdict]
    async with routed(tmp_path, http_route()) as story:
        before, picture = story.belongings(), story.told.picture()
        controller_of(story).verdicts = [said]
        plan = target_plan([percent(25)], route=gateway_route(), settle=0.05, ready_timeout=0.5)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert f"HTTPRoute web at Gateway shop: embedded.headgate.dev/gateway {sentence}" in story.at.reason
        created = [one for one in story.told.embedded.server.audit.writes() if "replicasets" in one.path]
        assert created == [], "a pod of the new version would have been reached by whoever calls the root Service"
        assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])


async def test_an_abort_waits_for_a_controller_that_has_spoken_before_and_not_without_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pieces", "back"):
        monkeypatch.setattr(f"strategies.{module}.ACKNOWLEDGE_SECONDS", 0.3)
    async with routed(tmp_path, http_route()) as story:
        before, picture = story.belongings(), story.told.picture()
        await story.begin(gateway_route())
        controller_of(story).runs = False
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        texts = [entry.text for entry in story.told.journal.entries["r1.production"]]
        began = next(index for index, text in enumerate(texts) if "HTTPRoute web: 25 % to the new version" in text)
        written = next(index for index, text in enumerate(texts) if index > began and "HTTPRoute web: 0 % to the new" in text)
        waited = next(index for index, text in enumerate(texts) if "httproute/web is taken up as it is now: not true" in text)
        removed = next(index for index, text in enumerate(texts) if "remove-canary:web" in text)
        assert written < waited <= removed, texts
        assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])


async def test_an_abort_while_a_weight_is_not_taken_up(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        before, picture = story.belongings(), story.told.picture()
        controller = controller_of(story)
        controller.verdicts = [Verdict("Accepted", "False", "Pending", "wait")]
        await story.told.submit(release_plan(target_plan([percent(25)], route=gateway_route(), settle=0.05)))
        await story.told.until(lambda: shares(rules_of(story)[0]) == {"web-stable": 1, "web-canary": 0})
        await story.told.until(lambda: story.at.action is None)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert (story.belongings(), story.told.picture(), story.told.ours()) == (before, picture, [])


def said_of_versions(story: Routed, name: str = "web") -> list[object]:
    """Which versions of the route its status speaks of, by condition."""
    parents = story.get("HTTPRoute", name)["status"]["parents"]
    return [one.get("observedGeneration") for told in parents for one in told["conditions"]]


@BOTH_ENDS
@pytest.mark.parametrize("group", ["", "core"])
async def test_linkerd_never_says_which_version_it_has_taken_up_and_is_not_waited_for(
    tmp_path: Path, group: str, answer: CommandKind
) -> None:
    body = http_route(parents=[parent("Service", "web", port=80) | {"group": group}])
    async with routed(tmp_path) as story:
        controller_of(story).speaks_as_linkerd = True
        story.add(body)
        await story.told.until(lambda: bool(story.get("HTTPRoute").get("status")))
        before = story.belongings()
        await story.begin(gateway_route())
        assert said_of_versions(story) == [None, None]
        assert shares(rules_of(story)[0]) == {"web-stable": 3, "web-canary": 1}
        assert story.at.served == 2_500
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before
        texts = [entry.text for entry in story.told.journal.entries["r1.production"]]
        assert not any("taken up" in text and "not true" in text for text in texts), "a minute would pass each time"


@BOTH_ENDS
async def test_a_route_that_is_made_for_linkerd_waits_for_its_first_status_alone(tmp_path: Path, answer: CommandKind) -> None:
    async with routed(tmp_path) as story:
        controller = controller_of(story)
        controller.speaks_as_linkerd, controller.runs = True, False
        plan = target_plan([percent(25), Approval()], route=gateway_route("made", parents=MESH), settle=0.05)
        await story.told.submit(release_plan(plan))
        await story.told.until(lambda: story.find("HTTPRoute", "made") is not None and story.at.action is None)
        seen = (await story.told.observe()).routes["httproute/made"]
        assert seen.weight is None
        assert "HTTPRoute made at Service web: no controller says anything of it" in seen.waits_for
        controller.runs = True
        await story.told.until_state(State.APPROVING)
        assert said_of_versions(story, "made") == [None, None]
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == {}


async def test_what_linkerd_says_against_a_route_undoes_the_rollout(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        picture, controller = story.told.picture(), controller_of(story)
        controller.speaks_as_linkerd = True
        controller.verdicts = [Verdict("Accepted", "False", "RouteReasonConflicted")]
        plan = target_plan([percent(25)], route=gateway_route("made", parents=MESH), settle=0.05, ready_timeout=0.5)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "HTTPRoute made at Service web" in story.at.reason
        assert "says Accepted False (RouteReasonConflicted)" in story.at.reason
        assert (story.told.picture(), story.told.ours()) == (picture, [])


async def test_a_parent_that_did_not_accept_the_route_before_does_not_matter(tmp_path: Path) -> None:
    body = http_route(parents=[parent(), parent(sectionName="https")])
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(gateway_route())
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


# --- beside the weight -------------------------------------------------------------------------------------------------

TESTERS = header_route("testers", header_match("x-user", "anna"), RequestMatch(method="PUT"))


@BOTH_ENDS
async def test_a_header_route_is_a_rule_of_ours_in_front_of_the_one_that_it_narrows(tmp_path: Path, answer: CommandKind) -> None:
    body = http_route(
        rule(matches=[path_match("/api")], timeouts={"request": "5s"}), rule(backend_ref(weight=7), matches=[path_match("/")])
    )
    steps: list[Step] = [TESTERS, Approval(), percent(10), Approval(), SetHeaderRoute("testers"), Approval()]
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        await story.begin(gateway_route(), steps=steps)
        api, plain_api, all_of_it, plain = rules_of(story)
        assert api == {
            "matches": [
                {**path_match("/api"), "headers": [header("x-user", "anna")]},
                {**path_match("/api"), "method": "PUT"},
            ],
            "timeouts": {"request": "5s"},
            "backendRefs": [backend_ref("web-canary")],
        }
        assert all_of_it["backendRefs"] == [backend_ref("web-canary")]
        assert shares(plain_api) == {"web-stable": 1, "web-canary": 0}
        assert shares(plain) == {"web-stable": 7, "web-canary": 0}
        await story.order(CommandKind.APPROVE)
        await until_asked_at(story, 3)
        assert [len(one["backendRefs"]) for one in rules_of(story)] == [1, 2, 1, 2]
        await story.order(CommandKind.APPROVE)
        await until_asked_at(story, 5)
        assert [shares(one) for one in rules_of(story)] == [{"web-stable": 9, "web-canary": 1}] * 2
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


async def test_an_abort_takes_weight_and_shape_away_in_one_write(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        before = story.belongings()
        await story.begin(gateway_route(), steps=[TESTERS, SetMirror(10_000), percent(25), Approval()])
        written = len(story.told.embedded.server.audit.writes())
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        done = story.told.embedded.server.audit.writes()[written:]
        patches = [one.json for one in done if one.resource.startswith("httproutes")]
        assert isinstance(patches[0], list)
        (rules,) = (change["value"] for change in patches[0] if change["path"] == "/spec/rules")
        assert rules == [rule(backend_ref("web-stable", 1), backend_ref("web-canary", 0))]
        assert story.belongings() == before


@BOTH_ENDS
@pytest.mark.parametrize(
    ("share", "portion"),
    [(100, {}), (20, {"percent": 20}), (0.5, {"fraction": {"numerator": 50, "denominator": 10_000}})],
)
async def test_copies_of_requests_go_to_the_new_version_until_they_are_ended(
    tmp_path: Path, share: float, portion: JsonObject, answer: CommandKind
) -> None:
    theirs = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x"]}}
    async with routed(tmp_path, http_route(rule(filters=[theirs]))) as story:
        before = story.belongings()
        steps: list[Step] = [SetMirror(round(share * 100)), Approval(), SetMirror(0), percent(10), Approval()]
        await story.begin(gateway_route(), steps=steps)
        backend = {key: value for key, value in backend_ref("web-canary").items() if key != "weight"}
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend, **portion}}
        assert rules_of(story)[0]["filters"] == [theirs, mirror]
        await story.order(CommandKind.APPROVE)
        await until_asked_at(story, 4)
        assert rules_of(story)[0]["filters"] == [theirs]
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


@BOTH_ENDS
async def test_clients_stay_by_a_session_of_this_rollout(tmp_path: Path, answer: CommandKind) -> None:
    async with routed(tmp_path, http_route()) as story:
        before = story.belongings()
        await story.begin(gateway_route(sticky=Sticky("seat", 3_690.0)))
        session = rules_of(story)[0]["sessionPersistence"]
        assert session["sessionName"].startswith("seat-")
        assert (session["type"], session["absoluteTimeout"]) == ("Cookie", "1h1m30s")
        assert session["cookieConfig"] == {"lifetimeType": "Permanent"}
        assert await story.end(answer) is ENDS[answer]
        assert story.belongings() == before


NO_SHARE = "can mirror all requests or none: the cluster's definition of the kind knows no share of them"
NO_SESSION = "cannot keep clients: the cluster's definition of the kind knows no sessionPersistence"


@pytest.mark.parametrize(
    ("channel", "route", "step", "sentence"),
    [
        (GatewayChannel.OLD, gateway_route(), SetMirror(2_500), f"HTTPRoute web {NO_SHARE}"),
        (GatewayChannel.STANDARD, gateway_route(sticky=Sticky("seat")), percent(1), f"HTTPRoute web {NO_SESSION}"),
        (
            GatewayChannel.STANDARD,
            gateway_route("made", parents=MESH, sticky=Sticky("seat")),
            percent(1),
            f"HTTPRoute made {NO_SESSION}",
        ),
    ],
    ids=["a share of a mirror", "a session", "a session in a made route"],
)
async def test_what_the_clusters_definitions_do_not_know_is_said_before_anything_is_changed(
    tmp_path: Path, channel: GatewayChannel, route: RoutePlan, step: Step, sentence: str
) -> None:
    async with routed(tmp_path, http_route(), gateway_channel=channel) as story:
        assert sentence in await refused(story, route, step, percent(25))


async def test_an_old_definition_suffices_for_all_requests_and_for_weights(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route(), gateway_channel=GatewayChannel.OLD) as story:
        before = story.belongings()
        await story.begin(gateway_route(), steps=[SetMirror(10_000), percent(25), Approval()])
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


# --- somebody else -----------------------------------------------------------------------------------------------------


def without_our_rule(body: JsonObject) -> None:
    del body["spec"]["rules"][0]


def with_another_match(body: JsonObject) -> None:
    body["spec"]["rules"][0]["matches"] = [path_match("/elsewhere")]


def with_a_narrower_rule(body: JsonObject) -> None:
    body["spec"]["rules"][1]["matches"] = [path_match("/elsewhere")]


def without_the_mirror(body: JsonObject) -> None:
    del body["spec"]["rules"][1]["filters"]


def without_the_new_version(body: JsonObject) -> None:
    del body["spec"]["rules"][1]["backendRefs"][1]


Edit = Callable[[JsonObject], None]
BESIDE = "what stands beside the weights of HTTPRoute web was edited by somebody else; put back testers: header x-user = anna"
EDITS: dict[str, tuple[Edit, str]] = {
    "our rule is removed": (without_our_rule, BESIDE),
    "our rule matches something else": (with_another_match, BESIDE),
    "the rule that ours narrows matches something else": (with_a_narrower_rule, BESIDE),
    "the mirror is removed": (without_the_mirror, BESIDE),
    "a backend is removed": (
        without_the_new_version,
        "the backends of HTTPRoute web were edited by somebody else; put back web-stable 3, web-canary 1",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("policy", [OnDrift.HOLD, OnDrift.REASSERT, OnDrift.ABORT], ids=str)
async def test_an_edit_of_what_is_ours(tmp_path: Path, edit: str, policy: OnDrift) -> None:
    how, sentence = EDITS[edit]
    async with routed(tmp_path, http_route()) as story:
        steps: list[Step] = [TESTERS, SetMirror(10_000), percent(25), Approval()]
        plan = replace(target_plan(steps, route=gateway_route(), settle=0.05), on_drift=policy)
        await story.told.submit(release_plan(plan))
        await story.told.until_state(State.APPROVING)
        story.told.traffic.pods_may_fail = True
        ordered = rules_of(story)
        found = story.get("HTTPRoute")
        how(found)
        story.update(found)
        if policy is OnDrift.HOLD:
            await story.told.until(lambda: sentence in story.at.held)
            assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        elif policy is OnDrift.REASSERT and how is not with_a_narrower_rule:
            await story.told.until(lambda: rules_of(story) == ordered and not story.at.held)
            assert await story.end() is ReleaseStatus.SUCCEEDED
        elif policy is OnDrift.REASSERT:
            await story.told.until(lambda: rules_of(story)[0]["matches"][0]["path"]["value"] == "/elsewhere")
            assert await story.end() is ReleaseStatus.SUCCEEDED
        else:
            assert (await story.told.until_ended()).status is ReleaseStatus.FAILED
            assert sentence in story.at.reason
        matches = [path_match("/elsewhere" if how is with_a_narrower_rule else "/")]
        (left,) = rules_of(story)
        assert left | {"backendRefs": []} == rule(matches=matches) | {"backendRefs": []}
        assert [one["name"] for one in left["backendRefs"]] == ["web"]
        managers = {one["manager"] for one in story.get("HTTPRoute")["metadata"]["managedFields"]}
        assert managers <= {"kubectl", "somebody", "gateway-controller"}


async def test_a_made_route_that_somebody_attaches_elsewhere_or_removes_is_put_back(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        plan = target_plan([percent(25), Approval()], route=gateway_route("made", parents=MESH), settle=0.05)
        plan = replace(plan, on_drift=OnDrift.REASSERT)
        await story.told.submit(release_plan(plan))
        await story.told.until_state(State.APPROVING)
        spec = deepcopy(story.get("HTTPRoute", "made")["spec"])
        found = story.get("HTTPRoute", "made")
        found["spec"]["parentRefs"] = [parent()]
        story.update(found)
        await story.told.until(lambda: story.get("HTTPRoute", "made")["spec"] == spec and story.at.action is None)
        story.told.traffic.pods_may_fail = True
        story.remove("HTTPRoute", "made")
        await story.told.until(lambda: story.find("HTTPRoute", "made") is not None and story.at.action is None)
        assert story.get("HTTPRoute", "made")["spec"] == spec
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == {}


async def test_what_somebody_adds_for_the_root_service_is_told_and_kept_by_an_abort(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        await story.begin(gateway_route())
        story.told.traffic.pods_may_fail = True
        found = story.get("HTTPRoute")
        found["spec"]["rules"].append(rule(matches=[path_match("/more")]))
        story.update(found)
        await story.told.until(lambda: "the rules of HTTPRoute web that name web or its versions were edited" in story.at.held)
        story.watch.violations.clear()
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert [shares(one) for one in rules_of(story)] == [{"web": 4}, {"web": 1}]
        assert story.told.ours() == []


# --- what stands in the way --------------------------------------------------------------------------------------------

BY_PATH = header_route("beta", RequestMatch(path=ValueMatch(MatchKind.PREFIX, "/v2")))
BY_HEADERS = header_route("beta", RequestMatch(headers=(*header_match("a", "1").headers, *header_match("b", "2").headers)))
COPIES_TO_THE_NEW = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web-canary", "port": 80}}}
OBSTACLES: dict[str, tuple[JsonObject, RoutePlan, list[Step], str]] = {
    "no rule names the root Service": (
        http_route(rule({**backend_ref("other"), "port": 80})),
        gateway_route(),
        [],
        "does not name the Service web in any rule; those that its rules name are: other",
    ),
    "the named rule is not there": (
        http_route(rule(name="a"), rule(name="b")),
        gateway_route(rule="main"),
        [],
        "has no rule main; the names that there are: a, b",
    ),
    "the root Service is named twice": (
        http_route(rule(backend_ref(weight=1), backend_ref(weight=2))),
        gateway_route(),
        [],
        "has a rule (spec.rules[0]) that names the Service web 2 times",
    ),
    "the root Service gets nothing": (
        http_route(rule(backend_ref(weight=0), backend_ref("other", 1))),
        gateway_route(),
        [],
        "has a rule (spec.rules[0]) that sends nothing to the Service web, so there is no share to divide; give it a weight",
    ),
    "a version's Service is named already": (
        http_route(rule(backend_ref(), backend_ref("web-canary"))),
        gateway_route(),
        [],
        "has a rule (spec.rules[0]) that names the Service web-canary already, which is one version's for the time of a rollout",
    ),
    "a version's Service is named elsewhere": (
        http_route(rule(), rule(backend_ref("web-stable"), matches=[path_match("/old")])),
        gateway_route(),
        [],
        "has a rule (spec.rules[1]) that names a Service that is one version's",
    ),
    "requests are copied to a version's Service already": (
        http_route(rule(), rule(backend_ref("other"), matches=[path_match("/old")], filters=[COPIES_TO_THE_NEW])),
        gateway_route(),
        [],
        "has a rule (spec.rules[1]) that mirrors to the Service web-canary, as only a setMirror step may; take the mirror out",
    ),
    "a header route gets nothing": (
        http_route(rule(matches=[path_match("/api")])),
        gateway_route(),
        [BY_PATH],
        "gets no request that fits the header route beta: path beginning with /v2",
    ),
    "a header route would take from another rule": (
        http_route(rule(), rule(backend_ref("web-other"), matches=[{**path_match("/"), "headers": [header("x", "1")]}])),
        gateway_route(),
        [BY_HEADERS],
        "has another rule (spec.rules[1]) that would lose requests to the header route beta",
    ),
    "too many rules": (
        http_route(*(rule(matches=[path_match(f"/{number}")]) for number in range(9))),
        gateway_route(),
        [TESTERS],
        "would have 18 rules with all header routes, and a route takes 16",
    ),
    "two conditions on one header": (
        http_route(rule(matches=[{**path_match(), "headers": [header("x-user", "a+", "RegularExpression")]}])),
        gateway_route(),
        [TESTERS],
        "matches the header x-user already, and no route can ask for",
    ),
    "a session of the user's": (
        http_route(rule(sessionPersistence={"sessionName": "theirs", "type": "Cookie"})),
        gateway_route(sticky=Sticky("seat")),
        [],
        "has a sessionPersistence already, and a rule has one",
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(tmp_path: Path, obstacle: str) -> None:
    body, route, steps, sentence = OBSTACLES[obstacle]
    async with routed(tmp_path, body) as story:
        story.watch.theirs |= {"other", "web-other", "web-stable", "web-canary"}
        assert f"HTTPRoute web {sentence}" in await refused(story, route, *steps, percent(25))
        story.watch.violations.clear()


async def test_a_route_that_leads_nowhere_already_is_not_touched(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        story.add(http_route(rule(), rule(backend_ref("nobody"), matches=[path_match("/old")])))
        await story.told.until(lambda: bool(story.get("HTTPRoute").get("status")))
        story.watch.theirs.add("nobody")
        reason = await refused(story, gateway_route())
        assert "leads nowhere already" in reason
        assert "says ResolvedRefs False (BackendNotFound: there is no Service shop/nobody)" in reason
        story.watch.violations.clear()


async def test_a_route_of_which_nobody_says_anything_is_not_touched(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        story.add(http_route(parents=[parent(name="nowhere")]))
        assert "no controller says anything of HTTPRoute web" in await refused(story, gateway_route())


async def test_linkerds_profile_outranks_a_route_and_is_said_before_anything_is_changed(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route(parents=[parent("Service", "web")]), linkerd=True) as story:
        (profiles,) = story.told.profiles
        metadata = {"name": "web.shop.svc.cluster.local", "namespace": "shop"}
        body = {"apiVersion": profiles.api_version, "kind": "ServiceProfile", "metadata": metadata, "spec": {}}
        story.told.storage.create(profiles, body, manager="kubectl")
        sentence = "ServiceProfile web.shop.svc.cluster.local outranks all routes of Service web as long as it exists"
        assert sentence in await refused(story, gateway_route())


async def test_a_profile_is_no_matter_of_a_route_behind_a_gateway(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route(), linkerd=True) as story:
        (profiles,) = story.told.profiles
        metadata = {"name": "web.shop.svc.cluster.local", "namespace": "shop"}
        body = {"apiVersion": profiles.api_version, "kind": "ServiceProfile", "metadata": metadata, "spec": {}}
        story.told.storage.create(profiles, body, manager="kubectl")
        await story.begin(gateway_route())
        assert await story.end() is ReleaseStatus.SUCCEEDED


async def test_an_older_route_for_the_same_requests_stands_in_the_way_of_one_that_is_to_be_made(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route(parents=[parent("Service", "web")])) as story:
        reason = await refused(story, gateway_route("made", parents=MESH))
        assert "HTTPRoute web is for Service web already, and of two routes for the same requests the older one counts" in reason


async def test_a_service_with_two_ports_has_to_be_told_which_one_a_made_route_is_for(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        found = story.told.storage.get(SERVICES, "shop", "web")
        found["spec"]["ports"].append({"name": "more", "port": 81, "targetPort": "http", "protocol": "TCP"})
        story.told.storage.update(SERVICES, found, manager="kubectl")
        made = gateway_route("made", parents=MESH)
        assert "Service web has the ports 80, 81; say which one is meant with port" in await refused(story, made)
        assert made.gateway is not None
        to_81 = replace(made, gateway=replace(made.gateway, port=81))
        plan = release_plan(target_plan([percent(25), Approval()], route=to_81, settle=0.05))
        await story.told.submit(plan)
        await story.told.until_state(State.APPROVING, "r2.production")
        assert [one["port"] for one in rules_of(story, name="made")[0]["backendRefs"]] == [81, 81]
        story.watch.violations.clear()  # It looks at the weights of the first release.


async def test_a_policy_for_tls_has_to_be_for_both_versions_too(tmp_path: Path) -> None:
    async with routed(tmp_path, http_route()) as story:
        defined = definition("BackendTLSPolicy", group="gateway.networking.k8s.io", versions=["v1"])
        defined["spec"]["names"]["plural"] = "backendtlspolicies"  # type: ignore[index]
        defined["metadata"]["name"] = "backendtlspolicies.gateway.networking.k8s.io"  # type: ignore[index]
        story.told.storage.create(CUSTOM_RESOURCE_DEFINITIONS, defined)
        policies = next(one for one in story.told.storage.registry.kinds() if one.kind == "BackendTLSPolicy")
        metadata = {"name": "secure", "namespace": "shop"}
        targets = [{"group": "", "kind": "Service", "name": "web"}]
        spec = {"targetRefs": targets}
        body = {"apiVersion": policies.api_version, "kind": "BackendTLSPolicy", "metadata": metadata, "spec": spec}
        story.told.storage.create(policies, body, manager="kubectl")
        sentence = "BackendTLSPolicy secure is for Service web and not for web-stable and web-canary"
        assert sentence in await refused(story, gateway_route())


async def test_a_bad_version_behind_a_made_route_leaves_nothing(tmp_path: Path) -> None:
    async with routed(tmp_path) as story:
        picture = story.told.picture()
        story.told.error_rate["shop"] = 0.5
        steps: list[Step] = [percent(10), error_rate(runs=1, interval=0.05)]
        plan = target_plan(steps, route=gateway_route("made", parents=MESH), settle=0.05)
        assert await story.told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert (story.told.picture(), story.told.ours(), story.belongings()) == (picture, [], {})

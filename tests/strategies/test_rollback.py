"""What a rollback is made of, and when there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from engine.errors import NotFound, RollbackRefused
from engine.model import ExpectedVersion, Facts, ManifestPlan, Release, ReleaseStatus, Snapshot, State, TargetPlan
from engine.ports import StoredRollout
from engine.traffic import FULL_WEIGHT
from strategies.recorded_objects import JsonObject, as_declared, is_changed_by
from strategies.rollback import StoredRelease, check_completed, check_not_overtaken, compile_rollback, source_of
from tests.builders import deployment, manifest_plan, percent, pod_ratio_route, rollout_spec, service, target_plan
from tests.clocks import START


def live(body: dict[str, object], **metadata: object) -> JsonObject:
    """The object as an API server answers it."""
    given = body["metadata"]
    assert isinstance(given, dict)
    server: JsonObject = {"uid": "u1", "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**body, "metadata": {**given, **server, **metadata}, "status": {"replicas": 3}}


def facts(image: str = "web:1", **more: object) -> Facts:
    original = live(deployment(image=image, replicas=2))
    found: Facts = {"web.mode": "canary", "web.original": json.dumps(original), "web.new_digest": "left"}
    return {**found, **more}  # type: ignore[dict-item]


def stored(plan: TargetPlan, noted: Facts, state: State = State.SUCCEEDED, release: str = "r1") -> StoredRollout:
    spec = rollout_spec(plan, rollout=f"{release}.{plan.target}", release=release)
    return StoredRollout(spec, Snapshot(state, START, weight=FULL_WEIGHT, facts=noted))


def release_of(
    *rollouts: StoredRollout, status: ReleaseStatus = ReleaseStatus.SUCCEEDED, name: str = "r1", rollback_of: str = ""
) -> StoredRelease:
    ids = tuple(one.spec.id for one in rollouts)
    return StoredRelease(
        Release(name, "shop", "", status, START, "ada", "deploy.yaml", rollouts=ids, rollback_of=rollback_of), rollouts
    )


def completed(plan: TargetPlan | None = None, noted: Facts | None = None, **options: object) -> StoredRelease:
    return release_of(stored(plan or target_plan([percent(25)]), noted or facts()), **options)  # type: ignore[arg-type]


def with_manifest(declared: dict[str, object], original: JsonObject | None, *others: dict[str, object]) -> StoredRelease:
    plan = target_plan(manifests=[declared, *others])
    key = plan.manifests[0].key
    noted = {f"manifest.{key}": json.dumps(original) if original is not None else ""}
    return completed(plan, facts(**noted))


def config_map(**data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}, "data": data}


# --- the plan ----------------------------------------------------------------------------------------------------------


def test_it_is_the_same_target_without_steps_and_with_the_workload_as_it_was_found() -> None:
    was = target_plan([percent(25), percent(50)], route=pod_ratio_route(), depends_on=["staging"], settle=3.0)
    plan = compile_rollback(completed(was))
    (target,) = plan.targets
    assert replace(target, workloads=was.workloads, steps=was.steps, depends_on=was.depends_on) == was
    assert (target.steps, target.depends_on) == ((), ())
    (workload,) = target.workloads
    assert json.loads(workload.manifest) == deployment(image="web:1", replicas=2)
    assert (workload.expects, workload.keeps_count) == (ExpectedVersion("r1", "left"), True)
    assert (plan.application, plan.rollback_of, source_of(plan), plan.warnings) == ("shop", "r1", "rollback of r1", ())


def test_it_expects_nothing_when_it_is_forced() -> None:
    (target,) = compile_rollback(completed(), force=True, reason="too slow").targets
    assert target.workloads[0].expects is None


def test_a_pause_of_back_then_is_over() -> None:
    original = live(deployment(image="web:1"))
    original["spec"]["paused"] = True
    (target,) = compile_rollback(completed(noted=facts(**{"web.original": json.dumps(original)}))).targets
    assert "paused" not in json.loads(target.workloads[0].manifest)["spec"]


def test_targets_that_were_not_completed_are_left_and_named() -> None:
    staging, production = (target_plan(target=name, namespace=name) for name in ("staging", "production"))
    plan = compile_rollback(
        release_of(
            stored(staging, facts()), stored(production, facts(), State.ROLLED_BACK), status=ReleaseStatus.FAILED
        )
    )
    assert [target.target for target in plan.targets] == ["staging"]
    assert plan.warnings == ("target production is left as it is: release r1 of shop did not succeed there",)


def test_it_may_be_for_some_targets_only() -> None:
    staging, production = (stored(target_plan(target=name, namespace=name), facts()) for name in ("staging", "production"))
    taken = release_of(staging, production)
    assert [one.target for one in compile_rollback(taken.only([])).targets] == ["staging", "production"]
    plan = compile_rollback(taken.only(["production"]))
    assert ([one.target for one in plan.targets], plan.warnings) == (["production"], ())
    check_not_overtaken(taken.only(["production"]), overtaking(staging.spec.plan))
    with pytest.raises(NotFound, match="release r1 has no target prod; it has staging, production"):
        taken.only(["staging", "prod"])


# --- supporting objects ------------------------------------------------------------------------------------------------


def test_an_object_that_was_changed_goes_back_as_it_was_found() -> None:
    (target,) = compile_rollback(with_manifest(config_map(colour="blue"), live(config_map(colour="red")))).targets
    (manifest,) = target.manifests
    assert manifest.key == "ConfigMap/web"
    assert json.loads(manifest.content) == config_map(colour="red")


def test_an_object_that_was_not_changed_is_left_alone() -> None:
    found = live({**config_map(colour="red"), "immutable": False})
    assert compile_rollback(with_manifest(config_map(colour="red"), found)).targets[0].manifests == ()


def test_an_object_that_was_made_is_left_and_named() -> None:
    plan = compile_rollback(with_manifest(config_map(colour="blue"), None, service()))
    assert plan.targets[0].manifests == ()
    (said,) = plan.warnings
    assert said.startswith("target production: ConfigMap/web, Service/web stay; release r1 of shop made them")


def test_a_release_of_objects_alone_is_taken_back_as_far_as_it_changed_any() -> None:
    was = replace(target_plan(manifests=[config_map(colour="blue")]), workloads=(), routes=())
    red: Facts = {"manifest.ConfigMap/web": json.dumps(live(config_map(colour="red")))}
    assert compile_rollback(completed(was, red)).targets[0].manifests[0].key == "ConfigMap/web"
    with pytest.raises(RollbackRefused, match="changed nothing that was there before it"):
        compile_rollback(completed(was, {"manifest.ConfigMap/web": ""}))


def applied(fields: JsonObject, manager: str = "headgate") -> JsonObject:
    return {"managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]}


@pytest.mark.parametrize(
    ("declared", "found", "changed"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": 1}, {}, True),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2, "d": 3}]}}, False),
        ({"a": [1]}, {"a": [1, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ({"a": None}, {}, False),
        ({"a": {"b": 1}}, {"a": "text"}, True),
    ],
)
def test_what_an_apply_changes(declared: JsonObject, found: JsonObject, changed: bool) -> None:
    named = {"metadata": {"name": "x"}}
    assert is_changed_by({**declared, **named}, {**found, **named}) is changed


@pytest.mark.parametrize(
    ("fields", "manager", "changed"),
    [
        ({"f:data": {"f:a": {}, "f:b": {}}}, "headgate", True),
        ({"f:data": {"f:a": {}, "f:b": {}}}, "kubectl", False),
        ({"f:data": {".": {}, "f:a": {}}}, "headgate", False),
        ({"f:metadata": {"f:labels": {"f:x": {}}}}, "headgate", True),
    ],
)
def test_what_an_earlier_release_said_and_this_one_does_not_is_a_change(
    fields: JsonObject, manager: str, changed: bool
) -> None:
    found = live(config_map(a="1", b="2"), **applied(fields, manager))
    assert is_changed_by(config_map(a="1"), found) is changed


@pytest.mark.parametrize(("field", "changed"), [("f:port", False), ("f:appProtocol", True)])
def test_items_of_lists_say_their_fields_too(field: str, changed: bool) -> None:
    fields: JsonObject = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, field: {}}}}}
    assert is_changed_by(service(), live(service(), **applied(fields))) is changed


# --- what was found, as somebody would write it ------------------------------------------------------------------------


def test_nothing_that_servers_and_controllers_write_is_declared() -> None:
    annotations = {
        "deployment.kubernetes.io/revision": "4",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "headgate.dev/rollout": "r0.production",
        "team": "web",
    }
    found = live(
        deployment(),
        annotations=annotations,
        labels={"app.kubernetes.io/managed-by": "headgate", "app": "web"},
        managedFields=[{"manager": "kubectl"}],
        ownerReferences=[{"uid": "u0"}],
        finalizers=["example.com/keep"],
        selfLink="/somewhere",
    )
    assert as_declared(found)["metadata"] == {
        "name": "web",
        "namespace": "shop",
        "annotations": {"team": "web"},
        "labels": {"app": "web"},
    }
    assert "status" not in as_declared(found)
    assert found["metadata"]["annotations"] == annotations


def test_a_label_that_only_looks_like_ours_is_the_users() -> None:
    labels = {"app.kubernetes.io/managed-by": "headgate"}
    assert as_declared(live(deployment(), labels=labels))["metadata"]["labels"] == labels


def test_the_template_keeps_its_annotations_which_make_the_version() -> None:
    found = live(deployment())
    found["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    assert as_declared(found)["spec"]["template"] == found["spec"]["template"]


@pytest.mark.parametrize(("address", "kept"), [("10.0.0.7", False), ("None", True)])
def test_a_services_address_is_the_clusters_unless_it_has_none(address: str, kept: bool) -> None:
    found = live(service())
    found["spec"] |= {"clusterIP": address, "clusterIPs": [address]}
    assert ("clusterIP" in as_declared(found)["spec"], "clusterIPs" in as_declared(found)["spec"]) == (kept, kept)


# --- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [ReleaseStatus.RUNNING, ReleaseStatus.AWAITING_APPROVAL, ReleaseStatus.QUEUED])
def test_a_release_that_has_not_ended_is_aborted_instead(status: ReleaseStatus) -> None:
    with pytest.raises(RollbackRefused, match=rf"has not ended, it is {status}: abort it instead.*headgate abort r1"):
        check_completed(completed(status=status))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.ROLLED_BACK, ReleaseStatus.FAILED),
        (State.REJECTED, ReleaseStatus.REJECTED),
        (State.CANCELLED, ReleaseStatus.CANCELLED),
    ],
)
def test_a_release_that_did_not_succeed_has_nothing_to_take_back(state: State, status: ReleaseStatus) -> None:
    with pytest.raises(RollbackRefused, match=f"release r1 of shop did not succeed, it is {status}"):
        compile_rollback(release_of(stored(target_plan(), facts(), state), status=status))


def test_in_place_of_one_that_did_not_succeed_the_newest_that_did_is_named() -> None:
    undone = release_of(stored(target_plan(), facts(), State.ROLLED_BACK), status=ReleaseStatus.FAILED, name="r2")
    with pytest.raises(RollbackRefused, match=r"release r2 of shop did not succeed.* with: headgate rollback r1$"):
        check_completed(undone, completed().release)


def test_a_workload_that_the_release_created_has_no_version_before() -> None:
    noted: Facts = {"web.mode": "create", "web.replicas": 0}
    with pytest.raises(RollbackRefused, match=r"Deployment web of target production was created by release r1.*kubectl delete"):
        compile_rollback(completed(noted=noted))


@pytest.mark.parametrize("missing", ["web.original", "web.new_digest"])
def test_a_release_of_which_too_little_is_known_is_refused(missing: str) -> None:
    noted = {key: value for key, value in facts().items() if key != missing}
    with pytest.raises(RollbackRefused, match="kept no record of Deployment web"):
        compile_rollback(completed(noted=noted))


def overtaking(plan: TargetPlan, state: State = State.SUCCEEDED, noted: Facts | None = None, **options: str) -> StoredRelease:
    return release_of(stored(plan, noted or facts(), state, "r2"), name="r2", **options)  # type: ignore[arg-type]


def test_a_later_release_of_the_same_workload_is_named() -> None:
    message = r"release r2 of shop has changed Deployment web in namespace shop after release r1 .*\(headgate rollback r2\)"
    with pytest.raises(RollbackRefused, match=message):
        check_not_overtaken(completed(), overtaking(target_plan()))
    with pytest.raises(RollbackRefused, match=r"release r2 of shop \(rollback of r1\) has changed"):
        check_not_overtaken(completed(), overtaking(target_plan(), rollback_of="r1"))


@pytest.mark.parametrize(
    "later",
    [
        overtaking(target_plan(), State.ROLLED_BACK),
        overtaking(target_plan(), State.REJECTED),
        overtaking(target_plan(namespace="other")),
        overtaking(target_plan(account="other")),
        overtaking(target_plan(workload="api")),
    ],
    ids=["undone", "rejected", "elsewhere", "another cluster", "another workload"],
)
def test_a_later_release_that_has_changed_nothing_of_it_does_not_matter(later: StoredRelease) -> None:
    check_not_overtaken(completed(), later)


@pytest.mark.parametrize("colours", [("red", "red"), ("red", "green")], ids=["unchanged", "changed"])
def test_a_later_release_that_has_changed_the_same_object_is_named(colours: Sequence[str]) -> None:
    before, after = colours
    taken = with_manifest(config_map(colour="red"), live(config_map(colour="blue")))
    manifest: ManifestPlan = manifest_plan(config_map(colour=after))
    plan = replace(target_plan(workload="api"), manifests=(manifest,))
    noted = facts(**{"manifest.ConfigMap/web": json.dumps(live(config_map(colour=before)))})
    later = overtaking(plan, noted=noted)
    if before == after:
        check_not_overtaken(taken, later)
        return
    with pytest.raises(RollbackRefused, match="has changed ConfigMap/web in namespace shop"):
        check_not_overtaken(taken, later)

"""Targets without a Deployment, and what comes beside one: applied in order, waited for, and put back as it was."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from adapters.embedded.errors import ApiError, InternalError, Invalid, NotFound
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    JOBS,
    NAMESPACES,
    PODS,
    SECRETS,
    STATEFUL_SETS,
    Resource,
)
from adapters.kubernetes import manifests
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State
from strategies.rollback import StoredRelease, compile_rollback
from tests.builders import definition, objects_plan, percent, pods_of, release_plan, service, target_plan
from tests.rollouts.stage import Stage, stage

SHIP: dict[str, object] = {
    "apiVersion": "sea.example.com/v1",
    "kind": "Ship",
    "metadata": {"name": "argo", "namespace": "shop"},
    "spec": {"sails": 2},
}


def config(name: str = "settings", *, kind: str = "ConfigMap", **content: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **content}


def make_shop(told: Stage) -> None:
    told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})


def applied(told: Stage) -> list[str]:
    return [name.removeprefix("apply:") for name in told.journal.snapshots["r1.production"].begun if name.startswith("apply:")]


def content(told: Stage, resource: Resource, name: str = "settings") -> JsonObject:
    found = told.storage.get(resource, "shop", name)
    return {key: value for key, value in found.items() if key not in ("metadata", "apiVersion", "kind")}


async def abort(told: Stage) -> ReleaseStatus:
    await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
    return (await told.until_ended()).status


# --- no Deployment ----------------------------------------------------------------------------------------------------


async def test_a_target_without_a_deployment_is_done_when_everything_is_up(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        store, agent, task = pods_of("StatefulSet", replicas=2), pods_of("DaemonSet", "agent"), pods_of("Job", "task")
        plan = objects_plan(config(data={"a": "1"}), service(), store, agent, task)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        assert content(told, STATEFUL_SETS, "store")["status"]["readyReplicas"] == 2
        assert content(told, DAEMON_SETS, "agent")["status"]["numberAvailable"] == 1
        assert content(told, JOBS, "task")["status"]["succeeded"] == 1


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_what_does_not_come_up_in_time_is_undone_and_its_trouble_is_told(tmp_path: Path, kind: str) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        assert await told.roll_out(release_plan(objects_plan(config(data={"a": "1"}), pods_of(kind)))) is ReleaseStatus.SUCCEEDED
        plan = objects_plan(config(data={"a": "2"}), pods_of(kind, image="store:crash"), ready_timeout=0.5)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        reason = told.journal.snapshots["r2.production"].reason
        assert f"{kind}/store is not as it should be: " in reason
        assert content(told, CONFIG_MAPS)["data"] == {"a": "1"}
        resource = STATEFUL_SETS if kind == "StatefulSet" else DAEMON_SETS
        container = content(told, resource, "store")["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "store:1"


async def test_a_job_that_fails_ends_the_rollout_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        plan = objects_plan(config(data={"a": "1"}), pods_of("Job", "task", image="task:crash", backoffLimit=0))
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "Job/task is not as it should be: it failed: " in told.journal.snapshots["r1.production"].reason
        assert told.storage.find(JOBS, "shop", "task") is None
        assert told.storage.find(CONFIG_MAPS, "shop", "settings") is None


async def test_beside_a_canary_they_are_up_before_any_traffic_moves(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        slow = pods_of("StatefulSet", image="store:crash")
        plan = target_plan([percent(25)], manifests=[slow], ready_timeout=1.0, settle=0.05)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "StatefulSet/store" in told.journal.snapshots["r1.production"].reason
        assert State.SHIFTING not in {entry.destination for entry in told.journal.entries["r1.production"]}
        assert told.picture() == before
        await told.until(lambda: len(told.storage.list(PODS, "shop")) == 3)


async def test_a_job_that_was_cleaned_up_in_the_meantime_is_not_run_again_by_an_undo(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        job = pods_of("Job", "task")
        assert await told.roll_out(release_plan(objects_plan(job))) is ReleaseStatus.SUCCEEDED
        plan = target_plan([percent(25), Approval()], manifests=[job], settle=0.05)
        await told.submit(release_plan(plan, application="other"))
        await told.until_state(State.APPROVING, "r2.production")
        told.storage.delete(JOBS, "shop", "task", propagation="Background")
        await told.engine.command("r2", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended("r2")).status is ReleaseStatus.FAILED
        assert told.storage.find(JOBS, "shop", "task") is None


# --- kinds that come along --------------------------------------------------------------------------------------------


async def test_a_kind_and_its_objects_are_deployed_together(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        assert await told.roll_out(release_plan(objects_plan(definition(), SHIP))) is ReleaseStatus.SUCCEEDED
        assert applied(told) == ["CustomResourceDefinition/ships.sea.example.com", "Ship/argo"]
        ships = next(one for one in told.storage.registry if one.kind == "Ship")
        assert told.storage.get(ships, "shop", "argo")["spec"] == {"sails": 2}


NOT_SERVED = NotFound("the server could not find the requested resource")
NO_SUCH_FIELD = InternalError("failed to create typed patch object (shop/argo; sea.example.com/v1, Kind=Ship): .spec.sails")


@pytest.mark.parametrize(
    ("late", "says"),
    [
        pytest.param(NOT_SERVED, "does not serve Ship (sea.example.com/v1) yet", id="the kind"),
        pytest.param(NO_SUCH_FIELD, "failed to create typed patch object", id="a new field of an established kind"),
    ],
)
async def test_an_api_server_that_takes_it_up_later_is_waited_for(tmp_path: Path, late: ApiError, says: str) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        told.embedded.server.faults.answer(Match(verb="patch", resource="ships"), late, times=2)
        assert await told.roll_out(release_plan(objects_plan(definition(), SHIP))) is ReleaseStatus.SUCCEEDED
        assert says in await told.tell("r1")


async def test_one_that_never_does_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "ATTEMPTS", 2)
    async with stage(tmp_path) as told:
        make_shop(told)
        told.embedded.server.faults.answer(Match(verb="patch", resource="ships"), NOT_SERVED, times=50)
        assert await told.roll_out(release_plan(objects_plan(definition(), SHIP))) is ReleaseStatus.FAILED
        assert "does not serve Ship (sea.example.com/v1) yet, after 2 looks" in told.journal.snapshots["r1.production"].reason
        assert told.storage.find(CUSTOM_RESOURCE_DEFINITIONS, None, "ships.sea.example.com") is None


async def test_an_object_of_an_older_version_of_the_kind_is_put_back_by_an_undo(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        assert await told.roll_out(release_plan(objects_plan(definition(), SHIP))) is ReleaseStatus.SUCCEEDED
        newer = {**SHIP, "apiVersion": "sea.example.com/v2", "spec": {"sails": 3}}
        plan = target_plan([percent(25), Approval()], manifests=[definition(versions=("v1", "v2")), newer], settle=0.05)
        await told.submit(release_plan(plan, application="other"))
        await told.until_state(State.APPROVING, "r2.production")
        ships = next(one for one in told.storage.registry if one.kind == "Ship")
        assert told.storage.get(ships, "shop", "argo")["spec"] == {"sails": 3}
        await told.engine.command("r2", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended("r2")).status is ReleaseStatus.FAILED
        ships = next(one for one in told.storage.registry if one.kind == "Ship")
        assert told.storage.get(ships, "shop", "argo")["spec"] == {"sails": 2}


async def test_a_kind_of_which_others_have_made_objects_outlives_the_undo(tmp_path: Path) -> None:
    """With a definition go all the objects of its kind."""
    async with stage(tmp_path) as told:
        await told.live()
        plan = target_plan([percent(25), Approval()], manifests=[definition(), SHIP], settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        ships = next(one for one in told.storage.registry if one.kind == "Ship")
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "port"}})
        told.storage.create(ships, {**SHIP, "metadata": {"name": "theirs", "namespace": "port"}})
        assert await abort(told) is ReleaseStatus.FAILED
        assert told.storage.find(ships, "shop", "argo") is None
        assert told.storage.find(ships, "port", "theirs") is not None
        assert "stays, because there are objects of its kind" in await told.tell("r1")


async def test_and_is_removed_when_nobody_has(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()], manifests=[definition(), SHIP], settle=0.05)))
        await told.until_state(State.APPROVING)
        assert await abort(told) is ReleaseStatus.FAILED
        assert told.storage.find(CUSTOM_RESOURCE_DEFINITIONS, None, "ships.sea.example.com") is None


async def test_a_kind_that_somebody_removed_meanwhile_does_not_keep_an_undo_from_its_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(target_plan([percent(25), Approval()], manifests=[definition(), SHIP], settle=0.05)))
        await told.until_state(State.APPROVING)
        told.storage.delete(CUSTOM_RESOURCE_DEFINITIONS, None, "ships.sea.example.com")
        assert await abort(told) is ReleaseStatus.FAILED


async def test_an_object_of_a_kind_that_nobody_defines_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        assert await told.roll_out(release_plan(objects_plan(config(data={"a": "1"}), SHIP))) is ReleaseStatus.REJECTED
        assert told.storage.find(CONFIG_MAPS, "shop", "settings") is None


async def test_a_namespace_that_is_being_deleted_is_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        make_shop(told)
        held = {**config("held"), "metadata": {"name": "held", "namespace": "shop", "finalizers": ["example.com/held"]}}
        told.storage.create(CONFIG_MAPS, held)
        told.storage.delete(NAMESPACES, None, "shop")
        namespace: dict[str, object] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        await told.submit(release_plan(objects_plan(namespace, config(data={"a": "1"}))))
        await told.until(lambda: any("is being deleted" in one.text for one in told.journal.entries.get("r1.production", [])))
        there = told.storage.get(CONFIG_MAPS, "shop", "held")
        told.storage.update(CONFIG_MAPS, {**there, "metadata": {**there["metadata"], "finalizers": []}})
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert content(told, CONFIG_MAPS)["data"] == {"a": "1"}


async def test_what_the_api_server_never_takes_back_does_not_keep_the_rest_from_being_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a volume that has grown, or a definition in whose new version objects are stored by now."""
    monkeypatch.setattr(manifests, "ATTEMPTS", 2)
    async with stage(tmp_path) as told:
        await told.live()
        for name in ("first", "second"):
            told.storage.create(CONFIG_MAPS, config(name, data={"a": "1"}), manager="kubectl")
        changed = [config(name, data={"a": "2"}) for name in ("first", "second")]
        await told.submit(release_plan(target_plan([percent(25), Approval()], manifests=changed, settle=0.05)))
        await told.until_state(State.APPROVING)
        never = Invalid("it is not taken back")
        told.embedded.server.faults.answer(Match(verb="update", resource="configmaps", name="second"), never, times=50)
        assert await abort(told) is ReleaseStatus.FAILED
        assert [content(told, CONFIG_MAPS, name)["data"] for name in ("first", "second")] == [{"a": "1"}, {"a": "2"}]
        assert "ConfigMap/second stays as it is, because the API server does not take it back" in await told.tell("r1")


# --- configuration is put back ----------------------------------------------------------------------------------------

BYTES = base64.b64encode(b"\x00\xff").decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"binaryData": {"b": BYTES}}, {"data": {"a": "2"}}, id="bytes"),
        pytest.param({"data": {"a": "1", "b": "1"}}, {"data": {"a": "2"}}, id="keys"),
        pytest.param({"data": {"a": "1"}}, {"data": {"a": "2"}, "immutable": True}, id="made immutable"),
        pytest.param({"data": {"a": "1"}, "immutable": True}, {"data": {"a": "1"}}, id="immutable all along"),
    ],
)
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
@pytest.mark.parametrize("meanwhile", ["nothing", "deleted", "made anew"])
async def test_an_abort_puts_configuration_back(
    tmp_path: Path, kind: str, meanwhile: str, before: dict[str, object], after: dict[str, object]
) -> None:
    if kind == "Secret":
        before, after = _encoded(before), _encoded(after)
    resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(resource, {**config(kind=kind), **before}, manager="kubectl")
        found = told.storage.get(resource, "shop", "settings")
        plan = target_plan([percent(25), Approval()], manifests=[{**config(kind=kind), **after}], settle=0.05)
        await told.submit(release_plan(plan))
        await told.until_state(State.APPROVING)
        if meanwhile != "nothing":
            told.storage.delete(resource, "shop", "settings")
        if meanwhile == "made anew":
            told.storage.create(resource, {**config(kind=kind, immutable=True), **_encoded({"data": {"c": "3"}})})
        assert await abort(told) is ReleaseStatus.FAILED
        put_back = told.storage.get(resource, "shop", "settings")
        assert content(told, resource) == {k: v for k, v in found.items() if k not in ("metadata", "apiVersion", "kind")}
        if put_back["metadata"]["uid"] == found["metadata"]["uid"]:
            assert [one["manager"] for one in put_back["metadata"]["managedFields"]] == ["kubectl"]


def _encoded(body: dict[str, object]) -> dict[str, object]:
    """As a Secret has it."""
    data = {key: base64.b64encode(str(value).encode()).decode() for key, value in (body.get("data") or {}).items()}  # type: ignore[attr-defined]
    merged = {**data, **(body.get("binaryData") or {})}  # type: ignore[dict-item]
    return {**{k: v for k, v in body.items() if k not in ("data", "binaryData")}, "data": merged}


async def test_an_immutable_one_that_would_change_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(CONFIG_MAPS, config(data={"a": "1"}, immutable=True), manager="kubectl")
        plan = target_plan([percent(25)], manifests=[config(data={"a": "2"}, immutable=True)], settle=0.05)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.FAILED
        assert "deploymentConfig.snapshotConfig: true" in told.journal.snapshots["r1.production"].reason
        assert content(told, CONFIG_MAPS)["data"] == {"a": "1"}


@pytest.mark.parametrize("meanwhile", ["nothing", "deleted", "made anew", "owned by another"])
async def test_a_rollback_puts_configuration_back_though_it_cannot_be_changed(tmp_path: Path, meanwhile: str) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(CONFIG_MAPS, config(data={"a": "1"}, binaryData={"b": BYTES}), manager="kubectl")
        plan = target_plan([percent(25)], manifests=[config(data={"a": "2"}, immutable=True)], settle=0.05)
        assert await told.roll_out(release_plan(plan)) is ReleaseStatus.SUCCEEDED
        if meanwhile in ("deleted", "made anew"):
            told.storage.delete(CONFIG_MAPS, "shop", "settings")
        if meanwhile == "made anew":
            told.storage.create(CONFIG_MAPS, config(data={"c": "3"}, immutable=True), manager="kubectl")
        if meanwhile == "owned by another":
            there = told.storage.get(CONFIG_MAPS, "shop", "settings")
            there["metadata"]["labels"] = {"owner": "somebody"}
            told.storage.update(CONFIG_MAPS, there, manager="somebody")
        release = await told.store.release("r1")
        assert release is not None
        back = compile_rollback(StoredRelease(release, await told.store.rollouts("r1")))
        told.rights.grant(back.targets)
        taken = await told.engine.submit(back, by="ada", source="rollback of r1")
        assert (await told.until_ended(taken.id)).status is ReleaseStatus.SUCCEEDED
        assert content(told, CONFIG_MAPS) == {"data": {"a": "1"}, "binaryData": {"b": BYTES}}

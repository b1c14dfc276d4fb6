"""Supporting objects that somebody has deleted and that finalizers still keep, as a cloud keeps a Service until its load balancer
is down: they count as gone, and are waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CONFIG_MAPS, NAMESPACES, SERVICES, Resource
from adapters.kubernetes import manifests
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State, TargetPlan
from tests.builders import objects_plan, percent, pods_of, release_plan, service, target_plan
from tests.rollouts.stage import Stage, stage

BALANCER = "service.kubernetes.io/load-balancer-cleanup"


def shop_service(**ports: int) -> dict[str, object]:
    """Beside the one of the Deployment."""
    body: JsonObject = service("shop", app="web")
    body["spec"] |= {"type": "LoadBalancer"}
    body["spec"]["ports"][0] |= ports
    return body


def config(**data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "namespace": "shop"}, "data": data}


def keep(told: Stage, resource: Resource = SERVICES) -> str:
    """As the cloud's controller does when it sets something up; the object's uid."""
    found = told.storage.get(resource, "shop", "shop")
    found["metadata"]["finalizers"] = [BALANCER]
    told.storage.update(resource, found, manager="cloud")
    return str(found["metadata"]["uid"])


def let_go(told: Stage, resource: Resource = SERVICES) -> None:
    found = told.storage.get(resource, "shop", "shop")
    told.storage.update(resource, {**found, "metadata": {**found["metadata"], "finalizers": []}}, manager="cloud")


def going(told: Stage) -> JsonObject:
    """A Service of a release before that is still being taken down."""
    if told.storage.find(NAMESPACES, None, "shop") is None:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    told.storage.create(SERVICES, shop_service(), manager="headgate")
    keep(told)
    told.storage.delete(SERVICES, "shop", "shop")
    return told.storage.get(SERVICES, "shop", "shop")


def canary(*shipped: dict[str, object]) -> TargetPlan:
    return target_plan([percent(25), Approval()], manifests=shipped, settle=0.05)


async def until_told(told: Stage, words: str, release: str = "r1") -> None:
    await told.until(lambda: any(words in one.text for one in told.journal.entries.get(f"{release}.production", [])))


async def abort(told: Stage, release: str = "r1") -> ReleaseStatus:
    await told.engine.command(release, Command(CommandKind.ABORT, by="ada"))
    return (await told.until_ended(release)).status


async def test_a_service_of_an_undone_release_is_made_again_once_it_is_gone(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await told.submit(release_plan(objects_plan(shop_service(), pods_of("Job", "task", image="task:missing"))))
        await told.until(lambda: told.storage.find(SERVICES, "shop", "shop") is not None)
        first = keep(told)
        assert await abort(told) is ReleaseStatus.FAILED
        before = told.storage.get(SERVICES, "shop", "shop")
        assert "deletionTimestamp" in before["metadata"]

        release = await told.submit(release_plan(objects_plan(shop_service(port=8080))))
        await until_told(told, f"Service/shop is being deleted and still kept by its finalizers ({BALANCER})", release.id)
        assert told.storage.get(SERVICES, "shop", "shop") == before, "not even written to"
        let_go(told)
        assert (await told.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED
        found = told.storage.get(SERVICES, "shop", "shop")
        assert found["metadata"]["uid"] != first
        assert "deletionTimestamp" not in found["metadata"]
        assert found["spec"]["ports"][0]["port"] == 8080


async def test_one_that_is_never_gone_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "GONE_ATTEMPTS", 2)
    async with stage(tmp_path) as told:
        before = going(told)
        assert await told.roll_out(release_plan(objects_plan(config(a="1"), shop_service()))) is ReleaseStatus.FAILED
        reason = told.journal.snapshots["r1.production"].reason
        assert f"Service/shop is being deleted and still kept by its finalizers ({BALANCER})" in reason
        assert "after 2 looks; see what the cluster says of it, and deploy again" in reason
        assert told.storage.find(CONFIG_MAPS, "shop", "shop") is None
        assert told.storage.get(SERVICES, "shop", "shop") == before
        let_go(told)
        assert told.storage.find(SERVICES, "shop", "shop") is None


async def test_an_undo_removes_what_has_taken_its_place(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        going(told)
        await told.submit(release_plan(canary(shop_service())))
        await until_told(told, "Service/shop is being deleted")
        let_go(told)
        await told.until_state(State.APPROVING)
        assert await abort(told) is ReleaseStatus.FAILED
        assert told.picture() == before


async def test_an_undo_before_that_leaves_it_to_go(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        going(told)
        await told.submit(release_plan(canary(config(a="1"), shop_service())))
        await until_told(told, "Service/shop is being deleted")
        assert await abort(told) is ReleaseStatus.FAILED
        let_go(told)
        assert told.picture() == before


async def test_one_that_is_deleted_while_it_is_written_is_made_again(tmp_path: Path) -> None:
    """Between the look and the write."""
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(CONFIG_MAPS, config(a="1"), manager="kubectl")
        first = keep(told, CONFIG_MAPS)
        told.embedded.server.faults.hang(Match(verb="patch", resource="configmaps", user_agent="headgate"), 1.0)
        await told.submit(release_plan(canary(config(a="2"))))
        await told.until(lambda: told.embedded.server.faults.pending == 0)
        told.storage.delete(CONFIG_MAPS, "shop", "shop")
        await until_told(told, "ConfigMap/shop is being deleted")
        let_go(told, CONFIG_MAPS)
        await told.until_state(State.APPROVING)
        found = told.storage.get(CONFIG_MAPS, "shop", "shop")
        assert (found["metadata"]["uid"] != first, found["data"]) == (True, {"a": "2"})


@pytest.mark.parametrize("gone", [True, False])
async def test_what_somebody_deletes_meanwhile_is_put_back_once_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    if not gone:
        monkeypatch.setattr(manifests, "GONE_ATTEMPTS", 2)
    async with stage(tmp_path) as told:
        await told.live()
        told.storage.create(CONFIG_MAPS, config(a="1"), manager="kubectl")
        first = keep(told, CONFIG_MAPS)
        await told.submit(release_plan(canary(config(a="2"))))
        await told.until_state(State.APPROVING)
        told.storage.delete(CONFIG_MAPS, "shop", "shop")
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await until_told(told, "ConfigMap/shop is being deleted")
        if gone:
            let_go(told, CONFIG_MAPS)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        found = told.storage.get(CONFIG_MAPS, "shop", "shop")
        assert (found["metadata"]["uid"] != first, found["data"]) == ((True, {"a": "1"}) if gone else (False, {"a": "2"}))
        assert ("it is not put back, so that the rest is" in await told.tell("r1")) is not gone

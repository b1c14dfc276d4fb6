"""A canary that was undone: what is left of it in the namespace, which is nothing."""

from __future__ import annotations

import pytest

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.site import Site

pytestmark = pytest.mark.real

WAITING: list[JsonObject] = [{"setWeight": {"weight": 25}}, {"pause": {"untilApproved": True}}]
CONTROLLERS = "kube-controller-manager"
PLURALS = ("deployments", "replicasets", "services", "trafficsplits", "horizontalpodautoscalers", "configmaps", "pods")


async def picture(site: Site) -> dict[str, JsonObject]:
    """The objects that people make, without what every write changes and without what controllers report."""
    seen = {}
    for plural in ("deployments", "replicasets", "services", "horizontalpodautoscalers", "configmaps"):
        for found in await site.items(plural):
            metadata = {k: v for k, v in found["metadata"].items() if k not in ("resourceVersion", "generation", "managedFields")}
            fields = [one for one in found["metadata"]["managedFields"] if not one.get("subresource")]
            theirs = [{k: v for k, v in one.items() if k != "time"} for one in fields if one["manager"] != CONTROLLERS]
            body = {k: v for k, v in found.items() if k not in ("metadata", "status")}
            seen[f"{plural}/{found['metadata']['name']}"] = {**body, "metadata": metadata, "managers": theirs}
    return seen


async def traces(site: Site) -> list[str]:
    """Whatever carries our name: as a manager of a field, in a label, or in an annotation."""
    found = []
    for plural in PLURALS:
        for one in await site.items(plural):
            metadata = one["metadata"]
            managers = [entry["manager"] for entry in metadata.get("managedFields") or []]
            marks = [*(metadata.get("labels") or {}).items(), *(metadata.get("annotations") or {}).items()]
            if "headgate" in managers or any("headgate" in f"{key}={value}" for key, value in marks):
                found.append(f"{plural}/{metadata['name']}")
    return found


@pytest.mark.parametrize(("freeze", "generations"), [("atHandOver", 0), ("fromStart", 2)])
async def test_an_aborted_mesh_canary_leaves_everything_as_it_was(site: Site, freeze: str, generations: int) -> None:
    await site.go_live()
    before, generation = await picture(site), (await site.deployment())["metadata"]["generation"]
    pods = await site.pods_of("web:1")
    release = await site.deploy("web:2", WAITING, settings={"freeze": freeze})
    await site.until_state(release.id, State.APPROVING)
    assert len(await traces(site)) >= 4
    await site.order(release.id, CommandKind.ABORT)
    ended = await site.until_ended(release.id)
    assert ended.status is ReleaseStatus.FAILED
    assert await picture(site) == before
    assert await traces(site) == []
    assert (await site.deployment())["metadata"]["generation"] == generation + generations
    assert (await site.pods_of("web:1")).keys() == pods.keys()
    site.recording.check()


async def test_pods_that_crash_end_the_canary_and_say_why(site: Site) -> None:
    await site.go_live()
    before = await picture(site)
    broken = {"embedded.headgate.dev/crash-loop": "true"}
    release = await site.deploy("web:2", WAITING, annotations=broken, settings={"timeout": {"duration": 60, "unit": "seconds"}})
    ended = await site.until_ended(release.id, within=120)
    assert ended.status is ReleaseStatus.FAILED
    assert "CrashLoopBackOff" in await site.tell(release.id)
    assert await picture(site) == before
    assert await traces(site) == []
    site.recording.check()


async def test_an_aborted_pod_ratio_leaves_everything_but_the_counters_as_it_was(site: Site) -> None:
    await site.go_live()
    before = await picture(site)
    release = await site.deploy("web:2", WAITING, mesh=False)
    await site.until_state(release.id, State.APPROVING)
    assert (len(await site.pods_of("web:1")), len(await site.pods_of("web:2"))) == (3, 1)
    await site.order(release.id, CommandKind.ABORT)
    assert (await site.until_ended(release.id)).status is ReleaseStatus.FAILED
    assert await picture(site) == before
    assert await traces(site) == []

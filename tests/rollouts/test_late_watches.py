"""A watch that is behind, and says of pods that have gone that they serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.pods import PREFIX
from adapters.embedded.resources import DEPLOYMENTS, NAMESPACES
from adapters.kubernetes.informer import Informer
from adapters.kubernetes.wire import ReplicaSet
from engine.events import Command, CommandKind
from engine.model import Approval, ReleaseStatus, State
from tests.builders import deployment, percent, pod_ratio_route, release_plan, target_plan
from tests.rollouts.stage import Stage, stage
from tests.rollouts.test_meddling import at, order, scale


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the ReplicaSets of which the watch tells nothing any more."""
    names: set[str] = set()
    take = Informer._take_event

    def take_late(self: Informer[Any], item: Any, *, deleted: bool) -> None:
        if not isinstance(item, ReplicaSet) or item.key[1] not in names:
            take(self, item, deleted=deleted)

    monkeypatch.setattr(Informer, "_take_event", take_late)
    return names


async def live_with_slow_pods(told: Stage) -> str:
    """The name of its ReplicaSet."""
    told.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    body: JsonObject = deployment(image="web:1")
    body["spec"]["template"]["metadata"]["annotations"] = {f"{PREFIX}boot-seconds": "0.5"}
    told.storage.create(DEPLOYMENTS, body, manager="kubectl")
    await told.until(lambda: told.status("shop", "web", "availableReplicas") == 3)
    return str(told.pods()[0]["metadata"]["ownerReferences"][0]["name"])


async def test_pods_that_an_abort_has_brought_back_serve_before_the_new_ones_go(tmp_path: Path, late: set[str]) -> None:
    """Told by its Deployment. What is known of the old version's own pods is from before the first of them went."""
    async with stage(tmp_path) as told:
        stable = await live_with_slow_pods(told)
        await told.submit(release_plan(target_plan([percent(25), Approval()], route=pod_ratio_route(), settle=0.05)))
        await told.until(lambda: len(told.pods(image="web:2")) == 1)
        late.add(stable)
        await told.until(lambda: told.status("shop", "web", "availableReplicas") == 2)
        ready: list[int] = []

        def notice(event: StorageEvent) -> None:
            if event.resource.plural == "replicasets" and event.type is EventType.DELETED:
                ready.append(sum(map(is_ready, told.pods(image="web:1"))))

        told.storage.subscribe(notice)
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert ready == [3]


async def test_a_pod_ratio_that_is_scaled_while_its_old_pods_go_is_held_until_it_is_scaled_back(
    tmp_path: Path, late: set[str]
) -> None:
    """Before they are seen to have gone: it would wait for ever for pods to go that somebody wants."""
    async with stage(tmp_path) as told:
        stable = await live_with_slow_pods(told)
        told.traffic.pods_may_fail = True
        await told.submit(release_plan(target_plan([percent(100), Approval()], route=pod_ratio_route(), settle=0.05)))
        await told.until(lambda: len(told.pods(image="web:2")) == 3)
        late.add(stable)
        await told.until(lambda: told.deployment()["spec"]["replicas"] == 0 and at(told).action is None)
        scale(told, 5)
        await told.until(lambda: "Deployment web was scaled to 5 by somebody else" in at(told).held)
        assert at(told).state is State.SHIFTING
        assert "scale it back to 0 and resume, or abort" in at(told).held
        late.clear()
        scale(told, 0)
        await told.until(lambda: told.status("shop", "web", "replicas") == 0)
        await order(told, CommandKind.RESUME)
        await told.until_state(State.APPROVING)
        await order(told, CommandKind.APPROVE)
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        assert len(told.pods(image="web:2")) == len(told.pods()) == 3
        told.traffic.violations.clear()

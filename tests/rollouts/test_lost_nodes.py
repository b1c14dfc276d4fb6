"""A node is gone, and its pods are neither there nor gone: nobody is left who could say that they have ended."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.pods import SimulatedPodRuntime
from engine.model import Approval, ReleaseStatus, State
from engine.traffic import RoutePlan
from tests.builders import percent, pod_ratio_route, release_plan, smi_route, target_plan
from tests.rollouts.stage import stage


@pytest.mark.parametrize("route", [smi_route(), pod_ratio_route()], ids=["mesh", "pod ratio"])
async def test_pods_on_a_lost_node_do_not_keep_an_abort_from_its_end(
    tmp_path: Path, route: RoutePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their Deployment would stay paused until somebody removes the node."""
    stop = SimulatedPodRuntime.stop

    async def stop_or_hang(self: SimulatedPodRuntime, pod: JsonObject) -> None:
        if pod["spec"]["containers"][0]["image"] == "web:2":
            await anyio.sleep_forever()
        await stop(self, pod)

    monkeypatch.setattr(SimulatedPodRuntime, "stop", stop_or_hang)
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        await told.submit(release_plan(target_plan([percent(34), Approval()], route=route, settle=0.05)))
        await told.until_state(State.APPROVING)
        told.traffic.pods_may_fail = True
        for pod in told.pods(image="web:2"):
            told.embedded.plane.kubelet.set_ready("shop", pod["metadata"]["name"], ready=False)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert all(pod["metadata"]["deletionTimestamp"] for pod in told.pods(image="web:2"))
        assert told.picture() == before
        assert "paused" not in told.deployment()["spec"]
        told.traffic.violations.clear()

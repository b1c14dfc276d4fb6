"""What a rollout costs the API server; the whole table is in docs/requests.md."""

from __future__ import annotations

import pytest

from tests.e2e.controlplane.running import RealControlPlane
from tests.e2e.requests import PAGE, count_a_rollout, count_while_idle, weights

pytestmark = pytest.mark.real
WRITES = ("create", "patch", "update", "delete", "dry run")


async def test_a_weight_step_is_a_look_at_endpoints_and_a_look_and_a_write_to_the_router(mesh_plane: RealControlPlane) -> None:
    two = await count_a_rollout(mesh_plane, steps=weights(2), mesh=True, ends=None)
    three = await count_a_rollout(mesh_plane, steps=weights(3), mesh=True, ends=None)
    assert two["list", "endpointslices"] >= 2
    three.subtract(two)
    # How often the endpoints are looked at depends on how late they are.
    more = {request: count for request, count in three.items() if count and request != ("list", "endpointslices")}
    assert more == {("get", "trafficsplits"): 1, ("patch", "trafficsplits"): 1}
    rows = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    told = {row[1].strip(): row[2].strip() for row in rows}
    written = {f"{verb} {resource}": str(count) for (verb, resource), count in two.items() if verb in WRITES}
    assert written.items() <= told.items(), "the page is out of date: python -m tests.e2e.requests"


async def test_a_rollout_that_waits_asks_for_nothing(mesh_plane: RealControlPlane) -> None:
    assert await count_while_idle(mesh_plane) == {}

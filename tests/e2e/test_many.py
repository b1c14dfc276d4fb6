"""Thirty applications at once."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from adapters.embedded.json_objects import JsonObject
from engine.model import ReleaseStatus
from tests.e2e.controlplane.running import RealControlPlane
from tests.e2e.site import Site, open_site

pytestmark = pytest.mark.real

STEPS: list[JsonObject] = [
    {"setWeight": {"weight": 20}},
    {"pause": {"duration": 1, "unit": "seconds"}},
    {"setWeight": {"weight": 50}},
]
COUNT = 30
BAD = range(0, COUNT, 10)


NAMES = [f"web-{number:02}" for number in range(COUNT)]


async def test_thirty_rollouts_at_once(mesh_plane: RealControlPlane, tmp_path: Path) -> None:
    """Three of them do not start, ten are by the ratio of pods; nobody waits for anybody."""
    async with open_site(mesh_plane, tmp_path, NAMES) as site:
        await site.start_daemon()
        await roll_out_thirty(site)


async def roll_out_thirty(site: Site) -> None:
    async with anyio.create_task_group() as tasks:
        for name in NAMES:
            tasks.start_soon(site.go_live, name, "web:1", 2)
    releases: dict[str, str] = {}
    async with site.client() as client:
        for number, name in enumerate(NAMES):
            broken = {"embedded.headgate.dev/crash-loop": "true"} if number in BAD else None
            timeout = {"timeout": {"duration": 60, "unit": "seconds"}}
            body = site.submission(
                "web:2", STEPS, name=name, replicas=2, mesh=number % 3 != 1, annotations=broken, settings=timeout
            )
            releases[name] = (await client.submit(body)).release.id
    for number, name in enumerate(NAMES):
        ended = await site.until_ended(releases[name], within=240)
        expected = ReleaseStatus.FAILED if number in BAD else ReleaseStatus.SUCCEEDED
        assert ended.status is expected, await site.tell(releases[name])
    assert len(await site.pods_of("web:2")) == 2 * (COUNT - len(BAD))
    assert len(await site.pods_of("web:1")) == 2 * len(BAD)
    assert site.recording.check() > 1_000

"""What a real API server would refuse of the very last write is refused before anything is changed."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from adapters.http.bodies import SourceBody
from engine.model import ReleaseStatus
from tests.e2e.site import Site, deployment
from tests.rollouts.test_first_look import MISTYPED, Change, recreate

pytestmark = pytest.mark.real

@pytest.mark.parametrize(("change", "sentence"), [*MISTYPED, (recreate, "rollingUpdate")])
async def test_what_could_not_be_applied_in_the_end_is_not_begun(site: Site, change: Change, sentence: str) -> None:
    await site.go_live()
    before = (await site.deployment())["metadata"]["generation"]
    body = deployment("web", "web:2", 4)
    change(body)
    submission = site.submission("web:2", [{"setWeight": {"weight": 50}}])
    submission = replace(submission, manifests={"web.yaml": [SourceBody("web.yaml", json.dumps(body))]})
    async with site.client() as client:
        release = (await client.submit(submission)).release
    assert (await site.until_ended(release.id)).status is ReleaseStatus.REJECTED, await site.tell(release.id)
    assert sentence in await site.tell(release.id)
    assert (await site.deployment())["metadata"]["generation"] == before
    assert [one["metadata"]["name"] for one in await site.items("services")] == ["web"]

"""The promise: whatever happens to a rollout, no request is lost, and each weight is what is really served.

All stories are told once, side by side, and then judged: `tests.wire.telling`.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.e2e.controlplane.binaries import REQUIRED, BinariesMissing
from tests.wire.figures import Measured
from tests.wire.ground import open_ground
from tests.wire.network import NetworkRefused
from tests.wire.stories import Counts
from tests.wire.telling import STORIES, tell_stories
from tests.wire.ways import WAYS, Way

pytestmark = [pytest.mark.real, pytest.mark.wire, pytest.mark.timeout(1_200)]

NAMES = [way.name for way in WAYS]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    folder = tmp_path_factory.mktemp("wire")
    try:
        with open_ground() as ground:
            measured = asyncio.run(tell_stories(ground, WAYS, folder, Counts(rare=10_000, common=2_000), print))
    except (NetworkRefused, BinariesMissing) as error:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(str(error))
    return {one.way: one for one in measured}


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_no_request_fails_whatever_happens_to_the_rollout(told: dict[str, Measured], way: Way) -> None:
    measured = told[way.name]
    assert not measured.broken
    assert measured.findings == []
    assert measured.stories.keys() >= set(STORIES)
    assert all(not failed for _, failed in measured.stories.values())
    assert min(requests for requests, _ in measured.stories.values()) > 200


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
def test_each_weight_is_what_is_served(told: dict[str, Measured], way: Way) -> None:
    splits = [*told[way.name].splits, *told[way.name].beside]
    assert splits
    assert [one for one in splits if not one.holds] == []

"""The control plane as a fixture: brought up once for a whole run of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.controlplane.binaries import REQUIRED, BinariesMissing, find_binaries
from tests.e2e.controlplane.running import RealControlPlane, run_real_control_plane


@pytest.fixture(scope="session")
def real_control_plane() -> Iterator[RealControlPlane]:
    """Skips where its binaries are missing, and fails where they are required (in CI)."""
    try:
        binaries = find_binaries()
    except BinariesMissing as error:
        if os.environ.get(REQUIRED):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    with run_real_control_plane(binaries) as plane:
        yield plane

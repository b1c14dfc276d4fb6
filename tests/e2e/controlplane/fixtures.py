"""The control plane as a fixture: brought up once for a whole run of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest

from tests.e2e.controlplane.binaries import REQUIRED, BinariesMissing, find_binaries
from tests.e2e.controlplane.running import RealControlPlane, run_real_control_plane


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip where the binaries are missing, and fail where they are required (in CI).

    Here and not in the fixture, because what a fixture skips is told once for each of hundreds of tests.
    """
    if item.get_closest_marker("real") is None:
        return
    if problem := _find_problem():
        if os.environ.get(REQUIRED):
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)


@cache
def _find_problem() -> str:
    try:
        find_binaries()
    except BinariesMissing as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def real_control_plane() -> Iterator[RealControlPlane]:
    with run_real_control_plane(find_binaries()) as plane:
        yield plane

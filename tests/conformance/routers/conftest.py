"""`open_ground`: a namespace for one case on the plane that a story asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import pytest

from tests.conformance.routers.cases import RouterCase
from tests.conformance.routers.ground import Ground
from tests.conformance.routers.planes import embedded_ground, real_ground
from tests.e2e.conftest import define_meshes
from tests.e2e.controlplane.running import RealControlPlane

OpenGround: TypeAlias = Callable[[str, RouterCase], AbstractAsyncContextManager[Ground]]


@pytest.fixture(scope="session")
def mesh_plane(real_control_plane: RealControlPlane) -> RealControlPlane:
    define_meshes(real_control_plane)
    return real_control_plane


@pytest.fixture
def open_ground(request: pytest.FixtureRequest) -> OpenGround:
    """`plane`: "embedded" or "real"."""

    @asynccontextmanager
    async def opened(plane: str, case: RouterCase) -> AsyncIterator[Ground]:
        running = embedded_ground(case) if plane == "embedded" else real_ground(request.getfixturevalue("mesh_plane"), case)
        failure: Exception | None = None
        async with running as ground:
            # Kept out of the task groups, which would wrap it once for each of them.
            try:
                yield ground
                await ground.judge()
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    return opened

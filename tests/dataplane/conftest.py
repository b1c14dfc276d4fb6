"""What the tests of the data plane share: the Envoy to use, a running mesh, and sets of pods."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from adapters.dataplane.applications import Application
from adapters.dataplane.envoy import Envoy
from adapters.dataplane.envoy_errors import EnvoyMissing
from adapters.dataplane.envoy_process import find_envoy

StartPods = Callable[..., Awaitable[list[Application]]]


@pytest.fixture
def envoy_binary() -> Path:
    try:
        return find_envoy()
    except EnvoyMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def temporary_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which everything that is temporary appears, so that a test sees what is left behind."""
    root = tmp_path / "temporary"
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    return root


@pytest.fixture
async def mesh(envoy_binary: Path) -> AsyncIterator[Envoy]:
    async with Envoy(binary=envoy_binary) as envoy:
        yield envoy


@pytest.fixture
async def start_pods() -> AsyncIterator[StartPods]:
    async with AsyncExitStack() as stack:

        async def start(version: str, count: int, *, error_ratio: float = 0.0, latency: float = 0.0) -> list[Application]:
            pods = [
                Application(version, error_ratio=error_ratio, latency=latency, seed=number) for number in range(count)
            ]
            for pod in pods:
                await stack.enter_async_context(pod)
            return pods

        yield start

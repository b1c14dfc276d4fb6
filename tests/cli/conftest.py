from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.stage import Daemon, Stage


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings and no daemon but those of the test."""
    for name in ("HEADGATE_CONFIG", "HEADGATE_SERVER", "HEADGATE_TOKEN", "GITHUB_OUTPUT", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
async def daemon(stage: Stage) -> AsyncIterator[Daemon]:
    """In a task of its own, because a fixture is left in another task than the one it was entered in."""
    began: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        async with stage.daemon() as daemon:
            began.set_result(daemon)
            await over.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live())
        yield await began
        over.set()

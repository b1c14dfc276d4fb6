from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.stage import Daemon, Stage


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

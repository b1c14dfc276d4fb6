from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.http.conftest import daemon as daemon
from tests.http.stage import Stage
from tests.page.screen import open_browser
from tests.page.stage import open_stage

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return open_stage(tmp_path)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser

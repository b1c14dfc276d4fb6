"""A client session, a server with scripted pages, and a clock that moves when told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.metrics.scripted import Pages, SteppedClock, serving


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    async with serving(pages.answer) as pages.url:
        yield pages


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()

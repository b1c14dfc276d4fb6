"""A pod: it answers, fails as often as it is told, and leaves without dropping anybody."""

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from adapters.dataplane.applications import Application
from tests.dataplane.waiting import until


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def url(pod: Application, path: str = "/") -> str:
    host, port = pod.address
    return f"http://{host}:{port}{path}"


async def fetch_status(client: aiohttp.ClientSession, address: str) -> int:
    async with client.get(address) as response:
        await response.read()
        return response.status


async def test_it_answers_with_its_version(client: aiohttp.ClientSession) -> None:
    async with Application("potato:1.2") as pod, client.get(url(pod)) as response:
        assert response.status == 200
        assert response.headers["X-Version"] == "potato:1.2"
        assert await response.text() == "potato:1.2\n"
        assert (pod.requests, pod.errors) == (1, 0)
        assert await fetch_status(client, url(pod, "/healthz")) == 200
        assert await fetch_status(client, url(pod, "/elsewhere")) == 404
        assert pod.requests == 1, "probes and strangers are not users"


async def test_the_same_seed_fails_the_same_requests(client: aiohttp.ClientSession) -> None:
    drawn = random.Random(7)
    expected = [500 if drawn.random() < 0.3 else 200 for _ in range(30)]
    for _ in range(2):
        async with Application("v2", error_ratio=0.3, seed=7) as pod:
            assert [await fetch_status(client, url(pod)) for _ in range(30)] == expected
            assert pod.errors == expected.count(500)


async def test_error_ratio_may_change_while_it_runs(client: aiohttp.ClientSession) -> None:
    async with Application("v2") as pod:
        assert await fetch_status(client, url(pod)) == 200
        pod.error_ratio = 1.0
        assert await fetch_status(client, url(pod)) == 500


@pytest.mark.parametrize(("error_ratio", "latency"), [(-0.1, 0.0), (1.1, 0.0), (0.0, -1.0)])
def test_impossible_settings_are_refused(error_ratio: float, latency: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Application("v1", error_ratio=error_ratio, latency=latency)


async def test_a_pod_that_does_not_run_has_no_address() -> None:
    pod = Application("v1")
    with pytest.raises(RuntimeError, match="has no address"):
        _ = pod.address
    await pod.start()
    await pod.stop()
    await pod.stop()
    with pytest.raises(RuntimeError, match="has no address"):
        _ = pod.address


async def test_a_stopping_pod_serves_what_it_has_and_what_still_comes(client: aiohttp.ClientSession) -> None:
    async with Application("v1", latency=0.15) as pod, asyncio.TaskGroup() as tasks:
        address = url(pod)
        in_flight = tasks.create_task(fetch_status(client, address))
        await until(lambda: pod.in_flight == 1)
        stopping = tasks.create_task(pod.stop(grace=5.0))
        await asyncio.sleep(0)
        assert await fetch_status(client, url(pod, "/healthz")) == 503
        late = tasks.create_task(fetch_status(client, address))
        assert await in_flight == 200
        assert await late == 200
        await stopping
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch_status(client, address)


async def test_a_pod_does_not_wait_longer_than_its_grace(client: aiohttp.ClientSession) -> None:
    async with Application("v1", latency=30.0) as pod, asyncio.timeout(2.0):
        reader, writer = await asyncio.open_connection(*pod.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        await pod.stop(grace=0.2)
        assert await reader.read() == b"", "cut without an answer"
        writer.close()

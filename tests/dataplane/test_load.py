"""The load generator: it keeps its rate whatever the servers do, counts honestly, and ends when told."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from aiohttp import web

from adapters.dataplane.applications import Application
from adapters.dataplane.load import LoadGenerator
from adapters.dataplane.traffic import MESH_ITSELF
from tests.dataplane.waiting import until


def url(pod: Application) -> str:
    host, port = pod.address
    return f"http://{host}:{port}"


@pytest.fixture
async def good() -> AsyncIterator[Application]:
    async with Application("v1") as pod:
        yield pod


@pytest.fixture
async def hanging() -> AsyncIterator[Application]:
    async with Application("v1", latency=60.0) as pod:
        yield pod


async def test_it_sends_at_its_rate_and_counts_by_version(good: Application) -> None:
    async with LoadGenerator(url(good), "web", rate=400) as load:
        await until(lambda: load.totals().answers >= 200)
    totals = load.totals()
    assert totals.sent == totals.answers == totals.of("v1").answers == good.requests
    assert totals.failures == totals.shed == 0
    assert abs(totals.sent - totals.seconds * 400) <= 10
    assert 0.0 < totals.latency(0.5) <= totals.latency(0.99) < 1.0


async def test_a_window_is_what_happened_since_the_last_one(good: Application) -> None:
    async with LoadGenerator(url(good), "web", rate=400) as load:
        await until(lambda: load.totals().answers >= 40)
        first = load.window()
        good.error_ratio = 1.0
        await until(lambda: load.totals().answers >= 200)
        second = load.window()
        await until(lambda: load.totals().answers >= 220)
    last = load.window()
    totals = load.totals()
    assert first.sent + second.sent + last.sent == totals.sent
    assert first.seconds + second.seconds + last.seconds == pytest.approx(totals.seconds)
    assert first.of("v1").errors == 0
    assert second.of("v1").errors > 0
    assert last.of("v1").error_ratio == 1.0, "answers that were on their way at the change are in the window before"
    assert totals.failures == good.errors


async def test_the_rate_does_not_yield_to_slow_servers(hanging: Application) -> None:
    async with LoadGenerator(url(hanging), "web", rate=400, concurrency=20, drain_limit=0.05) as load:
        await until(lambda: load.totals().shed >= 30)
        totals = load.totals()
        assert totals.sent == 20, "no more than the bound on their way"
        assert abs(totals.sent + totals.shed - totals.seconds * 400) <= 10
        assert totals.answers == 0


async def test_it_ends_in_time_though_nobody_answers(hanging: Application) -> None:
    loop = asyncio.get_running_loop()
    async with LoadGenerator(url(hanging), "web", rate=400, drain_limit=0.1) as load:
        await until(lambda: load.totals().sent >= 5)
        left_at = loop.time()
    assert loop.time() - left_at < 1.0
    assert load.totals().connection_errors == 0, "what we gave up ourselves is nobody's failure"


async def test_a_missing_answer_is_a_connection_error(hanging: Application) -> None:
    async with LoadGenerator(url(hanging), "web", rate=200, answer_limit=0.05, drain_limit=0.05) as load:
        await until(lambda: load.totals().connection_errors >= 3)
        assert load.totals().failures >= 3


async def test_a_refused_connection_is_counted_and_the_load_goes_on(good: Application) -> None:
    address = url(good)
    await good.stop()
    async with LoadGenerator(address, "web", rate=200) as load:
        await until(lambda: load.totals().connection_errors >= 10)
        assert load.totals().answers == 0


async def test_a_broken_connection_is_an_error_and_not_tried_again() -> None:
    connections = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with LoadGenerator(f"http://127.0.0.1:{port}", "web", rate=200) as load:
            await until(lambda: load.totals().connection_errors >= 10)
    assert connections == load.totals().sent == load.totals().connection_errors


async def test_it_sends_the_host_and_knows_who_answered() -> None:
    hosts: set[str] = set()

    async def answer(request: web.BaseRequest) -> web.Response:
        hosts.add(request.headers["Host"])
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with LoadGenerator(f"http://127.0.0.1:{runner.addresses[0][1]}", "web.demo", rate=200) as load:
            await until(lambda: load.totals().answers >= 3)
    finally:
        await runner.cleanup()
    assert hosts == {"web.demo"}
    assert load.totals().of(MESH_ITSELF).error_ratio == 1.0


async def test_an_error_in_the_block_comes_out_as_it_is(hanging: Application) -> None:
    with pytest.raises(LookupError, match="the caller's own"):
        async with LoadGenerator(url(hanging), "web", rate=400, drain_limit=60.0) as load:
            await until(lambda: load.totals().sent >= 5)
            raise LookupError("the caller's own")


async def test_cancelling_the_block_ends_the_load(hanging: Application) -> None:
    started = asyncio.Event()

    async def send() -> None:
        async with LoadGenerator(url(hanging), "web", rate=400, drain_limit=60.0) as load:
            await until(lambda: load.totals().sent >= 5)
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(send())
    await started.wait()
    task.cancel()
    async with asyncio.timeout(1.0):
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(("rate", "concurrency"), [(0.0, 1), (-1.0, 1), (10.0, 0)])
def test_impossible_settings_are_refused(rate: float, concurrency: int) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        LoadGenerator("http://127.0.0.1:1", "web", rate=rate, concurrency=concurrency)

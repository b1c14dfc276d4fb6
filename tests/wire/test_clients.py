"""The clients lose sight of nothing: each request that fails is a failure, and a window holds what was begun in it."""

from __future__ import annotations

import asyncio

import anyio

from adapters.dataplane.applications import Application
from tests.wire.clients import Answer, Load, describe_failures


async def test_every_answer_is_counted_by_its_version() -> None:
    async with Application("7") as application, Load(application.address, "web", connections=3, pause=0.0) as load:
        while load.all.requests < 300:
            await anyio.sleep(0.01)
        assert load.all.versions.keys() == {"7"}
        assert not load.all.failed


async def test_a_pod_that_ends_in_order_costs_no_request() -> None:
    async with (
        Application("7") as first,
        Application("8") as second,
        Load(first.address, "web", connections=3, pause=0.0) as load,
    ):
        await load.expect(lambda one: one.version == "7")
        load.address = second.address
        await first.stop()
        await load.expect(lambda one: one.version == "8")
        assert not load.all.failed, load.all.failures


async def test_an_error_is_a_failure_with_the_words_of_who_gave_it() -> None:
    async with Application("7", error_ratio=1.0) as application, Load(application.address, "web", connections=1) as load:
        failed = await load.expect(lambda one: bool(one.failure))
        assert failed.failure == "status 500: 7\n"
        assert load.all.failed and not load.all.answers


async def test_a_connection_that_ends_before_the_answer_is_a_failure() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, Load(server.sockets[0].getsockname(), "web", connections=1) as load:
        failed = await load.expect(lambda one: bool(one.failure))
        assert "the connection ended before the answer" in failed.failure


async def test_a_place_where_nobody_listens_is_a_failure() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    async with Load(address, "web", connections=1) as load:
        assert "cannot connect" in (await load.expect(lambda one: bool(one.failure))).failure


async def test_a_window_holds_what_was_begun_in_it() -> None:
    async with Application("7", latency=0.1) as application, Load(application.address, "web", connections=1) as load:
        while not application.in_flight:
            await anyio.sleep(0.005)
        window = load.open_window()
        await load.expect(lambda _: True)
        assert (load.all.answers, window.answers) == (1, 0), "it was begun before"
        await load.expect(lambda _: True)
        assert load.close_window(window).answers == 1


async def test_by_connection_a_window_waits_for_new_ones() -> None:
    async with (
        Application("7") as application,
        Load(application.address, "web", connections=1, pause=0.0, by_connection=True) as load,
    ):
        await load.expect(lambda _: True)
        window = load.open_window()
        while load.all.requests < 50:
            await anyio.sleep(0.01)
        assert not window.answers
        load.requests_each = 1
        while not window.answers:
            await anyio.sleep(0.01)
        assert not load.all.failed


def test_failures_are_told_by_what_and_when() -> None:
    what = {10.0: "status 503: a\n", 10.5: "status 503: a\n", 10.6: "status 404: b", 12.0: "status 503: a\n"}
    kept = [Answer(0.0, at, at, failure=failure, route="web=1") for at, failure in what.items()]
    assert describe_failures(kept, began=3_600.0) == [
        "2 times from 01:00:10.000 to 01:00:10.500: status 503: a (web=1)",
        "1 times from 01:00:10.600 to 01:00:10.600: status 404: b (web=1)",
        "1 times from 01:00:12.000 to 01:00:12.000: status 503: a (web=1)",
    ]

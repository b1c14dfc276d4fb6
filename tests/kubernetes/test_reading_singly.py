"""One object that is read by itself while the cache of its kind cannot be filled."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from aiohttp import web

from tests.kubernetes.informer_stand import WEB, Stand, informing
from tests.kubernetes.scripted_api import ScriptedApi, answer, listing, replica_set, status, stream


class SlowList:
    """An answer that comes when it is let go."""

    def __init__(self) -> None:
        self.is_asked = anyio.Event()
        self.let_go = anyio.Event()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.is_asked.set()
        await self.let_go.wait()
        return await listing("9", replica_set("web", "8"))(request)


async def read_in_a_pause(stand: Stand) -> None:
    """Between two lists that fail."""
    with anyio.fail_after(5):
        while not await stand.informer.read_singly(WEB):
            await anyio.lowlevel.checkpoint()


def broken(api: ScriptedApi, *, times: int = 2_000) -> None:
    api.lists.extend([status(500, "InternalError")] * times)


async def test_what_was_read_is_known_before_any_list() -> None:
    async with informing(broken) as stand:
        stand.api.others.append(answer(200, replica_set("web", "8", replicas=3)))
        await stand.until(lambda: stand.informer.is_lost)
        assert not stand.informer.is_current(WEB)
        await read_in_a_pause(stand)
        assert (stand.informer.is_current(WEB), stand.replicas()) == (True, 3)
        assert set(stand.told) == {("web", 3)}
        assert not stand.informer.is_current(("shop", "another"))
        stand.informer.forget_single(WEB)
        assert not stand.informer.is_current(WEB)


async def test_what_is_not_there_is_known_too_and_told() -> None:
    async with informing(broken) as stand:
        stand.api.others.append(status(404, "NotFound"))
        await stand.until(lambda: stand.informer.is_lost)
        await read_in_a_pause(stand)
        assert (stand.informer.is_current(WEB), set(stand.told)) == (True, {("web", None)})


async def test_while_a_list_is_under_way_nothing_is_read_and_nothing_is_known() -> None:
    slow = SlowList()

    def script(api: ScriptedApi) -> None:
        broken(api, times=1)
        api.lists.append(slow.respond)
        api.watches.append(stream(then="stay"))

    async with informing(script) as stand:
        await slow.is_asked.wait()
        assert stand.informer.is_lost
        assert not await stand.informer.read_singly(WEB)
        assert not stand.informer.is_current(WEB)
        slow.let_go.set()
        await stand.until(stand.informer.synced.is_set)
        assert stand.informer.is_current(WEB)
        assert not stand.informer.is_lost

"""Our watches beside reflectors of client-go, before one API server that goes and comes back: while ours say that nobody is
behind, nobody is.

The reflectors do what `tools/cache/reflector.go` of v0.36 does. After a watch that breaks, and after a request that is refused,
they wait: 0.8 seconds at first, twice as long each time up to 30, and up to as much again at random. It begins anew after two
minutes without one.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import cast

import anyio
import pytest

from adapters.kubernetes.errors import Unreachable
from adapters.kubernetes.informer import Informer
from adapters.kubernetes.outages import Outages
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.transport import Transport
from adapters.kubernetes.wire import decode_raw
from tests.clocks import LoopClock, run_in_virtual_time

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.25
AFTERWARDS_SECONDS = 150.0
Downs = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Server:
    """An API server without anything in it. It stands in for our transport, too."""

    downs: Downs = ()
    """From when to when it is not there."""
    hangs: bool = False
    """Nobody refuses a connection while it is not there: it is tried for as long as anybody tries."""
    ends_well: bool = False
    """It ends its watches in good order when it goes."""
    cut_seconds: float = math.inf
    """How long somebody between us and it lets a stream be, and then resets it."""
    opening_seconds: float = 0.02

    def is_down(self, at: float) -> bool:
        return any(begins <= at < ends for begins, ends in self.downs)

    def next_down(self, at: float) -> float:
        return min((begins for begins, _ in self.downs if begins > at), default=math.inf)

    async def connect(self, what: str) -> None:
        now = anyio.current_time()
        if self.is_down(now) and self.hangs:
            returns = next(ends for begins, ends in self.downs if begins <= now < ends)
            await anyio.sleep(min(CONNECT_SECONDS, returns - now))
        if self.is_down(anyio.current_time()):
            raise Unreachable(what, "connection refused")
        left = self.next_down(anyio.current_time()) - anyio.current_time()
        await anyio.sleep(min(self.opening_seconds, left))
        if left <= self.opening_seconds:
            raise Unreachable(what, "connection reset")

    async def stream(self, what: str, seconds: float) -> None:
        """Until it ends."""
        now = anyio.current_time()
        down = self.next_down(now) - now
        await anyio.sleep(min(seconds, down, self.cut_seconds))
        if self.cut_seconds < min(seconds, down) or (down < seconds and not self.ends_well):
            raise Unreachable(what, "connection reset")

    async def request_bytes(self, method: str, path: str, *, what: str, query: dict[str, str]) -> bytes:
        await self.connect(what)
        return json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()

    @asynccontextmanager
    async def watch(
        self, path: str, *, what: str, query: dict[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.connect(what)

        async def lines() -> AsyncGenerator[bytes]:
            await self.stream(what, float(query["timeoutSeconds"]))
            return
            yield b""

        yield lines()


class Reflector:
    def __init__(self, server: Server, random: Random) -> None:
        self._server = server
        self._random = random
        self._next, self._last_wait = 0.8, -math.inf
        self.is_connected = False

    async def run(self) -> None:
        while True:
            try:
                await self._server.connect("reflector")
                self.is_connected = True
                await self._server.stream("reflector", self._random.uniform(300.0, 600.0))
            except Unreachable:
                self.is_connected = False
                await anyio.sleep(self._wait())
            self.is_connected = False

    def _wait(self) -> float:
        now = anyio.current_time()
        if now - self._last_wait > 120.0:
            self._next = 0.8
        self._last_wait = now
        wait, self._next = self._next, min(2 * self._next, 30.0)
        return wait * (1 + self._random.random())


@dataclass(frozen=True)
class Look:
    at: float
    behind_seconds: float
    is_anybody_behind: bool


def watch(server: Server, seconds: float, *, watches: int = 5, seed: int = 0, theirs: Server | None = None) -> list[Look]:
    """What our watches have said, and how far 20 reflectors were. `theirs`: the server as these find it, if not as we do."""

    async def story() -> list[Look]:
        clock, relists = LoopClock(), anyio.Semaphore(2)
        outages, looks = Outages(clock), []
        reflectors = [Reflector(theirs or server, Random(f"{seed}/{number}")) for number in range(20)]
        async with anyio.create_task_group() as tasks:
            for number in range(watches):
                informer = Informer(
                    cast("Transport", server),
                    ResourceRef("example.com", "v1", f"kind-{number}", "Kind", True),
                    None,
                    decode_raw,
                    clock=clock,
                    random=Random(f"{seed}/ours/{number}"),
                    relists=relists,
                    outages=outages,
                    on_change=lambda key, before, after: None,
                    on_all_changed=lambda: None,
                )
                tasks.start_soon(informer.run)
            for reflector in reflectors:
                tasks.start_soon(reflector.run)
            while (now := anyio.current_time()) < seconds:
                await anyio.sleep(LOOK_SECONDS)
                is_away = not all(one.is_connected for one in reflectors)
                looks.append(Look(now, outages.behind_seconds, is_away and not server.is_down(anyio.current_time())))
            tasks.cancel_scope.cancel()
        return looks

    return run_in_virtual_time(story)


def unsafe(looks: Sequence[Look], since: float) -> list[float]:
    """When we have said that nobody is behind, and somebody was."""
    return [look.at for look in looks if look.at > since and look.is_anybody_behind and not look.behind_seconds]


def draw_downs(random: Random) -> Downs:
    downs, at = [], random.uniform(10.0, 200.0)
    for _ in range(random.randint(1, 9)):
        seconds = random.choice([random.uniform(2.0, 4.0), random.uniform(2.0, 15.0), random.uniform(10.0, 60.0)])
        downs.append((at, at + seconds))
        at += seconds + random.choice([random.uniform(6.0, 30.0), random.uniform(20.0, 130.0), random.uniform(100.0, 140.0)])
    return downs


@pytest.mark.parametrize("watches", [1, 3, 10])
@pytest.mark.parametrize("seed", range(8))
def test_nobody_is_behind_where_we_say_so_however_often_the_api_server_is_killed(seed: int, watches: int) -> None:
    downs = draw_downs(Random(seed))
    looks = watch(Server(downs), downs[-1][1] + AFTERWARDS_SECONDS, watches=watches, seed=seed)
    assert unsafe(looks, downs[0][0]) == []
    assert looks[-1].behind_seconds == 0.0, "it ends"


def test_a_row_of_kills_as_quick_as_a_machine_starts_it() -> None:
    """Eight seconds away and ten there: the waits of both sides are at their longest by the end."""
    downs = [(at, at + 8.0) for at in (60.0 + 18.0 * number for number in range(6))]
    for seed in range(5):
        looks = watch(Server(downs), downs[-1][1] + AFTERWARDS_SECONDS, seed=seed)
        assert unsafe(looks, downs[0][0]) == []
        assert any(look.is_anybody_behind for look in looks if look.at > downs[-1][1] + 30.0), "otherwise it shows nothing"


@pytest.mark.parametrize("ends_well", [True, False])
@pytest.mark.parametrize("seconds", [9.5, 12.0, 18.0, 25.0])
def test_an_outage_that_we_see_by_waiting_in_vain(seconds: float, ends_well: bool) -> None:
    downs = [(60.0, 60.0 + seconds)]
    server = Server(downs, hangs=True, ends_well=ends_well)
    looks = watch(server, 250.0, theirs=Server(downs, ends_well=ends_well))
    assert unsafe(looks, 60.0) == []


@pytest.mark.parametrize("cut_seconds", [30.0, 60.0, 300.0])
@pytest.mark.parametrize("opening_seconds", [0.02, 1.0, 2.5])
def test_whoever_resets_our_streams_holds_nothing_up(cut_seconds: float, opening_seconds: float) -> None:
    server = Server(cut_seconds=cut_seconds, opening_seconds=opening_seconds)
    looks = watch(server, 2_400.0, watches=10)
    assert not any(look.behind_seconds for look in looks)

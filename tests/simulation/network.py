"""The way between a daemon and an API server: requests and watches as calls, with the delays and losses of a network.

It stands in the place of `adapters.kubernetes.transport.Transport` alone; what a request means is answered by the embedded API
server's own code, and what an answer means is read by the client's own code.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

import anyio
import anyio.abc

from adapters.embedded import errors as answers
from adapters.embedded.access import Access
from adapters.embedded.dispatching import Answer, Dispatcher, Request, error_answer
from adapters.embedded.options import ReadOptions, read_options
from adapters.embedded.reading import reach_version
from adapters.embedded.routes import WRITES, Target
from adapters.embedded.selectors import parse_selection
from adapters.embedded.storage import Storage
from adapters.embedded.watching import Watch, WatchHub
from adapters.kubernetes.connections import Limits
from adapters.kubernetes.errors import Unreachable, error_of
from adapters.kubernetes.transport import Transport
from tests.simulation.dice import Dice, Trouble
from tests.simulation.process import Process

USER_AGENT = "headgate/simulated"
BOOKMARK_SECONDS = 60.0


class SimulatedApi:
    """One API server, without sockets."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.access = Access()
        self.dispatcher = Dispatcher(storage, self.access, lambda: "api.example.com")
        self.hub = WatchHub(storage)


class Network:
    """What can go wrong on the way to one API server; it outlives the daemons."""

    def __init__(self, dice: Dice, name: str, late: anyio.abc.TaskGroup) -> None:
        """`late`: what is still on its way when its sender has given it up."""
        self.late = late
        self._dice = dice
        self._name = name
        self.cut_until = 0.0
        """Nothing goes through before this time of the loop."""
        self.calm = False
        self.faults: Counter[str] = Counter()

    def cut_for(self, seconds: float) -> None:
        self.cut_until = max(self.cut_until, anyio.current_time() + seconds)

    def delay(self) -> float:
        random = self._dice.of(f"network of {self._name}")
        usual = random.uniform(0.001, 0.008)
        if self.happens(Trouble.SLOW, 0.02):
            return self._dice.of(Trouble.SLOW).choice([1.0, 5.0, 20.0, 50.0])
        return usual

    def happens(self, trouble: Trouble, chance: float) -> bool:
        happens = self._dice.happens(trouble, chance) and not self.calm
        if happens:
            self.faults[trouble] += 1
        return happens

    def comes_late(self) -> bool:
        """Whether a request that was lost on the way is only late."""
        return self._dice.of("late requests").random() < 0.5

    def lateness(self) -> float:
        return self._dice.of("late requests").uniform(0.0, 0.9)

    def draw_error(self, target: Target | None) -> answers.ApiError | None:
        if not self.happens(Trouble.ERRORS, 0.03):
            return None
        random = self._dice.of(Trouble.ERRORS)
        match random.choice(["conflict", "busy", "internal", "unavailable", "invalid", "expired"]):
            case "conflict" if target is not None and target.verb in WRITES:
                return answers.Conflict("somebody was faster")
            case "busy":
                return answers.TooManyRequests("too many requests", retry_after_seconds=random.choice([1, 5, 30]))
            case "invalid" if target is not None and target.verb in WRITES and random.random() < 0.1:
                return answers.Invalid("somebody's webhook does not like it")
            case "expired" if target is not None and target.verb not in WRITES and not target.name:
                return answers.Expired("the continue token has expired")
            case "unavailable":
                return answers.ServiceUnavailable("the server is currently unable to handle the request")
        return answers.InternalError("etcdserver: leader changed")


class SimulatedTransport(Transport):
    def __init__(self, api: SimulatedApi, network: Network, process: Process) -> None:
        self._api = api
        self._network = network
        self._process = process
        self._limits = Limits()
        self.counts = Counter()
        self.writes: list[str] = []
        """What was written to the cluster, in order."""

    # --- requests ------------------------------------------------------------------------------------------------------

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        what: str,
        query: Mapping[str, str] | None = None,
        payload: bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        is_write = method != "GET"
        self.counts[method] += 1
        await self._process.pass_point(f"before {what}")
        if is_write and self._process.deposed:
            raise Unreachable(what, "another daemon leads")
        try:
            with anyio.fail_after(self._limits.request_seconds):
                await self._travel(what, maybe_applied=False)
                if self._network.happens(Trouble.LOST, 0.02):
                    if is_write and self._network.comes_late():
                        self._deliver_late(method, path, query or {}, payload or b"", content_type, what)
                    raise Unreachable(what, "the connection was reset", maybe_applied=is_write)
                answer = await self._answer(method, path, query or {}, payload or b"", content_type, what)
                await self._process.pass_point(f"after {what}")
                if self._network.happens(Trouble.LOST, 0.02):
                    raise Unreachable(what, "the connection was reset", maybe_applied=is_write)
                await self._travel(what, maybe_applied=is_write)
        except TimeoutError as error:
            raise Unreachable(what, "no answer (timed out)", maybe_applied=is_write) from error
        return self._read(what, answer)

    async def _travel(self, what: str, *, maybe_applied: bool) -> None:
        await anyio.sleep(self._network.delay())
        if anyio.current_time() < self._network.cut_until:
            await anyio.sleep(min(self._limits.connect_seconds, self._network.cut_until - anyio.current_time() + 0.1))
            raise Unreachable(what, "no route to host", maybe_applied=maybe_applied)

    def _deliver_late(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, content_type: str, what: str
    ) -> None:
        """Its sender knows nothing of it any more, and may have died since."""

        async def deliver() -> None:
            await anyio.sleep(self._network.lateness())
            await self._answer(method, path, query, body, content_type, what)

        self._network.late.start_soon(deliver, name=f"late: {what}")

    async def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, content_type: str, what: str
    ) -> Answer:
        try:
            target = self._api.dispatcher.find_target(method, path, query)
            error = self._network.draw_error(target)
            if error is not None:
                raise error
            request = Request(method, path, query, "application/json", content_type, USER_AGENT, body, target)
            version = self._api.storage.resource_version
            answer = await self._api.dispatcher.answer(request)
            if method != "GET" and self._api.storage.resource_version != version:
                self.writes.append(what)
            return answer
        except answers.ApiError as failure:
            return error_answer(failure)

    def _read(self, what: str, answer: Answer) -> bytes:
        if answer.status < 400:
            return answer.body
        after = answer.headers.get("Retry-After")
        raise error_of(what, answer.status, json.loads(answer.body), float(after) if after else None)

    # --- watches -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(
        self, path: str, *, what: str, query: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.counts["WATCH"] += 1
        await self._process.pass_point(f"before {what}")
        await self._travel(what, maybe_applied=False)
        if self._network.happens(Trouble.LOST, 0.05):
            raise Unreachable(what, "the connection was reset")
        try:
            target = self._api.dispatcher.find_target("GET", path, query)
            assert target is not None
            error = self._network.draw_error(target)
            if error is not None and not isinstance(error, answers.Expired):
                raise error
            options = read_options(query, watch=True)
            await reach_version(self._api.storage, options.resource_version)
        except answers.ApiError as failure:
            self._read(what, error_answer(failure))
            raise AssertionError("an error is an answer") from failure
        presenter = self._api.dispatcher.presenter(target, "application/json", options.include_object)
        selection = parse_selection(target.resource, options.label_selector, options.field_selector)
        watch = Watch(target, presenter, selection, USER_AGENT)
        if self._network.happens(Trouble.WATCHES, 0.05):
            watch.fail(answers.Expired("too old resource version: the history was compacted"))
        self._api.hub.open(watch, options)
        try:
            async with aclosing(self._told(what, watch, options)) as lines:
                yield lines
        finally:
            self._api.hub.close(watch)

    async def _told(self, what: str, watch: Watch, options: ReadOptions) -> AsyncGenerator[bytes, None]:
        now = asyncio.get_running_loop().time
        end, bookmark = now() + (options.timeout_seconds or 1_800), now() + BOOKMARK_SECONDS
        last = b""
        while True:
            piece = watch.take()
            if piece:
                await self._travel_along(what)
                await self._process.go_on()
                for line in piece.splitlines():
                    if last and self._network.happens(Trouble.WATCHES, 0.01):
                        yield last
                    yield line
                    last = line
                continue
            if watch.ended:
                return
            if now() >= bookmark:
                yield watch.bookmark(self._api.storage.resource_version).rstrip()
                bookmark = now() + BOOKMARK_SECONDS
            if now() >= end:
                return
            await watch.wait(min(end, bookmark) - now() + 1e-6)

    async def _travel_along(self, what: str) -> None:
        """Also late, and no longer than until the next cut."""
        await anyio.sleep(self._network.delay())
        if self._network.happens(Trouble.WATCHES, 0.02):
            raise Unreachable(what, "the watch broke off (connection reset)")
        if anyio.current_time() < self._network.cut_until:
            await anyio.sleep(self._network.cut_until - anyio.current_time())
            raise Unreachable(what, "the watch broke off (timed out)")

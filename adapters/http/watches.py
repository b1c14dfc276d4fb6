"""A release as a stream of lines: first how it stands, then everything that happens to it, until it ends.

One JSON object per line (`adapters.http.bodies.WatchLine`). Nobody is waited for: a reader that takes nothing for a
while is cut off, and what was missed is in the journal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import anyio
import structlog
from aiohttp import web
from anyio.streams.memory import MemoryObjectReceiveStream

from adapters.http.bodies import (
    AliveLine,
    EndLine,
    EntryLine,
    ReleaseLine,
    SnapshotLine,
    WatchLine,
    encode,
)
from adapters.http.identity import CALLER
from adapters.http.service import Service
from adapters.http.sight import Sight
from adapters.http.views import entry_body, rollout_body
from engine.feed import EntryNews, News
from engine.model import FINAL_STATUSES, Release

log = structlog.get_logger()

ALIVE_SECONDS = 15.0
WRITE_SECONDS = 20.0
"""How long a reader may keep the stream from going on."""


class Watches:
    def __init__(
        self, service: Service, *, alive_seconds: float = ALIVE_SECONDS, write_seconds: float = WRITE_SECONDS
    ) -> None:
        self._service = service
        self._alive_seconds = alive_seconds
        self._write_seconds = write_seconds
        self._open: set[anyio.CancelScope] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/releases/{release}/watch", self.watch)]

    async def close(self, _application: web.Application) -> None:
        """End every stream, so that a stopping daemon waits for no reader."""
        for scope in self._open:
            scope.cancel()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        sight = Sight(self._service, request[CALLER])
        release = await sight.find(request.match_info["release"])
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        with self._service.engine.feed.subscribe() as news:
            await response.prepare(request)
            try:
                await self._send(response, sight, release, news)
            except TimeoutError:
                log.info("api.reader_cut_off", release=release.id)
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                log.debug("api.reader_gone", release=release.id)
        return response

    async def _send(
        self, response: web.StreamResponse, sight: Sight, release: Release, news: MemoryObjectReceiveStream[News]
    ) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with aclosing(self._lines(sight, release, news)) as lines:
                    async for line in lines:
                        await self._write(response, line)
            finally:
                self._open.discard(scope)
        if scope.cancelled_caught:
            await self._write(response, EndLine(final=False, message="the daemon is stopping"))

    async def _write(self, response: web.StreamResponse, line: WatchLine) -> None:
        with anyio.fail_after(self._write_seconds):
            await response.write(encode(line) + b"\n")

    async def _lines(
        self, sight: Sight, release: Release, news: MemoryObjectReceiveStream[News]
    ) -> AsyncGenerator[WatchLine]:
        # Read after the subscription, so nothing falls in between; what is in both is left out by its number.
        release = await sight.find(release.id)
        detail = await sight.detail(release)
        known = {rollout.id: rollout.seq for rollout in detail.rollouts}
        yield SnapshotLine(detail=detail)
        if release.status in FINAL_STATUSES:
            yield EndLine(final=True, message=f"the release has ended: {release.status}")
            return
        alive_at = anyio.current_time() + self._alive_seconds
        while True:
            try:
                item = await _next(news, alive_at)
            except anyio.EndOfStream:
                yield EndLine(final=False, message="too much happened at once; connect again, and read the journal")
                return
            if sight.caller.has_expired(self._service.clock.now()):
                yield EndLine(final=False, message=f"the token {sight.caller.name} has expired")
                return
            if item is not None and not _concerns(item, release.id, known):
                continue
            alive_at = anyio.current_time() + self._alive_seconds
            if item is None:
                yield AliveLine()
            elif isinstance(item, EntryNews):
                known[item.entry.rollout] = item.entry.seq
                yield await self._entry(item)
            else:
                yield ReleaseLine(release=await sight.body(item.release))
                if item.release.status in FINAL_STATUSES:
                    yield EndLine(final=True, message=f"the release has ended: {item.release.status}")
                    return

    async def _entry(self, news: EntryNews) -> EntryLine:
        rollouts = await self._service.rollouts(news.release)
        stored = next(one for one in rollouts if one.spec.id == news.entry.rollout)
        return EntryLine(entry=entry_body(news.entry, news.target), rollout=rollout_body(stored.spec, stored.snapshot))


async def _next(news: MemoryObjectReceiveStream[News], until: float) -> News | None:
    """The next of the news; None when there was none until then."""
    with anyio.CancelScope(deadline=until):
        return await news.receive()
    return None


def _concerns(item: News, release: str, known: Mapping[str, int]) -> bool:
    """`known`: the last entry of each rollout that the reader may see. A release is complete from its first moment on."""
    if isinstance(item, EntryNews):
        last = known.get(item.entry.rollout)
        return item.release == release and last is not None and item.entry.seq > last
    return item.release.id == release

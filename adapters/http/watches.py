"""A release as a stream of lines: first how it stands, then everything that happens to it, until it ends. And all
releases as one: which there are, and what becomes of them.

One JSON object per line (`WatchLine` and `OverviewLine` of `adapters.http.bodies`). Nobody is waited for: a reader that
takes nothing for a while is cut off, and what was missed is in the journal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TypeAlias

import anyio
import structlog
from aiohttp import web
from anyio.streams.memory import MemoryObjectReceiveStream

from adapters.http.bodies import (
    AliveLine,
    EndLine,
    EntryLine,
    ErrorCode,
    OverviewLine,
    ReleaseLine,
    ReleasesLine,
    SnapshotLine,
    WatchLine,
    encode,
)
from adapters.http.failures import ApiFailure
from adapters.http.identity import CALLER
from adapters.http.requests import read_limit
from adapters.http.service import MOST_SEARCHED, Service
from adapters.http.sight import Sight
from adapters.http.views import entry_body, rollout_body
from engine.feed import EntryNews, News, ReleaseNews
from engine.model import FINAL_STATUSES, Release

log = structlog.get_logger()

Lines: TypeAlias = Callable[[MemoryObjectReceiveStream[News]], AsyncGenerator[WatchLine | OverviewLine]]

ALIVE_SECONDS = 15.0
WRITE_SECONDS = 20.0
"""How long a reader may keep the stream from going on."""
USUAL_LIMIT = 100
MOST_AT_ONCE = 256
"""Each keeps a connection and a place in the feed for as long as its reader likes."""
_MISSED = "too much happened at once; connect again, and read the journal"


class Watches:
    def __init__(
        self, service: Service, *, alive_seconds: float = ALIVE_SECONDS, write_seconds: float = WRITE_SECONDS
    ) -> None:
        self._service = service
        self._alive_seconds = alive_seconds
        self._write_seconds = write_seconds
        self._open: set[anyio.CancelScope] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/releases/{release}/watch", self.watch), web.get("/v1/watch", self.watch_all)]

    async def close(self, _application: web.Application) -> None:
        """End every stream, so that a stopping daemon waits for no reader."""
        for scope in self._open:
            scope.cancel()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        sight = Sight(self._service, request[CALLER])
        release = await sight.find(request.match_info["release"])
        return await self._stream(request, lambda news: self._lines(sight, release, news), release.id)

    async def watch_all(self, request: web.Request) -> web.StreamResponse:
        sight, limit = Sight(self._service, request[CALLER]), read_limit(request, USUAL_LIMIT, MOST_SEARCHED)
        return await self._stream(request, lambda news: self._overview(sight, limit, news), "all")

    async def _stream(self, request: web.Request, lines: Lines, what: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        if len(self._open) >= MOST_AT_ONCE:
            raise ApiFailure(ErrorCode.UNAVAILABLE, f"{MOST_AT_ONCE} watches are open, and more are not taken; end some of them")
        with self._service.engine.feed.subscribe() as news:
            await response.prepare(request)
            try:
                await self._send(response, lines(news))
            except TimeoutError:
                log.info("api.reader_cut_off", release=what)
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                log.debug("api.reader_gone", release=what)
        return response

    async def _send(
        self, response: web.StreamResponse, lines: AsyncGenerator[WatchLine | OverviewLine]
    ) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with aclosing(lines):
                    async for line in lines:
                        await self._write(response, line)
            finally:
                self._open.discard(scope)
        if scope.cancelled_caught:
            await self._write(response, EndLine(final=False, message="the daemon is stopping"))

    async def _write(self, response: web.StreamResponse, line: WatchLine | OverviewLine) -> None:
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
                yield EndLine(final=False, message=_MISSED)
                return
            if sight.caller.has_expired(self._service.clock.now()):
                yield _expired(sight)
                return
            if item is not None and not _concerns(item, release.id, known):
                continue
            alive_at = anyio.current_time() + self._alive_seconds
            if item is None:
                yield AliveLine()
            elif isinstance(item, EntryNews):
                known[item.entry.rollout] = item.entry.seq
                yield await self._entry(item, sight)
            else:
                yield ReleaseLine(release=await sight.body(item.release))
                if item.release.status in FINAL_STATUSES:
                    yield EndLine(final=True, message=f"the release has ended: {item.release.status}")
                    return

    async def _overview(
        self, sight: Sight, limit: int, news: MemoryObjectReceiveStream[News]
    ) -> AsyncGenerator[OverviewLine]:
        releases = await sight.releases(limit=limit)
        yield ReleasesLine(releases=tuple([await sight.body(release) for release in releases]))
        alive_at = anyio.current_time() + self._alive_seconds
        while True:
            try:
                item = await _next(news, alive_at)
            except anyio.EndOfStream:
                yield EndLine(final=False, message=_MISSED)
                return
            if sight.caller.has_expired(self._service.clock.now()):
                yield _expired(sight)
                return
            if item is None:
                yield AliveLine()
            elif isinstance(item, ReleaseNews) and await sight.sees(item.release):
                yield ReleaseLine(release=await sight.body(item.release))
            else:
                continue
            alive_at = anyio.current_time() + self._alive_seconds

    async def _entry(self, news: EntryNews, sight: Sight) -> EntryLine:
        rollouts = await self._service.rollouts(news.release)
        stored = next(one for one in rollouts if one.spec.id == news.entry.rollout)
        why_waiting = self._service.engine.why_waiting(stored.spec.id)
        rollout = rollout_body(stored.spec, stored.snapshot, why_waiting, sight.orders(stored))
        return EntryLine(entry=entry_body(news.entry, news.target), rollout=rollout)


def _expired(sight: Sight) -> EndLine:
    return EndLine(final=False, message=f"the token {sight.caller.name} has expired")


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

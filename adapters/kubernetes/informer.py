"""One shared cache of one kind of object in one scope: list, then watch, for ever.

What it promises: `items` is what the API server said last, in its order; every change is told once, as a key. What a watch
may do to us, it expects: a resourceVersion is opaque and only compared for equality; 410 means list again, after a random
wait, so that a restarted API server is not asked by everybody at once; an orderly end means go on where it stopped, but ends
that come too soon count as failures; a line that never comes is a dead connection; a list tells by comparison what was
deleted in a gap.

**Reading our own writes.** A verdict must not rest on what an object was before we changed it. After a write, its new
resourceVersion is expected here, and the object does not count as current until the watch has delivered that version (it may
have come before the write's own answer), or a list that began after the write. When neither comes, it is read once by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Generic, TypeVar

import anyio
import msgspec
import structlog

from adapters.kubernetes.errors import ApiError, Expired, Forbidden, MalformedAnswer, NotFound, TooManyRequests, Unreachable
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.transport import Transport
from adapters.kubernetes.wire import Bookmark, Item, Key, ListMetadata, Page, WatchError, WatchEvent
from engine.clock import Clock

log = structlog.get_logger()

T = TypeVar("T", bound=Item)

PAGE = 500
WATCH_SECONDS = (240.0, 480.0)
SILENCE_MARGIN_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.5
MOST_BACKOFF_SECONDS = 30.0
FORBIDDEN_BACKOFF_SECONDS = 60.0
SHORT_STREAM_SECONDS = 1.0
RELIST_JITTER_SECONDS = 1.0
DOUBT_SECONDS = 5.0
_REMEMBERED_VERSIONS = 16


class Informer(Generic[T]):
    def __init__(
        self,
        transport: Transport,
        resource: ResourceRef,
        namespace: str | None,
        decode: Callable[[msgspec.Raw], T],
        *,
        clock: Clock,
        random: Random,
        relists: anyio.Semaphore,
        on_change: Callable[[Key, T | None, T | None], None],
        on_synced: Callable[[], None],
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.items: dict[Key, T] = {}
        self.synced = anyio.Event()
        self.trouble = ""
        """Why the cache is not being kept up to date at the moment; empty when it is."""
        self.watches = 0
        """How many watches were ever opened."""
        self._transport = transport
        self._decode = decode
        self._clock = clock
        self._random = random
        self._relists = relists
        self._on_change = on_change
        self._on_synced = on_synced
        self._version = ""
        self._backoff = FIRST_BACKOFF_SECONDS
        self._expected: dict[Key, tuple[str, float]] = {}
        self._seen: dict[Key, deque[str]] = {}

    @property
    def what(self) -> str:
        return f"{self.resource.full_name} in {self.namespace or 'all namespaces'}"

    # --- reading our own writes ----------------------------------------------------------------------------------------

    def expect(self, key: Key, resource_version: str) -> bool:
        """A write of ours made this version. Whether it is still to come."""
        there = self.items.get(key)
        if (there is not None and there.resource_version == resource_version) or resource_version in self._seen.get(key, ()):
            return False
        self._expected[key] = (resource_version, self._clock.monotonic())
        return True

    def is_current(self, key: Key) -> bool:
        return self.synced.is_set() and key not in self._expected

    async def dispel_doubt(self, key: Key, resource_version: str) -> None:
        """Wait for an expected version; when it does not come, read the object itself, once."""
        await self._clock.sleep(DOUBT_SECONDS)
        while self._expected.get(key, ("",))[0] == resource_version:
            before = self.items.get(key)
            try:
                path = self.resource.item(key[0] or None, key[1])
                content = await self._transport.request_bytes("GET", path, what=f"GET {self.resource.full_name} {key[1]}")
                found: T | None = self._decode(msgspec.Raw(content))
            except NotFound:
                found = None
            except ApiError as error:
                log.warning("informer.doubt", what=self.what, key=key, error=str(error))
                await self._clock.sleep(DOUBT_SECONDS)
                continue
            if self.items.get(key) is before:
                self._put(key, found)
            # Read after the write was done, so whatever is known of the object now is not from before it.
            self._expected.pop(key, None)
            self._on_change(key, before, self.items.get(key))

    # --- the reflector -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            try:
                if not self._version:
                    await self._relist()
                await self._watch()
            except Expired:
                self._version = ""
                await self._clock.sleep(self._random.uniform(0, RELIST_JITTER_SECONDS))
            except ApiError as error:
                await self._back_off(error)

    async def _back_off(self, error: ApiError) -> None:
        self.trouble = str(error)
        log.warning("informer.trouble", what=self.what, error=str(error))
        if isinstance(error, Forbidden):
            wait = FORBIDDEN_BACKOFF_SECONDS
        elif isinstance(error, TooManyRequests) and error.retry_after is not None:
            wait = error.retry_after
        else:
            # Decorrelated jitter: grows like an exponential back-off, without many clients in step.
            self._backoff = min(MOST_BACKOFF_SECONDS, self._random.uniform(FIRST_BACKOFF_SECONDS, self._backoff * 3))
            wait = self._backoff
        await self._clock.sleep(wait)

    async def _relist(self) -> None:
        async with self._relists:
            began = self._clock.monotonic()
            found: dict[Key, T] = {}
            metadata = ListMetadata()
            while True:
                page = await self._page(metadata.continue_)
                metadata = page.metadata
                for raw in page.items or ():
                    item = self._decode(raw)
                    found[item.key] = item
                if not metadata.continue_:
                    break
        self._replace(found, began)
        self._version = metadata.resource_version
        self.trouble = ""
        if not self.synced.is_set():
            self.synced.set()
            self._on_synced()

    async def _page(self, token: str) -> Page:
        query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
        path = self.resource.collection(self.namespace)
        content = await self._transport.request_bytes("GET", path, what=f"LIST {self.what}", query=query)
        try:
            return msgspec.json.decode(content, type=Page)
        except msgspec.DecodeError as error:
            raise MalformedAnswer(f"LIST {self.what}", "the answer is not a list") from error

    def _replace(self, found: dict[Key, T], began: float) -> None:
        delivered = [key for key, (_, written_at) in self._expected.items() if written_at < began]
        for key in delivered:
            del self._expected[key]
            self._on_change(key, self.items.get(key), self.items.get(key))
        for key in [key for key in self.items if key not in found]:
            self._put(key, None)
        for key, item in found.items():
            there = self.items.get(key)
            if there is None or (there.uid, there.resource_version) != (item.uid, item.resource_version):
                self._put(key, item)

    async def _watch(self) -> None:
        seconds = self._random.uniform(*WATCH_SECONDS)
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        began = self._clock.monotonic()
        self.watches += 1
        path, what = self.resource.collection(self.namespace), f"WATCH {self.what}"
        silence = seconds + SILENCE_MARGIN_SECONDS
        async with self._transport.watch(path, what=what, query=query, silence_seconds=silence) as lines:
            async for line in lines:
                self._take(line, what)
                self.trouble = ""
        lived = self._clock.monotonic() - began
        if lived < SHORT_STREAM_SECONDS:
            raise Unreachable(what, f"the server ended the watch after {lived:.2f} s")
        self._backoff = FIRST_BACKOFF_SECONDS

    def _take(self, line: bytes, what: str) -> None:
        try:
            event = msgspec.json.decode(line, type=WatchEvent)
            if event.type == "BOOKMARK":
                self._version = msgspec.json.decode(event.object, type=Bookmark).metadata.resource_version
                return
            if event.type == "ERROR":
                self._raise(msgspec.json.decode(event.object, type=WatchError), what)
            item = self._decode(event.object)
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            raise MalformedAnswer(what, "a line of the watch is not an event") from error
        self._version = item.resource_version
        self._put(item.key, None if event.type == "DELETED" else item, item.resource_version)

    def _raise(self, error: WatchError, what: str) -> None:
        if error.code == 410 or error.reason in ("Expired", "Gone"):
            raise Expired(what, error.message)
        raise Unreachable(what, f"the watch reported {error.code} {error.reason}: {error.message}")

    def _put(self, key: Key, item: T | None, version: str = "") -> None:
        before = self.items.get(key)
        if item is None:
            self.items.pop(key, None)
            self._seen.pop(key, None)
            self._expected.pop(key, None)
        else:
            self.items[key] = item
            self._seen.setdefault(key, deque(maxlen=_REMEMBERED_VERSIONS)).append(version or item.resource_version)
            if self._expected.get(key, ("",))[0] == item.resource_version:
                del self._expected[key]
        if before is not item:
            self._on_change(key, before, item)

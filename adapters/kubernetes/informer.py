"""One shared cache of one kind of object in one scope: list, then watch, for ever.

What it promises: `items` is what the API server said last, in its order; every change is told once, as a key. What a
watch may do to us, it expects: a resourceVersion is opaque and only compared for equality; 410 means list again, after
a random wait, so that a restarted API server is not asked by everybody at once; a refusal is doubted a few times, because
one that has just started refuses everybody everything; an orderly end means go on where it
stopped, but ends that come too soon count as failures; a line that never comes is a dead connection; a list tells by
comparison what was deleted in a gap; an object that cannot be understood stops this cache, with a sentence, and nothing
else.

**Hearing nothing.** What a dead cache says is what was so when it died. A watch that has shown bookmarks is held to them, because
TCP's own probes come to the first hop and no further. A cache that has been in trouble for longer than a restart of an API server
takes says so (`unheard`), and counts as heard of again when a watch has held and a list that began after that is in: what a watch
makes up for comes bit by bit, and nothing tells when that is all.

**Reading our own writes.** A verdict must not rest on what an object was before we changed it, or before we found that nothing
needs to be changed. After a write its new resourceVersion is expected here, and after a read the one that was read; the object
does not count as current until the watch has delivered that version (it may have come before the answer), or a list that began
after it. When neither comes, it is read once by itself (`adapters.kubernetes.own_writes` has the rules).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel
import msgspec
import structlog

from adapters.kubernetes.backoff import Backoff
from adapters.kubernetes.errors import (
    ApiError,
    Expired,
    Forbidden,
    MalformedAnswer,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
)
from adapters.kubernetes.outages import AWAY, Outages
from adapters.kubernetes.own_writes import Mark, OwnWrites
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.transport import Transport
from adapters.kubernetes.wire import Bookmark, Item, Key, ListMetadata, Page, WatchError, WatchEvent
from engine.clock import Clock

log = structlog.get_logger()

T = TypeVar("T", bound=Item)

PAGE = 500
WATCH_SECONDS = (240.0, 480.0)
SILENCE_MARGIN_SECONDS = 30.0
MOST_SILENT_SECONDS = 150.0
"""For how long a watch may say nothing that has shown bookmarks before: two of them have not come, and the time of a third."""
UNHEARD_SECONDS = 120.0
"""For how long a cache may be in trouble before nothing is concluded from it any more. An API server is restarted within."""
FORBIDDEN_BACKOFF_SECONDS = 60.0
MOST_DOUBTED_REFUSALS = 5
"""So many in a row are asked about again soon: an API server knows nobody's roles in its first seconds, and whoever waited for
a minute then would be blind for that long."""
DOUBTED_SECONDS = (0.5, 2.0)
SHORT_STREAM_SECONDS = 1.0
OPEN_SECONDS = 5.0
PROMPT_SECONDS = (0.5, 1.5)
"""When a watch that was open for a while is tried again for the first time, whatever there was before: whoever is between us and
the API server may end streams as often as they like, and nobody is blind for long because of that."""
HEALTHY_SECONDS = 60.0
"""A watch that held for this long was well; what breaks it is not counted to what went wrong before."""
RELIST_JITTER_SECONDS = 1.0
DOUBT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    synced: bool
    """The cache has been filled once."""
    trouble: str
    """Why the cache is not being kept up to date at the moment; empty when it is."""
    since: datetime
    """Since when it has been so."""
    silent_seconds: float
    """For how long nothing has been heard of the API server. A healthy watch is never silent for much longer than the
    minute between two bookmarks."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """A cache that has been in trouble for too long."""

    since: datetime
    says: str
    """What was said when it was given up."""


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
        outages: Outages,
        on_change: Callable[[Key, T | None, T | None], None],
        on_all_changed: Callable[[], None],
    ) -> None:
        """`on_all_changed` is called when what may be concluded from all of the cache has changed: it is filled, it cannot be
        filled, it is given up as unheard of, or it is heard of again."""
        self.resource = resource
        self.namespace = namespace
        self.items: dict[Key, T] = {}
        self.synced = anyio.Event()
        self.watches = 0
        """How many watches were ever opened."""
        self.unheard: Unheard | None = None
        """None while it is up to date, or may soon be."""
        self._read_singly: set[Key] = set()
        """What was read by itself before there was any list."""
        self._transport = transport
        self._decode = decode
        self._clock = clock
        self._random = random
        self._relists = relists
        self._outages = outages
        self._outage = f"{resource.version} {self.what}"
        """By which name it tells of itself there: one kind may be watched in two versions."""
        self._on_change = on_change
        self._on_all_changed = on_all_changed
        self._version = ""
        self._must_list = True
        self._backoff = Backoff(random)
        self._writes = OwnWrites()
        self._listing = False
        self._reading: dict[Key, bool] = {}
        """Objects that are being read by themselves, and whether the cache is still as it was when that began."""
        self._watching = anyio.CancelScope()
        self._ended_early = False
        self._is_open = False
        """The watch that was last asked for was opened."""
        self._was_open = False
        """The last watch was, for a while, and has not been tried again yet."""
        self._refusals = 0
        self._expiries = 0
        """In a row: since something was last heard."""
        self._trouble = ""
        self._so_since = clock.now()
        self._heard_at = clock.monotonic()
        self._has_bookmarks = anyio.Event()
        """This watch has shown one."""
        self._was_cut_short = False
        """The last attempt was a watch that broke as soon as it had begun: that the next one can be opened says nothing."""
        self._lost_at: float | None = None
        """Since when it is in trouble, by the monotonic clock, whatever was opened for a moment since."""
        self._lost_since = clock.now()
        """The same, as it is told."""

    @property
    def what(self) -> str:
        return f"{self.resource.full_name} in {self.namespace or 'all namespaces'}"

    @property
    def trouble(self) -> str:
        """Why the cache is not being kept up to date at the moment; empty when it is."""
        return self._trouble

    @property
    def health(self) -> Health:
        silent = self._clock.monotonic() - self._heard_at
        return Health(self.synced.is_set(), self._trouble, self._so_since, silent)

    # --- reading our own writes --------------------------------------------------------------------------------------

    def expect(self, key: Key, resource_version: Mark) -> bool:
        """A write of ours made this version, or it was read. Whether it is still to come."""
        there = self.items.get(key)
        if there is not None and there.resource_version == resource_version:
            return False
        return self._writes.expect(key, resource_version, self._clock.monotonic())

    def expect_gone(self, key: Key, uid: Mark) -> bool:
        """We deleted this object. Whether its end is still to come; finalizers may keep it for long."""
        return self._writes.expect(key, uid, self._clock.monotonic())

    def is_current(self, key: Key) -> bool:
        """Whether the cache is complete, or this object was read by itself, and all that we made of it is known."""
        return (self.synced.is_set() or key in self._read_singly) and self._writes.are_seen(key)

    @property
    def is_lost(self) -> bool:
        """Whether it tells nothing new: it was given up as unheard of, or cannot be filled at all since we have started."""
        return self.unheard is not None or bool(self._trouble and not self.synced.is_set())

    async def read_singly(self, key: Key) -> bool:
        """Know this one object, for as long as the whole cannot be known. Whether it is known now. Raises `ApiError`."""
        if not await self.refresh(key):
            return False
        if not self.synced.is_set():
            self._read_singly.add(key)  # Before whoever `refresh` has woken looks at it.
        return True

    def forget_single(self, key: Key) -> None:
        """Nobody reads it any more, so that it is known no better than the rest."""
        self._read_singly.discard(key)

    async def dispel_doubt(self, key: Key, mark: Mark) -> None:
        """Wait for an expected version, or for the end of what has this uid. If it does not come, read the object."""
        await self._clock.sleep(DOUBT_SECONDS)
        while self._writes.is_expected(key, mark):
            try:
                await self.refresh(key)
            except ApiError as error:
                log.warning("informer.doubt", what=self.what, key=key, error=str(error))
            if self._writes.is_expected(key, mark):
                await self._clock.sleep(DOUBT_SECONDS)

    async def refresh(self, key: Key) -> bool:
        """Read one object itself, and take it into the cache unless that has moved on meanwhile, or is being filled. Whether it
        was taken. Raises `ApiError`."""
        if key in self._reading or self._listing:
            return False
        before, began = self.items.get(key), self._clock.monotonic()
        self._reading[key] = True
        try:
            found = await self._read(key)
        finally:
            is_unmoved = self._reading.pop(key)
        if not is_unmoved:
            return False
        if found is None and self._writes.may_be_past(key):
            self._list_again()
            return False
        version = found.resource_version if found is not None else None
        known = before.resource_version if before is not None else None
        settled = self._writes.read(key, version, began=began, known=known)
        if version != known:
            self._put(key, found)
        for one in settled:
            self._wake(one)
        return True

    async def _read(self, key: Key) -> T | None:
        what = f"GET {self.resource.full_name} {key[1]}"
        try:
            content = await self._transport.request_bytes("GET", self.resource.item(key[0] or None, key[1]), what=what)
        except NotFound:
            return None
        return self._understand(msgspec.Raw(content), what)

    # --- the reflector -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            self._is_open = False
            try:
                if self._must_list:
                    await self._relist()
                with anyio.CancelScope() as self._watching:
                    await self._watch()
            except ApiError as error:
                await self._back_off(error)

    def _list_again(self) -> None:
        self._must_list = True
        self._watching.cancel()

    async def _back_off(self, error: ApiError) -> None:
        if isinstance(error, Expired):
            self._must_list = True
            self._expiries += 1
        if isinstance(error, Forbidden):
            self._refusals += 1
        self._tell_trouble(error)
        await self._clock.sleep(self._wait_after(error))

    def _wait_after(self, error: ApiError) -> float:
        if isinstance(error, Forbidden):
            is_doubted = self._refusals <= MOST_DOUBTED_REFUSALS
            return self._random.uniform(*DOUBTED_SECONDS) if is_doubted else FORBIDDEN_BACKOFF_SECONDS
        if isinstance(error, Expired) and self._expiries == 1:
            # However long the server was away before: history expires when it is restarted. Again and again, that is
            # trouble like any other.
            return self._random.uniform(0, RELIST_JITTER_SECONDS)
        if isinstance(error, TooManyRequests) and error.retry_after is not None:
            return self._backoff.as_asked(error.retry_after)
        if self._was_open:
            self._was_open = False
            return self._random.uniform(*PROMPT_SECONDS)
        return self._backoff.next()

    async def _relist(self) -> None:
        async with self._relists:
            began = self._clock.monotonic()
            # What is read while a list is under way may be older than what it brings, or newer.
            self._listing = True
            self._reading = dict.fromkeys(self._reading, False)
            try:
                found, version = await self._list()
                await self._replace(found)
            finally:
                self._listing = False
        for key in self._writes.listed(began=began, ended=self._clock.monotonic()):
            self._wake(key)
        self._version = version
        self._must_list = False
        if self.unheard is not None and self._lost_at is None:
            self.unheard = None
            log.info("informer.heard", what=self.what)
            self._on_all_changed()
        if not self.synced.is_set():
            self.synced.set()
            self._read_singly.clear()
            self._on_all_changed()

    async def _list(self) -> tuple[dict[Key, T], str]:
        """All objects, and the version from which a watch goes on."""
        what = f"LIST {self.what}"
        found: dict[Key, T] = {}
        query = {"limit": str(PAGE)}
        while True:
            content = await self._transport.request_bytes(
                "GET", self.resource.collection(self.namespace), what=what, query=query
            )
            self._heard_at = self._clock.monotonic()
            self._refusals = 0
            self._outages.recover(self._outage)
            metadata = self._take_page(content, what, found)
            if not metadata.continue_:
                return found, metadata.resource_version
            query["continue"] = metadata.continue_

    def _take_page(self, content: bytes, what: str, found: dict[Key, T]) -> ListMetadata:
        try:
            page = msgspec.json.decode(content, type=Page)
        except msgspec.MsgspecError as error:
            raise MalformedAnswer(what, f"the answer is not a list: {error}") from error
        for raw in page.items or ():
            item = self._understand(raw, what)
            found[item.key] = item
        if not page.metadata.resource_version:
            raise MalformedAnswer(what, "the list has no resourceVersion to watch from")
        return page.metadata

    async def _replace(self, found: dict[Key, T]) -> None:
        """Make the cache what was listed. A page at a time: everything at once would hold up everybody else."""
        gone: list[tuple[Key, T | None]] = [(key, None) for key in self.items if key not in found]
        for number, (key, item) in enumerate([*gone, *found.items()]):
            if number % PAGE == 0:
                await anyio.lowlevel.checkpoint()
            there = self.items.get(key)
            if item is None and there is not None:
                self._writes.show(key, there.uid)
                self._put(key, None)
            elif item is not None and _identity(there) != _identity(item):
                self._writes.show(key, item.resource_version)
                self._put(key, item)

    async def _watch(self) -> None:
        seconds = self._random.uniform(*WATCH_SECONDS)
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }
        self.watches += 1
        path, what = self.resource.collection(self.namespace), f"WATCH {self.what}"
        silence = seconds + SILENCE_MARGIN_SECONDS
        async with self._transport.watch(path, what=what, query=query, silence_seconds=silence) as lines:
            began = self._heard_at = self._clock.monotonic()
            self._refusals = 0
            self._is_open = True
            self._outages.recover(self._outage)
            if not self._ended_early:
                self._tell_well()
            if not self._was_cut_short:
                self._hear()
            try:
                await self._follow(lines, what)
            finally:
                lived = self._clock.monotonic() - began
                if not self._must_list:  # Otherwise it is we who have ended it.
                    self._outages.close(self._outage)
                    self._note_end(lived)
                self._was_open = lived >= OPEN_SECONDS
                if lived >= HEALTHY_SECONDS:
                    self._backoff.reset()
        self._ended_early = lived < SHORT_STREAM_SECONDS
        if self._ended_early:
            raise Unreachable(what, "the server ends the watch as soon as it has begun")
        self._tell_well()

    async def _follow(self, lines: AsyncIterator[bytes], what: str) -> None:
        """Take what the watch says until it ends. Raises `ApiError`, also when it has said nothing for too long."""
        self._has_bookmarks = anyio.Event()
        has_ended, failure = False, None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_when_silent, tasks.cancel_scope, name=f"silence of {self.what}")
            try:
                async for line in lines:
                    self._take(line, what)
                has_ended = True
            except ApiError as error:  # Raised below: the group would wrap it.
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not has_ended:
            raise Unreachable(what, f"nothing came for {MOST_SILENT_SECONDS:g} s, not even the bookmarks that came before")

    async def _end_when_silent(self, watch: anyio.CancelScope) -> None:
        await self._has_bookmarks.wait()
        while (left := self._heard_at + MOST_SILENT_SECONDS - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)
        watch.cancel()

    def _take(self, line: bytes, what: str) -> None:
        item: T | None = None
        try:
            event = msgspec.json.decode(line, type=WatchEvent)
            if event.type == "BOOKMARK":
                version = msgspec.json.decode(event.object, type=Bookmark).metadata.resource_version
                self._has_bookmarks.set()
            elif event.type == "ERROR":
                raise _error_of(msgspec.json.decode(event.object, type=WatchError), what)
            else:
                item = self._understand(event.object, what)
                version = item.resource_version
        except msgspec.MsgspecError as error:
            raise MalformedAnswer(what, "a line of the watch is not an event") from error
        self._heard_at = self._clock.monotonic()
        self._ended_early = False
        self._expiries = 0
        self._tell_well()
        self._hear()
        self._version = version or self._version
        if item is not None:
            self._take_event(item, deleted=event.type == "DELETED")

    def _take_event(self, item: T, *, deleted: bool) -> None:
        if self._writes.see(item.key, item.resource_version, item.uid, deleted=deleted):
            self._put(item.key, None if deleted else item)
        else:
            self._wake(item.key)

    def _put(self, key: Key, item: T | None) -> None:
        before = self.items.get(key)
        if key in self._reading:
            self._reading[key] = False
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item
        self._on_change(key, before, item)

    def _wake(self, key: Key) -> None:
        """What is known of the object is the same, but what may be concluded from it has changed."""
        there = self.items.get(key)
        self._on_change(key, there, there)

    def _understand(self, raw: msgspec.Raw, what: str) -> T:
        try:
            return self._decode(raw)
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedAnswer(what, f"an object is not understood: {error}") from error

    # --- how it goes -------------------------------------------------------------------------------------------------

    def _tell_trouble(self, error: ApiError) -> None:
        text = str(error)
        if not isinstance(error, AWAY):
            if not isinstance(error, Forbidden) or self._refusals > MOST_DOUBTED_REFUSALS:
                self._outages.recover(self._outage)  # It answers: what is wrong is about us, or about this kind alone.
        elif not self._is_open:
            self._outages.fail(self._outage)
        if text != self._trouble:
            log.warning("informer.trouble", what=self.what, error=text)
        if not self._trouble:
            self._so_since = self._clock.now()
        self._trouble = text
        self._note_loss(text)

    def _tell_well(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._so_since = self._clock.now()
            log.info("informer.well", what=self.what)

    def _note_loss(self, text: str) -> None:
        now = self._clock.monotonic()
        self._was_cut_short = self._was_cut_short and self._is_open
        if self._lost_at is None:
            self._lost_at, self._lost_since = now, self._clock.now()
            if not self.synced.is_set():
                self._on_all_changed()
        if self.unheard is None and now - self._lost_at >= UNHEARD_SECONDS:
            self.unheard = Unheard(self._lost_since, text)
            log.warning("informer.unheard", what=self.what, error=text)
            self._on_all_changed()

    def _hear(self) -> None:
        """The watch holds. What it did not bring while it did not is listed, where that was for long."""
        self._lost_at = None
        if self.unheard is not None:
            self._list_again()

    def _note_end(self, lived: float) -> None:
        self._was_cut_short = lived < SHORT_STREAM_SECONDS
        if not self._was_cut_short:
            self._lost_at = None
            self._must_list = self._must_list or self.unheard is not None


def _identity(item: Item | None) -> tuple[str, str] | None:
    return (item.uid, item.resource_version) if item is not None else None


def _error_of(error: WatchError, what: str) -> ApiError:
    if error.code == 410 or error.reason in ("Expired", "Gone"):
        return Expired(what, error.message)
    return ServerError(what, f"the watch reported {error.code} {error.reason}: {error.message}")

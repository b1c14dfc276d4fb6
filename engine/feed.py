"""Live news for those who watch: every journal entry and every change of a release's status, as it is committed.

A reader that is too slow is cut off rather than waited for; it can read the journal and subscribe again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from engine.model import JournalEntry, Release


class EntryNews(Struct, frozen=True, tag="entry"):
    release: str
    target: str
    entry: JournalEntry


class ReleaseNews(Struct, frozen=True, tag="release"):
    release: Release


News: TypeAlias = EntryNews | ReleaseNews


class Feed:
    def __init__(self, buffer: int = 1_000) -> None:
        self._buffer = buffer
        self._readers: set[MemoryObjectSendStream[News]] = set()

    def publish(self, news: News) -> None:
        for reader in list(self._readers):
            try:
                reader.send_nowait(news)
            except (anyio.WouldBlock, anyio.BrokenResourceError):
                self._readers.discard(reader)
                reader.close()

    @contextmanager
    def subscribe(self) -> Iterator[MemoryObjectReceiveStream[News]]:
        send, receive = anyio.create_memory_object_stream[News](self._buffer)
        self._readers.add(send)
        try:
            yield receive
        finally:
            self._readers.discard(send)
            send.close()
            receive.close()

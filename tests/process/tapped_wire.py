"""The way of one daemon to an API server over plain HTTP: everything that it writes is noted, answers can be held back on
the way, and the way can be cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_LOOK = re.compile(rb"GET (?!\S*(?:/leases|watch=))\S+ HTTP/1\.1\r\n")
"""At an object, or at several: no watch, and nothing of the lease."""
_WRITE = re.compile(rb"(?:POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")


class TappedWire:
    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self.writes: list[str] = []
        """What was written, by method and path, in the order in which it left the daemon."""
        self.is_cut = False
        self.held: list[str] = []
        """Looks whose answers are kept back."""
        self._let_go = asyncio.Event()
        self._let_go.set()
        self._ends: set[asyncio.StreamWriter] = set()

    def hold(self) -> None:
        """Keep back the answers to all looks that come from now on."""
        self._let_go.clear()

    def let_go(self) -> None:
        self._let_go.set()

    def cut(self) -> None:
        self.is_cut = True
        for end in self._ends:
            end.transport.abort()

    @property
    def writes_to_the_world(self) -> list[str]:
        """Without those of the lease itself."""
        return [write for write in self.writes if "/leases" not in write]

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._ends |= {writer, back}
        may_answer = asyncio.Event()
        may_answer.set()
        answering = asyncio.create_task(self._answer(there, writer, may_answer))
        try:
            while content := await reader.read(1 << 16):
                self.writes += _lines(_WRITE, content)
                looks = _lines(_LOOK, content)
                if looks and not self._let_go.is_set():
                    may_answer.clear()
                    self.held += looks
                back.write(content)
        except OSError:
            pass
        finally:
            answering.cancel()
            for end in (writer, back):
                self._ends.discard(end)
                end.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_answer: asyncio.Event) -> None:
        with suppress(OSError):
            while content := await reader.read(1 << 16):
                if not may_answer.is_set():
                    await self._let_go.wait()
                writer.write(content)
        writer.transport.abort()


def _lines(pattern: re.Pattern[bytes], content: bytes) -> list[str]:
    return [match[0].split(b" HTTP")[0].decode() for match in pattern.finditer(content)]


@asynccontextmanager
async def tap_wire(port: int) -> AsyncIterator[TappedWire]:
    """To the server on this port of loopback."""
    wire = TappedWire(port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.cut()
        server.close()

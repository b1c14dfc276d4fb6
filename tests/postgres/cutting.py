"""A wire to PostgreSQL that can be cut at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

_COMMIT = b"COMMIT\x00"


class Cut(Enum):
    NEVER = auto()
    BEFORE_COMMIT = auto()
    """The server never hears of the COMMIT; its side of the connection stays open."""
    AFTER_COMMIT = auto()
    """The server has committed, and we never hear of it."""


class Wire:
    """A proxy on loopback. Each time that it is told to cut, it does so once."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.cut = Cut.NEVER
        self.cuts = 0
        self.is_down = False
        """Nobody new gets through."""
        self.refused = 0
        self.is_dead = False
        """Nothing gets through any more, in either direction, and nobody is told."""
        self.unheard = 0
        """What was sent and did not get through."""
        self.port = 0
        self._left_over: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            self.refused += 1
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._left_over.append(back)
        answering = asyncio.create_task(self._answer(there, writer))
        try:
            while data := await reader.read(1 << 16):
                if self.is_dead:
                    self.unheard += 1
                    continue
                if self.cut is Cut.NEVER or _COMMIT not in data:
                    back.write(data)
                    continue
                how, self.cut, self.cuts = self.cut, Cut.NEVER, self.cuts + 1
                answering.cancel()
                if how is Cut.AFTER_COMMIT:
                    back.write(data)
                    await self._await_answer(there, answering)
                return
        except ConnectionError:
            pass
        finally:
            answering.cancel()
            writer.transport.abort()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(1 << 16):
            if not self.is_dead:
                writer.write(data)
        writer.close()

    async def _await_answer(self, there: asyncio.StreamReader, answering: asyncio.Task[None]) -> None:
        await asyncio.wait([answering])
        await there.read(1 << 16)

    def close(self) -> None:
        for writer in self._left_over:
            writer.transport.abort()


@asynccontextmanager
async def stretch_wire(port: int) -> AsyncIterator[Wire]:
    """To the server on this port of loopback."""
    wire = Wire(port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        wire.close()
        server.close()

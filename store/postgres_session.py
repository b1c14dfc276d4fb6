"""The one connection that writes to a PostgreSQL store, as `store.group_commit` needs it, and what keeps every other one out.

* **The lock** (an advisory lock of the session) says that a writer is alive: a second daemon is refused while there is one. Who
  takes over by a lease ends the session that holds it; the lock is a courtesy, and fences nothing.
* **The epoch** fences. Each opening raises it by one, and each transaction first changes the writer's row, on the condition that
  the epoch is still its own. A daemon that was stopped in the middle of a transaction and goes on afterwards finds its session
  ended; what it begins anew is refused by the row: `Deposed`.
* **The number** that each transaction leaves in that row tells what became of a commit whose answer was lost. Until that is
  known, nobody is told anything: a decision that is believed to have failed, and did not, would stand in the way for ever. Where
  the row has a lower number than was acknowledged, the database has lost something: that is `Deposed` too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TypeAlias

import anyio
import asyncpg
import structlog

from engine.errors import Deposed, StoreBusy, StoreError
from store.encoding import text_of
from store.group_commit import Row
from store.postgres_place import FAILURES, NAME_PREFIX, PostgresPlace, connect, said, session_name
from store.postgres_schema import inspect, migrate
from store.relational import numbered

log = structlog.get_logger()

TakeOver: TypeAlias = Callable[[], None]
"""Returns while this daemon may put itself in the place of another one, which knows (by a lease) that it may not write any more;
raises `Deposed` when it may not. Asked before each thing that is done to the other one: it takes time to get there."""

PATIENCE_SECONDS = 0.5
"""Between two tries to find out what became of a commit."""
TAKE_OVER_SECONDS = 20.0
BUSY_SECONDS = 1.0
"""How long the lock may be somebody else's before that is believed: the server needs a moment to see that one was killed."""
HANG_UP_SECONDS = 2.0
_LOCK = 0x48444754
"""The key of the advisory lock: `HDGT`. Such locks are the database's, so every database may have one store."""
_RAISE_EPOCH = "UPDATE writer SET epoch = epoch + 1, latest = 0, holder = $1, since = $2 RETURNING epoch"
_PROVE_EPOCH = "UPDATE writer SET latest = $1 WHERE epoch = $2 AND holder = $3"
_IS_MINE = "SELECT epoch = $1 AND holder = $2 AND latest >= $3 FROM writer"
"""The holder too: a database that was put back to an earlier time begins to count anew. And what was acknowledged: a replica
that took the server's place may lack the last of it, and who went on would decide on stands that are nowhere."""
_HOLDER = (
    "SELECT pid, coalesce(application_name, ''), client_addr::text FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND objsubid = 1 AND classid = 0 AND objid = $1 AND granted "
    "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class WritingSession:
    """Made by `open_session`. Used by one task at a time."""

    def __init__(self, place: PostgresPlace, holder: str, connection: asyncpg.Connection, epoch: int) -> None:
        self._place = place
        self._holder = holder
        self._connection: asyncpg.Connection | None = connection
        self.epoch = epoch
        self._number = 0
        self._acknowledged = 0
        """The number of the last transaction that was told to be written."""
        self._closing = anyio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Implements `store.group_commit.Database`."""
        connection = await self._connected()
        number = self._number + 1
        try:
            await connection.execute("BEGIN")
            await self._prove_epoch(connection, number)
            yield PostgresTransaction(connection)
        except BaseException as error:
            if isinstance(error, TimeoutError):
                self._drop(connection)  # The server has just not answered; it is not waited for once more.
            else:
                await self._roll_back(connection)
            if isinstance(error, FAILURES):
                raise StoreError(f"the store could not be written: {said(error)}") from error
            raise
        self._number = number
        await self._commit(connection, number)

    async def close(self) -> None:
        if self._connection is not None:
            await _hang_up(self._connection)

    def end_soon(self) -> None:
        """Nobody waits any more for what cannot be found out or written on the connection that there is."""
        self._closing.set()

    # --- committing ----------------------------------------------------------------------------------------------------

    async def _commit(self, connection: asyncpg.Connection, number: int) -> None:
        try:
            tag = await connection.execute("COMMIT")
        except FAILURES as error:
            log.warning("store.commit_in_doubt", error=said(error), advice="it is asked again once there is a connection")
            self._drop(connection)
            if not await self._was_written(number):
                raise StoreError(f"the store could not be written: {said(error)}") from error
            log.info("store.commit_found", number=number)
        else:
            if tag != "COMMIT":
                raise StoreError("the store could not be written: PostgreSQL rolled the transaction back")
        self._acknowledged = number

    async def _was_written(self, number: int) -> bool:
        """Raises `Deposed`, and `StoreError` when the store is closed before it is known."""
        while True:
            try:
                connection = await self._connected()
                if not await connection.fetchval("SELECT latest >= $1 FROM writer", number):
                    return False
                # A commit that waits for a replica is seen once its wait was cut short, whether the replica has it or not. One
                # that comes after it and ends by itself has waited for both.
                await self._prove_epoch(connection, number)
            except Deposed:
                raise
            except (StoreError, *FAILURES) as error:
                if self._connection is not None:
                    self._drop(self._connection)
                if self._closing.is_set():
                    text = f"the store was closed before it was known whether this was written: {said(error)}"
                    raise StoreError(text) from error
                with anyio.move_on_after(PATIENCE_SECONDS):
                    await self._closing.wait()
            else:
                return True

    async def _prove_epoch(self, connection: asyncpg.Connection, number: int) -> None:
        """Leaves the number. Raises `Deposed`."""
        if await connection.execute(_PROVE_EPOCH, number, self.epoch, self._holder) != "UPDATE 1":
            raise await self._deposed(connection)

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except FAILURES:
            self._drop(connection)

    # --- the connection ------------------------------------------------------------------------------------------------

    async def _connected(self) -> asyncpg.Connection:
        """Raises `StoreError` and `Deposed`."""
        if self._connection is not None and self._connection.is_closed():
            self._drop(self._connection)
        if self._connection is None:
            if self._closing.is_set():
                raise StoreError(f"the store {self._place} is closed")
            self._connection = await self._reconnect()
            log.info("store.reconnected", store=str(self._place), epoch=self.epoch)
        return self._connection

    async def _reconnect(self) -> asyncpg.Connection:
        connection = await connect(self._place, self._holder)
        try:
            # First of all: whoever was deposed must not disturb who writes now.
            await self._require_mine(connection)
            # A session of ours may be left over that the server has not given up yet, in the middle of a transaction even. The
            # lock is only free when it has ended whole; what it has written is there then, or never will be.
            await _take_lock(connection, self._place, self._holder)
            await self._require_mine(connection)
        except BaseException as error:
            await _hang_up(connection)
            if isinstance(error, FAILURES):
                raise StoreError(f"the store {self._place} cannot be used: {said(error)}") from error
            raise
        return connection

    async def _require_mine(self, connection: asyncpg.Connection) -> None:
        """Raises `Deposed`."""
        if not await connection.fetchval(_IS_MINE, self.epoch, self._holder, self._acknowledged):
            raise await self._deposed(connection)

    async def _deposed(self, connection: asyncpg.Connection) -> Deposed:
        epoch, holder, since, latest = await connection.fetchrow("SELECT epoch, holder, since, latest FROM writer")
        if epoch < self.epoch or (holder == self._holder and latest < self._acknowledged):
            return Deposed(
                f"the store {self._place} has lost what it had acknowledged (a replica that did not have it took its place, or "
                "it was put back to an earlier time): nothing more is written here; started again, this daemon goes on from there"
            )
        return Deposed(
            f"the store {self._place} was taken over by {holder} at {since} (epoch {epoch}, this daemon's was {self.epoch}): "
            "nothing more is written here"
        )

    def _drop(self, connection: asyncpg.Connection) -> None:
        connection.terminate()
        self._connection = None


class PostgresTransaction:
    """Implements `store.group_commit.Transaction`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def has_rows(self, table: str) -> bool:
        return bool(await self._connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"))

    async def change(self, sql: str, rows: Sequence[Row]) -> int:
        return len(await self._connection.fetchmany(numbered(sql) + " RETURNING 1", rows))

    async def execute(self, sql: str, rows: Sequence[Row]) -> None:
        await self._connection.executemany(numbered(sql), rows)


async def open_session(
    place: PostgresPlace, holder: str, now: datetime, *, take_over: TakeOver | None = None
) -> WritingSession:
    """The store's only writer, from now on. `take_over`: end the session of whoever was it.

    Raises `StoreBusy`, `StoreTooNew`, `StoreDamaged` and `StoreError`, and what `take_over` raises.
    """
    connection = await connect(place, holder)
    try:
        await inspect(connection, place)
        await _take_lock(connection, place, holder, take_over)
        await migrate(connection, place)
        if take_over is not None:
            take_over()
        epoch = await connection.fetchval(_RAISE_EPOCH, holder, text_of(now))
    except BaseException as error:
        await _hang_up(connection)
        if isinstance(error, FAILURES):
            raise StoreError(f"the store {place} cannot be used: {said(error)}") from error
        raise
    return WritingSession(place, holder, connection, int(epoch))


async def _take_lock(
    connection: asyncpg.Connection, place: PostgresPlace, mine: str, take_over: TakeOver | None = None
) -> None:
    """Sessions of `mine` that hold it are ended; with `take_over`, those of any daemon. Raises `StoreBusy`, and what `take_over`
    raises."""
    began = anyio.current_time()
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        pid, holder, address = await connection.fetchrow(_HOLDER, _LOCK) or (None, "", None)
        may_end = holder == session_name(mine) or (take_over is not None and holder.startswith(NAME_PREFIX))
        waited = anyio.current_time() - began
        if pid is not None and not may_end and waited > BUSY_SECONDS:
            where = f" (from {address})" if address else ""
            raise StoreBusy(
                f"{place} is in use by {holder or 'another program'}{where}: two daemons on one store would drive every rollout "
                "twice. Stop that daemon, give this one a database of its own, or let a lease decide (docs/high-availability.md)."
            )
        if waited > TAKE_OVER_SECONDS:
            raise StoreBusy(f"{place} is still held by {holder or 'somebody'}, whose session does not end")
        if pid is not None and may_end:
            if take_over is not None:
                take_over()
            await connection.execute("SELECT pg_terminate_backend($1)", pid)
        await anyio.sleep(0.05)


async def _hang_up(connection: asyncpg.Connection) -> None:
    """In peace, so that the lock is free when this returns; at once where the server does not answer."""
    with anyio.CancelScope(shield=True), suppress(*FAILURES):
        await connection.close(timeout=HANG_UP_SECONDS)

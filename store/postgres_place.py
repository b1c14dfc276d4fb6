"""Where a PostgreSQL store is, and how a connection to it is opened. Its password is asked for each time, and kept nowhere.

Every statement has a time limit of its own, so a server that is gone without a word is noticed; and the server is told to probe
our side, so the sessions of a host that died without a word end within a minute.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from engine.errors import HeadgateError, StoreError

SCHEMA = "headgate"
"""The database schema that holds the tables: it shows whose they are, and keeps them apart from others of the same database."""
CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 10.0
FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What a connection says that the server has just ended, between two statements.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    ValueError,
)
"""Everything that may go wrong with a connection and what is asked on it."""

NAME_PREFIX = "headgate "
"""What the names of a daemon's sessions begin with."""
_MOST_NAME_BYTES = 63
_USUAL_PORT = 5432
_OF_EVERY_SESSION = {
    "search_path": SCHEMA,
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    # A process that was stopped between two statements must not keep its row locks from whoever takes over.
    "idle_in_transaction_session_timeout": "15s",
}


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    url: str
    """`postgresql://USER@HOST:PORT/DATABASE?sslmode=...`, without a password."""
    password: Callable[[], Awaitable[str]] | None = None
    """Asked at each connection; None leaves it to PGPASSWORD and to ~/.pgpass."""

    def __str__(self) -> str:
        return self.url.partition("?")[0]


def session_name(holder: str) -> str:
    """What the database's administrators see of a daemon's session."""
    return (NAME_PREFIX + holder).encode("ascii", "replace")[:_MOST_NAME_BYTES].decode("ascii")


async def connect(place: PostgresPlace, holder: str) -> asyncpg.Connection:
    """A connection for this daemon. Raises `StoreError`."""
    try:
        return await asyncpg.connect(place.url, **connection_options(place, session_name(holder)))
    except FAILURES as error:
        raise StoreError(f"the store {place} cannot be reached{_where(place)}: {said(error)}") from error


def _where(place: PostgresPlace) -> str:
    """What the printed address leaves out: a host among its options, which is how the folder of a Unix socket is named."""
    address = urlsplit(place.url)
    options = dict(parse_qsl(address.query))
    if address.netloc.rpartition("@")[2] or "host" not in options:
        return ""
    return f" at {options['host']}, port {options.get('port') or os.environ.get('PGPORT') or _USUAL_PORT}"


def connection_options(place: PostgresPlace, name: str) -> dict[str, object]:
    options: dict[str, object] = {
        "timeout": CONNECT_SECONDS,
        "command_timeout": STATEMENT_SECONDS,
        "server_settings": {**_OF_EVERY_SESSION, "application_name": name},
        "target_session_attrs": "read-write",
    }
    if place.password is not None:
        options["password"] = partial(_ask_password, place, place.password)
    return options


async def _ask_password(place: PostgresPlace, ask: Callable[[], Awaitable[str]]) -> str:
    try:
        return await ask()
    except HeadgateError as error:
        raise StoreError(f"the store {place} cannot be reached: {error}") from error


def said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return (str(error) or type(error).__name__).splitlines()[0]

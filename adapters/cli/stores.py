"""The store that the settings or an option name: the one place that knows every kind of store."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from adapters.cli.errors import InputInvalid, StoreUnusable
from adapters.secrets import read_secret
from adapters.settings import Settings
from adapters.settings_store import StoreAddress, read_store
from engine.errors import BackupRefused
from store.relational import SqlStore
from store.sqlite import open_store

if TYPE_CHECKING:
    from store.postgres_place import PostgresPlace
    from store.postgres_session import TakeOver


def open_named_store(
    settings: Settings, holder: str, now: datetime, *, take_over: TakeOver | None = None
) -> AbstractAsyncContextManager[SqlStore]:
    """`holder` and `take_over`: as in `store.postgres.open_postgres`; a file asks for neither.

    Raises `StoreUnusable`, and what the stores raise when it is entered.
    """
    if not isinstance(settings.store, StoreAddress):
        return open_store(settings.store)
    place = postgres_place(settings, settings.store)
    from store.postgres import open_postgres

    return open_postgres(place, holder, now, take_over=take_over)


def postgres_place(settings: Settings, address: StoreAddress) -> PostgresPlace:
    """Raises `StoreUnusable` where the driver is not installed."""
    try:
        from store.postgres_place import PostgresPlace
    except ModuleNotFoundError as error:
        install = "pip install 'headgate[postgres]'"
        raise StoreUnusable(f"the store {address} needs {error.name}, which is not installed here: {install}") from error
    password = settings.store_password
    return PostgresPlace(address.url, None if password is None else partial(read_secret, password, os.environ))


def new_holder() -> str:
    """What this process is called where it holds a store or a lease: no two are called the same."""
    return f"{secrets.token_hex(4)} on {socket.gethostname()}, process {os.getpid()}"


def read_store_option(text: str) -> Path | StoreAddress:
    """Raises `InputInvalid`."""
    try:
        store = read_store(text)
    except PydanticCustomError as error:
        raise InputInvalid(f"--store {error.message()}") from None
    assert isinstance(store, Path | StoreAddress)
    return store.absolute() if isinstance(store, Path) else store


def require_file(store: Path | StoreAddress, instead: str) -> Path:
    """The store as a file. Raises `BackupRefused`, which says what to do `instead` with a database."""
    if isinstance(store, StoreAddress):
        raise BackupRefused(f"the store {store} is a PostgreSQL database, whose copies its own tools make and take: {instead}")
    return store

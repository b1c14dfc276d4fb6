"""Whether a database holds a store of ours, which schema it has, and how it gets to the current one.

What is not understood (tables of somebody else, or those of a newer Headgate) is refused and left untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from engine.errors import StoreDamaged, StoreError, StoreTooNew
from store.postgres_place import FAILURES, SCHEMA, PostgresPlace, connect, said
from store.schema import migrations

_MIGRATIONS = "store.postgres_migrations"


async def inspect(connection: asyncpg.Connection, place: PostgresPlace) -> int:
    """The schema version of the store (0: new), without writing to it.

    Raises `StoreDamaged`, `StoreTooNew` or `StoreError`.
    """
    try:
        exists, versioned = await connection.fetchrow("SELECT to_regnamespace($1), to_regclass($2)", SCHEMA, f"{SCHEMA}.version")
        number = await connection.fetchval("SELECT number FROM version") if versioned is not None else None
    except FAILURES as error:
        raise StoreError(f"the store {place} cannot be read: {said(error)}") from error
    if number is None:
        if exists is None:
            return 0
        raise StoreDamaged(
            f"{place} has a schema {SCHEMA} that is not Headgate's. Give another database; it was left untouched."
        )
    newest = migrations(_MIGRATIONS)[-1][0]
    if number > newest:
        raise StoreTooNew(
            f"{place} has schema {number}, and this Headgate knows schemas up to {newest}: it was written by a newer version. "
            "Run that version, or restore a dump made before the upgrade. The database was left untouched."
        )
    return int(number)


@dataclass(frozen=True, slots=True)
class Look:
    """What a database looks like to who may want to keep a store there."""

    server: str
    """The server's version."""
    schema: int
    """Of the store; 0 where there is none yet."""
    may_create: bool
    """Whether the role may make one."""


async def look(place: PostgresPlace) -> Look:
    """Without writing anything. Raises `StoreError`."""
    connection = await connect(place, "looking")
    try:
        schema = await inspect(connection, place)
        query = "SELECT current_setting('server_version'), has_database_privilege(current_database(), 'CREATE')"
        server, may_create = await connection.fetchrow(query)
        return Look(str(server).split(" ", 1)[0], schema, bool(may_create))
    except FAILURES as error:
        raise StoreError(f"the store {place} cannot be read: {said(error)}") from error
    finally:
        connection.terminate()


async def migrate(connection: asyncpg.Connection, place: PostgresPlace) -> None:
    """Bring the store to the current schema, in one transaction. Only for who holds the writer's lock. Raises `StoreError`."""
    version = await inspect(connection, place)
    steps = [(number, text) for number, text in migrations(_MIGRATIONS) if number > version]
    if not steps:
        return
    try:
        async with connection.transaction():
            if version == 0:
                await connection.execute(f"CREATE SCHEMA {SCHEMA}")
                await connection.execute("CREATE TABLE version (number integer NOT NULL)")
                await connection.execute("INSERT INTO version (number) VALUES (0)")
            for number, text in steps:
                await connection.execute(text)
                await connection.execute("UPDATE version SET number = $1", number)
    except FAILURES as error:
        raise StoreError(f"the store {place} cannot be brought to schema {steps[-1][0]}: {said(error)}") from error

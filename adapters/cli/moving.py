"""`move-store`: everything that an SQLite store holds, into a PostgreSQL database. It asks no daemon: none may run on either."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from adapters.cli.errors import InputInvalid
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Printer
from adapters.cli.stores import new_holder, postgres_place
from adapters.settings import Settings
from adapters.settings_store import StoreAddress


async def move_store(source: Path, target: Path | StoreAddress, settings: Settings, printer: Printer) -> ExitCode:
    """Raises `StoreError`, `StoreUnusable` and `InputInvalid`."""
    if not isinstance(target, StoreAddress):
        raise InputInvalid(f"{target} is a path; stores are moved into a PostgreSQL database: postgresql://USER@HOST/DATABASE")
    place = postgres_place(settings, target)
    from store import moving  # Needs the driver, which has been asked for just now.

    moved = await moving.move_store(source, place, new_holder(), datetime.now(UTC))
    contents = moved.contents
    body = {
        "store": str(target),
        "former": str(moved.former),
        "releases": contents.releases,
        "unfinished": contents.unfinished,
    }
    printer.document(
        body,
        lambda: f"{target} holds {contents.releases} releases now, {contents.unfinished} of them unfinished\n"
        f"the file is kept as {moved.former}\n"
        f"name the database in the settings (store: {target}) before the daemon is started",
    )
    return ExitCode.SUCCESS

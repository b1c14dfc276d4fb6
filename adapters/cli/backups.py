"""`backup` and `restore`: copies of the store. They ask no daemon: the first may run beside one, the second must not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Document, Printer
from adapters.cli.stores import require_file
from adapters.settings_store import StoreAddress
from store.backup import Contents, Restored, back_up, restore
from store.hindrances import BESIDE


def make_backup(named: Path | StoreAddress, target: Path, printer: Printer) -> ExitCode:
    """Raises `StoreError`."""
    store = require_file(named, f"pg_dump --format=custom --schema=headgate --file={target} '{named}'")
    contents = back_up(store, target)
    body = {"backup": str(target), "store": str(store), **_document(contents)}
    printer.document(body, lambda: f"{target} holds {_describe(contents)}, as {store} had them just now")
    return ExitCode.SUCCESS


def restore_backup(backup: Path, named: Path | StoreAddress, printer: Printer) -> ExitCode:
    """Raises `StoreError`."""
    command = f"pg_restore --clean --if-exists --dbname='{named}' {backup}"
    store = require_file(named, f"while no daemon runs, {command}")
    restored = restore(backup, store, datetime.now(UTC))
    former = str(restored.former) if restored.former is not None else None
    body = {"store": str(store), "backup": str(backup), "former": former, **_document(restored.contents)}
    printer.document(body, lambda: _describe_restored(restored, backup, store))
    return ExitCode.SUCCESS


def _document(contents: Contents) -> Document:
    return {
        "schema": contents.schema,
        "releases": contents.releases,
        "unfinished": contents.unfinished,
        "latestEntry": contents.latest or None,
    }


def _describe(contents: Contents) -> str:
    latest = f", the newest entry of {contents.latest}" if contents.latest else ""
    return f"{contents.releases} releases, {contents.unfinished} of them unfinished{latest}"


def _describe_restored(restored: Restored, backup: Path, store: Path) -> str:
    lines = [f"{store} is {backup} now, with {_describe(restored.contents)}"]
    if restored.former is not None:
        what = "the log that was left of the store" if restored.former.name.endswith(BESIDE) else "the store"
        lines.append(f"{what} before it is kept as {restored.former}")
    if restored.contents.unfinished:
        lines.append(
            "the next daemon takes its unfinished releases up where they stood then, and looks at the clusters before it does "
            "anything; what has been rolled out since the backup, it does not know: look at headgate list first"
        )
    return "\n".join(lines)

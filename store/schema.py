"""Whether a file is a store of ours, which schema it has, and how it gets to the current one.

A file that is not understood (damaged, foreign, or written by a newer Headgate) is refused and left untouched.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from engine.errors import StoreDamaged, StoreHindered, StoreTooNew
from store.hindrances import describe_hindrance

APPLICATION_ID = 0x48444754
"""`HDGT`, in the file's header: tells a store of Headgate from any other SQLite file."""
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_MAGIC = b"SQLite format 3\x00"


def migrations(package: str = "store.migrations") -> list[tuple[int, str]]:
    """The numbered SQL files, in order: (schema version that the file leads to, its text)."""
    folder = resources.files(package)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), (folder / name).read_text("utf-8")) for name in names]


def current_version() -> int:
    return migrations()[-1][0]


def inspect(path: Path) -> int:
    """The schema version of the file (0: new), without writing to it.

    Raises `StoreDamaged` or `StoreTooNew`, and `StoreHindered` where it cannot be read though nothing is wrong with it.
    """
    if not path.exists() or path.stat().st_size == 0:
        _refuse_log_alone(path)
        return 0
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise StoreDamaged(f"{path} is not an SQLite file. Give another path, or restore the store from a backup.")
    try:
        with closing(open_to_read(path)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            application = int(connection.execute("PRAGMA application_id").fetchone()[0])
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            tables = int(connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname not in _DAMAGE:
            raise StoreHindered(describe_hindrance(path, error)) from error
        raise StoreDamaged(f"{path} cannot be read ({error}). Restore it from a backup; it was left untouched.") from error
    if verdict == "ok" and not application and not version and not tables:
        return 0  # Nobody's: there was no room for more than its first page when it was to be made.
    if application != APPLICATION_ID:
        raise StoreDamaged(f"{path} is an SQLite file of another program. Give another path; it was left untouched.")
    if verdict != "ok":
        raise StoreDamaged(f"{path} is damaged ({verdict}). Restore it from a backup; it was left untouched.")
    if version > current_version():
        raise StoreTooNew(
            f"{path} has schema {version}, and this Headgate knows schemas up to {current_version()}: it was written by a "
            "newer version. Run that version, or restore a backup made before the upgrade. The file was left untouched."
        )
    return version


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file with what is in its log; whatever is asked, nothing is written. Raises `sqlite3.Error`."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _refuse_log_alone(path: Path) -> None:
    """A log holds what has not come into the database yet, maybe all of it; SQLite removes one that has no database."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        what = "is empty" if path.exists() else "is not there"
        raise StoreDamaged(
            f"{path} {what}, but there is its log {log}: the store was moved, emptied or deleted without the log, which may hold "
            "the newest decisions. Put the database back beside it, or restore a backup; to begin anew, move the log away. Both "
            "were left untouched."
        )


def migrate(path: Path) -> None:
    """Bring the file to the current schema. Each step is one transaction: a crash leaves the version before it."""
    version = inspect(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if version == 0:
            # Before anything is in it: it cannot be had later without writing the whole file anew.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        for number, text in migrations():
            if number > version:
                connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")
    path.chmod(0o600)

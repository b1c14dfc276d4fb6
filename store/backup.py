"""Copies of the store: one is taken while a daemon writes, and put in the store's place while none does. Nothing is ever
overwritten: not a file that has the backup's name already, and not the store that a backup takes the place of.

A copy is one file without a log beside it, checked page by page before it gets its name.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from engine.errors import BackupRefused, StoreDamaged
from engine.model import FINAL_STATUSES
from store.hindrances import BESIDE
from store.lock import StoreLock
from store.schema import inspect, open_to_read

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system says that knows no links, such as one of another system that is shared by a network."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a store."""

    schema: int
    releases: int
    unfinished: int
    """Releases that have not ended."""
    latest: str
    """When the newest line of the journal was written; empty where there is none."""


def back_up(store: Path, target: Path) -> Contents:
    """A copy as the store is at one moment; whoever writes goes on meanwhile.

    Raises `BackupRefused` where there is no store, where `target` is there already or cannot be written, and `StoreDamaged` or
    `StoreHindered` where the store cannot be read: then nothing is left behind.
    """
    with _said_of_files():
        if not store.exists():
            raise BackupRefused(f"there is no store {store}; name the daemon's settings with --config, or the store with --store")
        _require_absent(target)
        if inspect(store) == 0:
            raise BackupRefused(f"{store} is empty: no daemon has written it yet")
        with _new_file(target) as partial:
            contents = _copy(store, partial)
            _give_name(partial, target)
        _sync(target.parent)
        return contents


@dataclass(frozen=True, slots=True)
class Restored:
    contents: Contents
    former: Path | None
    """Where the store is now that was there before, or the log that was left of it; None where there was neither."""


def restore(backup: Path, store: Path, now: datetime) -> Restored:
    """Put a backup in the store's place; the former store is kept beside it under another name.

    Raises `StoreBusy` while a daemon runs on the store, and `StoreDamaged`, `StoreTooNew` or `BackupRefused` for a backup that is
    none; then nothing was changed.
    """
    with _said_of_files():
        if not backup.exists():
            raise BackupRefused(f"there is no backup {backup}")
        check(backup)
        if store.exists() and backup.samefile(store):
            raise BackupRefused(f"{backup} is the store itself; name a backup of it")
        store.parent.mkdir(parents=True, exist_ok=True)
        owner = (store if store.exists() else store.parent).stat()
        with StoreLock(store) as lock, _new_file(store) as partial:
            contents = _copy(backup, partial)
            for made in (lock.path, partial):
                _give_to(owner, made)
            former = set_aside(store, f"before-restore-{moment_of(now)}") if _parts_of(store) else None
            partial.rename(store)
            _sync(store.parent)
        return Restored(contents, former)


def _copy(source: Path, partial: Path) -> Contents:
    """With what is in the source's log, and into one file that has none; returns what is in the copy."""
    with closing(open_to_read(source)) as read, closing(sqlite3.connect(partial)) as copy:
        read.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    contents = check(partial)
    _sync(partial)
    return contents


def check(path: Path) -> Contents:
    """Read every page of a copy that nobody writes. Raises `StoreDamaged` or `StoreTooNew`."""
    schema = inspect(path)
    if schema == 0:
        raise StoreDamaged(f"{path} is empty. Name another backup.")
    try:
        with closing(open_to_read(path)) as connection:
            verdicts = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
            if verdicts != ["ok"] or dangling is not None:
                told = "; ".join(verdicts) if verdicts != ["ok"] else f"a row of {dangling[0]} belongs to nothing"
                raise StoreDamaged(f"{path} is damaged ({told}). Name another backup; this one was left untouched.")
            return _count(connection, schema)
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(f"{path} cannot be read ({error}). Name another backup; this one was left untouched.") from error


def _count(connection: sqlite3.Connection, schema: int) -> Contents:
    final = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
    releases, unfinished = connection.execute(
        f"SELECT COUNT(*), COUNT(*) FILTER (WHERE status NOT IN ({final})) FROM release"
    ).fetchone()
    (latest,) = connection.execute("SELECT COALESCE(MAX(at), '') FROM journal").fetchone()
    return Contents(schema, releases, unfinished, latest)


def _require_absent(target: Path) -> None:
    if target.exists():
        raise BackupRefused(f"{target} is there already, and nothing is overwritten; name another file")


@contextmanager
def _said_of_files() -> Iterator[None]:
    """What the system refuses is said of the file that it refuses."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"
        advice = "; run this as the user to whom it belongs" if isinstance(error, PermissionError) else ""
        raise BackupRefused(f"{what}{advice}") from error


@contextmanager
def _new_file(beside: Path) -> Iterator[Path]:
    """A file that only its owner may read, in the folder of another one; gone at the end, unless it got another name."""
    partial = beside.with_name(f".{beside.name}.{os.getpid()}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield partial
    except OSError as error:
        raise BackupRefused(f"{beside} cannot be written: {(error.strerror or str(error)).lower()}") from error
    except sqlite3.Error as error:
        raise BackupRefused(f"{beside} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def moment_of(now: datetime) -> str:
    """As a part of a file's name."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def set_aside(store: Path, name: str) -> Path:
    """Give the store, which nobody may be using, or the log that is left of it, another name beside the one that it has.

    Returns the new name of the database; of the log where there is none.
    """
    first = store.with_name(f"{store.name}.{name}")
    names = chain([first], (first.with_name(f"{first.name}-{number}") for number in count(2)))
    former = next(one for one in names if not _parts_of(one))
    # The database first: without its log it would be taken for a whole store, and a log without it is refused.
    moved = [part.rename(former.with_name(former.name + part.name.removeprefix(store.name))) for part in _parts_of(store)]
    return moved[0]


def _parts_of(store: Path) -> list[Path]:
    """Those of its files that are there, itself first."""
    return [part for part in (store, *(store.with_name(store.name + suffix) for suffix in BESIDE)) if part.exists()]


def _give_name(partial: Path, target: Path) -> None:
    """Never in the place of a file that has come meanwhile, as a rename alone would."""
    try:
        os.link(partial, target)
    except FileExistsError:
        _require_absent(target)
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        partial.replace(target)


def _give_to(owner: os.stat_result, path: Path) -> None:
    """Who restores as root does it for somebody else: the daemon, who could not open what is root's alone."""
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

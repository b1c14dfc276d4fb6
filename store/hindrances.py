"""Why a store's file cannot be used though nothing is wrong with it: rights, room, or the file system. One sentence, with what to
do.

Knows no SQL; looks at the files and changes nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

LEAST_ROOM = 2**20
"""Bytes; with less, whatever SQLite says, the disk is full."""
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, and is a part of it."""


def describe_hindrance(store: Path, error: Exception) -> str:
    """The first of what is found; what the system said of it where nothing is."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    found = next(_hindrances(store), None)
    return f"{store} cannot be used: {found}" if found else f"{store} cannot be opened: {said.lower()}; it was left untouched"


def _hindrances(store: Path) -> Iterator[str]:
    folder, user = store.parent, _name_of(os.geteuid())
    if not folder.is_dir():
        yield f"{folder} is not a folder; make it, or name another store"
        return
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield f"{folder} is on a file system that is mounted read-only; mount it for writing, or name another store"
    if not _may(folder, os.W_OK | os.X_OK):
        yield (
            f"{user} may not write into {folder}, where SQLite keeps its log beside the file; give the folder to {user}, or run "
            f"the daemon as {_owner_of(folder)}"
        )
    for path in (store, *(store.with_name(store.name + suffix) for suffix in (*BESIDE, ".lock"))):
        if path.exists() and not _may(path, os.R_OK | os.W_OK):
            yield f"{user} may not write {path}, which belongs to {_owner_of(path)}; run the daemon as that user, or give it away"
    room = shutil.disk_usage(folder).free
    if room < LEAST_ROOM:
        yield f"the disk of {folder} is full ({room:,} bytes are free); make room and start again, nothing is lost"


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _owner_of(path: Path) -> str:
    return _name_of(path.stat().st_uid)


def _name_of(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"

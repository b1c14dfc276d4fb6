"""Unix sockets at paths of any length: the kernel takes at most 107 bytes, and build systems have deep folders.

A socket is reached through its folder's descriptor, whose name under /proc is short wherever the folder is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_BYTES = 100
"""With some room for what is put behind a socket's name while it is being made."""


@contextmanager
def within_reach(path: Path) -> Iterator[Path]:
    """A path to the same socket that fits, good until the block ends. Raises OSError where the folder is not there."""
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        yield path
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}", path.name)
    finally:
        os.close(descriptor)

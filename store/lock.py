"""One daemon per store: an advisory lock on a file beside it, which the kernel releases however its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from engine.errors import StoreBusy


class StoreLock:
    """Held from `acquire` to `release`. Raises `StoreBusy` where another process holds it."""

    def __init__(self, store: Path) -> None:
        real = store.resolve()  # One lock, by however many names the store is reached.
        self.path = real.with_name(real.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder else "another process"
            store = str(self.path).removesuffix(".lock")
            raise StoreBusy(
                f"{store} is in use by {who}: two daemons on one store would drive every rollout twice. "
                "Stop that daemon, or give this one a store of its own."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> StoreLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

"""A network of the tests' own, in which any pod's and any Service's address can be listened on.

An API server takes no loopback address for a pod, and no two pods can have one address and one port. In a network namespace where
the ranges of pods and Services are local, each of them is as good as 127.0.0.1. It is gone with its last process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class NetworkRefused(Exception):
    """This process may have no network of its own; the message says how it may."""


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and whatever it starts, is in a network with nothing but itself until the block ends.

    Raises `NetworkRefused`.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if _LIBC.unshare(_CLONE_NEWNET):
            raise NetworkRefused(
                f"a network namespace is refused ({os.strerror(ctypes.get_errno())}): run it as root, or behind "
                "`unshare --map-root-user --net`"
            )
        try:
            for command in ("link set lo up", f"route add local {POD_RANGE} dev lo", f"route add local {SERVICE_RANGE} dev lo"):
                subprocess.run(["ip", *command.split()], check=True)
            # A client in a hurry opens more connections than there are ports within the minute that a closed one is remembered.
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("10000 60999", "ascii")
            yield
        finally:
            _LIBC.setns(before, _CLONE_NEWNET)
    finally:
        os.close(before)

"""What a service tells systemd about itself. Nothing anywhere else."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger()


def tell_systemd(state: str, environment: Mapping[str, str]) -> None:
    """To the socket that systemd names to services of type notify; nothing anywhere else."""
    named = environment.get("NOTIFY_SOCKET", "")
    if not named.startswith(("/", "@")):
        return
    address = "\0" + named[1:] if named.startswith("@") else named
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outgoing:
        try:
            outgoing.sendto(state.encode(), address)
        except OSError as error:
            log.warning("daemon.systemd_unreachable", error=str(error))

"""`serve`: the daemon. Runs until it is told to stop; unfinished rollouts are taken up again at the next start."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from adapters.access import Token, expires_soon, has_expired
from adapters.cli.composition import Connect, compose
from adapters.cli.exit_codes import ExitCode
from adapters.cli.logs import configure_logs
from adapters.cli.signals import wait_for_stop
from adapters.http.server import serve_api
from adapters.settings import Settings
from engine.clock import SystemClock

log = structlog.get_logger()

_LOOPBACK = ("127.", "::1", "localhost")


async def serve(settings: Settings, connect: Connect) -> ExitCode:
    """Raises `StoreError`, `AddressInUse` and `ClusterUnreachable`."""
    configure_logs(settings.log.level, settings.log.format)
    async with (
        compose(settings, connect=connect) as running,
        serve_api(running.application, settings.socket, settings.listen) as address,
    ):
        log.info(
            "daemon.started",
            socket=str(settings.socket),
            listen=str(address) if address is not None else None,
            store=str(settings.store),
            settings=str(settings.source) if settings.source is not None else None,
            unfinished=running.engine.unfinished,
        )
        if address is not None and not address.host.startswith(_LOOPBACK):
            log.warning("daemon.plain_http", advice="tokens cross the network unencrypted; put a TLS proxy in front")
        warn_of_expiry(settings.tokens, SystemClock().now())
        tell_systemd("READY=1", os.environ)
        number = await wait_for_stop()
        tell_systemd("STOPPING=1", os.environ)
        log.info("daemon.stopping", signal=number.name, unfinished=running.engine.unfinished)
    return ExitCode.SUCCESS


def warn_of_expiry(tokens: Sequence[Token], now: datetime) -> None:
    """A token that ends unnoticed ends somebody's deployments, most probably at night."""
    for token in tokens:
        if expires_soon(token.expires_at, now):
            event = "token.expired" if has_expired(token.expires_at, now) else "token.expires_soon"
            advice = f"make a new one, and put its lines in place of the old: headgate token new {token.name}"
            log.warning(event, token=token.name, expires_at=str(token.expires_at), advice=advice)


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

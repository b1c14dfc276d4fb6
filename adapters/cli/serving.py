"""`serve`: the daemon. Runs until it is told to stop; unfinished rollouts are taken up again at the next start."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import anyio
import anyio.to_thread
import structlog

from adapters.access import Token, expires_soon, has_expired
from adapters.cli.composition import Connect, Running, compose
from adapters.cli.exit_codes import ExitCode
from adapters.cli.logs import configure_logs
from adapters.cli.reloading import reload
from adapters.cli.signals import hear_hangups, wait_for_stop
from adapters.cli.systemd import tell_systemd
from adapters.http.certificates import ServerCertificate
from adapters.http.server import serve_api
from adapters.settings import Settings
from engine.clock import SystemClock

log = structlog.get_logger()

_LOOPBACK = ("127.", "::1", "localhost")


async def serve(settings: Settings, connect: Connect, read_again: Callable[[], Settings]) -> ExitCode:
    """`read_again` reads the settings anew, for a SIGHUP. Raises `StoreError`, `AddressInUse`, `CertificateUnusable`
    and `ClusterUnreachable`."""
    configure_logs(settings.log.level, settings.log.format)
    certificate = None if settings.tls is None else await anyio.to_thread.run_sync(ServerCertificate, settings.tls)
    async with (
        # From the first moment on: a hang-up while the daemon begins is no reason to end it.
        hear_hangups() as hangups,
        compose(settings, connect=connect) as running,
        serve_api(running.application, settings.socket, settings.listen, certificate) as address,
    ):
        log.info(
            "daemon.started",
            socket=str(settings.socket),
            listen=str(address) if address is not None else None,
            tls=certificate is not None,
            store=str(settings.store),
            settings=str(settings.source) if settings.source is not None else None,
            unfinished=running.engine.unfinished,
        )
        if address is not None and certificate is None and not address.host.startswith(_LOOPBACK):
            log.warning("daemon.plain_http", advice="tokens cross the network unencrypted; set tls, or put a proxy in front")
        clock = SystemClock()
        warn_of_expiry(settings.tokens, clock.now())
        running.live.follow(lambda current: warn_of_expiry(current.tokens, clock.now()))
        tell_systemd("READY=1", os.environ)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.folders.run, name="deploy folders")
            tasks.start_soon(running.sweep.run, name="retention")
            if certificate is not None:
                running.live.follow(lambda _: certificate.look_again())
                tasks.start_soon(certificate.run, clock, name="certificate")
            tasks.start_soon(_reload_at, hangups, running, read_again, name="settings")
            number = await wait_for_stop()
            tasks.cancel_scope.cancel()
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


async def _reload_at(hangups: AsyncIterator[object], running: Running, read_again: Callable[[], Settings]) -> None:
    async for _ in hangups:
        await reload(running.live, read_again)

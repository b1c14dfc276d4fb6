"""`serve`: the daemon. Runs until it is told to stop; unfinished rollouts are taken up again at the next start.

Where the settings name a Lease, it waits for its turn first, and ends by itself when it has lost it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog
from anyio.abc import TaskStatus

from adapters.access import Token, expires_soon, has_expired
from adapters.cli.composition import Connect, ConnectAs, Running, compose
from adapters.cli.errors import sole_error
from adapters.cli.exit_codes import ExitCode
from adapters.cli.logs import configure_logs
from adapters.cli.reloading import reload
from adapters.cli.signals import hear_hangups, wait_for_stop
from adapters.cli.stores import new_holder
from adapters.cli.systemd import tell_systemd
from adapters.http.certificates import ServerCertificate
from adapters.http.server import serve_api
from adapters.http.standby import build_standby_application
from adapters.leadership import UNDISPUTED, Turn
from adapters.settings import Address, Settings
from adapters.settings_availability import AvailabilitySettings
from engine.clock import SystemClock
from engine.errors import Deposed

log = structlog.get_logger()

_LEAVE_SECONDS = 1.0
"""How long a standby's answer may take to be sent when its turn has come: nothing in it waits for anybody."""
_LOOPBACK = ("127.", "::1", "localhost")


async def serve(settings: Settings, connect: ConnectAs, read_again: Callable[[], Settings]) -> ExitCode:
    """`read_again` reads the settings anew, for a SIGHUP. Raises `StoreError` (`Deposed` when another daemon has taken over),
    `AddressInUse`, `CertificateUnusable` and `ClusterUnreachable`."""
    configure_logs(settings.log.level, settings.log.format)
    certificate = None if settings.tls is None else await anyio.to_thread.run_sync(ServerCertificate, settings.tls)
    try:
        # From the first moment on: a hang-up while the daemon begins is no reason to end it.
        async with hear_hangups() as hangups:
            serving = _Serving(settings, certificate, hangups, read_again)
            if settings.high_availability is None:
                return await serving.drive(connect(UNDISPUTED), None, anyio.lowlevel.checkpoint)
            return await serving.take_turns(settings.high_availability, connect)
    except BaseException as error:
        if isinstance(found := sole_error(error), Deposed):
            log.error("daemon.deposed", why=str(found))  # noqa: TRY400  it is all that there is to say
            raise found from None
        raise


@dataclass(frozen=True, slots=True)
class _Serving:
    """What a daemon was started with."""

    settings: Settings
    certificate: ServerCertificate | None
    hangups: AsyncIterator[object]
    read_again: Callable[[], Settings]

    async def take_turns(self, availability: AvailabilitySettings, connect: ConnectAs) -> ExitCode:
        # Most daemons take turns with nobody, and start without all that reaches a cluster.
        from adapters.cli.taking_turns import open_candidate, wait_for_turn

        settings, clock = self.settings, SystemClock()
        account = settings.accounts[availability.account]
        async with (
            open_candidate(availability, account, new_holder(), clock) as candidate,
            anyio.create_task_group() as tasks,
        ):
            stand_in = StandIn(settings, self.certificate, candidate)
            await tasks.start(stand_in.serve, name="standby")
            lease = f"{availability.namespace}/{availability.name} on {availability.account}"
            log.info("daemon.standby", socket=str(settings.socket), lease=lease, me=candidate.me)
            tell_systemd("READY=1\nSTATUS=standby", os.environ)
            code = ExitCode.SUCCESS
            if await wait_for_turn(candidate):
                log.info("daemon.leads", lease=lease, transitions=candidate.transitions)
                tell_systemd("STATUS=leader", os.environ)
                tasks.start_soon(candidate.keep, name="lease")
                code = await self.drive(connect(candidate), candidate, stand_in.leave)
            tasks.cancel_scope.cancel()
        return code

    async def drive(self, connect: Connect, turn: Turn | None, make_room: Callable[[], Awaitable[None]]) -> ExitCode:
        """`make_room`: whoever has the socket until this daemon can answer on it gives it up."""
        settings = self.settings
        async with compose(settings, connect=connect, turn=turn) as running:
            await make_room()
            async with serve_api(running.application, settings.socket, settings.listen, self.certificate) as address:
                self._tell(running, address)
                number = await self._run(running)
                tell_systemd("STOPPING=1", os.environ)
                log.info("daemon.stopping", signal=number.name, unfinished=running.engine.unfinished)
        return ExitCode.SUCCESS

    def _tell(self, running: Running, address: Address | None) -> None:
        settings, clock = self.settings, SystemClock()
        log.info(
            "daemon.started",
            socket=str(settings.socket),
            listen=str(address) if address is not None else None,
            tls=self.certificate is not None,
            store=str(settings.store),
            settings=str(settings.source) if settings.source is not None else None,
            unfinished=running.engine.unfinished,
        )
        if address is not None and self.certificate is None and not address.host.startswith(_LOOPBACK):
            log.warning("daemon.plain_http", advice="tokens cross the network unencrypted; set tls, or put a proxy in front")
        warn_of_expiry(settings.tokens, clock.now())
        running.live.follow(lambda current: warn_of_expiry(current.tokens, clock.now()))
        tell_systemd("READY=1", os.environ)

    async def _run(self, running: Running) -> signal.Signals:
        """Until it is told to stop: by which signal."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.folders.run, name="deploy folders")
            tasks.start_soon(running.sweep.run, name="retention")
            if (certificate := self.certificate) is not None:
                running.live.follow(lambda _: certificate.look_again())
                tasks.start_soon(certificate.run, SystemClock(), name="certificate")
            tasks.start_soon(_reload_at, self.hangups, running, self.read_again, name="settings")
            number = await wait_for_stop()
            tasks.cancel_scope.cancel()
        return number


class StandIn:
    """Has the socket and the address while another daemon leads. A task of its own, because it ends in the middle of what the
    one that serves it afterwards does."""

    def __init__(self, settings: Settings, certificate: ServerCertificate | None, turn: Turn) -> None:
        self._settings = settings
        self._certificate = certificate
        self._turn = turn
        self._leaving = anyio.Event()
        self._left = anyio.Event()

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Raises `AddressInUse`."""
        settings, clock = self._settings, SystemClock()
        application = build_standby_application(
            self._turn, lambda: settings.tokens, clock, settings.listen, settings.public_url
        )
        # The server outside: what ends the tasks must not cut its end short, or connections that are kept alive would go on being
        # answered here, by a standby that there is not any more.
        async with (
            serve_api(application, settings.socket, settings.listen, self._certificate, stop_seconds=_LEAVE_SECONDS),
            anyio.create_task_group() as tasks,
        ):
            if self._certificate is not None:
                tasks.start_soon(self._certificate.run, clock, name="certificate")
            task_status.started()
            await self._leaving.wait()
            tasks.cancel_scope.cancel()
        self._left.set()

    async def leave(self) -> None:
        """Returns when the socket is free, and nobody is connected here any more."""
        self._leaving.set()
        await self._left.wait()


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

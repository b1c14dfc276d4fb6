"""The API as a running server: its routes, the Unix socket, and the TCP address where the settings name one."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from aiohttp import web

from adapters.access import Token
from adapters.folders.standing import FolderStanding
from adapters.forwarding import ServiceDoors
from adapters.http.bodies import MOST_BODY_BYTES
from adapters.http.callbacks import Callbacks
from adapters.http.callers import Callers
from adapters.http.certificates import ServerCertificate
from adapters.http.failures import answer_errors
from adapters.http.folders import FolderViews
from adapters.http.hosts import refuse_other_hosts, refuse_other_origins
from adapters.http.identity import identify_callers
from adapters.http.listening import CONNECTIONS, Connections, TcpListener, bind
from adapters.http.openapi import OpenApi
from adapters.http.page.serving import Page, add_safety_headers
from adapters.http.previews import Previews
from adapters.http.probes import Probes
from adapters.http.releases import Releases
from adapters.http.service import Service
from adapters.http.socket_paths import within_reach
from adapters.http.watches import Watches
from adapters.settings import Address
from engine.errors import HeadgateError

IDLE_SECONDS = 75.0
"""How long a connection may say nothing, also one that has not finished its request's head."""
STOP_SECONDS = 5.0


class AddressInUse(HeadgateError):
    """The socket or the TCP address cannot be listened on."""


def build_application(
    service: Service,
    tokens: Callable[[], Sequence[Token]],
    folders: Callable[[], Sequence[FolderStanding]],
    writer_figures: Callable[[], tuple[int, int]],
    listen: Address | None = None,
    doors: ServiceDoors | None = None,
) -> web.Application:
    """`tokens` is asked at each request: they may change while the daemon runs. `doors`: the way to the Services of the
    clusters; without one there are no previews."""
    connections = Connections()
    application = web.Application(
        middlewares=[
            connections.note(),
            answer_errors,
            refuse_other_hosts(listen, service.public_url),
            refuse_other_origins(service.public_url),
            identify_callers(tokens, service.clock),
        ],
        client_max_size=MOST_BODY_BYTES,
    )
    application[CONNECTIONS] = connections
    watches = Watches(service)
    parts = (
        Releases(service),
        watches,
        Callers(),
        Callbacks(service),
        FolderViews(folders),
        Probes(service, writer_figures),
        Page(),
        OpenApi(),
    )
    for part in parts:
        application.add_routes(part.routes())
    if doors is not None:
        application.add_routes(Previews(service, doors).routes())
    application.on_response_prepare.append(add_safety_headers)
    application.on_shutdown.append(watches.close)
    return application


@asynccontextmanager
async def serve_api(
    application: web.Application,
    path: Path,
    address: Address | None = None,
    certificate: ServerCertificate | None = None,
    *,
    stop_seconds: float = STOP_SECONDS,
) -> AsyncIterator[Address | None]:
    """Answer on the socket (and the address) until the block ends; yields the address with the port that was bound.
    `certificate`: for TLS on the address; without it, it is plain HTTP. `stop_seconds`: for what is under way then.

    Raises `AddressInUse`.
    """
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=stop_seconds,
        keepalive_timeout=IDLE_SECONDS,
    )
    await runner.setup()
    try:
        listening = await anyio.to_thread.run_sync(_bind_unix, path)
        identity = _identity(path)
        try:
            await web.SockSite(runner, listening).start()
            if address is None:
                yield None
            else:
                async with _listen_tcp(runner, address, certificate) as bound:
                    yield bound
        finally:
            _remove(path, identity)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listen_tcp(
    runner: web.AppRunner, address: Address, certificate: ServerCertificate | None
) -> AsyncIterator[Address]:
    try:
        sockets = await anyio.to_thread.run_sync(bind, address.host, address.port)
    except OSError as error:
        raise AddressInUse(f"{address} cannot be listened on: {_reason(error)}; name another in listen") from error
    assert runner.server is not None
    connections = runner.app.get(CONNECTIONS) or Connections()
    async with TcpListener(runner.server, sockets, connections, lambda: certificate.context if certificate else None):
        host, port = sockets[-1].getsockname()[:2]
        yield Address(str(host), int(port))


# --- the Unix socket ---------------------------------------------------------------------------------------------------


def _bind_unix(path: Path) -> socket.socket:
    """A socket that only its owner may use, from its first moment on: it gets its name when its mode is right."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with within_reach(path) as near:
            _refuse_if_answering(near, path)
            return _listen_unix(near)
    except OSError as error:
        raise AddressInUse(f"the socket {path} cannot be made: {_reason(error)}; name another in socket") from error


def _listen_unix(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unnamed = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        unnamed.unlink(missing_ok=True)
        listening.bind(str(unnamed))
        unnamed.chmod(0o600)
        listening.listen(128)
        unnamed.rename(path)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _refuse_if_answering(near: Path, path: Path) -> None:
    """A socket that nobody listens on is left over from a daemon that was killed, and is replaced."""
    if not near.exists():
        return
    if not near.is_socket():
        raise AddressInUse(f"{path} is there and is not a socket; move it away, or name another in socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(near))
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return
            raise
    raise AddressInUse(f"another daemon answers on {path}; stop it, or give this one another socket")


def _remove(path: Path, identity: tuple[int, int] | None) -> None:
    """Only what is still ours: another daemon may have taken the name over."""
    if identity is not None and _identity(path) == identity:
        path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: OSError) -> str:
    """The system's own words; those of asyncio repeat the address."""
    known = error.errno is not None and error.errno > 0
    return (os.strerror(error.errno or 0) if known else error.strerror or str(error)).lower()

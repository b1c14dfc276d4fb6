"""The daemon's own certificate, and those of its callers: the TLS context of the TCP address, made anew when its files change.

A file that cannot be used changes nothing once the daemon runs: the context before stays in force, and the log says why. Knows
no connection and no token.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import structlog

from adapters.blocking import run_blocking
from adapters.settings import ClientCertificates, ListenTlsSettings, TlsVersion
from engine.clock import Clock
from engine.errors import HeadgateError

log = structlog.get_logger()

LOOK_SECONDS = 10.0
_VERSIONS = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}


class CertificateUnusable(HeadgateError):
    """The files of the settings' `tls` cannot be used."""


class ServerCertificate:
    """The context for new connections. Those that are open keep the one that they began with."""

    def __init__(self, settings: ListenTlsSettings) -> None:
        """Reads the files, so it blocks. Raises `CertificateUnusable`."""
        self._settings = settings
        self._signature = _sign(settings)
        self.context = build_context(settings)
        self._asked = anyio.Event()

    def look_again(self) -> None:
        """At once, because somebody says so."""
        self._asked.set()

    async def run(self, clock: Clock) -> None:
        """Takes over what changes, until it is cancelled."""
        while True:
            await self.refresh()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until, clock, tasks.cancel_scope)
                await self._asked.wait()
                tasks.cancel_scope.cancel()
            self._asked = anyio.Event()

    async def refresh(self) -> None:
        signature = await run_blocking(_sign, self._settings)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self.context = await run_blocking(build_context, self._settings)
        except CertificateUnusable as error:
            log.error("tls.unusable", error=str(error), advice="the certificate before stays in use")  # noqa: TRY400
        else:
            log.info("tls.renewed", certificate=str(self._settings.certificate_file))


async def _until(clock: Clock, scope: anyio.CancelScope) -> None:
    await clock.sleep(LOOK_SECONDS)
    scope.cancel()


def build_context(settings: ListenTlsSettings) -> ssl.SSLContext:
    """Raises `CertificateUnusable`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum_version]
    # HTTP/1.1 is all that is spoken; saying so keeps a connection from being taken for another protocol's.
    context.set_alpn_protocols(["http/1.1"])
    # Repeating a handshake costs the server more than the client.
    context.options |= ssl.OP_NO_RENEGOTIATION
    named = f"tls.certificateFile {settings.certificate_file} and tls.keyFile {settings.key_file}"
    try:
        # A password that is asked for would stop the daemon at a prompt that nobody sees.
        context.load_cert_chain(settings.certificate_file, settings.key_file, password=lambda: "")
        if settings.client_ca_file is not None:
            named = f"tls.clientCaFile {settings.client_ca_file}"
            context.load_verify_locations(settings.client_ca_file)
            required = settings.client_certificates is ClientCertificates.REQUIRED
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    except ssl.SSLError as error:
        why = "what is in there is not PEM, or is encrypted"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = "they do not belong together"
        raise CertificateUnusable(f"{named} cannot be used: {why}") from None
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or type(error).__name__).lower()
        raise CertificateUnusable(f"{named} cannot be read: {why}") from None
    return context


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """What a caller's verified certificate calls them: its common name, and its alternative names."""
    return frozenset(_names(certificate or {}))


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for attributes in certificate.get("subject", ()):
        yield from (str(value) for kind, value in attributes if kind == "commonName")
    yield from (str(value) for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI", "email"))


def _sign(settings: ListenTlsSettings) -> tuple[tuple[int, ...], ...]:
    """What tells changed files from unchanged ones."""
    files = (settings.certificate_file, settings.key_file, settings.client_ca_file)
    return tuple(_sign_file(file) for file in files if file is not None)


def _sign_file(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns

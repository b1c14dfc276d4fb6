"""What a metric source has to be shown before it answers: credentials, TLS files, headers.

Secrets that live in files are read at each use, so a rotated token or certificate needs no restart. Nothing here is
shown by `repr`, so that no log line and no traceback can hold a secret. This module must not know HTTP requests.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import anyio

MAX_SECRET_BYTES = 64 * 1024


class CredentialsError(Exception):
    """Credentials or TLS files cannot be used. The message says which and why, and holds nothing secret."""


class Secret(Protocol):
    """Where a secret comes from."""

    async def read(self) -> str:
        """The secret as it is now. Raises CredentialsError."""


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A secret that was handed over."""

    value: str = field(repr=False)

    async def read(self) -> str:
        return checked_secret(self.value, "the secret")


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret in a file; blanks and line breaks around it do not belong to it."""

    path: Path

    async def read(self) -> str:
        try:
            async with await anyio.open_file(self.path, "rb") as file:
                content = await file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise CredentialsError(f"the secret file {self.path} cannot be read: {error.strerror}") from error
        if len(content) > MAX_SECRET_BYTES:
            raise CredentialsError(f"the secret file {self.path} is larger than {MAX_SECRET_BYTES} bytes")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise CredentialsError(f"the secret file {self.path} is not UTF-8 text") from None
        return checked_secret(text.strip(), f"the secret file {self.path}")


def checked_secret(text: str, where: str) -> str:
    """The secret, if an HTTP header can carry it. Raises CredentialsError."""
    if not text:
        raise CredentialsError(f"{where} is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise CredentialsError(f"{where} contains a line break or another control character")
    return text


@dataclass(frozen=True, slots=True)
class BasicAuthentication:
    """A user name and a password."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class BearerAuthentication:
    """A token."""

    token: Secret


Authentication: TypeAlias = BasicAuthentication | BearerAuthentication | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of the Authorization header, and every text in it that must not be shown anywhere."""

    header: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


async def authorize(authentication: Authentication) -> Authorization:
    """Read the secrets and build the header. Raises CredentialsError."""
    if authentication is None:
        return Authorization()
    if isinstance(authentication, BearerAuthentication):
        token = checked_key(await authentication.token.read(), "the bearer token")
        return Authorization(f"Bearer {token}", (token,))
    password = await authentication.password.read()
    encoded = base64.b64encode(f"{authentication.username}:{password}".encode()).decode("ascii")
    return Authorization(f"Basic {encoded}", (encoded, password))


def checked_key(text: str, where: str) -> str:
    """The secret, if it can be a header as it is. Raises CredentialsError."""
    if not text.isascii():
        raise CredentialsError(f"{where} contains characters outside of ASCII")
    return checked_secret(text, where)


async def read_keys(secret_headers: Mapping[str, Secret]) -> dict[str, str]:
    """The headers whose whole value is a secret, as it is now. Raises CredentialsError."""
    return {name: checked_key(await secret.read(), f"the secret for {name}") for name, secret in secret_headers.items()}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """How an https address is verified, and how we identify ourselves to it.

    `ca_file` replaces the system's certificate authorities. `certificate_file` is sent as the client certificate; its
    key is in `key_file` or in the same file. `insecure` accepts any certificate of the server: for tests only.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False


class TlsContext:
    """The TLS context of one source, built again when one of its files has changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._built_from: tuple[int, ...] | None = None
        self._context: ssl.SSLContext | None = None

    async def current(self) -> ssl.SSLContext:
        """The context for the files as they are now. Raises CredentialsError."""
        try:
            ages = [(await anyio.Path(path).stat()).st_mtime_ns for path in self._paths()]
            if self._context is None or self._built_from != tuple(ages):
                self._context = await anyio.to_thread.run_sync(build_context, self._files)
                self._built_from = tuple(ages)
        except (OSError, ValueError) as error:
            named = ", ".join(str(path) for path in self._paths())
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CredentialsError(f"the TLS files ({named}) cannot be used: {reason}") from error
        return self._context

    def _paths(self) -> list[Path]:
        files = self._files
        return [path for path in (files.ca_file, files.certificate_file, files.key_file) if path is not None]


def build_context(files: TlsFiles) -> ssl.SSLContext:
    """A client's TLS context. It reads files, so it blocks. Raises OSError (ssl.SSLError is one)."""
    context = ssl.create_default_context(cafile=files.ca_file)
    if files.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.certificate_file is not None:
        # A password that is asked for would stop the daemon at a prompt that nobody sees.
        context.load_cert_chain(files.certificate_file, files.key_file, password=lambda: "")
    return context


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that a source's address is asked with. `timeout_s` bounds one whole question, repetitions included.

    `secret_headers` are read at each use. `hidden` are further texts that no message may show, such as a key in the
    address' query.
    """

    authentication: Authentication = None
    tls: TlsFiles | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    secret_headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)

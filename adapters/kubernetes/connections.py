"""The connections to one API server: how many, through which proxy, and how long anything may take.

Requests and watches have pools of their own: in a shared pool of a hundred, the request after the hundredth watch waits
for ever.

The HTTP library is not told to trust the environment. It would then read ~/.netrc, where any entry for the host makes
every request fail (two kinds of login at once), and would make two hops through threads for each request. Only the
proxy is taken from the environment, once.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from adapters.kubernetes.errors import CredentialsFailed
from adapters.leadership import Leadership

WRITE: Final = "write"
"""The context of a request that changes something."""


@dataclass(frozen=True, slots=True)
class Limits:
    request_seconds: float = 40.0
    """For a whole request, and for the beginning of a watch. Longer than the API server's own limit for a write to etcd
    (34 s were seen), so that its answer is not missed by a moment."""
    connect_seconds: float = 10.0
    requests_at_once: int = 64
    """Connections for requests; more requests wait for one, within their time."""
    line_bytes: int = 32 * 2**20
    """Of a watch. An object cannot be larger than etcd's limit of a few MiB."""


@dataclass(frozen=True, slots=True)
class Sessions:
    requests: aiohttp.ClientSession
    watches: aiohttp.ClientSession


@asynccontextmanager
async def open_sessions(server: str, proxy: str | None, limits: Limits, leadership: Leadership) -> AsyncIterator[Sessions]:
    """`proxy`: the kubeconfig's; None leaves it to the environment. `leadership`: asked when everything is ready for a write and
    nothing of it was sent. Raises `CredentialsFailed` for a proxy that cannot be used."""
    chosen = proxy if proxy is not None else _proxy_of_environment(server)
    if chosen is not None and urlsplit(chosen).scheme not in ("http", "https"):
        said = f"a proxy of the kind {urlsplit(chosen).scheme!r} is not supported, only http and https"
        raise CredentialsFailed("login", said)
    total = aiohttp.ClientTimeout(total=limits.request_seconds, sock_connect=limits.connect_seconds)
    async with (
        _open_session(limits.requests_at_once, total, chosen, _asking(leadership)) as requests,
        _open_session(0, aiohttp.ClientTimeout(total=None), chosen) as watches,
    ):
        yield Sessions(requests, watches)


def _asking(leadership: Leadership) -> aiohttp.TraceConfig:
    """A request waits for a connection, for names, for TLS: what was asked before all that may not hold any more. The requests
    that are writes say so by their context."""

    async def ask(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        if context.trace_request_ctx is WRITE:
            leadership.require()

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(ask)
    return config


def _open_session(
    connections: int, timeout: aiohttp.ClientTimeout, proxy: str | None, *traces: aiohttp.TraceConfig
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, socket_factory=_make_socket),
        timeout=timeout,
        headers={"User-Agent": _user_agent(), "Accept": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        trace_configs=list(traces),
    )


def _proxy_of_environment(server: str) -> str | None:
    address = urlsplit(server)
    if urllib.request.proxy_bypass(address.hostname or ""):
        return None
    return urllib.request.getproxies().get(address.scheme)


def _user_agent() -> str:
    try:
        return f"headgate/{version('headgate')}"
    except PackageNotFoundError:
        return "headgate"


_AddressInfo: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]


def _make_socket(address: _AddressInfo) -> socket.socket:
    """With TCP's own probes: a server that is gone without a word is noticed within a minute, also in a silent
    watch."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made

"""The connections to one API server: how many, through which proxy, and how long anything may take.

Requests and watches have pools of their own: in a shared pool of a hundred, the request after the hundredth watch waits
for ever.

The proxy is the kubeconfig's, or the environment's (`adapters.proxies`), which is looked at once.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aiohttp
from yarl import URL

from adapters.kubernetes.errors import CredentialsFailed
from adapters.leadership import Leadership
from adapters.proxies import ProxyUnusable, checked_proxy, proxy_of_environment

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
    nothing of it was sent. Raises `CredentialsFailed` for a proxy or an address that cannot be used."""
    try:
        chosen = checked_proxy(proxy) if proxy is not None else proxy_of_environment(URL(server))
    except ProxyUnusable as error:
        raise CredentialsFailed("login", str(error)) from error
    except ValueError:
        raise CredentialsFailed("login", "the address of the API server is malformed") from None
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

"""Logging in to a cluster, again whenever the API server no longer accepts what it was shown.

Logging in can mean to run a program for seconds, and a hundred requests meet the same 401 at the same moment. So there
is one login at a time, whoever waited for it goes on with its outcome, and a login that did not help is not repeated at
once. A failing program is an error with a sentence for the request that needed it; nothing runs in the background that
could die unseen.

What reads kubeconfigs is imported when first needed, because kubernetes-asyncio takes most of a second.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from adapters.kubernetes.errors import CredentialsFailed

if TYPE_CHECKING:
    from adapters.kubernetes.kubeconfig import Account

PLUGIN_SECONDS = 30.0
RENEWAL_PAUSE_SECONDS = 10.0
"""How long after a login the next one may begin, at least."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Login:
    """What a request shows of us."""

    headers: tuple[tuple[str, str], ...]
    tls: ssl.SSLContext | None
    """A new one with every login: connections that were made with another are then not used again."""


class Credentials(Protocol):
    @property
    def server(self) -> str:
        """The address of the API server, without a slash at its end."""

    @property
    def server_name(self) -> str | None:
        """The name in the server's certificate, where it is not the one in the address."""

    @property
    def proxy(self) -> str | None:
        """The proxy that the kubeconfig names; None leaves that to the environment."""

    @property
    def login(self) -> Login: ...

    async def renew(self, refused: Login) -> bool:
        """Log in again because `refused` was. Whether there is something new to try. Raises `CredentialsFailed`."""


class Source(Protocol):
    async def log_in(self) -> Account: ...


class RenewableCredentials:
    """Made by `load_kubeconfig` and its siblings."""

    def __init__(self, source: Source, account: Account) -> None:
        self._source = source
        self._account = account
        self._login = Login(account.headers, account.tls)
        self._renewing = anyio.Lock()
        self._renewed_at = float("-inf")

    @property
    def server(self) -> str:
        return self._account.server

    @property
    def server_name(self) -> str | None:
        return self._account.server_name

    @property
    def proxy(self) -> str | None:
        return self._account.proxy

    @property
    def login(self) -> Login:
        return self._login

    async def renew(self, refused: Login) -> bool:
        async with self._renewing:
            if self._login is not refused:
                return True
            if anyio.current_time() < self._renewed_at + RENEWAL_PAUSE_SECONDS:
                return False
            try:
                self._account = await self._source.log_in()
            finally:
                self._renewed_at = anyio.current_time()
            self._login = Login(self._account.headers, self._account.tls)
            return True


async def load_kubeconfig(path: Path | None, context: str | None = None) -> RenewableCredentials:
    """From a file; None is the usual one (KUBECONFIG, else ~/.kube/config). Raises `CredentialsFailed`."""
    from adapters.kubernetes.kubeconfig import Kubeconfig, usual_kubeconfig

    source = str(path) if path is not None else usual_kubeconfig()
    return await _load(Kubeconfig(source, context, plugin_seconds=PLUGIN_SECONDS))


async def load_kubeconfig_content(content: dict[str, Any], context: str | None = None) -> RenewableCredentials:
    """From a kubeconfig that is at hand as a document. Raises `CredentialsFailed`."""
    from adapters.kubernetes.kubeconfig import Kubeconfig

    return await _load(Kubeconfig(content, context, plugin_seconds=PLUGIN_SECONDS))


async def load_in_cluster(folder: Path = SERVICE_ACCOUNT) -> RenewableCredentials:
    """The service account of the pod that this runs in. Raises `CredentialsFailed`."""
    from adapters.kubernetes.kubeconfig import ServiceAccount

    return await _load(ServiceAccount(folder))


async def _load(source: Source) -> RenewableCredentials:
    account = await source.log_in()
    if not account.server.startswith(("http://", "https://")):
        raise CredentialsFailed("login", "the kubeconfig gives no address of an API server (clusters[].cluster.server)")
    return RenewableCredentials(source, account)

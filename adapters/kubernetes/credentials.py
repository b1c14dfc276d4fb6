"""Where a cluster is and how to log in, from a kubeconfig or from within a pod. The only user of kubernetes-asyncio.

The library knows every kind of login (certificates, tokens, exec plugins, OIDC). Its traps are avoided here: an exec plugin
is run with a time limit, renewed when a 401 says so, and never by more than one caller at once; a failing plugin is an error
with a sentence instead of a dead background task. It is imported when first needed, because that takes most of a second.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from adapters.kubernetes.errors import CredentialsFailed

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration

PLUGIN_SECONDS = 30.0


class Credentials(Protocol):
    @property
    def server(self) -> str: ...

    @property
    def tls(self) -> ssl.SSLContext | None: ...

    async def headers(self) -> dict[str, str]: ...

    async def renew(self) -> None:
        """Log in again, after a 401."""


class KubeconfigCredentials:
    """Made by `load_kubeconfig` and its siblings."""

    def __init__(self, configuration: Configuration, load: Callable[[Configuration], Awaitable[None]]) -> None:
        self._configuration = configuration
        self._load = load
        self._renewing = anyio.Lock()
        self._generation = 0
        self.tls = _tls_context(configuration) if self.server.startswith("https") else None

    @property
    def server(self) -> str:
        return str(self._configuration.host).rstrip("/")

    async def headers(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        return {"Authorization": token} if token else {}

    async def renew(self) -> None:
        seen = self._generation
        async with self._renewing:
            if self._generation == seen:
                await _with_limit(self._load(self._configuration))
                self._generation += 1


async def load_kubeconfig(path: Path | None, context: str | None = None) -> KubeconfigCredentials:
    """From a file; None is the usual one (KUBECONFIG, else ~/.kube/config)."""
    from kubernetes_asyncio import config

    async def load(configuration: Configuration) -> None:
        await config.load_kube_config(
            config_file=str(path) if path is not None else None,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )

    return await _load(load)


async def load_kubeconfig_content(content: dict[str, Any], context: str | None = None) -> KubeconfigCredentials:
    from kubernetes_asyncio import config

    async def load(configuration: Configuration) -> None:
        await config.load_kube_config_from_dict(content, context=context, client_configuration=configuration)

    return await _load(load)


async def load_in_cluster() -> KubeconfigCredentials:
    """The service account of the pod that this runs in. Its token file is read again by the library as it changes."""
    from kubernetes_asyncio import config

    async def load(configuration: Configuration) -> None:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]

    return await _load(load)


async def _load(load: Callable[[Configuration], Awaitable[None]]) -> KubeconfigCredentials:
    from kubernetes_asyncio.client import Configuration

    configuration = Configuration()
    await _with_limit(load(configuration))
    return KubeconfigCredentials(configuration, load)


async def _with_limit(loading: Awaitable[None]) -> None:
    try:
        with anyio.fail_after(PLUGIN_SECONDS):
            await loading
    except TimeoutError as error:
        raise CredentialsFailed("login", f"the credential plugin gave no answer within {PLUGIN_SECONDS:g} s") from error
    except Exception as error:
        raise CredentialsFailed("login", f"the kubeconfig gave no usable credentials: {error}") from error


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

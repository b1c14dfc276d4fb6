"""What a kubeconfig says, read with kubernetes-asyncio. Imported only when a cluster is logged in to: it costs 0.65 s.

The library knows the format: several files in one, certificates inline or in files, tokens, passwords. What it does
badly is done here instead:

* It runs an exec plugin without a time limit, leaves it running when it is given up, and cannot run it again before the
  old token has expired, even if the API server refuses that. `_Loader` runs it by `adapters.kubernetes.exec_plugin`.
* It ignores impersonation (`as:`), so that requests would be made with more rights than the file asks for.
* It says of a missing file that a key is missing in it, and takes `http://localhost` for a missing address.
* It writes inline certificates and keys into temporary files and removes them at the end of the process, if that is
  orderly. They are removed as soon as they have been loaded.
* Its `auth-provider: oidc` sends the client's secret and refresh token to an identity provider without looking at that
  one's certificate, and fails if the kubeconfig names an authority for it. `auth-provider` is refused, with what to use
  instead.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader
from kubernetes_asyncio.config.kube_config import (
    ConfigNode,
    FileOrData,
    KubeConfigLoader,
    KubeConfigMerger,
    _cleanup_temp_files,
)

from adapters.kubernetes.errors import CredentialsFailed
from adapters.kubernetes.exec_plugin import read_plugin, run_plugin


@dataclass(frozen=True, slots=True)
class Account:
    """Where a cluster is and how to show who we are."""

    server: str
    headers: tuple[tuple[str, str], ...]
    tls: ssl.SSLContext | None
    server_name: str | None
    """The name in the server's certificate, where it is not the one in the address."""
    proxy: str | None


class _Loader(KubeConfigLoader):
    """The library's, with the plugin run by us."""

    plugin_seconds: float

    async def load_from_exec_plugin(self) -> bool:
        user, cluster = self._user, self._cluster
        assert user is not None
        assert cluster is not None
        folder = Path(user.path).parent if user.path is not None else None
        plugin = read_plugin(user.value["exec"], cluster.value, folder)
        login = await run_plugin(plugin, limit_seconds=self.plugin_seconds)
        if login.token:
            self.token = f"Bearer {login.token}"
        if login.certificate:
            self.cert_file = _as_file(login.certificate)
            self.key_file = _as_file(login.key)
        return True

    def refuse_auth_provider(self) -> None:
        if self.provider is not None:
            said = f"the auth-provider {self.provider!r} of the kubeconfig is not supported; log in by an exec plugin"
            raise CredentialsFailed("login", f"{said} (kubelogin for OIDC, gke-gcloud-auth-plugin for Google)")

    @property
    def impersonation(self) -> list[tuple[str, str]]:
        user: Mapping[str, Any] = self._user.value if self._user is not None else {}
        headers = [("Impersonate-User", user.get("as")), ("Impersonate-Uid", user.get("as-uid"))]
        headers += [("Impersonate-Group", group) for group in user.get("as-groups") or ()]
        for key, values in (user.get("as-user-extra") or {}).items():
            headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
        return [(name, str(value)) for name, value in headers if value]


class Kubeconfig:
    """A kubeconfig in files (as many as KUBECONFIG names, separated by colons) or as a document."""

    def __init__(self, source: str | dict[str, Any], context: str | None, *, plugin_seconds: float) -> None:
        self._source = source
        self._context = context
        self._plugin_seconds = plugin_seconds

    async def log_in(self) -> Account:
        """Reads everything again, since files may have changed. Raises `CredentialsFailed`."""
        configuration = Configuration()
        configuration.host = ""
        with _explained(), _no_files_left():
            loader = _Loader(self._read(), active_context=self._context, config_base_path=None)
            loader.plugin_seconds = self._plugin_seconds
            loader.refuse_auth_provider()
            await loader.load_and_set(configuration)
            # From here to the end nothing is awaited, so that no other login meets the temporary files.
            return _account(configuration, loader.impersonation)

    def _read(self) -> ConfigNode | dict[str, Any]:
        if not isinstance(self._source, str):
            return self._source
        paths = [Path(path).expanduser() for path in self._source.split(os.pathsep) if path]
        if not any(path.is_file() for path in paths):
            raise CredentialsFailed("login", f"there is no kubeconfig at {self._source}")
        merged = KubeConfigMerger(self._source).config
        assert merged is not None
        return merged


def usual_kubeconfig() -> str:
    """What kubectl uses: KUBECONFIG, else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


class ServiceAccount:
    """The service account of the pod that this runs in. Its token changes about every hour."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def log_in(self) -> Account:
        """Raises `CredentialsFailed`."""
        configuration = Configuration()
        with _explained():
            loader = InClusterConfigLoader(
                token_filename=str(self._folder / "token"),
                cert_filename=str(self._folder / "ca.crt"),
                try_refresh_token=False,
            )
            loader.load_and_set(configuration)
            return _account(configuration, [])


def _account(configuration: Configuration, impersonation: list[tuple[str, str]]) -> Account:
    server = str(configuration.host).rstrip("/")
    # The token of a file ends in a newline as often as not, which no header may hold.
    token = str(configuration.api_key.get("BearerToken") or "").strip()
    return Account(
        server=server,
        headers=(*([("Authorization", token)] if token else []), *impersonation),
        tls=_tls_context(configuration) if server.startswith("https") else None,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
    )


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Many clusters' own authorities lack extensions that Python asks for since 3.13; kubectl takes them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _as_file(content: str) -> str:
    made = FileOrData({"inline": content}, "file", data_key_name="inline", base64_file_content=False).as_file()
    assert made is not None
    return made


@contextmanager
def _no_files_left() -> Iterator[None]:
    try:
        yield
    finally:
        _cleanup_temp_files()


@contextmanager
def _explained() -> Iterator[None]:
    """The many ways in which reading a kubeconfig fails, as sentences."""
    try:
        yield
    except CredentialsFailed:
        raise
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1}, column {place.column + 1})" if place is not None else ""
        raise CredentialsFailed("login", f"the kubeconfig is not YAML{where}") from error
    except ssl.SSLError as error:
        raise CredentialsFailed("login", f"a certificate or key is not usable: {error.reason or error}") from error
    except (ConfigException, OSError) as error:
        raise CredentialsFailed("login", f"no usable credentials: {error}") from error
    except Exception as error:
        said = f"the kubeconfig is not one, or an entry in it is malformed ({type(error).__name__})"
        raise CredentialsFailed("login", said) from error

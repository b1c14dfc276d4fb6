"""Runs the program that a kubeconfig names for logging in (`aws eks get-token`, `gke-gcloud-auth-plugin`, `kubelogin`,
...).

The protocol is `client.authentication.k8s.io`: the program gets a request in an environment variable and prints an
`ExecCredential` with a token or a client certificate. Such programs ask cloud services, wait for browsers and start
children; so it has a time limit at whose end all of them are killed, no terminal to wait at, and what it complains
about is told. What it prints is never told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import anyio

from adapters.kubernetes.errors import CredentialsFailed
from adapters.redaction import Redaction

LONGEST_COMPLAINT = 500
"""Characters of what a failing program wrote to its standard error: the end, where the reason stands."""
SHORTEST_SECRET = 12
_EXTENSION = "client.authentication.k8s.io/exec"


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """The `exec` section of a kubeconfig's user."""

    command: str
    api_version: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None
    """The cluster's address and authority, for a program that wants to be told (`provideClusterInfo`)."""


@dataclass(frozen=True, slots=True)
class PluginLogin:
    """What the program gave: a token, or a client certificate with its key (both PEM)."""

    token: str
    certificate: str
    key: str


def read_plugin(section: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path | None) -> ExecPlugin:
    """From a kubeconfig; `folder` is where the kubeconfig lies, which a relative command is relative to."""
    command = str(section.get("command") or "")
    api_version = str(section.get("apiVersion") or "")
    if not command or not api_version:
        raise CredentialsFailed("login", "the exec section of the kubeconfig has no command or no apiVersion")
    if folder is not None and "/" in command and not command.startswith("/"):
        command = str(folder / command)
    environment = {str(entry["name"]): str(entry["value"]) for entry in section.get("env") or ()}
    arguments = [str(one) for one in section.get("args") or ()]
    told = _cluster_information(cluster) if section.get("provideClusterInfo") else None
    return ExecPlugin(command, api_version, arguments, environment, str(section.get("installHint") or ""), told)


def _cluster_information(cluster: Mapping[str, Any]) -> dict[str, Any]:
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    extension = next((one["extension"] for one in cluster.get("extensions") or () if one["name"] == _EXTENSION), None)
    information = {name: cluster[name] for name in names if name in cluster}
    return information | ({"config": extension} if extension is not None else {})


async def run_plugin(plugin: ExecPlugin, *, limit_seconds: float) -> PluginLogin:
    """Raises `CredentialsFailed`, whose message holds what the program complained about."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster is not None:
        spec["cluster"] = plugin.cluster
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(request)}
    with TemporaryFile() as printed, TemporaryFile() as complaints:
        status = await _run(plugin, environment, printed, complaints, limit_seconds)
        if status != 0:
            said = _without_secrets(plugin, _content(complaints).decode(errors="replace")).strip()[-LONGEST_COMPLAINT:]
            raise CredentialsFailed("login", f"{plugin.command} ended with {status}: {said or 'no complaint'}")
        return _read_answer(plugin, _content(printed))


def _without_secrets(plugin: ExecPlugin, text: str) -> str:
    """A program that complains may repeat what the kubeconfig told it. Short words are parts of others, and no secrets."""
    told = [*plugin.environment.values(), *plugin.arguments, *(one.partition("=")[2] for one in plugin.arguments)]
    return Redaction(told, shortest=SHORTEST_SECRET).take_out(text)


async def _run(
    plugin: ExecPlugin, environment: Mapping[str, str], printed: IO[bytes], complaints: IO[bytes], limit_seconds: float
) -> int:
    """Its exit status. It writes to files, because the end of a pipe only comes when all that it started has ended."""
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.arguments,
            env=environment,
            stdin=DEVNULL,
            stdout=printed,
            stderr=complaints,
            start_new_session=True,
        )
    except OSError as error:
        hint = f"; {plugin.install_hint.strip()}" if plugin.install_hint else ""
        reason = error.strerror or type(error).__name__
        raise CredentialsFailed("login", f"{plugin.command} cannot be run ({reason}){hint}") from error
    try:
        async with asyncio.timeout(limit_seconds):
            return await process.wait()
    except TimeoutError as error:
        said = f"{plugin.command} gave no answer within {limit_seconds:g} s; does it want to ask somebody something?"
        raise CredentialsFailed("login", said) from error
    finally:
        await _kill(process)


async def _kill(process: Process) -> None:
    """The program and all that it started, which are in a session of their own. Nothing to do after an orderly end."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.wait()


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _read_answer(plugin: ExecPlugin, printed: bytes) -> PluginLogin:
    try:
        answer = json.loads(printed)
        kind, version, status = answer["kind"], answer["apiVersion"], answer["status"]
        token = str(status.get("token") or "").strip()
        certificate, key = str(status.get("clientCertificateData") or ""), str(status.get("clientKeyData") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CredentialsFailed("login", f"{plugin.command} printed something that is not an ExecCredential") from None
    if kind != "ExecCredential" or version != plugin.api_version:
        wanted = f"{plugin.api_version} ExecCredential"
        said = f"{plugin.command} answered with {version} {kind}, and the kubeconfig asks for {wanted}"
        raise CredentialsFailed("login", said)
    if not token and not (certificate and key):
        raise CredentialsFailed("login", f"{plugin.command} gave neither a token nor a client certificate with its key")
    return PluginLogin(token, certificate, key)

"""Where this command runs: its environment, its settings, and the daemon that it is to ask."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.cli.errors import InputInvalid
from adapters.http.client import Place, SocketPlace, TcpPlace
from adapters.settings import Settings, Surroundings
from adapters.settings_reader import load_settings

SERVER_VARIABLE = "HEADGATE_SERVER"
TOKEN_VARIABLE = "HEADGATE_TOKEN"
CA_VARIABLE = "HEADGATE_CA_FILE"
CERTIFICATE_VARIABLE = "HEADGATE_CLIENT_CERTIFICATE"
KEY_VARIABLE = "HEADGATE_CLIENT_KEY"


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon to ask, and how a reader of advice reaches it too."""

    place: Place
    options: str
    """What has to be added to a command for it to reach the same daemon; begins with a blank unless it is empty."""

    def advise(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        return f"headgate {verb}{self.options} {rest}".rstrip()


def read_settings(config: Path | None) -> Settings:
    """Raises `SettingsInvalid`."""
    return load_settings(config, Surroundings(os.environ, Path.home(), os.geteuid() == 0))


def find_daemon(server: str | None, config: Path | None, environment: Mapping[str, str]) -> Daemon:
    """The daemon that is named, or the one on the settings' socket. Raises `InputInvalid` and `SettingsInvalid`."""
    named = server or environment.get(SERVER_VARIABLE)
    if named:
        return Daemon(read_place(named, environment), f" --server {server}" if server else "")
    return Daemon(SocketPlace(read_settings(config).socket), f" --config {config}" if config is not None else "")


def read_place(named: str, environment: Mapping[str, str]) -> Place:
    """`unix:/path`, `/path` or `http(s)://host:port`. Raises `InputInvalid`."""
    if named.startswith(("unix:", "/")):
        return SocketPlace(Path(named.removeprefix("unix:")))
    if not named.startswith(("http://", "https://")):
        raise InputInvalid(f"--server {named}: expected unix:/path/of/the/socket, or http(s)://host:port")
    token, tls = environment.get(TOKEN_VARIABLE, "").strip(), _read_tls(named, environment)
    if not token and not environment.get(CERTIFICATE_VARIABLE):
        raise InputInvalid(f"a daemon behind {named} wants a token; put it into the variable {TOKEN_VARIABLE}")
    if not token.isascii() or not token.isprintable():
        raise InputInvalid(f"the token in {TOKEN_VARIABLE} holds a character that no header can carry")
    return TcpPlace(named.rstrip("/"), token, tls)


def _read_tls(named: str, environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """None where nothing is said. Raises `InputInvalid`."""
    authority, certificate, key = (environment.get(name) or None for name in (CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE))
    if key is not None and certificate is None:
        advice = f"put its certificate into {CERTIFICATE_VARIABLE}, or unset it"
        raise InputInvalid(f"{KEY_VARIABLE} {key} is a key without a certificate; {advice}")
    if authority is certificate is None:
        return None
    if not named.startswith("https://"):
        raise InputInvalid(f"--server {named}: {CA_VARIABLE} and {CERTIFICATE_VARIABLE} are for https://host:port")
    told = f"{CA_VARIABLE} {authority}"
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            told = f"{CERTIFICATE_VARIABLE} {certificate}" + (f" and {KEY_VARIABLE} {key}" if key else "")
            context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError:
        advice = "expected PEM, not encrypted, and a key that belongs to its certificate"
        raise InputInvalid(f"{told} cannot be used: {advice}") from None
    except OSError as error:
        raise InputInvalid(f"{told} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return context

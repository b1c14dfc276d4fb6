"""Where this command runs: its environment, its settings, and the daemon that it is to ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.cli.errors import InputInvalid
from adapters.http.client import Place, SocketPlace, TcpPlace
from adapters.settings import Settings, Surroundings
from adapters.settings_reader import load_settings

SERVER_VARIABLE = "HEADGATE_SERVER"
TOKEN_VARIABLE = "HEADGATE_TOKEN"


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
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise InputInvalid(f"a daemon behind {named} wants a token; put it into the variable {TOKEN_VARIABLE}")
    if not token.isascii() or not token.isprintable():
        raise InputInvalid(f"the token in {TOKEN_VARIABLE} holds a character that no header can carry")
    return TcpPlace(named.rstrip("/"), token)

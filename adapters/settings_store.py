"""How the settings name a store: a path, or a PostgreSQL database by its address. A password is never part of an address.

Only describes; `adapters.cli.stores` opens what is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from adapters.settings_sentences import sentence
from strategies.suggestions import listed, nearest, quote

_SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|%2F[^:,@\s]*)?(?::[0-9]{1,5})?")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_OPTIONS = frozenset(
    {*_FILES, "sslmode", "ssl_min_protocol_version", "ssl_max_protocol_version", "host", "port", "krbsrvname", "gsslib"}
)
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class StoreAddress:
    """A PostgreSQL database, as in libpq: `postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full`."""

    url: str

    def __str__(self) -> str:
        return self.url


def read_store(value: object) -> object:
    """The validator of `store`: a path, or the address of a database."""
    if value is None or isinstance(value, Path | StoreAddress):
        return value
    if not isinstance(value, str):
        raise sentence('is neither a path nor an address; an address is "postgresql://USER@HOST:PORT/DATABASE"')
    scheme, separator, _ = value.partition("://")
    if not separator:
        return Path(value)
    if scheme not in _SCHEMES:
        raise sentence('is an address of a kind that no store is at; expected a path, or "postgresql://USER@HOST:PORT/DATABASE"')
    _check_address(value)
    return StoreAddress(value)


def _check_address(value: str) -> None:
    address = urlsplit(value)
    login, _, hosts = address.netloc.rpartition("@")
    options = dict(parse_qsl(address.query, keep_blank_values=True))
    if ":" in login or any(name in options for name in _SECRETS):
        raise sentence(
            "has a password in it, and secrets are never here; take it out, and say in storePassword where it is: "
            "{file: PATH} or {env: NAME}"
        )
    if not address.path.strip("/") or "/" in address.path[1:]:
        raise sentence('has no database; expected "postgresql://USER@HOST:PORT/DATABASE"')
    if address.fragment or any(_HOST.fullmatch(host) is None for host in hosts.split(",")):
        raise sentence('has no host that can be read; expected "HOST" or "HOST:PORT", or several with commas between them')
    _check_options(options)


def _check_options(options: dict[str, str]) -> None:
    for name, text in options.items():
        if name not in _OPTIONS:
            found = nearest(name, _OPTIONS)
            advice = f"did you mean {quote(found)}?" if found else "known are " + listed(sorted(_OPTIONS)).replace('"', "")
            raise sentence(f"has the option {quote(name)}, which is not known; {advice}")
        if name == "sslmode" and text not in _MODES:
            raise sentence(f"has the sslmode {quote(text)}; expected " + listed(_MODES, joint="or").replace('"', ""))
        if name in _FILES and not Path(text).is_absolute():
            raise sentence(f"has a relative path in its option {quote(name)}; write the whole path")

"""`token new`: a fresh token, and the lines of the settings that let it in. Writes no file, and asks no daemon."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence

import yaml
from pydantic import ValidationError

from adapters.access import Token
from adapters.cli.errors import InputInvalid
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Document, Printer

_PREFIX = "headgate_"
"""By this, scanners and people recognise one that has got where it should not be."""
_RANDOM_BYTES = 32


def _new_secret() -> str:
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def print_new_token(
    name: str, roles: Sequence[str], printer: Printer, new_secret: Callable[[], str] = _new_secret
) -> ExitCode:
    """Raises `InputInvalid` for a name or a role that the settings would refuse."""
    secret = new_secret()
    entry: Document = {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest()}
    if roles:
        entry["roles"] = list(roles)
    try:
        Token.model_validate(entry)
    except ValidationError as error:
        raise InputInvalid("; ".join(_explain(details["loc"], details["msg"], entry) for details in error.errors())) from None
    printer.document({"token": secret, "settings": entry}, lambda: _describe(secret, entry))
    return ExitCode.SUCCESS


def _explain(place: tuple[int | str, ...], sentence: str, entry: Document) -> str:
    label = f"NAME {entry['name']!r}" if place[0] == "name" else f"--role {entry['roles'][place[1]]!r}"
    return f"{label} {sentence}"


def _describe(secret: str, entry: Document) -> str:
    lines = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, default_flow_style=None, width=1_000)
    return (
        "The token, which is shown this once and kept nowhere. Give it to its holder, for HEADGATE_TOKEN:\n\n"
        f"  {secret}\n\n"
        'The lines for "tokens" in the daemon\'s settings, which hold its hash only. '
        "The daemon reads them when it starts, and at a SIGHUP:\n\n"
        + "".join(f"  {line}\n" for line in lines.splitlines())
    )

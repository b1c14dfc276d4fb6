"""Reads secrets where the settings say that they are. Nothing of what is read is ever part of an error or a log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import anyio

from adapters.redaction import Redaction
from adapters.settings import SecretReference
from engine.errors import HeadgateError

MOST_BYTES = 64 * 1024


class SecretUnreadable(HeadgateError):
    """A secret is not where the settings say. The message names the place, never the content."""


class Secrets:
    """The settings' `secrets`, by name. Files are read at each use, so that a rotated secret needs no restart."""

    def __init__(self, references: Mapping[str, SecretReference], environment: Mapping[str, str]) -> None:
        self._references = references
        self._environment = environment

    def replace(self, references: Mapping[str, SecretReference]) -> None:
        """From now on these, and no others."""
        self._references = references

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._references)

    async def take_out(self, text: str) -> str:
        """The text without any of the secrets, for what was said by somebody to whom they were sent."""
        secrets: list[str] = []
        for name in self._references:
            with suppress(SecretUnreadable):
                secrets.append(await self.read(name))
        return Redaction(secrets).take_out(text)

    async def read(self, name: str) -> str:
        """Raises `SecretUnreadable`, and KeyError for a name that the settings do not have."""
        return await read_secret(self._references[name], self._environment)


async def read_secret(reference: SecretReference, environment: Mapping[str, str]) -> str:
    """The secret as it is now; blanks and line breaks around it do not belong to it. Raises `SecretUnreadable`."""
    if reference.env is not None:
        text, where = environment.get(reference.env, ""), f"the variable {reference.env} of the daemon's environment"
    else:
        where = f"the secret file {reference.file}"
        try:
            async with await anyio.open_file(str(reference.file), "rb") as file:
                text = (await file.read(MOST_BYTES)).decode("utf-8").strip()
        except OSError as error:
            raise SecretUnreadable(f"{where} cannot be read: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError:
            raise SecretUnreadable(f"{where} is not UTF-8 text") from None
    if not text:
        raise SecretUnreadable(f"{where} is empty or not set")
    return text

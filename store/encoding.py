"""How values are written into a store and read out of it again: the same bytes and texts in every kind of database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from engine.errors import StoreError

T = TypeVar("T")


def text_of(at: datetime) -> str:
    """In UTC, and of one length: the order of the texts is the order of the moments."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def encode(value: object) -> bytes:
    """Texts come from everywhere, and some hold what is no character (half of a surrogate pair, for a byte that was not read):
    it becomes a question mark, because no text may keep a rollout from being written down."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_readable(msgspec.to_builtins(value)))


def _readable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_readable(key): _readable(one) for key, one in value.items()}
        case list() | tuple():
            return [_readable(one) for one in value]
    return value


def decode(data: bytes, kind: type[T]) -> T:
    """Raises `StoreError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"a stored {kind.__name__} is not readable: {error}. The store is damaged, or a newer version has written it: "
            "restore a backup (headgate restore), or run that version. Nothing was changed."
        ) from error

"""Get and list: one object, or many with selectors, pages and the versions that a client may ask for."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from adapters.embedded.errors import BadRequest, Expired, Timeout
from adapters.embedded.history import Key, StoredObject
from adapters.embedded.json_objects import JsonObject, decode_json, encode_json
from adapters.embedded.options import ReadOptions
from adapters.embedded.routes import Target, not_found
from adapters.embedded.selectors import parse_selection
from adapters.embedded.storage import Storage

FUTURE_VERSION_SECONDS = 3.0
"""For how long a read waits for a version that the storage has not reached, as the real server's watch cache does."""

_INCONSISTENT = -1
"""In a continue token: go on with the objects as they are now."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a list, and the metadata that goes with them."""

    objects: list[StoredObject]
    metadata: JsonObject


async def reach_version(storage: Storage, version: int | None) -> None:
    """Wait until the storage is as new as a version that a client has seen somewhere.

    Raises:
        Timeout: it does not get there in time.
    """
    if not version or version <= storage.resource_version:
        return
    reached = asyncio.Event()
    unsubscribe = storage.subscribe(_setter(reached, storage, version))
    try:
        async with asyncio.timeout(FUTURE_VERSION_SECONDS):
            await reached.wait()
    except TimeoutError:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise Timeout(
            f"Timeout: Too large resource version: {version}, current: {storage.resource_version}",
            details={"causes": [cause]},
            retry_after_seconds=1,
        ) from None
    finally:
        unsubscribe()


def _setter(reached: asyncio.Event, storage: Storage, version: int) -> Callable[[object], None]:
    def notice(event: object) -> None:
        if storage.resource_version >= version:
            reached.set()

    return notice


def get_object(storage: Storage, target: Target) -> StoredObject:
    """One object.

    Raises:
        NotFound: it is not there.
    """
    stored = storage.find_stored(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target)
    return stored


def list_objects(storage: Storage, target: Target, options: ReadOptions) -> Listing:
    """The objects that a list selects, or a page of them.

    Raises:
        Expired: the page's or the exact version is older than the history.
        BadRequest: a selector or the continue token cannot be understood.
    """
    selection = parse_selection(target.resource, options.label_selector, options.field_selector)
    version, after = _where_to_read(storage, options)
    found = storage.list_stored(target.resource, target.namespace or None, at=version)
    chosen = [(key, stored) for key, stored in found if after is None or key > after]
    if selection is not None:
        chosen = [(key, stored) for key, stored in chosen if selection(stored.object)]
    at = storage.resource_version if version is None else version
    metadata: JsonObject = {"resourceVersion": str(at)}
    limit = 0 if options.resource_version == 0 and not options.version_match else options.limit
    if 0 < limit < len(chosen):
        last = chosen[limit - 1][0]
        metadata["continue"] = _write_token(at, last)
        if selection is None:
            metadata["remainingItemCount"] = len(chosen) - limit
        chosen = chosen[:limit]
    return Listing([stored for _, stored in chosen], metadata)


def _where_to_read(storage: Storage, options: ReadOptions) -> tuple[int | None, Key | None]:
    """The version to read at (None: now) and the key after which to begin."""
    if options.continue_token:
        if options.resource_version:
            raise BadRequest("specifying resource version is not allowed when using continue")
        version, after = _read_token(options.continue_token)
        if version == _INCONSISTENT:
            return None, after
        _require_token_history(storage, version, after)
        return version, after
    if options.version_match == "Exact":
        assert options.resource_version is not None  # checked with the options
        _require_history(storage, options.resource_version)
        return options.resource_version, None
    return None, None


def _require_history(storage: Storage, version: int) -> None:
    try:
        storage.require_history(version)
    except Expired:
        raise Expired(f"The resourceVersion for the provided list is too old: {version}.") from None


def _require_token_history(storage: Storage, version: int, after: Key) -> None:
    try:
        storage.require_history(version)
    except Expired:
        raise Expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list.",
            continue_token=_write_token(_INCONSISTENT, after),
        ) from None


def _write_token(version: int, last: Key) -> str:
    body = encode_json({"v": "meta.k8s.io/v1", "rv": version, "start": "/".join(last)})
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        body = decode_json(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = body["start"].partition("/")
        return int(body["rv"]), (namespace, name)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest(f"continue key is not valid: {token!r}") from None

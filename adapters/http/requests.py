"""Reading a request: its body as one of `adapters.http.bodies`, within a time and a size."""

from __future__ import annotations

import re
from typing import TypeVar

import anyio
import msgspec
from aiohttp import web

from adapters.http.bodies import MOST_BODY_BYTES, ErrorCode
from adapters.http.failures import ApiFailure

T = TypeVar("T")

BODY_SECONDS = 30.0
"""How long a body may take to arrive."""
MOST_DIGITS = 9


async def read_body(request: web.Request, kind: type[T], *, any_type: bool = False) -> T:
    """The request's body. `any_type` is for callers who forget to say that they send JSON.

    Raises `ApiFailure`; the framework raises its own error for a body that is too large.
    """
    # A page in somebody's browser can send forms and plain text anywhere, but JSON only where it is let.
    if not any_type and request.content_type != "application/json":
        raise ApiFailure(ErrorCode.BAD_REQUEST, 'send the body as JSON, with "Content-Type: application/json"')
    if (request.content_length or 0) > MOST_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=MOST_BODY_BYTES, actual_size=request.content_length or 0)
    try:
        with anyio.fail_after(BODY_SECONDS):
            content = await request.read()
    except TimeoutError:
        raise ApiFailure(ErrorCode.TIMEOUT, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except ValueError as error:
        raise ApiFailure(ErrorCode.BAD_REQUEST, f"the body cannot be read: {error}") from error
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiFailure(ErrorCode.BAD_REQUEST, _explain(error)) from error


def read_limit(request: web.Request, default: int, most: int) -> int:
    text = request.query.get("limit", str(default))
    # Longer ones are not read at all: the largest cannot be.
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else 0
    if not 1 <= limit <= most:
        raise ApiFailure(ErrorCode.BAD_REQUEST, f"limit is {text[:40]}; expected a whole number from 1 to {most}")
    return limit


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        what, _, place = text.partition(" - at ")
        where = place.strip("`").removeprefix("$").removeprefix(".") or "the body"
        return f"{where}: {_lowered(what)}"
    return f"the body is not JSON: {_lowered(text.removeprefix('JSON is malformed: '))}"


def _lowered(text: str) -> str:
    plain = re.sub(r"`([^`]*)`", r"\1", text)
    return plain[:1].lower() + plain[1:]

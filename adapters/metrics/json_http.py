"""Measures with anything that answers HTTP with JSON: one request, and a JMESPath expression that picks the number.

Either the settings hold the expression and the query text of a deploy file is put into the request, or the request is
always the same and the query text is the expression. This module must not know what the source is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import anyio
from yarl import URL

from adapters.metrics.credentials import Access
from adapters.metrics.http_source import JSON, HttpFailure, HttpSource, Reply, SourceMisconfigured, checked_address
from adapters.metrics.json_expression import JsonExpression, JsonExpressionError, NotApplicable
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.placeholders import PLACEHOLDER, JsonValue, fill_address, fill_body, keys_in, values_of
from adapters.metrics.refusal import Quote, failed, is_web_page, measured, no_data, refused, said, said_by_page
from adapters.metrics.repeating import Attempt, Repeater, again_after_s
from engine.clock import Clock

NAME = "the source"
MAX_ANSWER_BYTES = 1024 * 1024
LARGE_BYTES = 16 * 1024
"""The worst expressions that are allowed take about 2 ms for each KiB."""
SHOWN_FIELDS = 8
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|infinity|nan)", re.IGNORECASE | re.ASCII)


class Method(StrEnum):
    """How the source is asked. Only GET is without a body."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"


@dataclass(frozen=True, slots=True)
class JsonRequest:
    """What is asked. `address` and the texts in `body` may have placeholders; `value` is None when the query text is
    the expression."""

    address: str
    method: Method = Method.GET
    body: JsonValue = None
    value: JsonExpression | None = None


class JsonProvider:
    """One JSON source. Raises SourceMisconfigured for an address that cannot be used and headers that cannot be sent."""

    def __init__(
        self, session: aiohttp.ClientSession, request: JsonRequest, clock: Clock, access: Access | None = None
    ) -> None:
        access = access or Access()
        checked_address(PLACEHOLDER.sub("0", request.address))
        self._source = HttpSource(session, replace(access, hidden=keys_in(request.address)))
        self._request = request
        self._clock = clock
        self._repeater = Repeater(clock, access.timeout_s)

    async def measure(self, query: Query) -> Outcome:
        """Ask for the query's number. Takes at most the access' `timeout_s`, repetitions included."""
        values = values_of(query)
        try:
            expression = self._request.value or JsonExpression(query.text)
            url = checked_address(fill_address(self._request.address, values))
            body = None if self._request.body is None else fill_body(self._request.body, values)
        except JsonExpressionError as error:
            return failed(f"the query {error}")
        except (SourceMisconfigured, UnicodeError) as error:
            return failed(f"the query cannot be put into the request: {error}")
        return await self._repeater.ask(lambda timeout_s: self._ask(url, body, expression, query, timeout_s))

    async def _ask(
        self, url: URL, body: bytes | None, expression: JsonExpression, query: Query, timeout_s: float
    ) -> Attempt:
        method = self._request.method.value
        try:
            async with self._source.ask(
                method, url, timeout_s=timeout_s, accept=JSON, json_body=body, hidden=query.hidden
            ) as reply:
                content = await reply.body(MAX_ANSWER_BYTES)
                if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
                    return Attempt(await read(reply, content, expression))
                outcome = refused(NAME, reply.status, ADVICE, reason_in(reply, content))
                return Attempt(outcome, again_after_s(reply.status, reply.headers, self._clock.now()))
        except HttpFailure as failure:
            return Attempt(failed(str(failure)), 0.0 if failure.passing else None)


async def read(reply: Reply, content: bytes, expression: JsonExpression) -> Outcome:
    """The outcome of an answer with a status of success. A large one is read beside the event loop."""
    if len(content) <= LARGE_BYTES:
        return read_document(reply, content, expression)
    return await anyio.to_thread.run_sync(read_document, reply, content, expression)


def read_document(reply: Reply, content: bytes, expression: JsonExpression) -> Outcome:
    if is_web_page(reply.content_type, content):
        return failed(reason_in(reply, content))
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        kind = reply.quote(reply.content_type or "no content type")
        shown = reply.quote(content.decode("utf-8", errors="replace"))
        return failed(f"{reply.address} sent no JSON ({kind}): {shown or 'nothing at all'}")
    try:
        found = expression.apply(document)
    except NotApplicable as error:
        return failed(f"the expression does not fit the answer: {reply.quote(str(error))}")
    return read_found(found, document, reply.quote)


def read_found(found: object, document: object, quote: Quote) -> Outcome:
    """What a picked value means. A list of one is the one in it."""
    if found is None:
        return no_data(f"the expression picks nothing; the answer {describe(document, quote)}")
    if isinstance(found, list):
        present = [one for one in found if one is not None]
        if len(present) > 1:
            detail = f"the expression picks {len(present)} values: pick one of them, or use sum(...), max(...) or [0]"
            return Outcome(OutcomeKind.SEVERAL_SERIES, None, detail)
        if not present:
            return no_data(f"the expression picks {'only nulls' if found else 'an empty list'}")
        found = present[0]
    if isinstance(found, str):
        return read_text(found, quote)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return failed(f"the expression picks {describe_value(found)}, expected a number")
    try:
        return measured(float(found), "the result")
    except OverflowError:
        return failed("the expression picks a number that is too large")


def read_text(text: str, quote: Quote) -> Outcome:
    """A number that is written as a text, as Prometheus' API does it."""
    if NUMBER.fullmatch(text.strip()) is None:
        return failed(f"the expression picks the text {quote(text)!r}, expected a number")
    number = float(text)
    if math.isinf(number) and "inf" not in text.lower():
        return failed("the expression picks a number that is too large")
    return measured(number, "the result")


def describe(document: object, quote: Quote) -> str:
    if not isinstance(document, Mapping):
        return f"is {describe_value(document)}"
    if not document:
        return "is an empty object"
    names = ", ".join(quote(str(name)) for name in list(document)[:SHOWN_FIELDS])
    return f"has {names}{' and more' if len(document) > SHOWN_FIELDS else ''}"


def describe_value(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def reason_in(reply: Reply, content: bytes) -> str:
    """What a refusal says in its body, in whichever form."""
    if is_web_page(reply.content_type, content):
        return said_by_page(content, reply.quote, "a JSON source")
    return said(content.decode("utf-8", errors="replace"), reply.quote)


ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "correct the query, or the provider's request",
    HTTPStatus.UNAUTHORIZED: "it wants credentials, or others than these: check the provider's authentication",
    HTTPStatus.FORBIDDEN: "these credentials are not allowed to ask this",
    HTTPStatus.NOT_FOUND: "check the provider's URL",
    HTTPStatus.METHOD_NOT_ALLOWED: "check the provider's method",
    HTTPStatus.UNPROCESSABLE_ENTITY: "correct the query, or the provider's request",
    HTTPStatus.TOO_MANY_REQUESTS: "it asks for fewer requests: lengthen the interval of the analysis",
}

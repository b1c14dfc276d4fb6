"""Measures with Datadog: the points of a query in the sample's window (`v1`), or one number over all of it (`v2`).

API: https://docs.datadoghq.com/api/latest/metrics/ ("query timeseries points", "query scalar data"). v1 wants whole
seconds, v2 milliseconds. A query text of v2 is a metric query, or a JSON object with several and a formula of them:
`{"queries": {"bad": "...", "all": "..."}, "formula": "bad / all"}`.
This module must not know what answers mean (`datadog_answer`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from adapters.metrics.credentials import Access, Secret
from adapters.metrics.datadog_answer import Aggregator, read_points, read_refusal, read_scalar
from adapters.metrics.http_source import JSON, HttpFailure, HttpSource, Reply, checked_address
from adapters.metrics.outcome import Outcome, Query
from adapters.metrics.refusal import failed, is_web_page, with_clock
from adapters.metrics.repeating import Attempt, Repeater, again_after_s
from engine.clock import Clock

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""A series has at most 1500 points of about 30 bytes; what does not fit here has dozens of series."""
RESET = "X-RateLimit-Reset"
"""In how many seconds the limit of requests is renewed: https://docs.datadoghq.com/api/latest/rate-limits/"""


class DatadogApi(StrEnum):
    """Which of the two ways to ask."""

    V1 = "v1"
    """Points, from which the aggregator makes one number. Knows arithmetic between metrics."""
    V2 = "v2"
    """One number, which Datadog itself makes of the window. Knows formulas."""


class Formula(msgspec.Struct, forbid_unknown_fields=True):
    """A query text of v2 that is not a single metric query."""

    queries: dict[str, str]
    formula: str


class QueryUnreadable(Exception):
    """The query text is not one that v2 can be asked. The message says what it should be."""


class DatadogProvider:
    """One organisation. `address` is the API's root, for instance `https://api.datadoghq.eu`.

    Raises SourceMisconfigured for an address that cannot be used.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        clock: Clock,
        *,
        api_key: Secret,
        application_key: Secret,
        access: Access | None = None,
        api: DatadogApi = DatadogApi.V1,
        aggregator: Aggregator = Aggregator.LAST,
    ) -> None:
        keys = {"DD-API-KEY": api_key, "DD-APPLICATION-KEY": application_key}
        access = replace(access or Access(), secret_headers=keys)
        self._source = HttpSource(session, access)
        self._root = checked_address(address)
        self._clock = clock
        self._repeater = Repeater(clock, access.timeout_s)
        self._api = api
        self._aggregator = aggregator

    async def measure(self, query: Query) -> Outcome:
        """Ask for the window's number. Takes at most the access' `timeout_s`, repetitions included."""
        if self._api is DatadogApi.V1:
            return await self._repeater.ask(lambda timeout_s: self._ask("GET", self._points_url(query), None, query, timeout_s))
        try:
            body = scalar_request(query, self._aggregator)
        except QueryUnreadable as error:
            return failed(str(error))
        url = self._root / "api/v2/query/scalar"
        return await self._repeater.ask(lambda timeout_s: self._ask("POST", url, body, query, timeout_s))

    def _points_url(self, query: Query) -> URL:
        first, last = whole_seconds(query)
        return (self._root / "api/v1/query").with_query({"from": str(first), "to": str(last), "query": query.text})

    async def _ask(self, method: str, url: URL, body: bytes | None, query: Query, timeout_s: float) -> Attempt:
        try:
            async with self._source.ask(
                method, url, timeout_s=timeout_s, accept=JSON, json_body=body, hidden=query.hidden
            ) as reply:
                content = await reply.body(MAX_ANSWER_BYTES)
                outcome = with_clock(self._read(reply, content), reply.headers.get("Date"), self._clock.now())
                now = self._clock.now()
                return Attempt(outcome, again_after_s(reply.status, reply.headers, now, reset_header=RESET))
        except HttpFailure as failure:
            return Attempt(failed(str(failure)), 0.0 if failure.passing else None)

    def _read(self, reply: Reply, content: bytes) -> Outcome:
        if reply.status != HTTPStatus.OK or is_web_page(reply.content_type, content):
            return read_refusal(reply.status, reply.content_type, content, reply.quote)
        if self._api is DatadogApi.V1:
            return read_points(content, self._aggregator, reply.quote)
        return read_scalar(content, reply.quote)


def site_address(site: str) -> str:
    """The API's root of a site, such as `datadoghq.com` or `us3.datadoghq.com`."""
    return f"https://api.{site}"


def whole_seconds(query: Query) -> tuple[int, int]:
    """The window in whole seconds: none from before it, and at least one."""
    first = math.ceil(query.start.timestamp())
    return first, max(math.ceil(query.end.timestamp()), first + 1)


def scalar_request(query: Query, aggregator: Aggregator) -> bytes:
    """The body that asks for one number. Raises QueryUnreadable."""
    asked = read_formula(query.text)
    metrics = [
        {"data_source": "metrics", "name": name, "query": text, "aggregator": aggregator.value}
        for name, text in asked.queries.items()
    ]
    attributes = {
        "from": round(query.start.timestamp() * 1000),
        "to": round(query.end.timestamp() * 1000),
        "queries": metrics,
        "formulas": [{"formula": asked.formula}],
    }
    return msgspec.json.encode({"data": {"type": "scalar_request", "attributes": attributes}})


def read_formula(text: str) -> Formula:
    """What a query text asks for. A metric query never begins with a brace. Raises QueryUnreadable."""
    if not text.lstrip().startswith("{"):
        return Formula({"a": text}, "a")
    try:
        return msgspec.json.decode(text.encode(), type=Formula)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise QueryUnreadable(
            f'the query begins with a brace, but is not {{"queries": {{"a": "..."}}, "formula": "a"}}: {error}'
        ) from None

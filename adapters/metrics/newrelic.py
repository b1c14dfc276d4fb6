"""Measures with New Relic: one NRQL query by NerdGraph, its GraphQL API.

API: https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial. A query without a time range of its
own gets the sample's window as `SINCE ... UNTIL ...` in milliseconds: New Relic would answer for the last hour.
This module must not know what answers mean (`newrelic_answer`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import msgspec

from adapters.metrics.credentials import Access, Secret
from adapters.metrics.http_source import JSON, HttpFailure, HttpSource, Reply, checked_address
from adapters.metrics.newrelic_answer import Answered, MeasuredRange, read_answer, read_refusal
from adapters.metrics.outcome import Outcome, Query
from adapters.metrics.refusal import failed, is_web_page, with_clock
from adapters.metrics.repeating import Attempt, Repeater, again_after_s
from engine.clock import Clock

MAX_ANSWER_BYTES = 1024 * 1024
"""An answer of one number takes some hundred bytes; what does not fit here is a list of events."""
MAX_QUERY_S = 600
"""The longest that New Relic lets any query take."""
DOCUMENT = """query ($account: Int!, $nrql: Nrql!, $timeout: Seconds) {
  actor { account(id: $account) { nrql(query: $nrql, timeout: $timeout) {
    results
    metadata { facets messages timeWindow { begin end } }
  } } }
}"""
# What is not closed goes on to the end: looking for the end of each quotation mark anew would take the square of the length.
QUOTED = re.compile(
    r"""'(?:[^'\\]|\\.)*+(?:'|\Z|\\\Z)|"(?:[^"\\]|\\.)*+(?:"|\Z|\\\Z)|`[^`]*+(?:`|\Z)|--[^\n]*+|//[^\n]*+"""
    r"""|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)""",
    re.DOTALL,
)
RANGE = re.compile(r"\b(?:SINCE|UNTIL)\b", re.IGNORECASE)


class Region(StrEnum):
    """Where the account's data are."""

    US = "us"
    EU = "eu"


def region_address(region: Region) -> str:
    """The address of NerdGraph in a region."""
    return "https://api.newrelic.com/graphql" if region is Region.US else "https://api.eu.newrelic.com/graphql"


class NewRelicProvider:
    """One account. `address` is that of NerdGraph itself, for instance `https://api.newrelic.com/graphql`.

    Raises SourceMisconfigured for an address that cannot be used.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        clock: Clock,
        *,
        account_id: int,
        api_key: Secret,
        access: Access | None = None,
    ) -> None:
        access = replace(access or Access(), secret_headers={"API-Key": api_key})
        self._source = HttpSource(session, access)
        self._url = checked_address(address)
        self._account_id = account_id
        self._clock = clock
        self._repeater = Repeater(clock, access.timeout_s)

    async def measure(self, query: Query) -> Outcome:
        """Ask for the query's number. Takes at most the access' `timeout_s`, repetitions included."""
        return await self._repeater.ask(lambda timeout_s: self._ask(query, timeout_s))

    async def _ask(self, query: Query, timeout_s: float) -> Attempt:
        asked = None if has_range(query.text) else MeasuredRange(milliseconds(query.start), milliseconds(query.end))
        variables = {
            "account": self._account_id,
            "nrql": query.text if asked is None else f"{query.text}\nSINCE {asked.begin} UNTIL {asked.end}",
            # Its own limit, when it is not told one, is 5 s; a second is left for the way.
            "timeout": min(max(int(timeout_s) - 1, 1), MAX_QUERY_S),
        }
        body = msgspec.json.encode({"query": DOCUMENT, "variables": variables})
        try:
            async with self._source.ask(
                "POST", self._url, timeout_s=timeout_s, accept=JSON, json_body=body, hidden=query.hidden
            ) as reply:
                content = await reply.body(MAX_ANSWER_BYTES)
                answered = read(reply, content, asked)
                outcome = with_clock(answered.outcome, reply.headers.get("Date"), self._clock.now())
                again_s = again_after_s(reply.status, reply.headers, self._clock.now())
                return Attempt(outcome, 0.0 if answered.passing and again_s is None else again_s)
        except HttpFailure as failure:
            return Attempt(failed(str(failure)), 0.0 if failure.passing else None)


def read(reply: Reply, content: bytes, asked: MeasuredRange | None) -> Answered:
    """What an answer means. NerdGraph says most errors with status 200."""
    if reply.status == HTTPStatus.OK and not is_web_page(reply.content_type, content):
        return read_answer(content, asked, reply.quote)
    return Answered(read_refusal(reply.status, reply.content_type, content, reply.quote))


def milliseconds(at: datetime) -> int:
    """Since the epoch."""
    return round(at.timestamp() * 1000)


def has_range(nrql: str) -> bool:
    """Whether a query says itself which time it is about; what it says in texts, comments and subqueries is not it."""
    depth, outside = 0, []
    for character in QUOTED.sub(" ", nrql):
        depth += {"(": 1, ")": -1}.get(character, 0)
        outside.append(character if depth <= 0 else " ")
    return RANGE.search("".join(outside)) is not None

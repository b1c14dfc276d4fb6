"""Measures with a Prometheus server, or anything that speaks its query API: one instant query at the end of the window.

A query is asked again when the connection breaks, for 5xx and for 429, as long as the time allows. This module must not
know what answers mean (`prometheus_answer`) or how an address is asked (`http_source`).
"""

from __future__ import annotations

from http import HTTPStatus

import aiohttp

from adapters.metrics.credentials import Access
from adapters.metrics.http_source import HttpFailure, HttpSource, checked_address
from adapters.metrics.outcome import Outcome, Query
from adapters.metrics.prometheus_answer import read_refusal, read_success
from adapters.metrics.refusal import failed, is_web_page
from adapters.metrics.repeating import Attempt, Repeater, again_after_s
from engine.clock import Clock

MAX_ANSWER_BYTES = 1024 * 1024
"""An answer of one number takes some hundred bytes; a vector that does not fit here has thousands of series."""


class PrometheusProvider:
    """One Prometheus. `address` is its root, for instance `https://prometheus.example/` or `https://host/prometheus`.

    Raises SourceMisconfigured for an address or a header that cannot be used.
    """

    def __init__(
        self, session: aiohttp.ClientSession, address: str, clock: Clock, access: Access | None = None
    ) -> None:
        access = access or Access()
        self._source = HttpSource(session, access)
        self._repeater = Repeater(clock, access.timeout_s)
        root = checked_address(address)
        self._url = (root / "api/v1/query").with_query(root.query)
        self._clock = clock

    async def measure(self, query: Query) -> Outcome:
        """Ask for the value at the window's end. Takes at most the access' `timeout_s`, repetitions included."""
        return await self._repeater.ask(lambda timeout_s: self._ask(query, timeout_s))

    async def _ask(self, query: Query, timeout_s: float) -> Attempt:
        form = {
            "query": query.text,
            "time": f"{query.end.timestamp():.3f}",
            "timeout": f"{int(timeout_s * 1000)}ms",
        }
        try:
            async with self._source.ask(
                "POST", self._url, timeout_s=timeout_s, accept="application/json", form=form, hidden=query.hidden
            ) as reply:
                body = await reply.body(MAX_ANSWER_BYTES)
                if reply.status == HTTPStatus.OK and not is_web_page(reply.content_type, body):
                    return Attempt(read_success(body, reply.quote))
                outcome = read_refusal(reply.status, reply.content_type, body, reply.quote)
                return Attempt(outcome, again_after_s(reply.status, reply.headers, self._clock.now()))
        except HttpFailure as failure:
            return Attempt(failed(str(failure)), 0.0 if failure.passing else None)

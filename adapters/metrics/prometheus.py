"""Measures with a Prometheus server, or anything that speaks its query API: one instant query at the end of the window.

A query is asked again when the connection breaks, for 5xx and for 429, as long as the time allows. This module must not
know what answers mean (`prometheus_answer`) or how an address is asked (`http_source`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp

from adapters.metrics.credentials import Access
from adapters.metrics.http_source import HttpFailure, HttpSource, checked_address
from adapters.metrics.outcome import Outcome, Query
from adapters.metrics.prometheus_answer import failed, is_web_page, read_refusal, read_success
from engine.clock import Clock

MAX_ANSWER_BYTES = 1024 * 1024
"""An answer of one number takes some hundred bytes; a vector that does not fit here has thousands of series."""
FIRST_PAUSE_S = 0.25
MIN_ATTEMPT_S = 0.05


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one request led to. `again_after_s` is None when asking again is pointless."""

    outcome: Outcome
    again_after_s: float | None = None


class PrometheusProvider:
    """One Prometheus. `address` is its root, for instance `https://prometheus.example/` or `https://host/prometheus`.

    Raises SourceMisconfigured for an address or a header that cannot be used.
    """

    def __init__(
        self, session: aiohttp.ClientSession, address: str, clock: Clock, access: Access | None = None
    ) -> None:
        self._access = access or Access()
        self._source = HttpSource(session, self._access)
        root = checked_address(address)
        self._url = (root / "api/v1/query").with_query(root.query)
        self._clock = clock

    async def measure(self, query: Query) -> Outcome:
        """Ask for the value at the window's end. Takes at most the access' `timeout_s`, repetitions included."""
        deadline = self._clock.monotonic() + self._access.timeout_s
        pause_s = FIRST_PAUSE_S
        attempts = 0
        while True:
            attempt = await self._ask(query, max(deadline - self._clock.monotonic(), MIN_ATTEMPT_S), pause_s)
            attempts += 1
            remaining_s = deadline - self._clock.monotonic()
            if attempt.again_after_s is None or attempt.again_after_s + MIN_ATTEMPT_S > remaining_s:
                return with_attempts(attempt, attempts)
            await self._clock.sleep(attempt.again_after_s)
            pause_s *= 2

    async def _ask(self, query: Query, timeout_s: float, pause_s: float) -> Attempt:
        form = {
            "query": query.text,
            "time": f"{query.end.timestamp():.3f}",
            "timeout": f"{int(timeout_s * 1000)}ms",
        }
        try:
            async with self._source.ask(
                "POST", self._url, timeout_s=timeout_s, accept="application/json", form=form
            ) as reply:
                body = await reply.body(MAX_ANSWER_BYTES)
                if reply.status == HTTPStatus.OK and not is_web_page(reply.content_type, body):
                    return Attempt(read_success(body, reply.quote))
                outcome = read_refusal(reply.status, reply.content_type, body, reply.quote)
                if reply.status == HTTPStatus.TOO_MANY_REQUESTS or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    wished_s = retry_after_s(reply.headers.get("Retry-After"), self._clock.now())
                    return Attempt(outcome, max(pause_s, wished_s or 0.0))
                return Attempt(outcome)
        except HttpFailure as failure:
            return Attempt(failed(str(failure)), pause_s if failure.passing else None)


def with_attempts(attempt: Attempt, attempts: int) -> Outcome:
    """Say in an error that it was not the first one."""
    if attempts == 1 or attempt.again_after_s is None:
        return attempt.outcome
    return failed(f"{attempt.outcome.detail} (asked {attempts} times)")


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The pause that a Retry-After header asks for, in seconds; None for no header or one that makes no sense."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)

"""Asks a source again when that may help, as long as the time of one question allows.

A source that asks for a pause (429 with Retry-After) gets it: longer pauses than the time that is left end the question,
and are kept for the questions that follow. This module must not know HTTP bodies or what they mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from adapters.metrics.outcome import Outcome, OutcomeKind
from engine.clock import Clock

FIRST_PAUSE_S = 0.25
MIN_ATTEMPT_S = 0.05
MAX_KEPT_PAUSE_S = 300.0
"""A source that asks for longer pauses is asked again after this one all the same: its header may be wrong."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one request led to.

    `again_after_s` is None when asking again is pointless; otherwise at least this pause (seconds) is made, 0 for the
    usual one.
    """

    outcome: Outcome
    again_after_s: float | None = None


class Repeater:
    """Asks one source. `timeout_s` bounds a whole question, repetitions and pauses included."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._not_before = float("-inf")

    async def ask(self, attempt_once: Callable[[float], Awaitable[Attempt]]) -> Outcome:
        """The outcome of the last attempt. `attempt_once` gets the seconds that it may take."""
        deadline = self._clock.monotonic() + self._timeout_s
        if self._not_before + MIN_ATTEMPT_S > deadline:
            wait_s = self._not_before - self._clock.monotonic()
            return Outcome(OutcomeKind.ERROR, None, f"not asked: the source wants no request for another {wait_s:.0f} s")
        if self._not_before > self._clock.monotonic():
            await self._clock.sleep(self._not_before - self._clock.monotonic())
        pause_s = FIRST_PAUSE_S
        attempts = 0
        while True:
            attempt = await attempt_once(max(deadline - self._clock.monotonic(), MIN_ATTEMPT_S))
            attempts += 1
            if attempt.again_after_s is None:
                return attempt.outcome
            wished_s = max(attempt.again_after_s, pause_s)
            if wished_s + MIN_ATTEMPT_S > deadline - self._clock.monotonic():
                self._keep_pause(attempt.again_after_s)
                return with_attempts(attempt.outcome, attempts)
            await self._clock.sleep(wished_s)
            pause_s *= 2

    def _keep_pause(self, wished_s: float) -> None:
        self._not_before = self._clock.monotonic() + min(wished_s, MAX_KEPT_PAUSE_S)


def with_attempts(outcome: Outcome, attempts: int) -> Outcome:
    """Say in an error that it was not the first one."""
    if attempts == 1:
        return outcome
    return Outcome(outcome.kind, outcome.value, f"{outcome.detail} (asked {attempts} times)")


def again_after_s(status: int, headers: Mapping[str, str], now: datetime, *, reset_header: str = "") -> float | None:
    """The pause before an answer of this status is worth asking for again, in seconds; None when it is not.

    `reset_header` is one that says in how many seconds a rate limit ends, for sources that have such a header.
    """
    if status != HTTPStatus.TOO_MANY_REQUESTS and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    wished_s = retry_after_s(headers.get("Retry-After"), now)
    if wished_s is None and reset_header:
        wished_s = seconds_of(headers.get(reset_header))
    return wished_s or 0.0


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The pause that a Retry-After header asks for, in seconds; None for no header or one that makes no sense."""
    if header is None:
        return None
    if (seconds := seconds_of(header)) is not None:
        return seconds
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)


def seconds_of(header: str | None) -> float | None:
    """The whole seconds that a header gives; None for anything else."""
    text = (header or "").strip(" ")
    return float(text) if text.isascii() and text.isdigit() else None

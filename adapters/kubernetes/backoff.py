"""How long to wait before trying again, so that many clients neither hammer a server in trouble nor come back in
step."""

from __future__ import annotations

from random import Random

LEAST_SECONDS = 0.5
MOST_SECONDS = 30.0
MOST_ASKED_SECONDS = 120.0
"""A server that asks to be left alone for longer is asked again after this."""


class Backoff:
    """Decorrelated jitter: each wait is drawn between the least and three times the last one, so that they grow like an
    exponential back-off and yet differ between clients."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last = LEAST_SECONDS

    def next(self) -> float:
        self._last = min(MOST_SECONDS, self._random.uniform(LEAST_SECONDS, self._last * 3))
        return self._last

    def as_asked(self, seconds: float) -> float:
        """The wait that a `Retry-After` asks for, and up to a second more: others were asked for the same."""
        return min(max(seconds, LEAST_SECONDS), MOST_ASKED_SECONDS) + self._random.uniform(0, 1)

    def reset(self) -> None:
        """It has been going well for long enough."""
        self._last = LEAST_SECONDS

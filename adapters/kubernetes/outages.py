"""For how long the proxies of a cluster may be behind its API server, because that was away.

Whoever watches an API server tries again when it is gone, after waits that grow: client-go's reflectors, on which nearly all
proxies and controllers stand, wait for 0.8 to 30 seconds, up to twice that at random, and begin anew only after two minutes
without trouble. Nobody tells how far they are. So an outage is measured at our own watches, and whoever it may have put off is
given as much time again, twice over: what is written before they are back must not be relied upon.

One broken connection is no outage: proxies between us and the API server end streams as they like. What counts is that a watch
could not be opened again at once. And an API server that comes and goes for half an hour, or no longer serves one kind of object,
is not away: that is how this cluster is, and nobody is waited for any longer.
"""

from __future__ import annotations

from adapters.kubernetes.errors import NothingBehind, TooManyRequests, Unavailable, Unreachable
from engine.clock import Clock

AWAY = (Unreachable, Unavailable, NothingBehind, TooManyRequests)
"""What happens to everybody when an API server is away or has just come back. A 500 may be about one kind of object alone, and
for good: its conversion webhook is broken."""

CALM_SECONDS = 120.0
"""What goes wrong again within this time belongs to the same outage (client-go: `backoffReset`)."""
MOST_BEHIND_SECONDS = 60.0
"""The longest wait of a reflector of client-go: 30 seconds, and as much again at random."""
MOST_SECONDS = 1_800.0
"""For how long an API server is waited for that comes and goes, or of which a part stays away."""


class Outages:
    """Of one cluster. Its watches say when they cannot be opened, and when they are well again."""

    def __init__(self, clock: Clock, behind_seconds: float = 0.0) -> None:
        """`behind_seconds`: for how long others may be behind because of what was before."""
        self._clock = clock
        self._since: dict[str, float] = {}
        """When each watch that is not well failed for the first time."""
        self._began: float | None = None
        self._returned: float | None = None
        """When it first came back."""
        self._last = clock.monotonic()
        if behind_seconds > 0:
            self._began, self._returned = self._last - behind_seconds / 2, self._last

    def fail(self, what: str) -> None:
        """This watch could not be opened."""
        now = self._clock.monotonic()
        if now - self._since.setdefault(what, now) > MOST_SECONDS:
            return  # That is how this cluster is.
        others = self._away(now) - {what}
        if self._began is None or (not others and self._since[what] == now and now - self._last > CALM_SECONDS):
            self._began, self._returned = now, None
        self._last = now

    def recover(self, what: str) -> None:
        if self._since.pop(what, None) is None:
            return
        self._last = self._clock.monotonic()
        if not self._away(self._last) and self._returned is None:
            self._returned = self._last

    def _away(self, now: float) -> set[str]:
        return {what for what, since in self._since.items() if now - since <= MOST_SECONDS}

    @property
    def behind_seconds(self) -> float:
        """For how long from now others may be behind; 0 when they are not. While the API server is away: for how long they
        would be if it came back now."""
        if self._began is None:
            return 0.0
        now = self._clock.monotonic()
        last = now if self._away(now) else self._last
        behind = min(MOST_BEHIND_SECONDS, 2 * (last - self._began))
        until = self._began if self._returned is None else self._returned
        return max(min(last + behind, until + MOST_SECONDS) - now, 0.0)

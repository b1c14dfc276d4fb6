"""For how long the proxies of a cluster may be behind its API server, because that was away.

Whoever watches an API server tries again when it is gone, after waits that grow: client-go's reflectors, on which nearly all
proxies and controllers stand, wait for 0.8 to 30 seconds, up to twice that at random, and begin anew only after two minutes
without trouble. Nobody tells how far they are. So an outage is measured at our own watches, and whoever it may have put off is
given as much time again, twice over: what is written before they are back must not be relied upon.

One broken connection is no outage: proxies between us and the API server end streams as they like. What counts is that a watch
was not open again at once: whether it could not be, or whether it waited by itself, because there had been trouble before, and an
API server went and came back meanwhile. And one that comes and goes for half an hour, or no longer serves one kind of object,
is not away: that is how this cluster is, and nobody is waited for any longer.
"""

from __future__ import annotations

from adapters.kubernetes.errors import NothingBehind, TooManyRequests, Unavailable, Unreachable
from engine.clock import Clock

AWAY = (Unreachable, Unavailable, NothingBehind, TooManyRequests)
"""What happens to everybody when an API server is away or has just come back. A 500 may be about one kind of object alone, and
for good: its conversion webhook is broken."""

PROMPT_SECONDS = 2.0
"""A watch that is open again within this time was open all the time, unless it is known not to have been."""
STARTING_SECONDS = 10.0
"""For how long an API server that is there again may still refuse some of those who ask it, whose wait begins anew with that; and
whoever has heard of something does not take it up at once (Traefik: every two seconds)."""
CALM_SECONDS = 120.0 + STARTING_SECONDS
"""What goes wrong again within this time belongs to the same outage (client-go: `backoffReset`)."""
MOST_BEHIND_SECONDS = 60.0 + STARTING_SECONDS
"""The longest wait of a reflector of client-go: 30 seconds, and as much again at random."""
MOST_SECONDS = 1_800.0
"""For how long an API server is waited for that comes and goes, or of which a part stays away."""


class Outages:
    """Of one cluster. Its watches say when they are not open, at each try, and when they are again."""

    def __init__(self, clock: Clock, behind_seconds: float = 0.0) -> None:
        """`behind_seconds`: for how long others may be behind because of what was before."""
        self._clock = clock
        self._since: dict[str, float] = {}
        """When each watch that is not open failed for the first time."""
        self._away: set[str] = set()
        """Those of them that were not open again at once."""
        self._began: float | None = None
        self._returned: float | None = None
        """When it first came back."""
        self._last = clock.monotonic()
        if behind_seconds > 0:
            self._began = self._last - max(behind_seconds - STARTING_SECONDS, 0.0) / 2
            self._returned = self._last

    def fail(self, what: str) -> None:
        """This watch has ended, or could not be opened."""
        now = self._clock.monotonic()
        self._look(now)
        if what not in self._since:
            self._since[what] = now
        elif now - self._since[what] <= MOST_SECONDS:  # Otherwise that is how this cluster is.
            self._take_for_away(what, now)

    def recover(self, what: str) -> None:
        """It is open, or the API server answers."""
        now = self._clock.monotonic()
        self._look(now)
        if what not in self._since:
            return
        if now - self._since[what] > PROMPT_SECONDS:
            self._take_for_away(what, now)
        del self._since[what]
        if what not in self._away:
            return
        self._away.discard(what)
        self._last = now
        if not self._away and self._returned is None:
            self._returned = now

    def _look(self, now: float) -> None:
        for what, since in self._since.items():
            if now - since > MOST_SECONDS:
                self._away.discard(what)
            elif what in self._away or now - since > PROMPT_SECONDS:
                self._take_for_away(what, now)

    def _take_for_away(self, what: str, now: float) -> None:
        since = self._since[what]
        if what not in self._away and not self._away and (self._began is None or since - self._last > CALM_SECONDS):
            self._began, self._returned = since, None
        self._away.add(what)
        self._last = now

    @property
    def behind_seconds(self) -> float:
        """For how long from now others may be behind; 0 when they are not. While the API server is away: for how long they
        would be if it came back now."""
        now = self._clock.monotonic()
        self._look(now)
        if self._began is None:
            return 0.0
        behind = min(2 * (self._last - self._began) + STARTING_SECONDS, MOST_BEHIND_SECONDS)
        until = self._began if self._returned is None else self._returned
        return max(min(self._last + behind, until + MOST_SECONDS) - now, 0.0)

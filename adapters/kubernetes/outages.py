"""For how long the proxies of a cluster may be behind its API server, because that was away.

Whoever watches an API server tries again when it is gone, after waits that grow: client-go's reflectors, on which nearly all
proxies and controllers stand, wait for 0.8 to 30 seconds, up to twice that at random, and begin anew only after two minutes
without trouble. Nobody tells how far they are. So an outage is measured at our own watches, and whoever it may have put off is
given as much time again, twice over: what is written before they are back must not be relied upon.

One broken connection is no outage: proxies between us and the API server end streams as they like. What counts is that a watch
was not open again at once: whether it could not be, or whether it waited by itself, because there had been trouble before, and an
API server went and came back meanwhile.

Each watch has outages of its own, as each reflector of a proxy has a wait of its own: two kinds of object that are in trouble one
after the other put nobody off for longer. And a kind that comes and goes for half an hour, or stays away while others are
there, is not away: that is how this cluster is, and nobody is waited for any longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from adapters.kubernetes.errors import NothingBehind, TooManyRequests, Unavailable, Unreachable
from engine.clock import Clock

AWAY = (Unreachable, Unavailable, NothingBehind, TooManyRequests)
"""What happens to everybody when an API server is away or has just come back. A 500 may be about one kind of object alone, and
for good: its conversion webhook is broken."""

PROMPT_SECONDS = 5.0
"""A watch that is open again within this time was open all the time, unless it is known not to have been. It waits for up to 1.5
seconds by itself, and an API server that is busy takes its time."""
STARTING_SECONDS = 10.0
"""For how long an API server that is there again may still refuse some of those who ask it, whose wait begins anew with that; and
whoever has heard of something does not take it up at once (Traefik: every two seconds)."""
CALM_SECONDS = 120.0 + STARTING_SECONDS
"""What goes wrong again within this time belongs to the same outage (client-go: `backoffReset`)."""
MOST_BEHIND_SECONDS = 60.0 + STARTING_SECONDS
"""The longest wait of a reflector of client-go: 30 seconds, and as much again at random."""
MOST_SECONDS = 1_800.0
"""For how long an API server is waited for that comes and goes, or of which a part stays away."""


@dataclass(slots=True)
class _Watch:
    """Of one kind of object, and its last outage. All times are the clock's monotonic ones."""

    began: float | None = None
    returned: float | None = None
    """When it was first open again."""
    last: float = 0.0
    """Until when it is known to have been away."""
    closed: float | None = None
    """Since when it has not been open; None when it is."""
    is_away: bool = False
    """It was not open again at once."""

    def close(self, now: float) -> None:
        self.closed = now if self.closed is None else self.closed

    def fail(self, now: float) -> None:
        if self.closed is None:
            self.close(now)
        else:
            self._go_away(self.closed, now)

    def open(self, now: float) -> None:
        self.look(now)
        if self.is_away and self.returned is None:
            self.returned = now
        self.closed, self.is_away = None, False

    def look(self, now: float) -> None:
        if self.closed is not None and (self.is_away or now - self.closed > PROMPT_SECONDS):
            self._go_away(self.closed, now)

    def _go_away(self, since: float, now: float) -> None:
        if not self.is_away and (self.began is None or since - self.last > CALM_SECONDS):
            self.began, self.returned = since, None
        self.is_away, self.last = True, now

    def behind_seconds(self, now: float, *, is_all_away: bool) -> float:
        if self.began is None:
            return 0.0
        behind = min(2 * (self.last - self.began) + STARTING_SECONDS, MOST_BEHIND_SECONDS)
        if self.is_away and is_all_away:
            return behind
        until = (self.began if self.returned is None else self.returned) + MOST_SECONDS
        return max(min(self.last + behind, until) - now, 0.0)


class Outages:
    """Of one cluster. Its watches say when they end, when they cannot be opened, and when they are open."""

    def __init__(self, clock: Clock, behind_seconds: float = 0.0) -> None:
        """`behind_seconds`: for how long others may be behind because of what was before."""
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._before = _Watch()
        """With which each of them begins."""
        if behind_seconds > 0:
            now = clock.monotonic()
            last = now - max(STARTING_SECONDS - behind_seconds, 0.0)
            began = last - max(behind_seconds - STARTING_SECONDS, 0.0) / 2
            self._before = _Watch(began, last, last)

    def close(self, what: str) -> None:
        """This watch has ended, in whatever way."""
        self._watch(what).close(self._clock.monotonic())

    def fail(self, what: str) -> None:
        """It could not be opened. The first time that can be anything, unless it was open before."""
        self._watch(what).fail(self._clock.monotonic())

    def recover(self, what: str) -> None:
        """It is open, or the API server answers."""
        self._watch(what).open(self._clock.monotonic())

    def _watch(self, what: str) -> _Watch:
        if what not in self._watches:
            self._watches[what] = replace(self._before)
        return self._watches[what]

    @property
    def behind_seconds(self) -> float:
        """For how long from now others may be behind; 0 when they are not. While the API server is away: for how long they
        would be if it came back now."""
        now, watches = self._clock.monotonic(), self._watches.values()
        for watch in watches:
            watch.look(now)
        is_all_away = all(watch.closed is not None for watch in watches)
        return max(watch.behind_seconds(now, is_all_away=is_all_away) for watch in (self._before, *watches))

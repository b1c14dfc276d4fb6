"""Faults that a test plans: the server answers wrongly, late, or not at all.

A plan is a list of faults, each for the next requests that match it. The server asks the plan once for each request and
does what the fault says; nothing here touches connections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from adapters.embedded.errors import ApiError
from adapters.embedded.routes import Target


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a fault is for; an empty part matches everything.

    Args:
        verb: as in routes.Verb.
        resource: the plural name without group, as in `deployments`.
        subresource: `status`, `scale` ...; "-" for requests without any.
        dry_run: whether it is for dry runs only, or for none of them.
    """

    verb: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user_agent: str = ""
    dry_run: bool | None = None

    def fits(self, target: Target, user_agent: str) -> bool:
        """Whether a request is meant."""
        return (
            self.verb in {"", target.verb}
            and self.resource in {"", target.resource.plural}
            and self.namespace in {"", target.namespace}
            and self.name in {"", target.name}
            and self.subresource in {"", target.subresource or "-"}
            and user_agent.startswith(self.user_agent)
            and self.dry_run in {None, target.is_dry_run}
        )


class Moment(Enum):
    """When a fault strikes."""

    BEFORE = "before"
    """The request has no effect."""
    AFTER = "after"
    """The request had its effect, but its sender does not learn it."""


@dataclass(slots=True)
class Fault:
    """What happens to matching requests. Without an error and without a cut, they are only late.

    Args:
        times: how many requests it strikes.
        skip: how many matching requests it lets pass first.
        seconds: for how long the request hangs before anything else happens.
        error: what is answered.
        cut: whether the connection is cut instead of an answer.
    """

    match: Match
    times: int
    skip: int = 0
    moment: Moment = Moment.BEFORE
    seconds: float = 0
    error: ApiError | None = None
    cut: bool = False


@dataclass(slots=True)
class Faults:
    """The plan of one server. All faults that match a request are counted; the first one that is due strikes."""

    expire_history: Callable[[], None]
    """Forget the changes so far: watches and lists from an older resourceVersion get 410 Expired."""
    _planned: list[Fault] = field(default_factory=list)
    _expiries: list[Fault] = field(default_factory=list)
    _cut_watches: list[Callable[[Match, bool], int]] = field(default_factory=list)
    _silence_watches: list[Callable[[Match], int]] = field(default_factory=list)

    def answer(
        self, match: Match, error: ApiError, *, times: int = 1, skip: int = 0, after_effect: bool = False
    ) -> None:
        """Answer the next matching requests with an error, before or after they took effect."""
        moment = Moment.AFTER if after_effect else Moment.BEFORE
        self._planned.append(Fault(match, times, skip, moment, error=error))

    def hang(
        self,
        match: Match,
        seconds: float,
        *,
        times: int = 1,
        skip: int = 0,
        after_effect: bool = False,
        error: ApiError | None = None,
    ) -> None:
        """Let the next matching requests hang, then go on, or then answer with an error."""
        moment = Moment.AFTER if after_effect else Moment.BEFORE
        self._planned.append(Fault(match, times, skip, moment, seconds, error))

    def cut(self, match: Match, *, times: int = 1, skip: int = 0, after_effect: bool = False) -> None:
        """Cut the connection of the next matching requests, before or after they took effect."""
        moment = Moment.AFTER if after_effect else Moment.BEFORE
        self._planned.append(Fault(match, times, skip, moment, cut=True))

    def expire_watches(self, match: Match, *, times: int = 1) -> None:
        """Let the next matching watches get 410 Expired as their first event, however recent their version is."""
        self._expiries.append(Fault(match, times))

    def cut_watches(self, match: Match | None = None, *, inside_line: bool = True) -> int:
        """Cut the connections of the open matching watches now, by default in the middle of a line.

        Returns:
            How many there were.
        """
        return sum(cut(match or Match(), inside_line) for cut in self._cut_watches)

    def silence_watches(self, match: Match | None = None) -> int:
        """Let the open matching watches say nothing from now on, as where whoever is in between has lost the other end: their
        connections stay, and neither changes nor bookmarks come.

        Returns:
            How many there were.
        """
        return sum(silence(match or Match()) for silence in self._silence_watches)

    def clear(self) -> None:
        """Drop what is planned and has not struck yet."""
        self._planned.clear()
        self._expiries.clear()

    @property
    def pending(self) -> int:
        """How many strikes are still planned."""
        return sum(fault.times for fault in (*self._planned, *self._expiries))

    # For the server

    def connect_watches(self, cut: Callable[[Match, bool], int], silence: Callable[[Match], int]) -> None:
        """Tell the plan how open watches are cut, and how they are silenced."""
        self._cut_watches.append(cut)
        self._silence_watches.append(silence)

    def take(self, target: Target, user_agent: str) -> Fault | None:
        """The fault that strikes a request, if one does."""
        return _take(self._planned, target, user_agent)

    def takes_expiry(self, target: Target, user_agent: str) -> bool:
        """Whether a watch that begins is told that its version is too old."""
        return _take(self._expiries, target, user_agent) is not None


def _take(planned: list[Fault], target: Target, user_agent: str) -> Fault | None:
    for fault in planned:
        if not fault.match.fits(target, user_agent):
            continue
        if fault.skip > 0:
            fault.skip -= 1
            continue
        fault.times -= 1
        if fault.times <= 0:
            planned.remove(fault)
        return fault
    return None

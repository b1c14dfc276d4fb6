"""Who of those that wait may begin, and when: limits of how many rollouts go on at a time, and the windows of the calendar.

Pure: the time, and how many rollouts are under way, are handed in. Says only when a rollout may begin. One that is under way
goes on, and an undo is never held up; whoever calls this asks for neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import IntEnum

FORESIGHT = timedelta(days=400)
"""How far ahead an opening is looked for: every weekly window comes again within it, unless a freeze covers it all."""
_SLICE = timedelta(days=1)
_PRECISION = timedelta(minutes=1)
"""Windows, freezes and changes of zones' offsets happen at whole minutes."""


class Weekday(IntEnum):
    """As `datetime.weekday()` counts."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


EVERY_DAY = frozenset(Weekday)


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the week: open while a wall clock in its zone shows one of its times.

    So where clocks are set forward, times that no clock shows open nothing; where they are set back, times that clocks show
    twice are open twice.
    """

    opens: time
    closes: time
    """Not open any more at this time. On the next day when it is not after `opens`: equal times are a whole day."""
    zone: tzinfo
    days: frozenset[Weekday] = EVERY_DAY
    """The days on which it opens; after midnight it stays open on the day after."""

    def __str__(self) -> str:
        closes = "24:00" if self.closes == time() else f"{self.closes:%H:%M}"
        return f"{_describe_days(self.days)} {self.opens:%H:%M}-{closes} {self.zone}"

    def is_open(self, at: datetime) -> bool:
        wall = at.astimezone(self.zone)
        clock, today = wall.time(), Weekday(wall.weekday())
        if self.opens < self.closes:
            return today in self.days and self.opens <= clock < self.closes
        yesterday = Weekday((today - 1) % len(Weekday))
        return (today in self.days and clock >= self.opens) or (yesterday in self.days and clock < self.closes)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing begins, whatever the windows say.

    A wall time that clocks show twice or never is taken so that the freeze is the longer one.
    """

    begins: datetime
    """What a wall clock in the zone shows, so without a zone of its own."""
    ends: datetime
    """As `begins`; not frozen any more at this time."""
    zone: tzinfo
    reason: str = ""

    def first(self) -> datetime:
        """The instant of its beginning, in UTC."""
        return min(_instants(self.begins, self.zone))

    def end(self) -> datetime:
        """The instant of its end, in UTC."""
        return max(_instants(self.ends, self.zone))

    def holds(self, at: datetime) -> bool:
        return self.first() <= at < self.end()


@dataclass(frozen=True, slots=True)
class Windows:
    """When rollouts may begin: inside of any of the openings, and outside of every freeze."""

    openings: tuple[Window, ...] = ()
    """None at all: always, but for the freezes."""
    freezes: tuple[Freeze, ...] = ()

    def are_open(self, at: datetime) -> bool:
        if any(freeze.holds(at) for freeze in self.freezes):
            return False
        return not self.openings or any(window.is_open(at) for window in self.openings)


ALWAYS = Windows()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rollouts may be under way at a time; None, or an account that is not named: any number."""

    rollouts: int | None = None
    accounts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rollout that waits for nothing any more but to be admitted."""

    id: str
    account: str


@dataclass(frozen=True, slots=True)
class Admission:
    """Who begins now, and why the others wait."""

    begin: tuple[str, ...]
    """In order of arrival."""
    reasons: Mapping[str, str]
    """One sentence for each candidate that waits, by its id, without a full stop."""
    look_again_at: datetime | None
    """When the first window opens that somebody waits for, in UTC. None when nobody waits for a window that ever opens: then
    there is nothing new before a rollout ends, one arrives, or the settings change."""


# --- windows -----------------------------------------------------------------------------------------------------------


def opens_at(windows: Windows, now: datetime) -> datetime | None:
    """`now` itself if the windows are open; otherwise the next instant at which they are, in UTC, to the minute.

    None if they do not open within `FORESIGHT`. `now` has to be aware.
    """
    if windows.are_open(now):
        return now
    begin = now.astimezone(UTC)
    while begin < now + FORESIGHT:
        end = begin + _SLICE
        turns = sorted(at for at in _turns(windows, begin, end) if begin < at <= end)
        if (found := next((at for at in turns if windows.are_open(at)), None)) is not None:
            return found
        begin = end
    return None


def why_closed(windows: Windows, now: datetime) -> str:
    """What keeps rollouts from beginning at `now` and until when, in one sentence without a full stop; empty if nothing does."""
    if windows.are_open(now):
        return ""
    opening = opens_at(windows, now)
    frozen = [freeze for freeze in windows.freezes if freeze.holds(now)]
    if frozen:
        lasting = max(frozen, key=Freeze.end)
        because = f" ({lasting.reason})" if lasting.reason else ""
        cause, zone = f"rollouts are frozen{because}", lasting.zone
    else:
        kept = "; ".join(map(str, windows.openings))
        cause, zone = f"rollouts begin in their windows only ({kept})", windows.openings[0].zone
    if opening is None:
        return f"{cause}, and there is no opening within {FORESIGHT.days} days: change windows or freezes in the settings"
    return f"{cause}: the next one may begin at {opening.astimezone(zone):%a %Y-%m-%d %H:%M} {zone}"


def _turns(windows: Windows, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every instant of the slice at which the windows may open, and some others."""
    yield from (freeze.end() for freeze in windows.freezes)
    for window in windows.openings:
        for day in _days(begin.astimezone(window.zone).date(), end.astimezone(window.zone).date()):
            yield from _instants(datetime.combine(day, window.opens), window.zone)
        yield from _offset_changes(window.zone, begin, end)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _instants(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """When a clock in the zone shows this: twice the same but where clocks are set back (twice) or forward (never; then as
    the offsets before and after have it)."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _offset_changes(zone: tzinfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The instant at which clocks of the zone are set to another time, if they are in this slice."""

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    before, after = begin.replace(second=0, microsecond=0), end
    if offset(before) == offset(after):
        return
    while after - before > _PRECISION:
        minutes = (after - before) // _PRECISION
        middle = before + max(1, minutes // 2) * _PRECISION
        if offset(middle) == offset(before):
            before = middle
        else:
            after = middle
    yield after.replace(second=0, microsecond=0)


def _describe_days(days: Iterable[Weekday]) -> str:
    """`mon-fri`, `sat, sun`, `mon, wed-fri`, `daily`."""
    chosen = frozenset(days)
    if chosen == EVERY_DAY:
        return "daily"
    runs: list[list[Weekday]] = []
    for day in sorted(chosen):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(_describe_run(run) for run in runs)


def _describe_run(run: Sequence[Weekday]) -> str:
    names = [day.name.lower() for day in run]
    return f"{names[0]}-{names[-1]}" if len(names) > 2 else ", ".join(names)


# --- admission ---------------------------------------------------------------------------------------------------------


def admit(
    waiting: Sequence[Candidate],
    running: Mapping[str, int],
    limits: Limits,
    windows_by_account: Mapping[str, Windows],
    now: datetime,
) -> Admission:
    """Who of `waiting`, which is in order of arrival, begins at `now`.

    `running` counts the rollouts under way by account, undos among them; it may be over a limit that was lowered. An account
    without an entry in `windows_by_account` is always open. A candidate that may not begin for its account's windows or limit
    does not hold up later ones of other accounts; all wait for the limit of the whole. `now` has to be aware.
    """
    under_way = {account: count for account, count in running.items() if count}
    closed: dict[str, tuple[str, datetime | None]] = {}
    begin: list[str] = []
    reasons: dict[str, str] = {}
    for candidate in waiting:
        account = candidate.account
        windows = windows_by_account.get(account, ALWAYS)
        if account not in closed and not windows.are_open(now):
            closed[account] = (why_closed(windows, now), opens_at(windows, now))
        if account in closed:
            reasons[candidate.id] = closed[account][0]
        elif reason := _why_full(account, under_way, limits):
            reasons[candidate.id] = reason
        else:
            begin.append(candidate.id)
            under_way[account] = under_way.get(account, 0) + 1
    openings = [opening for _, opening in closed.values() if opening is not None]
    return Admission(tuple(begin), reasons, min(openings, default=None))


def _why_full(account: str, under_way: Mapping[str, int], limits: Limits) -> str:
    """Which limit is reached, in one sentence; empty when none is."""
    own, total = under_way.get(account, 0), sum(under_way.values())
    most = limits.accounts.get(account)
    if most is not None and own >= most:
        return f"{_counted(own)} under way in account {account}, whose limit is {most}: it begins when there are fewer"
    if limits.rollouts is not None and total >= limits.rollouts:
        return f"{_counted(total)} under way, and the limit is {limits.rollouts}: it begins when there are fewer"
    return ""


def _counted(number: int) -> str:
    return "1 rollout is" if number == 1 else f"{number} rollouts are"

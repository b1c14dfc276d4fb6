"""Who may begin and when: windows against a model that looks at every minute, and limits against their promises."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.admission import (
    ALWAYS,
    EVERY_DAY,
    Candidate,
    Freeze,
    Limits,
    Weekday,
    Window,
    Windows,
    admit,
    opens_at,
    why_closed,
)

BERLIN, KOLKATA, NEW_YORK, LORD_HOWE = map(
    ZoneInfo, ("Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe")
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WORKDAYS = frozenset({Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI})
OFFICE = Window(time(9), time(17), BERLIN, WORKDAYS)
SPRING, AUTUMN = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When Berlin's clocks go from 2 to 3, and from 3 to 2."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def freeze(begins: str, ends: str, reason: str = "", zone: ZoneInfo = BERLIN) -> Freeze:
    return Freeze(datetime.fromisoformat(begins), datetime.fromisoformat(ends), zone, reason)


# --- windows -----------------------------------------------------------------------------------------------------------


def test_without_windows_it_is_always_open() -> None:
    now = utc("2026-01-05T03:00:07")
    assert opens_at(ALWAYS, now) is now
    assert why_closed(ALWAYS, now) == ""


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-01-05T09:00", "2026-01-05T09:00"),
        ("2026-01-05T16:59:59", "2026-01-05T16:59:59"),
        ("2026-01-05T17:00", "2026-01-06T09:00"),
        ("2026-01-05T08:59:59", "2026-01-05T09:00"),
        ("2026-01-09T18:00", "2026-01-12T09:00"),
        ("2026-07-11T12:00", "2026-07-13T09:00"),
    ],
)
def test_office_hours(now: str, opening: str) -> None:
    assert opens_at(Windows((OFFICE,)), berlin(now)) == berlin(opening)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    night = Windows((Window(time(22), time(6), BERLIN, frozenset({Weekday.FRI})),))
    assert night.are_open(berlin("2026-01-10T05:59"))
    assert not night.are_open(berlin("2026-01-09T05:59"))
    assert opens_at(night, berlin("2026-01-10T06:00")) == berlin("2026-01-16T22:00")


def test_equal_times_are_a_whole_day() -> None:
    sunday = Windows((Window(time(), time(), BERLIN, frozenset({Weekday.SUN})),))
    assert opens_at(sunday, berlin("2026-01-10T12:00")) == berlin("2026-01-11T00:00")
    assert sunday.are_open(berlin("2026-01-11T23:59"))
    assert not sunday.are_open(berlin("2026-01-12T00:00"))


def test_times_that_no_clock_shows_open_nothing() -> None:
    """On the last Sunday of March, Berlin's clocks go from 02:00 to 03:00."""
    inside = Windows((Window(time(2, 15), time(2, 45), BERLIN),))
    assert opens_at(inside, berlin("2026-03-29T00:00")) == berlin("2026-03-30T02:15")
    across = Windows((Window(time(2, 30), time(4), BERLIN),))
    assert opens_at(across, berlin("2026-03-29T00:00")) == SPRING


def test_times_that_clocks_show_twice_are_open_twice() -> None:
    """On the last Sunday of October, Berlin's clocks go from 03:00 to 02:00."""
    inside = Windows((Window(time(2, 15), time(2, 45), BERLIN),))
    assert opens_at(inside, berlin("2026-10-25T00:00")) == AUTUMN - 45 * MINUTE
    assert opens_at(inside, AUTUMN - 15 * MINUTE) == AUTUMN + 15 * MINUTE
    across = Windows((Window(time(1), time(2, 30), BERLIN),))
    assert opens_at(across, AUTUMN - 10 * MINUTE) == AUTUMN


def test_in_a_freeze_nothing_begins_and_the_sentence_says_why_and_until_when() -> None:
    windows = Windows((OFFICE,), (freeze("2026-12-24T00:00", "2027-01-02T00:00", "the holidays"),))
    now = berlin("2026-12-28T10:00")
    assert opens_at(windows, now) == berlin("2027-01-04T09:00")
    assert why_closed(windows, now) == (
        "rollouts are frozen (the holidays): the next one may begin at Mon 2027-01-04 09:00 Europe/Berlin"
    )


def test_one_freeze_after_another() -> None:
    windows = Windows(
        freezes=(
            freeze("2026-12-24T00:00", "2026-12-27T00:00"),
            freeze("2026-12-26T12:00", "2026-12-29T00:00", zone=NEW_YORK),
        )
    )
    assert opens_at(windows, berlin("2026-12-24T00:00")) == datetime(2026, 12, 29, tzinfo=NEW_YORK)


def test_where_a_wall_time_is_doubtful_the_freeze_is_the_longer_one() -> None:
    twice = Windows(freezes=(freeze("2026-10-25T02:30", "2026-10-25T02:31"),))
    assert opens_at(twice, AUTUMN - 30 * MINUTE) == AUTUMN + 31 * MINUTE
    assert twice.are_open(AUTUMN - 31 * MINUTE)
    never = Windows(freezes=(freeze("2026-03-29T02:30", "2026-03-29T02:31"),))
    assert opens_at(never, SPRING) == SPRING + 31 * MINUTE


def test_what_stays_closed_for_longer_than_anybody_looks_ahead() -> None:
    windows = Windows((OFFICE,), (freeze("2026-01-01T00:00", "2030-01-01T00:00"),))
    now = berlin("2026-01-05T10:00")
    assert opens_at(windows, now) is None
    assert why_closed(windows, now) == (
        "rollouts are frozen, and there is no opening within 400 days: change windows or freezes in the settings"
    )


def test_the_sentence_names_every_window() -> None:
    weekend = Window(time(20), time(), KOLKATA, frozenset({Weekday.SUN, Weekday.WED}))
    assert why_closed(Windows((OFFICE, weekend)), berlin("2026-01-05T17:30")) == (
        "rollouts begin in their windows only (mon-fri 09:00-17:00 Europe/Berlin; wed, sun 20:00-24:00 Asia/Kolkata): "
        "the next one may begin at Tue 2026-01-06 09:00 Europe/Berlin"
    )
    assert str(Window(time(22), time(6), UTC, EVERY_DAY)) == "daily 22:00-06:00 UTC"


# --- windows, against a look at every minute ---------------------------------------------------------------------------


ZONES = st.sampled_from([BERLIN, KOLKATA, NEW_YORK, LORD_HOWE])
TIMES = st.times(min_value=time(), max_value=time(23, 59)).map(lambda at: at.replace(second=0, microsecond=0))
NIGHT_TIMES = st.sampled_from([time(hour, minute) for hour in range(5) for minute in (0, 15, 30, 45)])
HORIZON = 4 * DAY
CHANGES = [
    SPRING,
    AUTUMN,
    utc("2026-03-08T07:00"),
    utc("2026-11-01T06:00"),
    utc("2026-04-04T15:00"),
    utc("2026-10-03T15:30"),
]
"""When clocks of the zones above are set to another time, those of Lord Howe by half an hour."""
NOWS = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(CHANGES),
    st.integers(-2 * 86_400, 86_400),
)
WINDOWS = st.builds(
    Window,
    TIMES | NIGHT_TIMES,
    TIMES | NIGHT_TIMES,
    ZONES,
    st.frozensets(st.sampled_from(Weekday), min_size=1) | st.just(EVERY_DAY),
)


@st.composite
def freezes_near(draw: st.DrawFn, now: datetime) -> Freeze:
    zone = draw(ZONES)
    begins = now.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0) + draw(st.integers(-2880, 2880)) * MINUTE
    return Freeze(begins, begins + draw(st.integers(1, 2880)) * MINUTE, zone)


def shown(at: datetime, zone: tzinfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def moments(wall: datetime, zone: tzinfo) -> list[datetime]:
    """Every minute at which a clock shows it; when none does, when it would with the offsets of the days around."""
    around = (wall.replace(tzinfo=zone) + day for day in (-DAY, DAY))
    guesses = [wall.replace(tzinfo=UTC) - (at.utcoffset() or timedelta()) for at in around]
    return [guess for guess in guesses if shown(guess, zone) == wall] or guesses


def open_times_of_the_week(window: Window) -> set[tuple[int, time]]:
    open_times = set()
    for day in window.days:
        at = utc("2026-01-05") + day * DAY + timedelta(hours=window.opens.hour, minutes=window.opens.minute)
        while True:
            open_times.add((at.weekday(), at.time()))
            at += MINUTE
            if at.time() == window.closes:
                break
    return open_times


def first_open_minute(windows: Windows, now: datetime) -> datetime | None:
    """By looking at each: `now`, and then every whole minute up to the horizon."""
    weeks = [(window.zone, open_times_of_the_week(window)) for window in windows.openings]
    frozen = [
        (min(moments(one.begins, one.zone)), max(moments(one.ends, one.zone)))
        for one in windows.freezes
    ]
    minute = now.replace(second=0, microsecond=0)
    for number in range(HORIZON // MINUTE):
        at = minute + number * MINUTE
        if any(begins <= at < ends for begins, ends in frozen):
            continue
        if not weeks or any((shown(at, zone).weekday(), shown(at, zone).time()) in week for zone, week in weeks):
            return max(at, now)
    return None


@settings(max_examples=150, deadline=None)
@given(st.data(), NOWS, st.lists(WINDOWS, max_size=2))
def test_windows_open_at_the_first_minute_that_is_open(data: st.DataObject, now: datetime, openings: list[Window]) -> None:
    windows = Windows(tuple(openings), tuple(data.draw(st.lists(freezes_near(now), max_size=2))))
    expected, found = first_open_minute(windows, now), opens_at(windows, now)
    if expected is not None:
        assert found == expected
    else:
        assert found is None or found >= now.replace(second=0) + HORIZON
    assert (why_closed(windows, now) == "") == (found == now)


# --- admission ---------------------------------------------------------------------------------------------------------


NOW = berlin("2026-01-05T10:00")
CLOSED = Windows((Window(time(20), time(22), BERLIN),))
LATER = Windows((Window(time(21), time(22), BERLIN),))


def test_without_limits_all_begin_in_order_of_arrival() -> None:
    waiting = [Candidate("c", "east"), Candidate("a", "west"), Candidate("b", "west")]
    admission = admit(waiting, {"west": 40}, Limits(), {}, NOW)
    assert admission.begin == ("c", "a", "b")
    assert not admission.reasons
    assert admission.look_again_at is None


def test_a_full_account_does_not_hold_up_the_others() -> None:
    waiting = [Candidate("a", "west"), Candidate("b", "west"), Candidate("c", "east"), Candidate("d", "east")]
    admission = admit(waiting, {"west": 1}, Limits(rollouts=3, accounts={"west": 2}), {}, NOW)
    assert admission.begin == ("a", "c")
    assert admission.reasons == {
        "b": "2 rollouts are under way in account west, whose limit is 2: it begins when there are fewer",
        "d": "3 rollouts are under way, and the limit is 3: it begins when there are fewer",
    }
    assert admission.look_again_at is None


def test_a_lowered_limit_lets_nobody_begin_before_there_are_fewer() -> None:
    admission = admit([Candidate("a", "west")], {"west": 1, "east": 4}, Limits(rollouts=2), {}, NOW)
    assert admission.begin == ()
    assert admission.reasons == {"a": "5 rollouts are under way, and the limit is 2: it begins when there are fewer"}


def test_those_who_wait_for_a_window_take_no_place_and_the_first_opening_is_looked_at() -> None:
    waiting = [Candidate("a", "west"), Candidate("b", "south"), Candidate("c", "east")]
    admission = admit(waiting, {}, Limits(rollouts=1), {"west": LATER, "south": CLOSED}, NOW)
    assert admission.begin == ("c",)
    assert admission.reasons["a"] == (
        "rollouts begin in their windows only (daily 21:00-22:00 Europe/Berlin): "
        "the next one may begin at Mon 2026-01-05 21:00 Europe/Berlin"
    )
    assert admission.look_again_at == berlin("2026-01-05T20:00")


ACCOUNTS = st.sampled_from(["west", "east", "south"])
COUNTS = st.integers(0, 3)


@given(
    st.lists(ACCOUNTS, max_size=8),
    st.dictionaries(ACCOUNTS, COUNTS),
    st.builds(Limits, st.none() | st.integers(1, 6), st.dictionaries(ACCOUNTS, st.integers(1, 3))),
    st.dictionaries(ACCOUNTS, st.sampled_from([ALWAYS, CLOSED, LATER])),
)
def test_limits_and_windows_are_kept_and_nobody_waits_without_a_cause(
    arrivals: list[str], running: dict[str, int], limits: Limits, windows: dict[str, Windows]
) -> None:
    waiting = [Candidate(f"{number}-{account}", account) for number, account in enumerate(arrivals)]
    admission = admit(waiting, running, limits, windows, NOW)
    begun = [one for one in waiting if one.id in admission.begin]
    assert admission.begin == tuple(one.id for one in begun)
    assert set(admission.begin) | set(admission.reasons) == {one.id for one in waiting}
    assert not set(admission.begin) & set(admission.reasons)
    after = Counter(running) + Counter(one.account for one in begun)
    most = len(waiting) + sum(running.values()) if limits.rollouts is None else limits.rollouts
    for account in {one.account for one in begun}:
        assert after[account] <= limits.accounts.get(account, most)
        assert after.total() <= most
        assert windows.get(account, ALWAYS) is ALWAYS
    for one in waiting:
        if one.id in admission.reasons:
            is_full = after.total() >= most or after[one.account] >= limits.accounts.get(one.account, most + 1)
            assert is_full or windows.get(one.account, ALWAYS) is not ALWAYS
    awaited = [windows.get(one.account, ALWAYS) for one in waiting]
    openings = [opening for one in awaited if (opening := opens_at(one, NOW)) != NOW]
    assert admission.look_again_at == min((one for one in openings if one), default=None)

"""The settings that say when rollouts may begin and how many at a time, and what they mean to the engine.

The rules themselves are in `engine.admission`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapters.settings_sentences import sentence
from engine.admission import Freeze, Limits, Weekday, Window, Windows
from strategies.suggestions import nearest, quote

if TYPE_CHECKING:
    from adapters.settings import Settings

_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_MIDNIGHT = "24:00"
_WALL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::00)?)?")


def _require_clock(value: str) -> str:
    if _CLOCK.fullmatch(value) is None:
        raise sentence('is not a time of the day; expected hours and minutes, such as "09:30"')
    return value


def _require_end(value: str) -> str:
    if value != _MIDNIGHT and _CLOCK.fullmatch(value) is None:
        raise sentence('is not a time of the day; expected hours and minutes, such as "17:30", or "24:00"')
    return value


def _require_wall(value: str) -> str:
    try:
        if _WALL.fullmatch(value) is None:
            raise ValueError
        datetime.fromisoformat(value)
    except ValueError:
        raise sentence('is not a date; expected a day, or a day and a time, such as "2026-12-24T18:00"') from None
    return value


def _require_zone(value: str) -> str:
    known = available_timezones()
    if value not in known:
        # Regions go by their cities, and the city is what people get right.
        cities = {zone.rpartition("/")[2]: zone for zone in sorted(known)}
        city = nearest(value.rpartition("/")[2], cities)
        advice = f"did you mean {quote(cities[city])}?" if city else 'expected a name such as "Europe/Berlin" or "UTC"'
        raise sentence(f"is not a time zone that is known here; {advice}")
    return value


Count: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]
Clock: TypeAlias = Annotated[str, AfterValidator(_require_clock)]
End: TypeAlias = Annotated[str, AfterValidator(_require_end)]
WallTime: TypeAlias = Annotated[str, AfterValidator(_require_wall)]
Zone: TypeAlias = Annotated[str, AfterValidator(_require_zone)]


class _Model(BaseModel):
    """As the rest of the file, but only by the names that stand there: `from` is a name that Python has no field for."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LimitSettings(_Model):
    rollouts: Count | None = None
    """How many may be under way at a time, on all accounts together."""


class Day(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class WindowSettings(_Model):
    """A time of the week in which rollouts may begin."""

    days: tuple[Day, ...] = Field(default=tuple(Day), min_length=1)
    begins: Clock = Field(alias="from")
    ends: End = Field(alias="to")
    """Not after `begins`: on the next day."""
    timezone: Zone = "UTC"

    @model_validator(mode="after")
    def _require_length(self) -> WindowSettings:
        if self.begins == self.ends:
            raise sentence('begins and ends at the same time; for the whole day write from "00:00" to "24:00"')
        return self

    def as_window(self) -> Window:
        closes = time() if self.ends == _MIDNIGHT else time.fromisoformat(self.ends)
        days = frozenset(Weekday[day.name] for day in self.days)
        return Window(time.fromisoformat(self.begins), closes, ZoneInfo(self.timezone), days)


class FreezeSettings(_Model):
    """A time in which no rollout begins."""

    begins: WallTime = Field(alias="from")
    ends: WallTime = Field(alias="to")
    timezone: Zone = "UTC"
    reason: str = ""

    @model_validator(mode="after")
    def _require_length(self) -> FreezeSettings:
        if datetime.fromisoformat(self.ends) <= datetime.fromisoformat(self.begins):
            raise sentence("has its end before its beginning, or at it; nothing would be frozen")
        return self

    def as_freeze(self) -> Freeze:
        begins, ends = datetime.fromisoformat(self.begins), datetime.fromisoformat(self.ends)
        return Freeze(begins, ends, ZoneInfo(self.timezone), self.reason)


# --- what they mean ----------------------------------------------------------------------------------------------------


def limits_of(settings: Settings) -> Limits:
    """How many rollouts may be under way, on all accounts and on each."""
    named = {name: account.limit for name, account in settings.accounts.items() if account.limit is not None}
    return Limits(settings.limits.rollouts, named)


def windows_of(settings: Settings) -> Mapping[str, Windows]:
    """When rollouts may begin, for every account of the settings: in its own windows, or else in those of all; and in no
    freeze, of its own or of all."""
    return {
        name: _windows(account.windows or settings.windows, (*settings.freezes, *account.freezes))
        for name, account in settings.accounts.items()
    }


def _windows(openings: Iterable[WindowSettings], freezes: Iterable[FreezeSettings]) -> Windows:
    return Windows(tuple(one.as_window() for one in openings), tuple(one.as_freeze() for one in freezes))

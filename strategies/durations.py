"""Durations as deploy files write them: a number and its unit. Pure arithmetic."""

from __future__ import annotations

from enum import StrEnum

LONGEST_SECONDS = 365 * 86_400
"""No duration of a deploy file is longer than a year, so that every deadline is a date."""


class Unit(StrEnum):
    SECONDS = "seconds"
    MINUTES = "minutes"
    HOURS = "hours"


_SECONDS = {Unit.SECONDS: 1, Unit.MINUTES: 60, Unit.HOURS: 3600}


def to_seconds(amount: float, unit: Unit) -> float:
    return float(amount * _SECONDS[unit])


def in_words(seconds: float) -> str:
    """`90 seconds`, `30 minutes`, `24 hours`: the largest unit that comes out even."""
    for unit in (Unit.HOURS, Unit.MINUTES):
        amount = seconds / _SECONDS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)} {unit if amount != 1 else unit.removesuffix('s')}"
    return f"{seconds:g} {'second' if seconds == 1 else 'seconds'}"

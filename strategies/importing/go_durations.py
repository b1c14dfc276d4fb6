"""Durations as Go programs write them (`1h30m`, `500ms`), and as deploy files do. Pure arithmetic."""

from __future__ import annotations

import math
import re

from strategies.durations import LONGEST_SECONDS
from strategies.importing.writing import Flow
from strategies.suggestions import quote

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = (("hours", 3600), ("minutes", 60))


class DurationError(ValueError):
    """The message says what is wrong with the duration."""


def read_seconds(written: object) -> float:
    """A duration of Go's `time.ParseDuration`, or a whole number of seconds. Raises `DurationError`."""
    if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
        return float(min(written, LONGEST_SECONDS * 10))
    if isinstance(written, str):
        text = written.strip().removeprefix("+")
        if text.isascii() and text.isdecimal():
            return float(text[:12])
        if text and _PART.sub("", text) == "":
            return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))
    raise DurationError(f"is {quote(str(written))}; expected a duration such as 30, 90s, 10m or 1h30m")


def whole_seconds(seconds: float, least: int = 0) -> int:
    """As deploy files can hold it: a whole number, rounded up, at most a year."""
    return min(max(math.ceil(round(seconds, 6)), least), LONGEST_SECONDS)


def amount_and_unit(seconds: int) -> tuple[int, str]:
    """The largest unit that comes out even."""
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return seconds // length, unit
    return seconds, "seconds"


def duration(seconds: float, least: int = 0) -> Flow:
    """The `duration` and `unit` of a deploy file."""
    amount, unit = amount_and_unit(whole_seconds(seconds, least))
    return Flow({"duration": amount, "unit": unit})

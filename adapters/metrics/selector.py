"""Series, and selectors that say which of them are meant: `name{label="x",label=~"re"}`.

Meanings follow PromQL: a label that is not there equals the empty text, a regular expression has to match the whole
value. Patterns come from deploy files and values from metric pages, and Python's engine backtracks; so patterns are
admitted only when the work that they can cause is bounded (`check_pattern`). This module must not know where series
come from.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from adapters.bounded_patterns import LONGEST_TEXT, PatternUnbounded, pattern_work

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs of label name and value, sorted by name: hashable, and equal when the label sets are equal."""

MAX_PATTERN_LENGTH = 200
MAX_PATTERN_WORK = 2**25
"""Bound of the ways in which a pattern can be tried on one value: three `.*` in a row, or two and some alternatives."""
MAX_MATCHED_LENGTH = LONGEST_TEXT


class PatternError(ValueError):
    """A regular expression that is not valid, or that could take too long."""


class ValueTooLong(ValueError):
    """A label value is too long to try a regular expression on it."""


class Series(NamedTuple):
    """The identity of a time series. A named tuple, because it is hashed for every sample of every scrape."""

    name: str
    labels: Labels

    def __str__(self) -> str:
        pairs = ",".join(f"{label}={quote_text(value)}" for label, value in self.labels)
        return f"{self.name}{{{pairs}}}" if pairs else self.name


class Match(StrEnum):
    """How a label's value is compared."""

    EQUAL = "="
    UNEQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. The value of a MATCHES or MATCHES_NOT has passed `check_pattern`."""

    label: str
    match: Match
    value: str

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a label set meets the condition. Raises ValueTooLong for a pattern on an overlong value."""
        value = labels.get(self.label, "")
        if self.match is Match.EQUAL:
            return value == self.value
        if self.match is Match.UNEQUAL:
            return value != self.value
        if len(value) > MAX_MATCHED_LENGTH:
            raise ValueTooLong(
                f"the value of label {self.label!r} has {len(value)} characters, "
                f"a regular expression is tried on at most {MAX_MATCHED_LENGTH}: compare it with = or !="
            )
        return (compile_pattern(self.value).fullmatch(value) is not None) == (self.match is Match.MATCHES)

    def __str__(self) -> str:
        return f"{self.label}{self.match.value}{quote_text(self.value)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of one metric name whose labels meet all conditions."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name with these labels is meant. Raises ValueTooLong."""
        return all(matcher.accepts(labels) for matcher in self.matchers)

    def __str__(self) -> str:
        conditions = ",".join(map(str, self.matchers))
        return f"{self.name}{{{conditions}}}" if conditions else self.name


def quote_text(text: str) -> str:
    """A text between double quotes, escaped as in PromQL and in the text exposition format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile an admitted pattern. As in Prometheus, a dot also matches a line break."""
    with warnings.catch_warnings():
        # `[[` in a class is legal and means what it meant; Python only announces that it may change one day.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(pattern, re.DOTALL)


def check_pattern(pattern: str) -> None:
    """Admit a pattern, or raise PatternError with the reason.

    Refused besides invalid ones: lookaround, back references and flags (Prometheus' RE2 has no lookaround and no back
    references either), repeated groups, and more nested choices than MAX_PATTERN_WORK.
    """
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(
            f"the regular expression has {len(pattern)} characters, at most {MAX_PATTERN_LENGTH} are allowed"
        )
    try:
        compile_pattern(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"the regular expression is not valid: {error}") from error
    try:
        work = pattern_work(pattern)
    except PatternUnbounded as error:
        raise PatternError(str(error)) from error
    if work > MAX_PATTERN_WORK:
        raise PatternError(
            "the regular expression could take too long: use fewer `*`, `+`, `?` and `|`, or two selectors"
        )

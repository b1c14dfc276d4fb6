"""The expressions that scraped pages are measured with, as a tree; `str` of a tree is a text that parses to the same
tree.

A small language that looks like PromQL: `rate(sel)`, `increase(sel)`, `sum(sel)`, `avg(sel)`, `max(sel)`, `min(sel)`,
`quantile(0.99, sel)`, `ratio(sel, sel)`, `default(expression, 0)`, bare selectors, numbers, `+ - * /` and parentheses.
A selector may be followed by a range, `[30s]`, that narrows the window. Unlike PromQL, everything is added up over all
series and endpoints. This module must not know how a text is parsed or how a tree is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from adapters.metrics.selector import Selector

UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


@dataclass(frozen=True, slots=True)
class Selection:
    """Series, and the last part of the window that counts: `range_ms` milliseconds, or all of it.

    Alone: one series' value.
    """

    selector: Selector
    range_ms: int | None = None

    def __str__(self) -> str:
        return str(self.selector) if self.range_ms is None else f"{self.selector}[{format_duration(self.range_ms)}]"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, zero or above (a minus sign is a Negation)."""

    value: float

    def __str__(self) -> str:
        return format_number(self.value)


class Function(StrEnum):
    """What is made of the selected series."""

    RATE = "rate"
    """Rise of counters per second."""
    INCREASE = "increase"
    """Rise of counters between the first and the last sample. Nothing is extrapolated: requests stay whole numbers."""
    SUM = "sum"
    AVG = "avg"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Call:
    """One of the functions of one selection: counters over the window, or gauges at its end."""

    function: Function
    selection: Selection

    def __str__(self) -> str:
        return f"{self.function.value}({self.selection})"


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile, 0 to 1, of what a histogram's `_bucket` counters counted in the window.

    Envoy brings its histograms up to date only every `stats_flush_interval` (5 s unless set), so the window should be
    longer than that.
    """

    quantile: float
    buckets: Selection

    def __str__(self) -> str:
        return f"quantile({format_number(self.quantile)}, {self.buckets})"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Increase of a part by increase of the whole. A part without series is 0 where the whole has requests."""

    part: Selection
    whole: Selection

    def __str__(self) -> str:
        return f"ratio({self.part}, {self.whole})"


@dataclass(frozen=True, slots=True)
class Default:
    """An expression, or a number where it has nothing to measure."""

    expression: Expression
    otherwise: float

    def __str__(self) -> str:
        return f"default({self.expression}, {format_number(self.otherwise)})"


@dataclass(frozen=True, slots=True)
class Negation:
    operand: Expression

    def __str__(self) -> str:
        return f"-({self.operand})" if isinstance(self.operand, Arithmetic) else f"-{self.operand}"


class Operator(StrEnum):
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"

    @property
    def binds(self) -> int:
        """How tightly: what is higher is calculated first."""
        return 1 if self in (Operator.ADD, Operator.SUBTRACT) else 2


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Operator
    left: Expression
    right: Expression

    def __str__(self) -> str:
        left = f"({self.left})" if self._needs_parentheses(self.left, 0) else str(self.left)
        right = f"({self.right})" if self._needs_parentheses(self.right, 1) else str(self.right)
        return f"{left} {self.operator.value} {right}"

    def _needs_parentheses(self, side: Expression, to_the_right: int) -> bool:
        # Operators that bind equally are calculated from the left, so only the right side has to be kept together.
        return isinstance(side, Arithmetic) and side.operator.binds < self.operator.binds + to_the_right


Expression: TypeAlias = Selection | Number | Call | Quantile | Ratio | Default | Negation | Arithmetic


def selectors_of(expression: Expression) -> Iterator[Selector]:
    """The selectors of a tree, in order, repeated ones too."""
    match expression:
        case Selection():
            yield expression.selector
        case Call(selection=selection) | Quantile(buckets=selection):
            yield selection.selector
        case Ratio():
            yield expression.part.selector
            yield expression.whole.selector
        case Default(expression=inner) | Negation(operand=inner):
            yield from selectors_of(inner)
        case Arithmetic():
            yield from selectors_of(expression.left)
            yield from selectors_of(expression.right)
        case Number():
            pass


def format_number(number: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def format_duration(milliseconds: int) -> str:
    """A duration as PromQL writes it, for instance `1m30s`."""
    parts = []
    for unit, size in UNITS_MS.items():
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)

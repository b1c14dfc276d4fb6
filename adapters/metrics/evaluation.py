"""Calculates an expression over a window of scrapes. It must not know how either came to be."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from adapters.metrics.expression import (
    Arithmetic,
    Call,
    Default,
    Expression,
    Function,
    Negation,
    Number,
    Operator,
    Quantile,
    Ratio,
    Selection,
)
from adapters.metrics.histogram import interpolate_quantile
from adapters.metrics.outcome import Outcome, OutcomeKind
from adapters.metrics.selector import ValueTooLong
from adapters.metrics.window import EndpointsFail, NothingThere, NotMeasured, Rise, SeveralThere, TooFewSamples, Window

SHOWN_SERIES = 3
SHOWN_ENDPOINTS = 2


def evaluate(expression: Expression, window: Window) -> Outcome:
    """The outcome of an expression. Never raises."""
    evaluation = Evaluation(window)
    try:
        value = evaluation.calculate(expression)
    except NotMeasured as reason:
        return Outcome(reason.kind, None, with_notes(str(reason), evaluation.notes))
    except ValueTooLong as error:
        return Outcome(OutcomeKind.ERROR, None, str(error))
    notes = [*evaluation.notes, *describe_window(window)]
    if not math.isfinite(value):
        return Outcome(OutcomeKind.NOT_A_NUMBER, None, with_notes(f"the result is {value}", notes))
    return Outcome(OutcomeKind.VALUE, value, with_notes(f"{value:.6g}", notes))


class Evaluation:
    """One calculation, and what is to be said about it."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.notes: list[str] = []

    def calculate(self, expression: Expression) -> float:
        match expression:
            case Number():
                return expression.value
            case Selection():
                return self._single(expression)
            case Call(function=Function.RATE | Function.INCREASE):
                return self._counted(expression)
            case Call():
                return self._gauged(expression)
            case Quantile():
                return self._quantile(expression)
            case Ratio():
                return self._ratio(expression)
            case Default():
                return self._default(expression)
            case Negation():
                return -self.calculate(expression.operand)
            case Arithmetic():
                return self._arithmetic(expression)

    def _rises(self, selection: Selection) -> list[Rise]:
        return self._window.rises(selection.selector, selection.range_ms)

    def _single(self, selection: Selection) -> float:
        found = self._window.latest(selection.selector, selection.range_ms)
        if len(found) > 1:
            shown = ", ".join(str(series) for series, _ in found[:SHOWN_SERIES])
            more = f" and {len(found) - SHOWN_SERIES} more" if len(found) > SHOWN_SERIES else ""
            raise SeveralThere(
                f"{selection} matches {len(found)} series: {shown}{more}. Write sum(...) or another function"
            )
        return found[0][1]

    def _counted(self, call: Call) -> float:
        rises = self._rises(call.selection)
        if call.function is Function.INCREASE:
            return total(rises)
        return sum(sum(rise.by_series.values()) / rise.seconds * rise.share for rise in rises)

    def _gauged(self, call: Call) -> float:
        values = [value for _, value in self._window.latest(call.selection.selector, call.selection.range_ms)]
        if any(math.isnan(value) for value in values):
            return math.nan
        match call.function:
            case Function.MAX:
                return max(values)
            case Function.MIN:
                return min(values)
            case Function.AVG:
                return sum(values) / len(values)
            case _:
                return sum(values)

    def _quantile(self, expression: Quantile) -> float:
        counts: dict[float, float] = defaultdict(float)
        for rise in self._rises(expression.buckets):
            for series, increase in rise.by_series.items():
                counts[upper_bound(dict(series.labels).get("le", ""), str(series))] += increase
        if math.inf not in counts or len(counts) < 2:
            raise BadHistogram(
                f'{expression.buckets} has no whole histogram: buckets with a bound and one with le="+Inf"'
            )
        if not counts[math.inf] and not any(counts.values()):
            raise NothingThere(f"nothing was observed in the window: {expression.buckets} did not rise")
        return interpolate_quantile(expression.quantile, counts)

    def _ratio(self, ratio: Ratio) -> float:
        whole = total(self._rises(ratio.whole))
        if whole == 0:
            raise NothingThere(f"no requests in the window: {ratio.whole} did not rise")
        part = 0.0
        try:
            part = total(self._rises(ratio.part))
        except NothingThere as reason:
            self.notes.append(f"the part counts as 0, because {reason}")
        return part / whole

    def _default(self, default: Default) -> float:
        try:
            return self.calculate(default.expression)
        except NothingThere as reason:
            self.notes.append(f"the default, because {reason}")
            return default.otherwise

    def _arithmetic(self, expression: Arithmetic) -> float:
        left, right = self.calculate(expression.left), self.calculate(expression.right)
        match expression.operator:
            case Operator.ADD:
                return left + right
            case Operator.SUBTRACT:
                return left - right
            case Operator.MULTIPLY:
                return left * right
            case Operator.DIVIDE:
                return self._divide(left, right)

    def _divide(self, left: float, right: float) -> float:
        if right == 0:
            self.notes.append(f"{left:.6g} was divided by 0")
            return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
        return left / right


class BadHistogram(NotMeasured):
    """What is called a histogram is none."""

    kind = OutcomeKind.ERROR


def total(rises: Sequence[Rise]) -> float:
    return sum(sum(rise.by_series.values()) for rise in rises)


def upper_bound(text: str, series: str) -> float:
    """The value of a `le` label. Raises BadHistogram."""
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise BadHistogram(
            f"{series} is no bucket of a histogram: it needs a label `le` with a number, but has {text!r}"
        )
    return bound


def describe_window(window: Window) -> list[str]:
    """How much was seen, and which endpoints have gaps."""
    try:
        readings = window.read(None)
    except (TooFewSamples, EndpointsFail):
        return []
    samples = sum(len(reading.good) for reading in readings)
    covered_s = max(reading.seconds for reading in readings)
    asked_s = (window.end - window.start).total_seconds()
    endpoints = "1 endpoint" if len(readings) == 1 else f"{len(readings)} endpoints"
    notes = [f"{samples} scrapes of {endpoints} over {covered_s:.1f} of {asked_s:.1f} s"]
    gaps = [reading for reading in readings if len(reading.good) < len(reading.visits)]
    for reading in gaps[:SHOWN_ENDPOINTS]:
        failed = [visit for visit in reading.visits if visit.failure]
        notes.append(
            f"{len(failed)} of {len(reading.visits)} scrapes failed, the last one because {failed[-1].failure}"
        )
    if len(gaps) > SHOWN_ENDPOINTS:
        notes.append(f"{len(gaps) - SHOWN_ENDPOINTS} more endpoints have gaps")
    return notes


def with_notes(text: str, notes: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys([text, *notes]))

"""Judging an analysis: samples against limits, and what measurements without a value mean. Pure arithmetic, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto

from msgspec import Struct

from engine.events import Measured, MeasureOutcome
from engine.model import Analysis, Gate, Lookback, NoDataPolicy, Query, Sample, Tally, Verdict


class RunResult(Enum):
    COUNTED = auto()
    OUTSIDE = auto()
    """It counts, and a value is outside of its limits."""
    REPEAT = auto()
    """No usable value, and the policy is to measure again: the run does not count."""
    FAILED = auto()
    """The whole analysis has failed with it."""


class Run(Struct, frozen=True):
    """What one run came to."""

    result: RunResult
    sample: Sample
    text: str


def due_at(analysis: Analysis, gate: Gate) -> datetime:
    """When the next run is measured: at the first point of the grid of intervals, from the start of the step, that is later than
    the run before it. After a time in which nobody measured, runs are not made up for: they would all see the same window."""
    return gate.started_at + timedelta(seconds=analysis.interval_seconds * (gate.ticks + 1))


def tick_at(analysis: Analysis, gate: Gate, now: datetime) -> int:
    """The point of the grid that a run measured now stands for."""
    return max(gate.ticks + 1, int((now - gate.started_at) / timedelta(seconds=analysis.interval_seconds)))


def window(analysis: Analysis, started_at: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The time that one run measures: from the start of the step (growing), or the last interval (sliding)."""
    if analysis.lookback is Lookback.GROWING:
        return started_at, now
    return max(started_at, now - timedelta(seconds=analysis.interval_seconds)), now


def judge_run(analysis: Analysis, results: tuple[Measured, ...], at: datetime) -> Run:
    """Each value against its limits, and each missing one by its query's policy."""
    by_name = {result.query: result for result in results}
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    found = {RunResult.COUNTED}
    sentences: list[str] = []
    for query in analysis.queries:
        result = by_name.get(query.name, Measured(query.name, MeasureOutcome.ERROR, detail="the provider gave no answer"))
        if result.outcome is MeasureOutcome.VALUE and result.value is not None:
            values[query.name] = result.value
            sentences.append(f"{query.name} = {result.value:g}")
            if _judges_each_run(analysis) and not within_limits(query, result.value):
                found.add(RunResult.FAILED if analysis.abort_on_failed else RunResult.OUTSIDE)
                sentences[-1] += f", outside of {describe_limits(query)}"
            continue
        values[query.name] = None
        reasons[query.name] = f"{result.outcome}: {result.detail}" if result.detail else str(result.outcome)
        sentences.append(f"{query.name} has no value ({reasons[query.name]})")
        if query.no_data is NoDataPolicy.FAIL:
            found.add(RunResult.FAILED)
        elif query.no_data in (NoDataPolicy.EXTEND, NoDataPolicy.HOLD):
            found.add(RunResult.REPEAT)
    worst = next(one for one in _BY_WEIGHT if one in found)
    return Run(worst, Sample(at, values, reasons), "; ".join(sentences))


_BY_WEIGHT = (RunResult.FAILED, RunResult.REPEAT, RunResult.OUTSIDE, RunResult.COUNTED)


def _judges_each_run(analysis: Analysis) -> bool:
    return analysis.abort_on_failed or analysis.failure_budget is not None


def add(tallies: Mapping[str, Tally], sample: Sample) -> dict[str, Tally]:
    """The tallies with one more run in them."""
    counted = dict(tallies)
    for query, value in sample.values.items():
        if value is not None:
            before = counted.get(query, Tally())
            counted[query] = Tally(before.total + value, before.count + 1)
    return counted


def judge(analysis: Analysis, gate: Gate) -> tuple[Verdict, str]:
    """The verdict on all runs. Without a failure budget, the mean of each query's values against its limits, where equality
    passes; with one, that not more runs were outside of them than it allows.

    A query none of whose runs had a value passes: only `NoDataPolicy.PASS` lets such runs count.
    """
    if analysis.failure_budget is not None:
        return Verdict.PASSED, describe_budget(analysis, gate)
    sentences: list[str] = []
    verdict = Verdict.PASSED
    for query in analysis.queries:
        tally = gate.tallies.get(query.name, Tally())
        if not tally.count:
            sentences.append(f"{query.name} had no data, which passes by its policy")
            continue
        mean = tally.total / tally.count
        if within_limits(query, mean):
            sentences.append(f"{query.name} = {mean:g}, within {describe_limits(query)}")
        else:
            verdict = Verdict.FAILED
            sentences.append(f"{query.name} = {mean:g}, outside of {describe_limits(query)}")
    return verdict, "; ".join(sentences)


def is_over_budget(analysis: Analysis, gate: Gate) -> bool:
    return analysis.failure_budget is not None and gate.failed_runs > analysis.failure_budget


def describe_budget(analysis: Analysis, gate: Gate) -> str:
    return f"{gate.failed_runs} of {gate.counted} runs outside of the limits, {analysis.failure_budget} allowed"


def is_out_of_patience(analysis: Analysis, gate: Gate, now: datetime) -> bool:
    """Whether runs without data were repeated for longer than the analysis allows in all."""
    if not analysis.runs:
        # Without an end there is no plan to be late against: what counts is the time that the repeated runs took.
        return gate.empty_in_a_row * analysis.interval_seconds > analysis.patience_seconds
    allowed = analysis.interval_seconds * analysis.runs + analysis.patience_seconds
    return now - gate.started_at > timedelta(seconds=allowed)


def within_limits(query: Query, value: float) -> bool:
    above = query.lower is None or value >= query.lower
    below = query.upper is None or value <= query.upper
    return above and below


def describe_limits(query: Query) -> str:
    match (query.lower, query.upper):
        case (None, None):
            return "no limits"
        case (None, upper):
            return f"at most {upper:g}"
        case (lower, None):
            return f"at least {lower:g}"
        case (lower, upper):
            return f"{lower:g} to {upper:g}"

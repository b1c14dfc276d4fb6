"""Judging an analysis: samples against limits, and what measurements without a value mean. Pure arithmetic, no clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto
from statistics import fmean

from engine.events import Measured, MeasureOutcome
from engine.model import Analysis, Lookback, NoDataPolicy, Query, Sample, StepProgress, Verdict


class RunResult(Enum):
    COUNTED = auto()
    REPEAT = auto()
    """No usable value, and the policy is to hold: the run is measured again and does not count."""
    FAILED = auto()


def due_at(analysis: Analysis, progress: StepProgress, started_at: datetime) -> datetime:
    """When the next run is measured: one interval after the one before it, counted from the start of the step."""
    runs = len(progress.samples) + progress.empty_runs + 1
    return started_at + timedelta(seconds=analysis.interval_seconds * runs)


def window(analysis: Analysis, started_at: datetime, now: datetime) -> tuple[datetime, datetime]:
    """The time that one run measures: from the start of the step (growing), or the last interval (sliding)."""
    if analysis.lookback is Lookback.GROWING:
        return started_at, now
    return max(started_at, now - timedelta(seconds=analysis.interval_seconds)), now


def judge_run(analysis: Analysis, results: tuple[Measured, ...], at: datetime) -> tuple[RunResult, Sample, str]:
    """What one run came to, its sample, and a sentence for the journal."""
    by_name = {result.query: result for result in results}
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    outcome = RunResult.COUNTED
    sentences: list[str] = []
    for query in analysis.queries:
        result = by_name.get(query.name, Measured(query.name, MeasureOutcome.ERROR, detail="the provider gave no answer"))
        if result.outcome is MeasureOutcome.VALUE and result.value is not None:
            values[query.name] = result.value
            sentences.append(f"{query.name} = {result.value:g}")
            if analysis.abort_on_failed and not within_limits(query, result.value):
                outcome = RunResult.FAILED
                sentences[-1] += f", outside of {describe_limits(query)}"
            continue
        values[query.name] = None
        reasons[query.name] = f"{result.outcome}: {result.detail}" if result.detail else str(result.outcome)
        sentences.append(f"{query.name} has no value ({reasons[query.name]})")
        if query.no_data is NoDataPolicy.FAIL:
            outcome = RunResult.FAILED
        elif query.no_data is NoDataPolicy.HOLD and outcome is not RunResult.FAILED:
            outcome = RunResult.REPEAT
    return outcome, Sample(at, values, reasons), "; ".join(sentences)


def judge(analysis: Analysis, samples: tuple[Sample, ...]) -> tuple[Verdict, str]:
    """The verdict on all runs: the mean of each query's values against its limits, where equality passes.

    A query none of whose runs had a value passes: only `NoDataPolicy.PASS` lets such runs count.
    """
    sentences: list[str] = []
    verdict = Verdict.PASSED
    for query in analysis.queries:
        values = [value for sample in samples if (value := sample.values.get(query.name)) is not None]
        if not values:
            sentences.append(f"{query.name} had no data, which passes by its policy")
            continue
        mean = fmean(values)
        if within_limits(query, mean):
            sentences.append(f"{query.name} = {mean:g}, within {describe_limits(query)}")
        else:
            verdict = Verdict.FAILED
            sentences.append(f"{query.name} = {mean:g}, outside of {describe_limits(query)}")
    return verdict, "; ".join(sentences)


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

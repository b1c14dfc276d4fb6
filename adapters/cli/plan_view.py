"""`plan`: the forecast of a release, as a page for people or as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapters.cli.exit_codes import ExitCode
from adapters.cli.files import Choices, compile_plan, load
from adapters.cli.output import Document, Printer, counted, printable, table
from adapters.cli.planned import Stage, TargetForecast, foresee
from adapters.http.views import percent
from engine.model import ReleasePlan


def plan_file(path: Path, choices: Choices, printer: Printer) -> ExitCode:
    """What would be done, in order. Asks no cluster; what it would find there is assumed, and said."""
    release = compile_plan(load(path), choices)
    forecasts = foresee(release)
    for warning in release.warnings:
        printer.warn(f"warning: {warning}")
    printer.document(_document(release, forecasts), lambda: "\n".join(_lines(release, forecasts)))
    return ExitCode.SUCCESS


def _document(release: ReleasePlan, forecasts: tuple[TargetForecast, ...]) -> Document:
    return {
        "application": release.application,
        "targets": [_target(forecast) for forecast in forecasts],
        "warnings": list(release.warnings),
    }


def _target(forecast: TargetForecast) -> Document:
    plan = forecast.plan
    return {
        "target": plan.target,
        "account": plan.account,
        "namespace": plan.namespace,
        "dependsOn": list(plan.depends_on),
        "assumed": list(forecast.assumptions),
        "stages": [
            {
                "title": stage.title,
                "weight": percent(stage.weight),
                "changes": [
                    {"verb": str(change.verb), "subject": change.subject, "detail": change.detail}
                    for change in stage.changes
                ],
            }
            for stage in forecast.stages
        ],
    }


def _lines(release: ReleasePlan, forecasts: tuple[TargetForecast, ...]) -> Iterator[str]:
    yield printable(f"Plan for {release.application}: {counted(len(forecasts), 'target')}. Nothing was done.")
    for forecast in forecasts:
        plan = forecast.plan
        after = f", after {', '.join(plan.depends_on)}" if plan.depends_on else ""
        yield ""
        yield printable(f"{plan.target}: account {plan.account}, namespace {plan.namespace}{after}")
        for assumption in forecast.assumptions:
            yield f"  Assumed: {assumption}."
        yield from _stage_lines(forecast.stages)


def _stage_lines(stages: tuple[Stage, ...]) -> Iterator[str]:
    subjects = [change.subject for stage in stages for change in stage.changes if change.detail]
    width = max(map(len, subjects), default=0)
    before = 0
    for stage in stages:
        moved = f"   [{percent(before):g} % -> {percent(stage.weight):g} %]" if stage.weight != before else ""
        before = stage.weight
        yield ""
        yield printable(f"  {stage.title}{moved}")
        if stage.changes:
            rows = [(change.verb.ljust(6), change.subject.ljust(width), change.detail) for change in stage.changes]
            yield table(rows, indent="    ")

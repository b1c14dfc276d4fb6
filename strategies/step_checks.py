"""What one step or one definition must be in itself, beyond the types of its fields. Works on files that do not fit
the schema."""

from __future__ import annotations

import math
from collections.abc import Iterator

from strategies.durations import LONGEST_SECONDS, Unit, in_words, to_seconds
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import listed, quote, suggest
from strategies.weights import WeightError, to_basis_points, to_percent

CONDITIONS = ("pause", "analysis", "runWebhook", "runJob", "runCommand")
BLUE_GREEN_CONDITIONS = (*CONDITIONS, "exposeServices")
TRAFFIC_STEPS = ("setWeight", "setHeaderRoute", "setMirror")
CANARY_STEPS = (*TRAFFIC_STEPS, *BLUE_GREEN_CONDITIONS)
MINUTE = 60
DAY = 86_400


def check_steps(root: Place, say: FileReport) -> None:
    """Every step of every strategy and every condition of every target."""
    for step, kinds in all_steps(root):
        _check_kind(step, kinds, say)
        if (pause := step.get("pause")) is not None:
            _check_pause(pause, say)
        if (ttl := step.at("exposeServices", "ttl")) is not None:
            check_duration(ttl, say, least=MINUTE, most=DAY)
        for test in ("runJob", "runCommand"):
            if (timeout := step.at(test, "timeout")) is not None:
                check_duration(timeout, say, least=1)
    for analysis in all_analyses(root):
        _check_length(analysis, "interval", "units", say)
        if (budget := analysis.get("noDataBudget")) is not None:
            check_duration(budget, say)
        _check_judging(analysis, say)
    for _, strategy in root.entries("strategies"):
        _check_strategy_kind(strategy, say)
        _check_order_of_weights(strategy, say)


def all_steps(root: Place) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Each step and condition of the file, with the kinds that it may be of."""
    for _, target in root.entries("targets"):
        for moment in ("beforeDeployment", "afterDeployment"):
            yield from ((step, CONDITIONS) for step in target.items("constraints", moment))
    for _, strategy in root.entries("strategies"):
        yield from ((step, CANARY_STEPS) for step in strategy.items("canary", "steps"))
        for moment in ("redirectTrafficAfter", "shutDownOldVersionAfter"):
            yield from ((step, BLUE_GREEN_CONDITIONS) for step in strategy.items("blueGreen", moment))


def all_analyses(root: Place) -> Iterator[Place]:
    """Each analysis of the file: those of steps and conditions, and those in the background."""
    for step, _ in all_steps(root):
        if (analysis := step.get("analysis")) is not None:
            yield analysis
    for _, strategy in root.entries("strategies"):
        for kind in ("canary", "blueGreen"):
            yield from strategy.items(kind, "backgroundAnalysis")


def _check_judging(analysis: Place, say: FileReport) -> None:
    budget, abort = analysis.get("failureBudget"), analysis.get("abortOnFailedJudgment")
    if budget is not None and abort is not None and abort.value is True:
        say.error(
            budget.key_mark,
            '"failureBudget" allows runs outside of the limits and "abortOnFailedJudgment: true" allows none; keep one of them',
        )


def check_settings(root: Place, say: FileReport) -> None:
    """Durations and definitions outside of steps."""
    if (timeout := root.at("deploymentConfig", "timeout")) is not None:
        check_duration(timeout, say, least=MINUTE)
    if (settle := root.at("deploymentConfig", "settle")) is not None:
        check_duration(settle, say)
    for webhook in root.items("webhooks"):
        if (timeout := webhook.get("timeout")) is not None:
            check_duration(timeout, say, least=1)
    for query in root.items("analysis", "queries"):
        _check_limits(query, say)
    for source in root.items("manifests"):
        _check_source(source, say)


def check_duration(place: Place, say: FileReport, *, least: float = 0, most: float = LONGEST_SECONDS) -> None:
    """A `{duration, unit}` object against its bounds in seconds."""
    _check_length(place, "duration", "unit", say, least=least, most=most)


def _check_length(
    owner: Place, amount_name: str, unit_name: str, say: FileReport, *, least: float = 0, most: float = LONGEST_SECONDS
) -> None:
    amount, unit = owner.get(amount_name), owner.get(unit_name)
    if amount is None or amount.number is None or amount.number < 0 or not math.isfinite(amount.number):
        return
    word = unit.text.strip().lower() if unit is not None and unit.text is not None else ""
    if word not in list(Unit):
        return
    seconds = to_seconds(amount.number, Unit(word))
    if seconds < least:
        say.error(amount.mark, f"{owner.label} is {in_words(seconds)}; expected at least {in_words(least)}")
    elif seconds > most:
        limit = in_words(most) if most < LONGEST_SECONDS else "a year (8760 hours)"
        say.error(amount.mark, f"{owner.label} is {in_words(seconds)}; expected at most {limit}")


def _check_kind(step: Place, kinds: tuple[str, ...], say: FileReport) -> None:
    if not step.is_mapping:
        return
    given = [key for key in step.names if key in kinds]
    if len(given) > 1:
        say.error(step.mark, f"this step is {listed(given)} at once; write one step for each")
    elif not given and not step.names:
        say.error(step.mark, f"this step is empty; write {listed(kinds, joint='or')} in it")
    elif given == list(step.names) and step.get(given[0]) is None:
        say.error(step.mark, f"{quote(given[0])} is empty; check that its fields are indented further than it is")


def _check_strategy_kind(strategy: Place, say: FileReport) -> None:
    if not strategy.is_mapping:
        return
    given = [key for key in strategy.names if key in ("canary", "blueGreen")]
    if len(given) > 1:
        say.error(strategy.key_mark, f"{strategy.label} is canary and blueGreen at once; make two strategies of it")
    elif not strategy.names:
        say.error(strategy.key_mark, f'{strategy.label} is empty; write "canary" or "blueGreen" in it')
    elif given and strategy.get(given[0]) is None:
        say.error(
            strategy.key_mark, f"{quote(given[0])} is empty; check that its fields are indented further than it is"
        )


def _check_pause(pause: Place, say: FileReport) -> None:
    if not pause.is_mapping:
        return
    approved = pause.get("untilApproved")
    duration, unit = pause.get("duration"), pause.get("unit")
    waits_for_person = approved is not None and approved.value is not False
    if waits_for_person and (timed := duration or unit) is not None:
        say.error(
            timed.key_mark,
            'a pause is either timed ("duration" and "unit") or "untilApproved: true"; '
            'for an approval with a deadline write "approvalExpiration"',
        )
    elif not waits_for_person:
        _check_timed_pause(pause, say)
    for name in ("approvalExpiration", "approvalReminder", "requiresRoles"):
        if not waits_for_person and (extra := pause.get(name)) is not None:
            say.error(extra.key_mark, f'"{name}" needs "untilApproved: true" beside it')
    if (expiration := pause.get("approvalExpiration")) is not None:
        check_duration(expiration, say, least=1)
    if (reminder := pause.get("approvalReminder")) is not None:
        check_duration(reminder, say, least=1)
        _check_reminder(reminder, pause.get("approvalExpiration"), say)
    _check_length(pause, "duration", "unit", say)


def _check_reminder(reminder: Place, expiration: Place | None, say: FileReport) -> None:
    if expiration is None:
        return
    reminded, expires = _seconds(reminder), _seconds(expiration)
    if reminded is not None and expires is not None and reminded >= expires:
        say.error(reminder.key_mark, f'"approvalReminder" is not before "approvalExpiration" ({in_words(expires)}); shorten it')


def _seconds(duration: Place) -> float | None:
    amount, unit = duration.get("duration"), duration.get("unit")
    word = unit.text.strip().lower() if unit is not None and unit.text is not None else ""
    if amount is None or amount.number is None or word not in list(Unit):
        return None
    return to_seconds(amount.number, Unit(word))


def _check_timed_pause(pause: Place, say: FileReport) -> None:
    duration, unit = pause.get("duration"), pause.get("unit")
    if duration is None and unit is None:
        if not {"approvalExpiration", "approvalReminder", "requiresRoles"} & set(pause.names):
            say.error(pause.key_mark, 'this pause has no end; write "duration" and "unit", or "untilApproved: true"')
    elif unit is None:
        say.error(pause.key_mark, 'this pause has no "unit"; add one: seconds, minutes or hours')
    elif duration is None:
        say.error(pause.key_mark, 'this pause has no "duration"; add the amount of time')


def _check_order_of_weights(strategy: Place, say: FileReport) -> None:
    before = 0
    for step in strategy.items("canary", "steps"):
        weight = step.at("setWeight", "weight")
        if weight is None:
            continue
        try:
            points = to_basis_points(weight.value)
        except WeightError:
            continue
        if points < before:
            say.warn(
                weight.mark,
                f"the weight goes down from {to_percent(before)} to {to_percent(points)}; weights should rise from "
                "step to step",
            )
        before = points


def _check_limits(query: Place, say: FileReport) -> None:
    if not query.is_mapping:
        return
    lower, upper = query.get("lowerLimit"), query.get("upperLimit")
    if lower is None and upper is None:
        name = query.get("name")
        called = f" {quote(name.text)}" if name is not None and name.text is not None else ""
        say.error(query.mark, f'the query{called} has no limits; add "upperLimit", "lowerLimit" or both')
        return
    low = lower.number if lower is not None else None
    high = upper.number if upper is not None else None
    if lower is not None and low is not None and high is not None and low > high:
        message = f"lowerLimit {low:g} is above upperLimit {high:g}, so nothing can pass; exchange the two"
        say.error(lower.mark, message)


def _check_source(source: Place, say: FileReport) -> None:
    if not source.is_mapping:
        return
    path, inline = source.get("path"), source.get("inline")
    if path is not None and inline is not None:
        say.error(inline.key_mark, 'a manifest has either "path" or "inline"; make two entries of it')
    elif path is None and inline is None:
        known = suggest("path", [key for key in source.names if key != "targets"], "")
        if not known.startswith("did you mean"):
            say.error(source.mark, 'this manifest has neither "path" nor "inline"; add one')

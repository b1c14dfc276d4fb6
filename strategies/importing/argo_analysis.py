"""An analysis of an Argo Rollout (templates and arguments) -> queries with limits, and how often each is asked."""

from __future__ import annotations

from strategies.importing.argo_arguments import Arguments, read_arguments
from strategies.importing.argo_providers import read_provider
from strategies.importing.conditions import Limits, NotUnderstood, read_limits
from strategies.importing.draft import Draft, Measured, Part
from strategies.importing.go_durations import DurationError, read_seconds
from strategies.importing.input_file import ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE, InputFile, InputObject
from strategies.importing.subjects import Lost, Subject
from strategies.places import Place
from strategies.suggestions import quote

_METRIC_LOST: Lost = {
    "inconclusiveLimit": (
        "allowed measurements that neither pass nor fail",
        "there are none here: a query keeps its limits or does not",
    ),
    "consecutiveErrorLimit": (
        "allowed so many failed questions in a row",
        "noDataPolicy: extend measures again for as long as noDataBudget lasts, then the analysis fails",
    ),
    "consecutiveSuccessLimit": ("ended early after so many passes in a row", "numberOfJudgmentRuns is fixed"),
}
_BESIDE_LOST: Lost = {
    "dryRun": ("measured without deciding", "watch those metrics elsewhere; they are left out here"),
    "measurementRetention": ("kept so many measurements", "the journal keeps them all"),
    "analysisRunMetadata": ("labelled the AnalysisRuns", "there are none; the journal holds what was measured"),
}
_DEEPEST = 10


def read_analysis(subject: Subject, place: Place, file: InputFile, rollout: InputObject, draft: Draft) -> list[Measured]:
    """What is measured. What cannot be is said, and left out."""
    templates: list[tuple[Subject, Place]] = []
    for reference in place.items("templates"):
        _collect(subject, reference, file, rollout, templates, _DEEPEST)
    named = subject.text(place, "templateName")
    if named is not None:
        _find(subject, place, named, False, file, rollout, templates, _DEEPEST)
    subject.lose(place, _BESIDE_LOST)
    arguments = read_arguments(subject, place, templates, rollout)
    measured: list[Measured] = []
    for template, spec in templates:
        template.lose(spec, _BESIDE_LOST)
        dry = {item.text for owner in (place, spec) for item in _dry_runs(owner)}
        for metric in spec.items("metrics"):
            one = _read_metric(template, metric, arguments, dry, draft)
            if one is not None:
                measured.append(one)
    return measured


def _dry_runs(owner: Place) -> list[Place]:
    return [name for item in owner.items("dryRun") if (name := item.get("metricName")) is not None]


def _collect(
    subject: Subject,
    reference: Place,
    file: InputFile,
    rollout: InputObject,
    found: list[tuple[Subject, Place]],
    depth: int,
) -> None:
    name = subject.text(reference, "templateName")
    cluster_wide = subject.boolean(reference, "clusterScope") or False
    if name is not None:
        _find(subject, reference, name, cluster_wide, file, rollout, found, depth)


def _find(
    subject: Subject,
    place: Place,
    name: str,
    cluster_wide: bool,
    file: InputFile,
    rollout: InputObject,
    found: list[tuple[Subject, Place]],
    depth: int,
) -> None:
    kind = CLUSTER_ANALYSIS_TEMPLATE if cluster_wide else ANALYSIS_TEMPLATE
    item = file.find(kind, name, None if cluster_wide else rollout.namespace)
    if item is None:
        subject.lost(
            place,
            f"measures by the {kind.kind} {quote(name)}, which is not in the input",
            "put it into the file and import again, or write its queries by hand",
        )
        return
    template = file.subject(item)
    spec = item.place.get("spec")
    if spec is None or any(known is template for known, _ in found) or depth == 0:
        return
    found.append((template, spec))
    for reference in spec.items("templates"):
        _collect(template, reference, file, rollout, found, depth - 1)


def _read_metric(template: Subject, metric: Place, arguments: Arguments, dry: set[str | None], draft: Draft) -> Measured | None:
    name = template.text(metric, "name") or "unnamed"
    if name in dry or "*" in dry or ".*" in dry:
        template.lost(metric, "is a dry run: it measures without deciding", "watch it elsewhere")
        return None
    if (limit := metric.get("failureLimit")) is not None and limit.value in (-1, "-1"):
        template.lost(metric, "never failed (failureLimit: -1): it measured without deciding", "watch it elsewhere")
        return None
    template.lose(metric, _METRIC_LOST)
    asked = read_provider(template, metric)
    limits = _read_limits(template, metric, arguments) if asked is not None else None
    measured = Measured(name)
    _read_rhythm(template, metric, arguments, measured)
    if asked is None or limits is None:
        template.take(metric, "successCondition")
        template.take(metric, "failureCondition")
        return None
    query, measured.context, missing = arguments.rewrite(asked.query)
    for argument in missing:
        template.fill_in(
            metric,
            f"uses the argument {quote(argument)}, to which the input gives no value",
            f'give {quote(argument)} a value in the "context" of the step or of the file',
        )
    if limits.aggregate:
        query = f"{limits.aggregate}({query})"
    measured.query = draft.add_query(name, _definition(query, asked.provider, limits))
    return measured


def _definition(query: str, provider: str, limits: Limits) -> Part:
    body: Part = {"queryTemplate": query}
    if limits.upper != float("inf"):
        body["upperLimit"] = limits.upper
    if limits.lower != float("-inf"):
        body["lowerLimit"] = limits.lower
    body["metricProviderName"] = provider
    if limits.passes_without_data:
        body["noDataPolicy"] = "pass"
    return body


def _read_limits(template: Subject, metric: Place, arguments: Arguments) -> Limits | None:
    success, failure = template.text(metric, "successCondition"), template.text(metric, "failureCondition")
    if success is None and failure is None:
        template.lost(
            metric, "has no condition, so every measurement passes", "write the query by hand, with a limit, if it matters"
        )
        return None
    place = metric.get("successCondition" if success is not None else "failureCondition") or metric
    if success is not None and failure is not None and (other := metric.get("failureCondition")) is not None:
        template.changed(
            other,
            "left a range between success and failure, in which the rollout paused",
            "what does not meet successCondition fails here",
        )
    try:
        limits = read_limits(
            arguments.resolve(success) if success is not None else None,
            arguments.resolve(failure) if failure is not None else None,
        )
    except NotUnderstood as error:
        condition = success if success is not None else failure
        template.lost(
            place,
            f"the condition {quote(condition or '')} cannot be made a limit: {error}",
            "write the query so that it yields one number, with lowerLimit or upperLimit",
        )
        return None
    if limits.excludes is not None:
        template.note(place, f"a value of exactly {limits.excludes:g} did not pass, and does here")
    if limits.aggregate:
        template.note(place, f"spoke of every one of several numbers; the query is {limits.aggregate}(...) of them here")
    return limits


def _read_rhythm(template: Subject, metric: Place, arguments: Arguments, measured: Measured) -> None:
    interval = _seconds(template, metric, "interval", arguments)
    delay = _seconds(template, metric, "initialDelay", arguments)
    count = _whole(template, metric, "count", arguments)
    failures = _whole(template, metric, "failureLimit", arguments)
    measured.interval = interval if interval is not None else (1.0 if count in (None, 1) else 60.0)
    measured.count = count if count is not None else (None if interval is not None else 1)
    measured.delay = delay or 0.0
    measured.budget = max(failures or 0, 0)
    if measured.budget and measured.count == 1 and (place := metric.get("failureLimit")) is not None:
        template.changed(
            place, "forgave the only measurement there is", "here it decides; set numberOfJudgmentRuns and failureBudget"
        )


def _seconds(template: Subject, metric: Place, key: str, arguments: Arguments) -> float | None:
    text = template.text(metric, key)
    place = metric.get(key)
    if text is None or place is None:
        return None
    resolved = arguments.resolve(text)
    if "{{" in resolved:
        template.fill_in(place, f"is {quote(resolved)}, to which the input gives no value", "set it in the step by hand")
        return None
    try:
        return read_seconds(resolved)
    except DurationError as error:
        template.error(place, str(error))
        return None


def _whole(template: Subject, metric: Place, key: str, arguments: Arguments) -> int | None:
    text = template.text(metric, key)
    place = metric.get(key)
    if text is None or place is None:
        return None
    resolved = arguments.resolve(text).strip()
    if "{{" in resolved:
        template.fill_in(place, f"is {quote(resolved)}, to which the input gives no value", "set it in the step by hand")
        return None
    try:
        return int(resolved)
    except ValueError:
        template.error(place, f"is {quote(resolved)}; expected a whole number")
        return None

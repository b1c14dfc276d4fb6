"""The steps of a strategy, as a deploy file writes them -> as the engine carries them out: basis points and seconds.
Pure."""

from __future__ import annotations

from collections.abc import Iterable

from engine.model import (
    Analysis,
    Approval,
    Expose,
    GateStep,
    Lookback,
    Mode,
    NoDataPolicy,
    Pause,
    Query,
    RunCommand,
    RunJob,
    Step,
    Webhook,
    WebhookHeader,
)
from engine.traffic import SetMirror, SetWeight
from strategies.compile_matches import compile_header_route
from strategies.deployfile_models import DeployFile, QueryDefinition, WebhookDefinition
from strategies.durations import to_seconds
from strategies.field_types import Duration
from strategies.job_manifests import JobManifests
from strategies.step_models import (
    AnalysisStep,
    BackgroundAnalysis,
    BlueGreenCondition,
    CanaryStep,
    Condition,
    ExposeServicesStep,
    PauseStep,
    RunWebhookStep,
)

CALLBACK_SECONDS = 86_400.0
"""How long CD-as-a-Service waited for a webhook's verdict."""
TEST_SECONDS = 3_600.0
NO_DATA_SECONDS = 600.0
EXPOSE_SECONDS = 300.0
"""How long a preview address lived in CD-as-a-Service."""


def compile_steps(document: DeployFile, steps: Iterable[CanaryStep], jobs: JobManifests) -> tuple[Step, ...]:
    """The engine's steps. The final move to 100 % is not among them: the engine makes it by itself."""
    return tuple(step for written in steps if (step := _compile_step(document, written, jobs)) is not None)


def compile_conditions(
    document: DeployFile, conditions: Iterable[Condition] | None, jobs: JobManifests
) -> tuple[GateStep, ...]:
    """What is waited for before, between or after the moves of traffic."""
    return tuple(gate for one in conditions or () if (gate := _compile_condition(document, one, jobs)) is not None)


def compile_background(document: DeployFile, watched: Iterable[BackgroundAnalysis] | None) -> tuple[Analysis, ...]:
    return tuple(_compile_background(document, one) for one in watched or ())


def seconds_of(duration: Duration | None, default: float) -> float:
    return default if duration is None else to_seconds(duration.duration, duration.unit)


def queries_of(document: DeployFile, step: AnalysisStep | BackgroundAnalysis) -> list[QueryDefinition]:
    """The definitions of a step's queries, in the step's order."""
    defined = {query.name: query for query in document.analysis.queries} if document.analysis is not None else {}
    return [defined[name] for name in step.queries]


def webhook_of(document: DeployFile, step: RunWebhookStep) -> WebhookDefinition:
    return next(webhook for webhook in document.webhooks or [] if webhook.name == step.name)


def _compile_step(document: DeployFile, step: CanaryStep, jobs: JobManifests) -> Step | None:
    if step.set_weight is not None:
        return SetWeight(step.set_weight.weight)
    if step.set_header_route is not None:
        return compile_header_route(step.set_header_route)
    if step.set_mirror is not None:
        return SetMirror(step.set_mirror.weight)
    return _compile_condition(document, step, jobs)


def _compile_condition(document: DeployFile, step: Condition, jobs: JobManifests) -> GateStep | None:
    if step.pause is not None:
        return _compile_pause(step.pause)
    if step.analysis is not None:
        return _compile_analysis(document, step.analysis)
    if step.run_webhook is not None:
        return _compile_webhook(document, step.run_webhook)
    if (job := step.run_job) is not None:
        return RunJob(job.name, jobs.of(job), seconds_of(job.timeout, TEST_SECONDS), dict(job.context or {}))
    if (command := step.run_command) is not None:
        return RunCommand(command.name, seconds_of(command.timeout, TEST_SECONDS), dict(command.context or {}))
    if isinstance(step, BlueGreenCondition) and step.expose_services is not None:
        return _compile_expose(step.expose_services)
    return None


def _compile_expose(step: ExposeServicesStep) -> Expose:
    return Expose(tuple(step.services), seconds_of(step.ttl, EXPOSE_SECONDS))


def _compile_pause(pause: PauseStep) -> Pause | Approval:
    if pause.until_approved:
        expires, remind = pause.approval_expiration, pause.approval_reminder
        return Approval(
            tuple(pause.requires_roles or ()),
            seconds_of(expires, 0) if expires is not None else None,
            seconds_of(remind, 0) if remind is not None else None,
        )
    if pause.duration is None or pause.unit is None:
        return Pause(0)
    return Pause(to_seconds(pause.duration, pause.unit))


def _compile_analysis(document: DeployFile, step: AnalysisStep) -> Analysis:
    return Analysis(
        queries=tuple(_compile_query(document, step, query) for query in queries_of(document, step)),
        interval_seconds=to_seconds(step.interval, step.units),
        runs=step.number_of_judgment_runs,
        lookback=Lookback(step.lookback_method),
        abort_on_failed=step.abort_on_failed_judgment,
        roll_back=Mode(step.roll_back_mode),
        roll_forward=Mode(step.roll_forward_mode),
        context=dict(step.context or {}),
        patience_seconds=seconds_of(step.no_data_budget, NO_DATA_SECONDS),
        failure_budget=step.failure_budget,
    )


def _compile_background(document: DeployFile, watched: BackgroundAnalysis) -> Analysis:
    return Analysis(
        queries=tuple(_compile_query(document, watched, query) for query in queries_of(document, watched)),
        interval_seconds=to_seconds(watched.interval, watched.units),
        runs=0,
        lookback=Lookback(watched.lookback_method),
        context=dict(watched.context or {}),
        patience_seconds=seconds_of(watched.no_data_budget, NO_DATA_SECONDS),
        failure_budget=watched.failure_budget,
    )


def _compile_query(document: DeployFile, step: AnalysisStep | BackgroundAnalysis, query: QueryDefinition) -> Query:
    """A query's own provider comes first, because the query is written in that provider's language."""
    default = document.analysis.default_metric_provider_name if document.analysis is not None else None
    return Query(
        name=query.name,
        provider=query.metric_provider_name or step.metric_provider_name or default or "",
        template=query.query_template,
        lower=query.lower_limit,
        upper=query.upper_limit,
        no_data=NoDataPolicy(query.no_data_policy),
    )


def _compile_webhook(document: DeployFile, step: RunWebhookStep) -> Webhook:
    webhook = webhook_of(document, step)
    return Webhook(
        name=webhook.name,
        method=str(webhook.method),
        url=webhook.uri_template,
        headers=tuple(WebhookHeader(header.key, header.value) for header in webhook.headers or ()),
        body=webhook.body_template.inline if webhook.body_template is not None else None,
        retries=webhook.retry_count,
        callback=not webhook.disable_callback,
        context=dict(step.context or {}),
        timeout_seconds=seconds_of(webhook.timeout, CALLBACK_SECONDS),
        signing_secret=webhook.signing_secret or "",
    )

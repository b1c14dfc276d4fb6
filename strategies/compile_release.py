"""A deploy file that was read and found good -> the engine's plan of a release. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.model import PLAN_VERSION, ReleasePlan, TargetPlan
from strategies.compile_steps import queries_of, webhook_of
from strategies.compile_target import compile_target
from strategies.deploy_reader import LoadedFile
from strategies.deployfile_models import DeployFile, WebhookDefinition
from strategies.problems import Problem, Problems
from strategies.step_models import CanaryStep
from strategies.suggestions import quote, suggest
from strategies.template_checks import context_names


def compile_release(
    loaded: LoadedFile,
    *,
    application: str | None = None,
    context: Mapping[str, str] | None = None,
    target_filters: Sequence[str] = (),
) -> ReleasePlan | Problems:
    """The plan, or the problems that keep the file from being run: its errors, and the notices that block a run.

    `application`, `context` and `target_filters` come from the command line and win over the file. With filters only
    the named targets are deployed, and what they depend on outside of them is taken as done.
    """
    document = loaded.document
    if loaded.problems.refused or document is None:
        return loaded.problems
    selected, errors = _select(loaded, document, target_filters)
    if application is not None and not (application.strip() and application.isprintable()):
        errors.append(
            _problem(loaded, f"the application name {quote(application)} cannot be used; give printable text")
        )
    errors.extend(_blocking(loaded, selected))
    if errors:
        return Problems(tuple(errors), loaded.problems.warnings, loaded.problems.notices)
    variables = {**(document.context or {}), **(document.context_overrides or {}), **(context or {})}
    targets = tuple(_compile(loaded, document, name, selected, variables) for name in selected)
    return ReleasePlan(
        version=PLAN_VERSION,
        application=application if application is not None else document.application,
        targets=targets,
        description=document.description or "",
        warnings=tuple(_warnings(loaded, document, targets, variables)),
    )


def _compile(
    loaded: LoadedFile, document: DeployFile, name: str, selected: Sequence[str], variables: dict[str, str]
) -> TargetPlan:
    needed = _dependencies(document, name)
    depends_on = tuple(dict.fromkeys(target for target in needed if target in selected))
    return compile_target(document, name, loaded.objects, context=variables, depends_on=depends_on)


def _dependencies(document: DeployFile, name: str) -> list[str]:
    constraints = document.targets[name].constraints
    return list(constraints.depends_on or []) if constraints is not None else []


def _problem(loaded: LoadedFile, message: str) -> Problem:
    return Problem(loaded.name, 1, 1, message)


def _select(loaded: LoadedFile, document: DeployFile, filters: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """The targets to deploy, in the file's order. The command line's filters take the place of the file's."""
    wanted = list(filters) or [item.include_target for item in document.target_filters or []]
    errors = [
        _problem(loaded, f"the target {quote(name)} does not exist; {suggest(name, document.targets)}")
        for name in dict.fromkeys(wanted)
        if name not in document.targets
    ]
    return [name for name in document.targets if not wanted or name in wanted], errors


def _blocking(loaded: LoadedFile, selected: Sequence[str]) -> list[Problem]:
    return [
        Problem(notice.path, notice.line, notice.column, notice.message)
        for notice in loaded.problems.notices
        if notice.blocks_run and (not notice.targets or set(notice.targets) & set(selected))
    ]


# --- warnings ---------------------------------------------------------------------------------------------------------


def _warnings(
    loaded: LoadedFile, document: DeployFile, targets: Sequence[TargetPlan], variables: Mapping[str, str]
) -> Iterable[str]:
    yield from map(str, loaded.problems.warnings)
    yield from map(str, loaded.problems.notices)
    selected = {target.target for target in targets}
    for target in targets:
        for needed in _dependencies(document, target.target):
            if needed not in selected:
                yield (
                    f"the target {quote(target.target)} depends on {quote(needed)}, which this run leaves "
                    "out; it is taken as done"
                )
    strategies = dict.fromkeys(document.targets[target.target].strategy for target in targets if target.workloads)
    for strategy in strategies:
        definition = (document.strategies or {}).get(strategy or "")
        if definition is not None and definition.canary is not None:
            yield from _undefined_variables(document, definition.canary.steps, variables)


def _undefined_variables(
    document: DeployFile, steps: Iterable[CanaryStep], variables: Mapping[str, str]
) -> Iterable[str]:
    """Variables of templates that neither the file, nor the step, nor the command line gives a value."""
    for number, step in enumerate(steps, start=1):
        if step.analysis is not None:
            templates = [query.query_template for query in queries_of(document, step.analysis)]
            given, what = step.analysis.context, "analysis"
        elif step.run_webhook is not None:
            templates = _templates(webhook_of(document, step.run_webhook))
            given, what = step.run_webhook.context, "webhook"
        else:
            continue
        for name in sorted(context_names(templates) - set(given or {}) - set(variables)):
            yield (
                f"step {number} ({what}) uses {{{{context.{name}}}}}, which has no value; add it to "
                '"context" or give --context'
            )


def _templates(webhook: WebhookDefinition) -> list[str]:
    body = webhook.body_template.inline if webhook.body_template is not None else ""
    return [webhook.uri_template, body, *[header.value for header in webhook.headers or []]]

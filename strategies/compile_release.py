"""A deploy file that was read and found good -> the engine's plan of a release. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from engine.model import PLAN_VERSION, ConcurrencyPolicy, ReleasePlan, TargetPlan
from strategies.compile_steps import queries_of, webhook_of
from strategies.compile_target import compile_target
from strategies.deploy_reader import LoadedFile
from strategies.deployfile_models import DeployFile, WebhookDefinition
from strategies.job_manifests import unknown_in_job
from strategies.problems import Problem, Problems
from strategies.step_models import AnalysisStep, BackgroundAnalysis, BlueGreenCondition, Condition
from strategies.suggestions import quote, suggest
from strategies.template_checks import IN_JOBS, IN_QUERIES, IN_WEBHOOKS, find_unknown, previews_of

MOST_OBJECTS = 100_000
"""Of a release: the objects of each target, added up."""
MOST_CHARACTERS = 128 << 20
"""Of all their contents together."""
_TOO_MUCH = (
    f"the objects of all targets together are more than {MOST_OBJECTS:,}, or than {MOST_CHARACTERS >> 20} MiB; "
    "make several files of this one"
)


def compile_release(
    loaded: LoadedFile,
    *,
    application: str | None = None,
    context: Mapping[str, str] | None = None,
    target_filters: Sequence[str] = (),
) -> ReleasePlan | Problems:
    """The plan, or the problems that keep the file from being run: its errors, and variables in its templates
    that have no value.

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
    variables = {**(document.context or {}), **(document.context_overrides or {}), **(context or {})}
    errors.extend(_unknown_variables(loaded, document, selected, variables))
    if errors:
        return Problems(tuple(dict.fromkeys(errors)), loaded.problems.warnings)
    targets = tuple(_compile_within_limits(loaded, document, selected, variables))
    if len(targets) < len(selected):
        problem = Problem(loaded.name, *loaded.mark_of(("targets",)), _TOO_MUCH)
        return Problems((problem,), loaded.problems.warnings)
    return ReleasePlan(
        version=PLAN_VERSION,
        application=application if application is not None else document.application,
        targets=targets,
        description=document.description or "",
        concurrency=_policy(document),
        warnings=tuple(_warnings(loaded, document, selected)),
    )


def _compile_within_limits(
    loaded: LoadedFile, document: DeployFile, selected: Sequence[str], variables: dict[str, str]
) -> Iterator[TargetPlan]:
    """As many targets as fit: each holds its manifests whole, and a few lines make many of both."""
    objects = characters = 0
    for name in selected:
        target = _compile(loaded, document, name, selected, variables)
        contents = [one.content for one in target.manifests] + [one.manifest for one in target.workloads]
        objects, characters = objects + len(contents), characters + sum(map(len, contents))
        if objects > MOST_OBJECTS or characters > MOST_CHARACTERS:
            return
        yield target


def _policy(document: DeployFile) -> ConcurrencyPolicy:
    config = document.deployment_config
    in_progress = config.if_deployment_in_progress if config is not None else None
    return ConcurrencyPolicy(in_progress.strategy) if in_progress is not None else ConcurrencyPolicy.REJECT


def _compile(
    loaded: LoadedFile, document: DeployFile, name: str, selected: Sequence[str], variables: dict[str, str]
) -> TargetPlan:
    depends_on = _remaining_dependencies(document, name, set(selected))
    return compile_target(document, name, loaded.objects, context=variables, depends_on=depends_on, jobs=loaded.jobs)


def _remaining_dependencies(document: DeployFile, name: str, selected: set[str]) -> tuple[str, ...]:
    """What a target waits for among the selected: in place of one that is left out, what that one would wait for."""
    waiting = list(reversed(_dependencies(document, name)))
    seen: dict[str, None] = {}
    while waiting:
        needed = waiting.pop()
        if needed not in seen:
            seen[needed] = None
            waiting.extend(reversed([] if needed in selected else _dependencies(document, needed)))
    return tuple(needed for needed in seen if needed in selected)


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


# --- templates --------------------------------------------------------------------------------------------------------


def _unknown_variables(
    loaded: LoadedFile, document: DeployFile, selected: Sequence[str], variables: Mapping[str, str]
) -> Iterator[Problem]:
    """Variables in the templates of the strategies to be run that nobody gives a value: the rollout would end there."""
    for place, step, exposed in _used_conditions(document, selected):
        before = place[-2] == "beforeDeployment"
        for sentence in _unknown_in(loaded, document, step, variables, exposed, before=before):
            yield Problem(loaded.name, *loaded.mark_of(place), f"this step uses a template in which {sentence}")
    for place, watched in _used_backgrounds(document, selected):
        for sentence in _unknown_in_queries(document, watched, variables, IN_QUERIES):
            yield Problem(loaded.name, *loaded.mark_of(place), f"this analysis uses a template in which {sentence}")


_Path: TypeAlias = tuple[str | int, ...]


def _used_conditions(
    document: DeployFile, selected: Sequence[str]
) -> Iterator[tuple[_Path, Condition, tuple[str, ...]]]:
    """Every step and condition that this run may come to, with its place in the file and the variables that hold the
    addresses of the Services which what comes before it has exposed."""
    exposed_by: dict[str, tuple[str, ...]] = {}
    for name in _used_strategies(document, selected):
        exposed: tuple[str, ...] = ()
        for place, steps in _lists_of(document, name):
            in_turn, until_now = place[-1] == "steps", exposed
            for index, step in enumerate(steps):
                yield (*place, index), step, exposed if in_turn else until_now
                if isinstance(step, BlueGreenCondition) and step.expose_services is not None:
                    exposed = (*exposed, *previews_of(step.expose_services.services))
        exposed_by[name] = exposed
    for name in selected:
        constraints = document.targets[name].constraints
        if constraints is None:
            continue
        for field, conditions, known in (
            ("beforeDeployment", constraints.before_deployment, ()),
            ("afterDeployment", constraints.after_deployment, exposed_by.get(document.targets[name].strategy or "", ())),
        ):
            place = ("targets", name, "constraints", field)
            yield from (((*place, index), one, known) for index, one in enumerate(conditions or ()))


def _lists_of(document: DeployFile, strategy: str) -> Iterator[tuple[_Path, Sequence[Condition]]]:
    """A strategy's steps, one after the other, or its lists of conditions, each of which are met at the same time."""
    definition = (document.strategies or {})[strategy]
    if definition.canary is not None:
        yield ("strategies", strategy, "canary", "steps"), definition.canary.steps
    if (switch := definition.blue_green) is not None:
        yield ("strategies", strategy, "blueGreen", "redirectTrafficAfter"), switch.redirect_traffic_after or ()
        yield ("strategies", strategy, "blueGreen", "shutDownOldVersionAfter"), switch.shut_down_old_version_after or ()


def _used_backgrounds(document: DeployFile, selected: Sequence[str]) -> Iterator[tuple[_Path, BackgroundAnalysis]]:
    for name in _used_strategies(document, selected):
        definition = (document.strategies or {})[name]
        for kind, strategy in (("canary", definition.canary), ("blueGreen", definition.blue_green)):
            watched = strategy.background_analysis if strategy is not None else None
            place = ("strategies", name, kind, "backgroundAnalysis")
            yield from (((*place, index), one) for index, one in enumerate(watched or ()))


def _used_strategies(document: DeployFile, selected: Sequence[str]) -> list[str]:
    names = dict.fromkeys(document.targets[target].strategy or "" for target in selected)
    return [name for name in names if name in (document.strategies or {})]


def _unknown_in(
    loaded: LoadedFile,
    document: DeployFile,
    step: Condition,
    variables: Mapping[str, str],
    exposed: tuple[str, ...],
    *,
    before: bool,
) -> Iterator[str]:
    """Before a deployment there is no ReplicaSet of the new version that could have a name."""
    if step.analysis is not None:
        yield from _unknown_in_queries(document, step.analysis, variables, [*_known(IN_QUERIES, before), *exposed])
    elif step.run_webhook is not None:
        context = {*variables, *(step.run_webhook.context or {})}
        for template in _templates(webhook_of(document, step.run_webhook)):
            yield from find_unknown(template, [*_known(IN_WEBHOOKS, before), *exposed], context)
    elif step.run_job is not None:
        context = {*variables, *(step.run_job.context or {})}
        yield from unknown_in_job(loaded.jobs.of(step.run_job), [*_known(IN_JOBS, before), *exposed], context)


def _unknown_in_queries(
    document: DeployFile, analysis: AnalysisStep | BackgroundAnalysis, variables: Mapping[str, str], armory: Sequence[str]
) -> Iterator[str]:
    context = {*variables, *(analysis.context or {})}
    for query in queries_of(document, analysis):
        yield from find_unknown(query.query_template, armory, context)


def _known(names: Sequence[str], before: bool) -> list[str]:
    return [name for name in names if not (before and name == "replicaSetName")]


def _templates(webhook: WebhookDefinition) -> list[str]:
    body = webhook.body_template.inline if webhook.body_template is not None else ""
    return [webhook.uri_template, body, *[header.value for header in webhook.headers or []]]


# --- warnings ---------------------------------------------------------------------------------------------------------


def _warnings(loaded: LoadedFile, document: DeployFile, selected: Sequence[str]) -> Iterator[str]:
    yield from map(str, loaded.problems.warnings)
    for target in selected:
        for needed in _dependencies(document, target):
            if needed not in selected:
                yield (
                    f"the target {quote(target)} depends on {quote(needed)}, which this run leaves out; it is taken as "
                    "done"
                )

"""The variables of templates: whether they name something that there is. At run time one that does not ends a
rollout."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from strategies.places import Place
from strategies.problems import FileReport
from strategies.step_checks import all_steps
from strategies.suggestions import nearest

# Possessive: a megabyte of letters behind two braces must not be divided in every way between scope and name.
_VARIABLE = re.compile(r"\{\{\{?\s*+(?P<scope>\w++)\.?+(?P<name>[\w.\-]*+)\s*+\}\}\}?")

_EVERYWHERE = (
    "applicationName",
    "deploymentId",
    "environmentName",
    "replicaSetName",
    "accountName",
    "namespace",
)
IN_QUERIES = (
    *_EVERYWHERE,
    "startTimeIso8601",
    "startTimeEpochSeconds",
    "startTimeEpochMillis",
    "endTimeIso8601",
    "endTimeEpochSeconds",
    "endTimeEpochMillis",
    "intervalSeconds",
    "intervalMillis",
    "promQlStepInterval",
)
IN_WEBHOOKS = (*_EVERYWHERE, "callbackUri")
IN_JOBS = _EVERYWHERE


def check_templates(root: Place, say: FileReport) -> None:
    """Warns only, because nothing may use the query or the webhook; `strategies.compile_release` refuses what is
    used."""
    exposed = previews_of(item.text or "" for step, _ in all_steps(root) for item in step.items("exposeServices", "services"))
    for query in root.items("analysis", "queries"):
        _check(query.get("queryTemplate"), (*IN_QUERIES, *exposed), say)
    for entry in root.items("trafficManagement"):
        for field in ("canaryRequests", "allRequests"):
            _check(entry.at("effect", field), (*IN_QUERIES, *exposed), say)
    for webhook in root.items("webhooks"):
        for template in _webhook_templates(webhook):
            _check(template, (*IN_WEBHOOKS, *exposed), say)


def previews_of(services: Iterable[str]) -> tuple[str, ...]:
    """The variables that hold the addresses of Services, once an `exposeServices` step has given them one."""
    return tuple(dict.fromkeys(f"preview.{service}" for service in services))


def _webhook_templates(webhook: Place) -> Iterator[Place | None]:
    yield webhook.get("uriTemplate")
    yield webhook.at("bodyTemplate", "inline")
    for header in webhook.items("headers"):
        yield header.get("value")


def variables_of(template: str) -> Iterator[tuple[str, str]]:
    """The scope and the name of each variable, in order."""
    return ((match["scope"], match["name"]) for match in _VARIABLE.finditer(template))


def find_unknown(template: str, armory: Sequence[str], context: Collection[str] | None = None) -> Iterator[str]:
    """What is wrong with the variables of a template, each in a sentence. Variables of `secrets` are known to the
    daemon only.

    Without `context` its variables are not looked at: the command line may still add some.
    """
    for scope, name in dict.fromkeys(variables_of(template)):
        whole = f"{{{{{scope}.{name}}}}}" if name else f"{{{{{scope}}}}}"
        if scope == "armory" and name not in armory:
            yield f"{whole} is not a variable that is provided here; {_advise(name, armory)}"
        elif scope == "context" and context is not None and name not in context:
            yield f'{whole} has no value; add it to "context", or give it with --context'
        elif scope not in ("armory", "context", "secrets"):
            yield f"{whole} is no variable; one begins with armory, context or secrets, such as {{{{context.{scope}}}}}"


def _advise(name: str, known: Sequence[str]) -> str:
    found = nearest(name, known)
    return f"did you mean {{{{armory.{found}}}}}?" if found is not None else f"known here: {', '.join(known)}"


def _check(template: Place | None, armory: tuple[str, ...], say: FileReport) -> None:
    if template is not None and template.text is not None:
        for sentence in find_unknown(template.text, armory):
            say.warn(template.mark, sentence)

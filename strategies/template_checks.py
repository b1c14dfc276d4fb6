"""The variables of templates: whether `{{armory...}}` names something that there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import nearest

VARIABLE = re.compile(r"\{\{\{?\s*(armory|context|secrets)\.([\w.\-]+)\s*\}\}\}?")

_EVERYWHERE = (
    "applicationName",
    "deploymentId",
    "environmentName",
    "replicaSetName",
    "accountName",
    "namespace",
)
_IN_QUERIES = (
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
_IN_WEBHOOKS = (*_EVERYWHERE, "callbackUri")


def check_templates(root: Place, say: FileReport) -> None:
    for query in root.items("analysis", "queries"):
        _check(query.get("queryTemplate"), _IN_QUERIES, say)
    for webhook in root.items("webhooks"):
        for template in webhook_templates(webhook):
            _check(template, _IN_WEBHOOKS, say)


def webhook_templates(webhook: Place) -> Iterator[Place | None]:
    yield webhook.get("uriTemplate")
    yield webhook.at("bodyTemplate", "inline")
    for header in webhook.items("headers"):
        yield header.get("value")


def context_names(templates: Iterable[str]) -> set[str]:
    """The names of the `{{context...}}` variables that templates use."""
    return {match[2] for text in templates for match in VARIABLE.finditer(text) if match[1] == "context"}


def _check(template: Place | None, known: tuple[str, ...], say: FileReport) -> None:
    if template is None or template.text is None:
        return
    for scope, name in dict.fromkeys((match[1], match[2]) for match in VARIABLE.finditer(template.text)):
        if scope == "armory" and name not in known and not name.startswith("preview."):
            found = nearest(name, known)
            advice = f"did you mean {{{{armory.{found}}}}}?" if found is not None else f"known here: {', '.join(known)}"
            say.warn(template.mark, f"{{{{armory.{name}}}}} is not a variable that is provided here; {advice}")

"""The templates of deploy files: `{{armory.*}}`, `{{context.*}}` and `{{secrets.*}}` in webhooks and in queries.
Pure.

The names and their meanings are those of CD-as-a-Service. As in its mustache templates, two braces insert a value in
the form that its surroundings need (inside of JSON and of an address: escaped), and three insert it as it is. Braces
around anything but a name are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote as quote_part

from engine.errors import HeadgateError
from engine.gates import sign_preview
from engine.model import Analysis, RolloutSpec, Snapshot, Webhook
from strategies.suggestions import nearest, quote

_VARIABLE = re.compile(r"\{\{\{\s*(?P<raw>\w[\w.\-]*)\s*\}\}\}|\{\{\s*(?P<name>\w[\w.\-]*)\s*\}\}")

_HOST_PART = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")

Escape = Callable[[str], str]


class TemplateError(HeadgateError):
    """A template names a variable that has no value here."""


def render(template: str, variables: Mapping[str, str], *, escape: Escape | None = None) -> str:
    """The text with every variable replaced; `escape` is applied to values between two braces. Raises `TemplateError`.

    What is inserted is not looked at again, so a value cannot bring in variables of its own.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["raw"] or match["name"]
        value = variables.get(name)
        if value is None:
            raise TemplateError(_explain(name, variables))
        return value if match["raw"] is not None or escape is None else escape(value)

    return _VARIABLE.sub(replace, template)


def render_address(template: str, variables: Mapping[str, str]) -> str:
    """An address with every variable replaced. What is between two braces stays in the part where it stands: it names no other
    host, and adds no segment that leads up, no query and no parameter. A variable at the very beginning is an address itself.
    Raises `TemplateError`.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["raw"] or match["name"]
        value = variables.get(name)
        if value is None:
            raise TemplateError(_explain(name, variables))
        before = template[: match.start()]
        if match["raw"] is not None or not before.strip():
            return value
        if "?" in before or "#" in before:
            return quote_part(value, safe="", errors="replace")
        if "/" in before.partition("://")[2] or "://" not in before:
            if _leads_up(value):
                raise TemplateError(f"{{{{{name}}}}} stands in a path, and its value has a segment that leads up from there")
            return quote_part(value, safe="/", errors="replace")
        if _HOST_PART.fullmatch(value) is None:
            raise TemplateError(f"{{{{{name}}}}} stands in the name of a host, and its value cannot be a part of one")
        return value

    return _VARIABLE.sub(replace, template)


def _leads_up(value: str) -> bool:
    return any(segment.strip(".") == "" and segment for segment in value.split("/"))


def variables_in(template: str) -> frozenset[str]:
    """The names of the variables that a template uses."""
    return frozenset(match["raw"] or match["name"] for match in _VARIABLE.finditer(template))


def escape_json(value: str) -> str:
    """A value as it may stand between the quotes of a JSON text."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def render_query(
    template: str, spec: RolloutSpec, snapshot: Snapshot, step: Analysis, start: datetime, end: datetime
) -> str:
    """A query of an analysis step, for the window from `start` to `end`. Raises `TemplateError`."""
    variables = {
        **rollout_variables(spec, snapshot, step.context),
        **window_variables(start, end, step.interval_seconds),
    }
    return render(template, variables)


def rollout_variables(spec: RolloutSpec, snapshot: Snapshot, context: Mapping[str, str]) -> dict[str, str]:
    """What is known of a rollout. A step's own context wins over that of the whole file and of the command line.

    `replicaSetName` is the new version's of the plan's first workload; it has no value before there is one.
    """
    plan = spec.plan
    variables = {f"context.{name}": value for name, value in {**plan.context, **context}.items()}
    variables |= {
        "armory.applicationName": spec.application,
        "armory.deploymentId": spec.release,
        "armory.environmentName": plan.target,
        "armory.accountName": plan.account,
        "armory.namespace": plan.namespace,
    }
    variables |= {f"armory.preview.{name}": address for name, address in previews(snapshot).items()}
    for side in ("canary_name", "serving_name") if plan.workloads else ():
        if name := snapshot.facts.get(f"{plan.workloads[0].name}.{side}"):
            variables.setdefault("armory.replicaSetName", str(name))
    return variables


def previews(snapshot: Snapshot) -> dict[str, str]:
    """The addresses that `exposeServices` steps have given, by Service. Other facts of them have a dot after the Service."""
    named = ((name.partition(".")[2], value) for name, value in snapshot.facts.items() if name.startswith("preview."))
    return {service: str(value) for service, value in named if "." not in service}


def preview_tokens(spec: RolloutSpec, snapshot: Snapshot) -> list[str]:
    """What of those addresses is to be shown to nobody else: with it, whoever reads the journal could see the Services."""
    return [sign_preview(spec, service) for service in previews(snapshot)]


def window_variables(start: datetime, end: datetime, interval_seconds: float) -> dict[str, str]:
    """What is known of the window that a query is asked for. `promQlStepInterval` is a duration as Prometheus writes
    it."""
    milliseconds = round(interval_seconds * 1_000)
    whole = milliseconds % 1_000 == 0
    variables = {
        "armory.intervalSeconds": str(milliseconds // 1_000 if whole else milliseconds / 1_000),
        "armory.intervalMillis": str(milliseconds),
        "armory.promQlStepInterval": f"{milliseconds // 1_000}s" if whole else f"{milliseconds}ms",
    }
    for name, at in (("startTime", start), ("endTime", end)):
        utc = at.astimezone(UTC)
        variables[f"armory.{name}Iso8601"] = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        variables[f"armory.{name}EpochSeconds"] = str(int(utc.timestamp()))
        variables[f"armory.{name}EpochMillis"] = str(round(utc.timestamp() * 1_000))
    return variables


def templates_of(step: Webhook) -> tuple[str, ...]:
    return (step.url, step.body or "", *(header.value for header in step.headers))


def _explain(name: str, variables: Mapping[str, str]) -> str:
    if name == "armory.replicaSetName":
        return "{{armory.replicaSetName}} has no value here: there is no ReplicaSet of the new version yet"
    if name.startswith("armory.preview."):
        return f"{{{{{name}}}}} has no value here: no exposeServices step before this one has given that Service an address"
    known = [*variables, "armory.replicaSetName"]
    found = nearest(name, known)
    if found is None and "." not in name:
        found = next((one for one in known if one.partition(".")[2] == name), None)
    scope = name.partition(".")[0]
    if found is not None:
        advice = f"did you mean {{{{{found}}}}}?"
    elif scope == "context":
        advice = f'add {quote(name.partition(".")[2])} to "context", or give it with --context'
    elif scope == "secrets":
        advice = f'add {quote(name.partition(".")[2])} to "secrets" in the daemon\'s settings'
    else:
        advice = f"known here: {', '.join(sorted(known))}"
    return f"{{{{{name}}}}} has no value here; {advice}"

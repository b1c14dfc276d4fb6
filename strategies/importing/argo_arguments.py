"""The arguments of an Argo analysis: what each of them is worth here, and how a query comes to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from strategies.importing.input_file import InputObject
from strategies.importing.subjects import Subject
from strategies.places import Place
from strategies.suggestions import quote
from strategies.yaml_document import ScalarNode

_ARGUMENT = re.compile(r"\{\{\s*args\.(?P<name>[^\s{}]+)\s*\}\}")
_NAME = re.compile(r"[\w.\-]+")
_INDEX = re.compile(r"metadata\.(?P<map>labels|annotations)\[['\"](?P<key>[^'\"]+)['\"]\]")
NEW_VERSION = "{{armory.replicaSetName}}"


@dataclass(slots=True)
class Arguments:
    """By name: a literal text, or a variable of Headgate. None stands for a value that the input does not hold."""

    literals: dict[str, str | None] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def resolve(self, text: str) -> str:
        """With literals filled in, for what is no template here: numbers and conditions."""
        return _ARGUMENT.sub(lambda match: self.literals.get(match["name"]) or match[0], text)

    def rewrite(self, query: str) -> tuple[str, dict[str, str], list[str]]:
        """A query with our variables, the context that it needs, and the names that have no value."""
        context: dict[str, str] = {}
        missing: list[str] = []

        def replace(match: re.Match[str]) -> str:
            name = match["name"]
            if name in self.variables:
                return self.variables[name]
            value = self.literals.get(name)
            if _NAME.fullmatch(name) is None:
                return value if value is not None else match[0]
            if value is None:
                missing.append(name)
            else:
                context[name] = value
            return f"{{{{context.{name}}}}}"

        return _ARGUMENT.sub(replace, query), context, list(dict.fromkeys(missing))


def read_arguments(
    subject: Subject, given: Place | None, templates: list[tuple[Subject, Place]], rollout: InputObject
) -> Arguments:
    """The templates' own values, with those of the Rollout over them."""
    arguments = Arguments()
    for template, spec in templates:
        for argument in _take_list(spec):
            name = template.text(argument, "name")
            if name is None:
                continue
            arguments.literals.setdefault(name, None)
            if (value := template.text(argument, "value")) is not None:
                arguments.literals[name] = value
            elif (source := template.take(argument, "valueFrom")) is not None:
                _read_source(template, argument, source, name, arguments, rollout)
    for argument in _take_list(given):
        name = subject.text(argument, "name")
        if name is None:
            continue
        arguments.variables.pop(name, None)
        arguments.literals[name] = subject.text(argument, "value")
        if arguments.literals[name] is None and (source := subject.take(argument, "valueFrom")) is not None:
            _read_source(subject, argument, source, name, arguments, rollout)
    return arguments


def _take_list(owner: Place | None) -> list[Place]:
    return list(owner.items("args")) if owner is not None else []


def _read_source(subject: Subject, argument: Place, source: Place, name: str, arguments: Arguments, rollout: InputObject) -> None:
    pod_hash, field_path = subject.text(source, "podTemplateHashValue"), source.at("fieldRef", "fieldPath")
    if pod_hash == "Latest":
        arguments.variables[name] = NEW_VERSION
        subject.changed(
            argument,
            "was the hash of the new version's pods",
            f"it is {NEW_VERSION} here, the name of its ReplicaSet: DEPLOYMENT-HASH; see that the query still selects them",
        )
    elif field_path is not None and field_path.text is not None:
        _read_field(subject, argument, field_path.text, name, arguments, rollout)
    elif source.get("secretKeyRef") is not None:
        subject.fill_in(
            argument,
            "was read from a Secret of the cluster",
            "give the metric provider its credentials in the daemon's settings (docs/metrics.md)",
        )
    else:
        what = "was the hash of the old version's pods" if pod_hash is not None else "has a source that is not known"
        subject.fill_in(argument, what, f'give the step a "context" with {quote(name)}, or ask for the new version alone')


def _read_field(subject: Subject, argument: Place, path: str, name: str, arguments: Arguments, rollout: InputObject) -> None:
    if path == "metadata.namespace":
        arguments.variables[name] = "{{armory.namespace}}"
        return
    value: Place | None = rollout.place
    if (index := _INDEX.fullmatch(path)) is not None:
        value = rollout.place.at("metadata", index["map"], index["key"])
    else:
        value = rollout.place.at(*path.split("."))
    if value is not None and isinstance(value.node, ScalarNode) and value.node.text:
        arguments.literals[name] = value.node.text
        return
    subject.fill_in(argument, f"was the Rollout's {path}, which the input does not hold", f"give {quote(name)} a value")

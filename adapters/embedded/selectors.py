"""Label and field selectors of lists, watches and collection deletes, and the selectors inside of objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from adapters.embedded.errors import BadRequest
from adapters.embedded.json_objects import JsonObject, labels_of, value_at
from adapters.embedded.resources import EVENTS, NAMESPACES, PODS, REPLICA_SETS, SECRETS, Resource

Predicate: TypeAlias = Callable[[JsonObject], bool]
LabelTest: TypeAlias = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EXISTS = re.compile(rf"(?P<key>{_KEY})")
_MISSING = re.compile(rf"!\s*(?P<key>{_KEY})")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_MEMBER = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_BOUND = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>[<>])\s*(?P<value>-?\d+)")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")

_FIELDS: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]] = {
    PODS.storage_key: {
        "spec.nodeName": ("spec", "nodeName"),
        "spec.restartPolicy": ("spec", "restartPolicy"),
        "spec.schedulerName": ("spec", "schedulerName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
        "status.phase": ("status", "phase"),
        "status.podIP": ("status", "podIP"),
    },
    EVENTS.storage_key: {
        **{
            f"involvedObject.{name}": ("involvedObject", name)
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": ("reason",),
        "type": ("type",),
        "source": ("source", "component"),
        "reportingComponent": ("reportingComponent",),
    },
    NAMESPACES.storage_key: {"status.phase": ("status", "phase")},
    SECRETS.storage_key: {"type": ("type",)},
    REPLICA_SETS.storage_key: {"status.replicas": ("status", "replicas")},
}
_COMMON_FIELDS = {"metadata.name": ("metadata", "name"), "metadata.namespace": ("metadata", "namespace")}


def parse_selection(resource: Resource, label_selector: str, field_selector: str) -> Predicate | None:
    """The test that both selectors of a request make together; None when they let everything through.

    Raises:
        BadRequest: a selector cannot be parsed, or names a field that cannot be selected by.
    """
    tests: list[Predicate] = []
    if label_selector.strip():
        by_labels = parse_label_selector(label_selector)
        tests.append(lambda obj: by_labels(labels_of(obj)))
    if field_selector.strip():
        tests.append(parse_field_selector(resource, field_selector))
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)


def parse_label_selector(text: str) -> LabelTest:
    """The test of a selector as in `app=web,tier in (a, b),!old`.

    Raises:
        BadRequest: the text is no such selector.
    """
    parts = [part.strip() for part in _OUTSIDE_PARENTHESES.split(text)]
    if not any(parts):
        return lambda labels: True
    tests = [_parse_requirement(part, text) for part in parts]
    return lambda labels: all(test(labels) for test in tests)


def _parse_requirement(part: str, whole: str) -> LabelTest:
    if found := _MEMBER.fullmatch(part):
        values = {value.strip() for value in found["values"].split(",")}
        return _membership(found["key"], values, inside=found["operator"] == "in")
    if found := _EQUAL.fullmatch(part):
        return _membership(found["key"], {found["value"]}, inside=found["operator"] != "!=")
    if found := _BOUND.fullmatch(part):
        return _bound(found["key"], int(found["value"]), greater=found["operator"] == ">")
    if found := _MISSING.fullmatch(part):
        return _existence(found["key"], wanted=False)
    if found := _EXISTS.fullmatch(part):
        return _existence(found["key"], wanted=True)
    raise BadRequest(f"unable to parse requirement: {part!r} in the label selector {whole!r}")


def _membership(key: str, values: set[str], *, inside: bool) -> LabelTest:
    if inside:
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _existence(key: str, *, wanted: bool) -> LabelTest:
    return lambda labels: (key in labels) is wanted


def _bound(key: str, bound: int, *, greater: bool) -> LabelTest:
    def test(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if greater else value < bound

    return test


def label_selector_of(selector: object) -> LabelTest:
    """The test of a LabelSelector object (matchLabels, matchExpressions); an empty one matches everything.

    Raises:
        BadRequest: an expression has an unknown operator.
    """
    if not isinstance(selector, dict):
        return lambda labels: False
    tests = [_membership(key, {value}, inside=True) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator = str(expression.get("key", "")), expression.get("operator")
        if operator in {"In", "NotIn"}:
            tests.append(_membership(key, set(expression.get("values") or ()), inside=operator == "In"))
        elif operator in {"Exists", "DoesNotExist"}:
            tests.append(_existence(key, wanted=operator == "Exists"))
        else:
            raise BadRequest(f"{operator!r} is not a valid label selector operator")
    return lambda labels: all(test(labels) for test in tests)


def tell_label_selector(selector: object) -> str:
    """A LabelSelector object as text, as tables and the scale subresource show it."""
    if not isinstance(selector, dict):
        return ""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression.get("key"), expression.get("operator")
        values = ",".join(sorted(expression.get("values") or ()))
        told = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(str(told.get(operator, f"!{key}")))
    return ",".join(parts)


def parse_field_selector(resource: Resource, text: str) -> Predicate:
    """The test of a selector as in `metadata.name=web,status.phase!=Running`.

    Raises:
        BadRequest: the text is no such selector, or the field cannot be selected by.
    """
    tests = [_parse_field_term(resource, term.strip(), text) for term in text.split(",") if term.strip()]
    return lambda obj: all(test(obj) for test in tests)


def _parse_field_term(resource: Resource, term: str, whole: str) -> Predicate:
    found = re.fullmatch(r"(?P<field>[\w.\[\]/-]+?)(?P<operator>==|!=|=)(?P<value>.*)", term)
    if found is None:
        raise BadRequest(f"invalid selector: {whole!r}; can't understand {term!r}")
    path = {**_COMMON_FIELDS, **_FIELDS.get(resource.storage_key, {})}.get(found["field"])
    if path is None and resource.custom:
        raise BadRequest(f"field label not supported: {found['field']}")
    if path is None:
        raise BadRequest(f'Unable to find "{resource.group}/{resource.version}, Resource={resource.plural}" that match '
                         f'label selector "", field selector "{whole}": field label not supported: {found["field"]}')
    value, equal = found["value"], found["operator"] != "!="

    def test(obj: JsonObject) -> bool:
        actual = value_at(obj, *path)
        return (str("" if actual is None else actual) == value) is equal

    return test

"""The query parameters of a request as typed options, checked as a real API server checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.conform import conform
from adapters.embedded.errors import ApiError, BadRequest, Cause, Invalid
from adapters.embedded.json_objects import JsonObject, encode_json

_META_GROUP = "meta.k8s.io"
_PROPAGATIONS = ("Foreground", "Background", "Orphan", "nil")
_VALIDATIONS = ("Ignore", "Strict", "Warn")
_LONGEST_MANAGER = 128


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Of a get, a list or a watch. `resource_version` is None when it was not given."""

    label_selector: str
    field_selector: str
    resource_version: int | None
    version_match: str
    limit: int
    continue_token: str
    timeout_seconds: int | None
    allow_bookmarks: bool
    send_initial_events: bool | None
    include_object: str


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Of a create, an update or a patch."""

    dry_run: bool
    manager: str
    has_manager: bool
    force: bool
    field_validation: str


@dataclass(frozen=True, slots=True)
class DeletionOptions:
    """Of a delete."""

    dry_run: bool
    grace_period_seconds: int | None
    propagation: str | None
    uid: str | None
    resource_version: str | None
    orphan_dependents: bool | None


def read_options(query: Mapping[str, str], *, watch: bool) -> ReadOptions:
    """The options of a reading request.

    Raises:
        BadRequest: a parameter cannot be parsed.
        Invalid: parameters that do not go together.
    """
    options = ReadOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        resource_version=_version(query.get("resourceVersion", "")),
        version_match=query.get("resourceVersionMatch", ""),
        limit=_integer(query, "limit") or 0,
        continue_token=query.get("continue", ""),
        timeout_seconds=_integer(query, "timeoutSeconds"),
        allow_bookmarks=bool(_boolean(query, "allowWatchBookmarks")),
        send_initial_events=_boolean(query, "sendInitialEvents"),
        include_object=query.get("includeObject", "Metadata"),
    )
    causes = _faults_of_watch(options) if watch else _faults_of_list(options)
    if causes:
        raise _invalid_options("ListOptions", causes)
    return options


def _faults_of_list(options: ReadOptions) -> list[Cause]:
    causes = []
    if options.send_initial_events is not None:
        causes.append(Cause("FieldValueForbidden", "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"))
    if options.version_match and options.resource_version is None:
        detail = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(Cause("FieldValueForbidden", "resourceVersionMatch", detail))
    elif options.version_match and options.continue_token:
        detail = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
        causes.append(Cause("FieldValueForbidden", "resourceVersionMatch", detail))
    elif options.version_match not in {"", "Exact", "NotOlderThan"}:
        detail = f'Unsupported value: "{options.version_match}": supported values: "Exact", "NotOlderThan"'
        causes.append(Cause("FieldValueNotSupported", "resourceVersionMatch", detail))
    elif options.version_match == "Exact" and options.resource_version == 0:
        detail = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(Cause("FieldValueForbidden", "resourceVersionMatch", detail))
    return causes


def _faults_of_watch(options: ReadOptions) -> list[Cause]:
    if options.send_initial_events is None:
        if options.version_match:
            detail = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            return [Cause("FieldValueForbidden", "resourceVersionMatch", detail)]
        return []
    if options.version_match != "NotOlderThan":
        detail = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        return [Cause("FieldValueForbidden", "resourceVersionMatch", detail)]
    return []


def write_options(query: Mapping[str, str], user_agent: str, kind: str, *, apply: bool = False) -> WriteOptions:
    """The options of a writing request; the manager is named by the client's user agent when it names none.

    Args:
        kind: what the options are called in messages: CreateOptions, UpdateOptions or PatchOptions.

    Raises:
        BadRequest: a parameter cannot be parsed.
        Invalid: parameters that do not go together.
    """
    manager = query.get("fieldManager", "")
    causes = _faults_of_dry_run([query["dryRun"]] if "dryRun" in query else [])
    if apply and not manager:
        causes.append(Cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch"))
    if len(manager) > _LONGEST_MANAGER:
        causes.append(Cause("FieldValueTooLong", "fieldManager", f"Too long: may not be more than {_LONGEST_MANAGER} bytes"))
    position, odd = next(((index, one) for index, one in enumerate(manager) if not one.isprintable()), (0, ""))
    if odd:
        shown = f"{encode_json(manager).decode()}: invalid character U+{ord(odd):04X} (at position {position})"
        causes.append(Cause("FieldValueInvalid", "fieldManager", f"Invalid value: {shown}"))
    force = _boolean(query, "force")
    if force is not None and not apply:
        causes.append(Cause("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch"))
    validation = query.get("fieldValidation") or "Warn"
    if validation not in _VALIDATIONS:
        causes.append(Cause("FieldValueNotSupported", "fieldValidation", _unsupported(validation, ("", *_VALIDATIONS))))
    if causes:
        raise _invalid_options(kind, causes)
    return WriteOptions(
        dry_run="dryRun" in query,
        manager=manager or user_agent.partition("/")[0][:_LONGEST_MANAGER] or "unknown",
        has_manager=bool(manager),
        force=bool(force),
        field_validation=validation,
    )


def deletion_options(query: Mapping[str, str], body: JsonObject) -> DeletionOptions:
    """The options of a delete, from its body or, without one, from its query.

    Raises:
        BadRequest: a parameter cannot be parsed.
        Invalid: an unknown propagation policy or dry run.
    """
    given = _checked_deletion(body) or {
        "gracePeriodSeconds": _grace_period(query),
        "propagationPolicy": query.get("propagationPolicy"),
        "orphanDependents": _boolean(query, "orphanDependents"),
    }
    asked = [query["dryRun"]] if "dryRun" in query else given.get("dryRun") or []
    causes = _faults_of_dry_run(asked)
    propagation, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
    if propagation is not None and orphan is not None:
        shown = f'"{propagation}": orphanDependents and deletionPropagation cannot be both set'
        causes.append(Cause("FieldValueInvalid", "propagationPolicy", f"Invalid value: {shown}"))
    elif propagation is not None and propagation not in _PROPAGATIONS[:3]:
        causes.append(Cause("FieldValueNotSupported", "propagationPolicy", _unsupported(propagation, _PROPAGATIONS)))
    if causes:
        raise _invalid_options("DeleteOptions", causes)
    if propagation is None and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    preconditions = given.get("preconditions") or {}
    return DeletionOptions(
        dry_run=bool(asked),
        grace_period_seconds=given.get("gracePeriodSeconds"),
        propagation=propagation,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        orphan_dependents=orphan,
    )


def _checked_deletion(body: JsonObject) -> JsonObject:
    """The body of a delete as its type holds it."""
    kind = body.get("kind")
    if kind and kind != "DeleteOptions":
        version = body.get("apiVersion") or f"{_META_GROUP}/v1"
        told = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise BadRequest(told)
    checked, _ = conform(schema_of_kind("DeleteOptions"), body)
    return checked


def _grace_period(query: Mapping[str, str]) -> int | None:
    text = query.get("gracePeriodSeconds", "")
    try:
        return int(text) if text else None
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _faults_of_dry_run(asked: list[str]) -> list[Cause]:
    if all(one == "All" for one in asked):
        return []
    return [Cause("FieldValueNotSupported", "dryRun", _unsupported(asked, ("All",)))]


def _unsupported(value: object, supported: tuple[str, ...]) -> str:
    choices = ", ".join(f'"{choice}"' for choice in supported)
    return f"Unsupported value: {encode_json(value).decode()}: supported values: {choices}"


def _invalid_options(kind: str, causes: list[Cause]) -> ApiError:
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    summary = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details: JsonObject = {"group": _META_GROUP, "kind": kind, "causes": [cause.to_json() for cause in causes]}
    return Invalid(f'{kind}.{_META_GROUP} "" is invalid: {summary}', details=details)


def _version(text: str) -> int | None:
    if text == "":
        return None
    if not text.isdigit():
        raise BadRequest(f'resourceVersion: Invalid value: "{text}": must be a whole number')
    return int(text)


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'{name}: Invalid value: "{text}": must be a whole number') from None


def _boolean(query: Mapping[str, str], name: str) -> bool | None:
    text = query.get(name, "")
    if text == "":
        return None
    return text.lower() not in {"false", "0"}

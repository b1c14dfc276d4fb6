"""What an object must be to be stored: the rules of all kinds, and where those of single kinds are found.

The rules and words are those of pkg/apis/*/validation of Kubernetes, as far as clients of this cluster can break them.
Addresses in the loopback range are allowed in Endpoints, unlike there: the pods of this cluster live on loopback.
"""

from __future__ import annotations

from adapters.embedded import resources as known
from adapters.embedded.errors import Invalid
from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, metadata_of, name_of
from adapters.embedded.resources import Resource
from adapters.embedded.validate_autoscalers import check_autoscaler
from adapters.embedded.validate_definitions import check_definition, check_definition_change
from adapters.embedded.validate_ingresses import check_ingress
from adapters.embedded.validate_jobs import check_job, check_job_change
from adapters.embedded.validate_metadata import check_finalizer_names, check_metadata, check_metadata_change
from adapters.embedded.validate_pods import check_pod_change, check_pod_spec
from adapters.embedded.validate_services import check_service, check_service_change
from adapters.embedded.validate_workloads import WORKLOADS, check_workload, check_workload_change

_CHECKED_WHOLE = frozenset({known.CONFIG_MAPS.storage_key, known.SECRETS.storage_key, known.SERVICES.storage_key})
"""Kinds of which an update is checked as a new object is, and then for what has changed."""


def validate(resource: Resource, obj: JsonObject, old: JsonObject | None) -> None:
    """Check an object before it is stored; `old` is its former version, None for a new one.

    Raises:
        Invalid: with everything that is wrong.
    """
    errors = FieldErrors()
    if old is None:
        _check_as_new(errors, resource, obj)
    else:
        # As often as the real server looks at the metadata: once for all kinds, and again with each one.
        check_metadata(errors, resource, obj)
        check_metadata_change(errors, obj, old)
        check_metadata_change(errors, obj, old)
        if resource.storage_key in _CHECKED_WHOLE:
            _check_as_new(errors, resource, obj)
        else:
            _check_kind(errors, resource, obj, is_new=False)
        _check_kind_change(errors, resource, obj, old)
    if errors.causes:
        raise Invalid.of(resource, name_of(obj) or str(metadata_of(obj).get("generateName") or ""), errors.causes)


def _check_as_new(errors: FieldErrors, resource: Resource, obj: JsonObject) -> None:
    check_metadata(errors, resource, obj)
    if not resource.custom and resource != known.CUSTOM_RESOURCE_DEFINITIONS:
        check_finalizer_names(errors, obj)
    _check_kind(errors, resource, obj, is_new=True)


def _check_kind(errors: FieldErrors, resource: Resource, obj: JsonObject, *, is_new: bool) -> None:
    if resource.storage_key in WORKLOADS:
        check_workload(errors, resource, obj)
    elif resource == known.PODS:
        check_pod_spec(errors, "spec", obj.get("spec") or {})
    elif resource == known.SERVICES:
        check_service(errors, obj)
    elif resource == known.HORIZONTAL_POD_AUTOSCALERS:
        check_autoscaler(errors, obj)
    elif resource == known.CUSTOM_RESOURCE_DEFINITIONS:
        check_definition(errors, obj)
    elif resource == known.CONFIG_MAPS:
        _check_config_map(errors, obj)
    elif resource == known.JOBS:
        check_job(errors, obj)
    elif resource == known.INGRESSES:
        check_ingress(errors, obj, is_new=is_new)


def _check_kind_change(errors: FieldErrors, resource: Resource, obj: JsonObject, old: JsonObject) -> None:
    if resource.storage_key in WORKLOADS:
        check_workload_change(errors, resource, obj, old)
    elif resource == known.PODS:
        check_pod_change(errors, obj, old)
    elif resource == known.SERVICES:
        check_service_change(errors, obj, old)
    elif resource == known.CUSTOM_RESOURCE_DEFINITIONS:
        check_definition_change(errors, obj, old)
    elif resource == known.CONFIG_MAPS:
        _check_config_map_change(errors, obj, old)
    elif resource == known.JOBS:
        check_job_change(errors, obj, old)


def _check_config_map(errors: FieldErrors, obj: JsonObject) -> None:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            errors.check_config_key(f"{field}[{key}]", key)
            if field == "data" and key in (obj.get("binaryData") or {}):
                errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


def _check_config_map_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    if not old.get("immutable"):
        return
    changed = [field for field in ("data", "binaryData") if obj.get(field) != old.get(field)]
    for field in (["immutable"] if not obj.get("immutable") else []) + changed:
        errors.forbidden(field, "field is immutable when `immutable` is set")

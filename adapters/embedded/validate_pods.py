"""What a pod's specification must be, in a Pod or in a template, and what of a Pod may change.

The rules and words are those of pkg/apis/core/validation of Kubernetes, as far as a rollout can break them.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of, value_at
from adapters.embedded.validate_containers import check_container, check_probes

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_TOLERATION_OPERATORS = ("Equal", "Exists")
_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")
_CONTAINER_LISTS = ("containers", "initContainers")
_NAMED_SOURCES = (
    ("emptyDir", ""),
    ("hostPath", "path"),
    ("secret", "secretName"),
    ("persistentVolumeClaim", "claimName"),
    ("configMap", "name"),
    ("projected", ""),
    ("downwardAPI", ""),
)
"""The sources of volumes that are looked at, and the field that each must have."""
_MOST_SECONDS = 2**31 - 1


def check_pod_spec(errors: FieldErrors, path: str, spec: JsonObject, *, in_template: bool = False) -> None:
    """The specification on its own."""
    volumes = _check_volumes(errors, f"{path}.volumes", spec)
    if not spec.get("containers"):
        errors.required(f"{path}.containers")
    names: set[str] = set()
    for field in _CONTAINER_LISTS:
        for index, container in enumerate(items_of(spec.get(field))):
            place, name = f"{path}.{field}[{index}]", container.get("name") or ""
            check_container(errors, place, container, volumes, in_template=in_template)
            if name in names:
                errors.duplicate(f"{place}.name", name)
            elif name:
                names.add(name)
            check_probes(errors, place, container)
    _check_rest(errors, path, spec)


def _check_rest(errors: FieldErrors, path: str, spec: JsonObject) -> None:
    errors.check_one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    errors.check_one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS_POLICIES)
    errors.check_labels(f"{path}.nodeSelector", spec.get("nodeSelector") or {})
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        number = value_at(spec, "securityContext", field)
        if isinstance(number, int) and not 0 <= number <= _MOST_SECONDS:
            errors.invalid(f"{path}.securityContext.{field}", number, "must be between 0 and 2147483647, inclusive")
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            errors.check_subdomain(f"{path}.{field}", spec[field])
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline <= _MOST_SECONDS:
        errors.invalid(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {_MOST_SECONDS}, inclusive")
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            errors.check_label_name(f"{path}.{field}", spec[field])
    for index, toleration in enumerate(items_of(spec.get("tolerations"))):
        _check_toleration(errors, f"{path}.tolerations[{index}]", toleration)


def _check_toleration(errors: FieldErrors, path: str, toleration: JsonObject) -> None:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    if key:
        errors.check_qualified_name(f"{path}.key", key)
    elif operator != "Exists":
        told = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.invalid(f"{path}.operator", operator, told)
    if operator and operator not in _TOLERATION_OPERATORS:
        errors.unsupported(f"{path}.operator", operator, _TOLERATION_OPERATORS)


def _check_volumes(errors: FieldErrors, path: str, spec: JsonObject) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(items_of(spec.get("volumes"))):
        _check_sources(errors, f"{path}[{index}]", volume)
        name = volume.get("name") or ""
        if not name:
            errors.required(f"{path}[{index}].name")
        else:
            errors.check_label_name(f"{path}[{index}].name", name)
        if name in names:
            errors.duplicate(f"{path}[{index}].name", name)
        names.add(name)
    return names


def _check_sources(errors: FieldErrors, path: str, volume: JsonObject) -> None:
    found = [(source, field) for source, field in _NAMED_SOURCES if isinstance(volume.get(source), dict)]
    for position, (source, field) in enumerate(found):
        if position:
            errors.forbidden(f"{path}.{source}", "may not specify more than 1 volume type")
        elif field and not volume[source].get(field):
            errors.required(f"{path}.{source}.{field}")


def check_pod_change(errors: FieldErrors, new: JsonObject, old: JsonObject) -> None:
    """Of a Pod's specification, hardly anything may change."""
    if _fixed_part(new, old) != _fixed_part(old, old):
        errors.forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )


def _fixed_part(pod: JsonObject, old: JsonObject) -> JsonObject:
    spec = {key: value for key, value in (pod.get("spec") or {}).items() if key not in _CHANGEABLE}
    for field in _CONTAINER_LISTS:
        if field in spec:
            spec[field] = [{**container, "image": ""} for container in items_of(spec[field])]
    if not value_at(old, "spec", "nodeName"):
        spec.pop("nodeName", None)  # a scheduler that shares this process binds by writing the field
    return spec

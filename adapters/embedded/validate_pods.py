"""What a pod's specification must be, in a Pod or in a template, and what of a Pod may change.

The rules and words are those of pkg/apis/core/validation of Kubernetes, as far as a rollout can break them.
"""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of, value_at

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")
_CONTAINER_LISTS = ("containers", "initContainers")


def check_pod_spec(errors: FieldErrors, path: str, spec: JsonObject) -> None:
    """The specification on its own."""
    errors.check_one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART_POLICIES)
    errors.check_not_negative(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    volumes = _check_volumes(errors, f"{path}.volumes", spec)
    if not spec.get("containers"):
        errors.required(f"{path}.containers")
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(items_of(spec.get(field))):
            _check_container(errors, f"{path}.{field}[{index}]", container, names, volumes)


def _check_volumes(errors: FieldErrors, path: str, spec: JsonObject) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(items_of(spec.get("volumes"))):
        name = volume.get("name") or ""
        if not name:
            errors.required(f"{path}[{index}].name")
        elif name in names:
            errors.duplicate(f"{path}[{index}].name", name)
        else:
            errors.check_label_name(f"{path}[{index}].name", name)
        names.add(name)
    return names


def _check_container(errors: FieldErrors, path: str, container: JsonObject, names: set[str], volumes: set[str]) -> None:
    name = container.get("name") or ""
    if not name:
        errors.required(f"{path}.name")
    elif name in names:
        errors.duplicate(f"{path}.name", name)
    else:
        errors.check_label_name(f"{path}.name", name)
    names.add(name)
    image = container.get("image") or ""
    if not image:
        errors.required(f"{path}.image")
    elif image != image.strip():
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    if image:
        errors.check_one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    _check_ports(errors, f"{path}.ports", container)
    for index, variable in enumerate(items_of(container.get("env"))):
        if not variable.get("name"):
            errors.required(f"{path}.env[{index}].name")
        if variable.get("value") and variable.get("valueFrom"):
            detail = "may not be specified when `value` is not empty"
            errors.invalid(f"{path}.env[{index}].valueFrom", "", detail)
    for index, mount in enumerate(items_of(container.get("volumeMounts"))):
        if mount.get("name") not in volumes:
            errors.not_found(f"{path}.volumeMounts[{index}].name", mount.get("name"))
        if not mount.get("mountPath"):
            errors.required(f"{path}.volumeMounts[{index}].mountPath")


def _check_ports(errors: FieldErrors, path: str, container: JsonObject) -> None:
    names: set[str] = set()
    for index, port in enumerate(items_of(container.get("ports"))):
        if port.get("name"):
            errors.check_port_name(f"{path}[{index}].name", port["name"])
            if port["name"] in names:
                errors.duplicate(f"{path}[{index}].name", port["name"])
            names.add(port["name"])
        if not port.get("containerPort"):
            errors.required(f"{path}[{index}].containerPort")
        else:
            errors.check_port_number(f"{path}[{index}].containerPort", port["containerPort"])
        errors.check_one_of(f"{path}[{index}].protocol", port.get("protocol"), _PROTOCOLS)


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

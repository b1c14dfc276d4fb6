"""What the containers of a pod must be.

The rules and words are those of pkg/apis/core/validation of Kubernetes, as far as a rollout can break them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of
from adapters.embedded.quantities import amount_of

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_SCHEMES = ("HTTP", "HTTPS")
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTS_OF_PROBES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_VARIABLE_NAME = re.compile(r"[ -<>-~]+")
_VARIABLE_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_POD_FIELD = re.compile(
    r"metadata\.(name|namespace|uid|(labels|annotations)(\['.+'\])?)|spec\.(nodeName|serviceAccountName|hostname)"
    r"|status\.(hostIPs?|podIPs?)"
)


def check_container(errors: FieldErrors, path: str, container: JsonObject, volumes: set[str], *, in_template: bool) -> None:
    """One container; `volumes`: the names of those that the pod has."""
    name, image = container.get("name") or "", container.get("image") or ""
    if not name:
        errors.required(f"{path}.name")
    else:
        errors.check_label_name(f"{path}.name", name)
    if not image:
        errors.required(f"{path}.image")
    elif image != image.strip() and not in_template:
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    policy = container.get("terminationMessagePolicy")
    errors.check_one_of(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    _check_ports(errors, f"{path}.ports", container)
    for index, variable in enumerate(items_of(container.get("env"))):
        _check_variable(errors, f"{path}.env[{index}]", variable)
    _check_mounts(errors, f"{path}.volumeMounts", container, volumes)
    if image:
        errors.check_one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    _check_resources(errors, f"{path}.resources", container.get("resources") or {})


def check_probes(errors: FieldErrors, path: str, container: JsonObject) -> None:
    """The probes of a container, which are looked at after the rest of it."""
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(field)
        if isinstance(probe, dict):
            _check_probe(errors, f"{path}.{field}", probe)
            if field != "readinessProbe" and probe.get("successThreshold") != 1:
                errors.invalid(f"{path}.{field}.successThreshold", probe.get("successThreshold"), "must be 1")


def _check_ports(errors: FieldErrors, path: str, container: JsonObject) -> None:
    names: set[str] = set()
    for index, port in enumerate(items_of(container.get("ports"))):
        place = f"{path}[{index}]"
        if port.get("name"):
            errors.check_port_name(f"{place}.name", port["name"])
            if port["name"] in names:
                errors.duplicate(f"{place}.name", port["name"])
            names.add(port["name"])
        if not port.get("containerPort"):
            errors.required(f"{place}.containerPort")
        else:
            errors.check_port_number(f"{place}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            errors.check_port_number(f"{place}.hostPort", port["hostPort"])
        errors.check_one_of(f"{place}.protocol", port.get("protocol"), _PROTOCOLS)


def _check_variable(errors: FieldErrors, path: str, variable: JsonObject) -> None:
    name = variable.get("name") or ""
    if not name:
        errors.required(f"{path}.name")
    elif not _VARIABLE_NAME.fullmatch(name):
        errors.invalid(f"{path}.name", name, _VARIABLE_RULE)
    source = variable.get("valueFrom")
    if not isinstance(source, dict):
        return
    for field in source:
        if field in _SOURCES:
            _SOURCES[field](errors, f"{path}.valueFrom.{field}", source[field])
    if not source:
        choices = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.invalid(f"{path}.valueFrom", "", f"must specify one of: {choices}")
    elif variable.get("value"):
        errors.invalid(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif len(source) > 1:
        errors.invalid(f"{path}.valueFrom", "", "may not have more than one field specified at a time")


def _check_field_source(errors: FieldErrors, path: str, source: JsonObject) -> None:
    field = source.get("fieldPath") or ""
    if not field:
        errors.required(f"{path}.fieldPath")
    elif not _POD_FIELD.fullmatch(field):
        told = f"error converting fieldPath: field label not supported: {field}"
        errors.invalid(f"{path}.fieldPath", field, told)


def _check_key_source(errors: FieldErrors, path: str, source: JsonObject) -> None:
    errors.check_subdomain(f"{path}.name", source.get("name") or "")
    if not source.get("key"):
        errors.required(f"{path}.key")
    else:
        errors.check_config_key(f"{path}.key", source["key"])


_SOURCES: Mapping[str, Callable[[FieldErrors, str, JsonObject], None]] = {
    "fieldRef": _check_field_source,
    "configMapKeyRef": _check_key_source,
    "secretKeyRef": _check_key_source,
}


def _check_mounts(errors: FieldErrors, path: str, container: JsonObject, volumes: set[str]) -> None:
    places: set[str] = set()
    for index, mount in enumerate(items_of(container.get("volumeMounts"))):
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.required(f"{path}[{index}].name")
        if name not in volumes:
            errors.not_found(f"{path}[{index}].name", name)
        if not place:
            errors.required(f"{path}[{index}].mountPath")
        if place in places:
            errors.invalid(f"{path}[{index}].mountPath", place, "must be unique")
        places.add(place)


def _check_resources(errors: FieldErrors, path: str, resources: JsonObject) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in limits.items():
        _check_amount(errors, f"{path}.limits[{name}]", name, amount)
    for name, amount in requests.items():
        _check_amount(errors, f"{path}.requests[{name}]", name, amount)
        if name in limits and amount_of(amount) > amount_of(limits[name]):
            told = f"must be less than or equal to {name} limit of {limits[name]}"
            errors.invalid(f"{path}.requests", amount, told)


def _check_amount(errors: FieldErrors, path: str, name: str, amount: str) -> None:
    standard = name in _RESOURCES or name.startswith("hugepages-")
    errors.check_qualified_name(path, name)
    if not standard and "/" not in name:
        errors.invalid(path, name, "must be a standard resource type or fully qualified")
        errors.invalid(path, name, "must be a standard resource for containers")
    if amount_of(amount) < 0:
        errors.invalid(path, amount, "must be greater than or equal to 0")
    if not standard and "/" in name and amount_of(amount).denominator != 1:
        errors.invalid(path, amount, "must be an integer")


def _check_probe(errors: FieldErrors, path: str, probe: JsonObject) -> None:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if isinstance(probe.get(name), dict)]
    for position, name in enumerate(handlers):
        if position:
            errors.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
        else:
            _check_handler(errors, f"{path}.{name}", name, probe[name])
    if not handlers:
        errors.required(path, "must specify a handler type")
    for field in _COUNTS_OF_PROBES:
        errors.check_not_negative(f"{path}.{field}", probe.get(field))


def _check_handler(errors: FieldErrors, path: str, name: str, handler: JsonObject) -> None:
    if name == "exec":
        if not handler.get("command"):
            errors.required(f"{path}.command")
        return
    port = handler.get("port") or 0
    if isinstance(port, str):
        errors.check_port_name(f"{path}.port", port)
    else:
        errors.check_port_number(f"{path}.port", port)
    if name == "httpGet":
        errors.check_one_of(f"{path}.scheme", handler.get("scheme"), _SCHEMES)

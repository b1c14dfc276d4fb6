"""What Ingresses must be. The rules and words are those of pkg/apis/networking/validation of Kubernetes, as far as a rollout can
break them."""

from __future__ import annotations

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_WITHOUT = ("//", "/./", "/../", "%2f", "%2F")
_NOT_AT_THE_END = ("/..", "/.")


def check_ingress(errors: FieldErrors, obj: JsonObject, *, is_new: bool) -> None:
    """An Ingress on its own."""
    spec = obj.get("spec") or {}
    annotations = obj["metadata"].get("annotations") or {}
    if is_new and _CLASS_ANNOTATION in annotations and spec.get("ingressClassName") is not None:
        told = "can not be set when the class field is also set"
        errors.invalid(f"annotations.{_CLASS_ANNOTATION}", annotations[_CLASS_ANNOTATION], told)
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        errors.invalid("spec", spec.get("rules") or [], "either `defaultBackend` or `rules` must be specified")
    for number, rule in enumerate(spec.get("rules") or ()):
        _check_rule(errors, f"spec.rules[{number}]", rule)
    if spec.get("defaultBackend") is not None:
        _check_backend(errors, "spec.defaultBackend", spec["defaultBackend"])
    if spec.get("ingressClassName") is not None:
        errors.check_subdomain("spec.ingressClassName", spec["ingressClassName"])


def _check_rule(errors: FieldErrors, field: str, rule: JsonObject) -> None:
    host = rule.get("host") or ""
    if host:
        errors.check_subdomain(f"{field}.host", host.removeprefix("*."), host)
    if rule.get("http") is None:
        return
    paths = rule["http"].get("paths") or []
    if not paths:
        errors.required(f"{field}.http.paths")
    for index, path in enumerate(paths):
        _check_path(errors, f"{field}.http.paths[{index}]", path)


def _check_path(errors: FieldErrors, field: str, path: JsonObject) -> None:
    kind, text = path.get("pathType"), path.get("path") or ""
    if kind is None:
        errors.required(f"{field}.pathType", "pathType must be specified")
    elif kind not in _PATH_TYPES:
        errors.unsupported(f"{field}.pathType", kind, _PATH_TYPES)
    elif kind != "ImplementationSpecific" or text:
        if not text.startswith("/"):
            errors.invalid(f"{field}.path", text, "must be an absolute path")
        elif kind != "ImplementationSpecific":
            for part in _WITHOUT:
                if part in text:
                    errors.invalid(f"{field}.path", text, f"must not contain '{part}'")
            for end in _NOT_AT_THE_END:
                if text.endswith(end):
                    errors.invalid(f"{field}.path", text, f"cannot end with '{end}'")
    _check_backend(errors, f"{field}.backend", path.get("backend") or {})


def _check_backend(errors: FieldErrors, field: str, backend: JsonObject) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        errors.invalid(field, "", "cannot set both resource and service backends")
    elif service is None and resource is None:
        errors.required(field, "resource or service backend is required")
    elif service is not None:
        _check_service(errors, f"{field}.service", service)


def _check_service(errors: FieldErrors, field: str, service: JsonObject) -> None:
    name, port = service.get("name") or "", service.get("port") or {}
    if name:
        errors.check_label_name(f"{field}.name", name)
    else:
        errors.required(f"{field}.name")
    if port.get("name") and port.get("number"):
        errors.invalid(field, "", "cannot set both port name & port number")
    elif port.get("name"):
        errors.check_port_name(f"{field}.port.name", port["name"])
    elif port.get("number"):
        errors.check_port_number(f"{field}.port.number", port["number"])
    else:
        errors.required(field, "port name or number is required")

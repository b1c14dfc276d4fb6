"""What Services must be, and what of them may not change.

The rules and words are those of pkg/apis/core/validation of Kubernetes, as far as a rollout can break them.
"""

from __future__ import annotations

from ipaddress import ip_address

from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITIES = ("ClientIP", "None")
_SCOPES = ("Cluster", "Local")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def check_service(errors: FieldErrors, obj: JsonObject) -> None:
    """A Service on its own."""
    spec = obj.get("spec") or {}
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and kind != "ExternalName":
        errors.required("spec.ports")
    if kind in {"NodePort", "LoadBalancer"} and headless:
        errors.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        _check_external_name(errors, spec.get("externalName") or "")
    ports = list(items_of(spec.get("ports")))
    _check_ports(errors, ports)
    errors.check_labels("spec.selector", spec.get("selector") or {})
    errors.check_one_of("spec.sessionAffinity", spec.get("sessionAffinity"), _AFFINITIES)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        if not is_address(address):
            errors.invalid(f"spec.externalIPs[{index}]", address, _NO_ADDRESS)
    errors.check_one_of("spec.type", kind, _TYPES)
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                errors.forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    _check_repetition(errors, ports)
    _check_policies(errors, spec)


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _check_external_name(errors: FieldErrors, name: str) -> None:
    if not name:
        errors.required("spec.externalName")
    else:
        errors.check_subdomain("spec.externalName", name.removesuffix("."), name)


def _check_ports(errors: FieldErrors, ports: list[JsonObject]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if name:
            errors.check_label_name(f"{path}.name", name)
            if name in names:
                errors.duplicate(f"{path}.name", name)
            names.add(name)
        elif len(ports) > 1:
            errors.required(f"{path}.name")
        errors.check_port_number(f"{path}.port", port.get("port"))
        errors.check_one_of(f"{path}.protocol", port.get("protocol"), _PROTOCOLS)
        if isinstance(port.get("targetPort"), str):
            errors.check_port_name(f"{path}.targetPort", port["targetPort"])
        else:
            errors.check_port_number(f"{path}.targetPort", port.get("targetPort"))
        if port.get("appProtocol"):
            errors.check_qualified_name(f"{path}.appProtocol", port["appProtocol"])


def _check_repetition(errors: FieldErrors, ports: list[JsonObject]) -> None:
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen:
            # the port in the server's own form of it
            shown = {"Name": "", "Protocol": identity[0], "AppProtocol": None, "Port": identity[1]}
            errors.duplicate(f"spec.ports[{index}]", {**shown, "TargetPort": 0, "NodePort": 0})
        seen.add(identity)


def _check_policies(errors: FieldErrors, spec: JsonObject) -> None:
    kind = spec.get("type")
    external = kind in {"NodePort", "LoadBalancer"} or bool(spec.get("externalIPs"))
    if spec.get("externalTrafficPolicy") and not external:
        shown, told = spec["externalTrafficPolicy"], "may only be set for externally-accessible services"
        errors.invalid("spec.externalTrafficPolicy", shown, told)
    if spec.get("healthCheckNodePort") and (kind, spec.get("externalTrafficPolicy")) != ("LoadBalancer", "Local"):
        told = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], told)
    for field, choices in (
        ("internalTrafficPolicy", _SCOPES),
        ("ipFamilyPolicy", _FAMILY_POLICIES),
        ("trafficDistribution", _DISTRIBUTIONS),
    ):
        if spec.get(field) and spec[field] not in choices:
            errors.unsupported(f"spec.{field}", spec[field], choices)


def check_service_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    """The address of a Service stays as it is for as long as its type has one."""
    spec, former = obj.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in {spec.get("type"), former.get("type")}:
        return
    before = former.get("clusterIP")
    if before and spec.get("clusterIP") != before:
        errors.invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [], "may not change once set")

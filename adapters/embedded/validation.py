"""What an object must be to be stored: the rules of all kinds, and where those of single kinds are found.

The rules and words are those of pkg/apis/*/validation of Kubernetes, as far as clients of this cluster can break them.
Addresses in the loopback range are allowed in Endpoints, unlike there: the pods of this cluster live on loopback.
"""

from __future__ import annotations

from adapters.embedded import resources as known
from adapters.embedded.errors import Invalid
from adapters.embedded.field_errors import FieldErrors
from adapters.embedded.json_objects import JsonObject, items_of, metadata_of, name_of
from adapters.embedded.resources import Resource
from adapters.embedded.validate_definitions import check_definition, check_definition_change
from adapters.embedded.validate_pods import check_pod_change, check_pod_spec
from adapters.embedded.validate_workloads import WORKLOADS, check_autoscaler, check_workload, check_workload_change

_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITIES = ("ClientIP", "None")
_FREELY_NAMED = frozenset({
    known.ROLES.storage_key,
    known.ROLE_BINDINGS.storage_key,
    known.CLUSTER_ROLES.storage_key,
    known.CLUSTER_ROLE_BINDINGS.storage_key,
})


def validate(resource: Resource, obj: JsonObject, old: JsonObject | None) -> None:
    """Check an object before it is stored; `old` is its former version, None for a new one.

    Raises:
        Invalid: with everything that is wrong.
    """
    errors = FieldErrors()
    _check_metadata(errors, resource, obj)
    if old is not None:
        _check_metadata_change(errors, obj, old)
    _check_kind(errors, resource, obj)
    if old is not None:
        _check_kind_change(errors, resource, obj, old)
    if errors.causes:
        raise Invalid.of(resource, name_of(obj) or str(metadata_of(obj).get("generateName") or ""), errors.causes)


def _check_metadata(errors: FieldErrors, resource: Resource, obj: JsonObject) -> None:
    metadata = metadata_of(obj)
    name = metadata.get("name") or ""
    if not name:
        errors.required("metadata.name", "name or generateName is required")
    elif resource == known.NAMESPACES:
        errors.check_label_name("metadata.name", name)
    elif resource == known.SERVICES:
        errors.check_dns_1035("metadata.name", name)
    elif resource.storage_key in _FREELY_NAMED:
        if name in {".", ".."} or "/" in name or "%" in name:
            errors.invalid("metadata.name", name, "may not be '.' or '..', and may not contain '/' or '%'")
    else:
        errors.check_subdomain("metadata.name", name)
    errors.check_labels("metadata.labels", metadata.get("labels") or {})
    for key in metadata.get("annotations") or {}:
        errors.check_qualified_name("metadata.annotations", key.lower())
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        errors.check_qualified_name(f"metadata.finalizers[{index}]", finalizer)
    _check_owners(errors, metadata)


def _check_owners(errors: FieldErrors, metadata: JsonObject) -> None:
    controllers = []
    for index, owner in enumerate(items_of(metadata.get("ownerReferences"))):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                errors.invalid(f"metadata.ownerReferences[{index}].{field}", owner.get(field), "must not be empty")
        if owner.get("controller"):
            controllers.append(owner)
    if len(controllers) > 1:
        first, second = (f"{owner.get('kind')}.{owner.get('name')}" for owner in controllers[:2])
        told = f'Only one reference can have Controller set to true. Found "true" in references for {first} and {second}'
        errors.invalid("metadata.ownerReferences", metadata["ownerReferences"], told)


def _check_metadata_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    if "deletionTimestamp" not in metadata_of(old):
        return
    former = set(metadata_of(old).get("finalizers") or ())
    fresh = [name for name in metadata_of(obj).get("finalizers") or () if name not in former]
    if fresh:
        told = " ".join(f'"{name}"' for name in fresh)
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{told}}}"
        errors.forbidden("metadata.finalizers", detail)


def _check_kind(errors: FieldErrors, resource: Resource, obj: JsonObject) -> None:
    if resource.storage_key in WORKLOADS:
        check_workload(errors, resource, obj)
    elif resource == known.PODS:
        check_pod_spec(errors, "spec", obj.get("spec") or {})
    elif resource == known.SERVICES:
        _check_service(errors, obj)
    elif resource == known.HORIZONTAL_POD_AUTOSCALERS:
        check_autoscaler(errors, obj)
    elif resource == known.CUSTOM_RESOURCE_DEFINITIONS:
        check_definition(errors, obj)


def _check_kind_change(errors: FieldErrors, resource: Resource, obj: JsonObject, old: JsonObject) -> None:
    if resource.storage_key in WORKLOADS:
        check_workload_change(errors, resource, obj, old)
    elif resource == known.PODS:
        check_pod_change(errors, obj, old)
    elif resource == known.SERVICES:
        _check_service_change(errors, obj, old)
    elif resource == known.CUSTOM_RESOURCE_DEFINITIONS:
        check_definition_change(errors, obj, old)


def _check_service(errors: FieldErrors, obj: JsonObject) -> None:
    spec = obj.get("spec") or {}
    kind = spec.get("type")
    errors.check_one_of("spec.type", kind, _SERVICE_TYPES)
    errors.check_one_of("spec.sessionAffinity", spec.get("sessionAffinity"), _AFFINITIES)
    if kind == "ExternalName":
        if not spec.get("externalName"):
            errors.required("spec.externalName")
    elif not spec.get("ports") and spec.get("clusterIP") != "None":
        errors.required("spec.ports")
    errors.check_labels("spec.selector", spec.get("selector") or {})
    ports = list(items_of(spec.get("ports")))
    names: set[str] = set()
    seen: set[tuple[object, object]] = set()
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
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen:
            errors.duplicate(path, {"port": identity[1], "protocol": identity[0]})
        seen.add(identity)


def _check_service_change(errors: FieldErrors, obj: JsonObject, old: JsonObject) -> None:
    spec, former = obj.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in {spec.get("type"), former.get("type")}:
        return
    before = former.get("clusterIP")
    if before and spec.get("clusterIP") != before:
        errors.invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [], "may not change once set")

"""The defaults of a pod's specification, wherever it stands: in a Pod or in the template of a workload.

The source is pkg/apis/core/v1/defaults.go of Kubernetes. Everything here changes an object in place.
"""

from __future__ import annotations

import re

from adapters.embedded.json_objects import JsonObject, items_of
from adapters.embedded.quantities import in_thousandths

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[\w.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>@\w+:[0-9a-fA-F]+)?"
)
"""A reference to an image: a registry, a name, a tag, a digest."""

_FILE_MODE = 0o644
_MODED_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")


def default_pod_spec(spec: JsonObject) -> None:
    """Fill in what the specification leaves out."""
    for field, value in (
        ("restartPolicy", "Always"),
        ("dnsPolicy", "ClusterFirst"),
        ("terminationGracePeriodSeconds", 30),
        ("schedulerName", "default-scheduler"),
    ):
        if spec.get(field) is None:
            spec[field] = value
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in items_of(spec.get(field)):
            _default_container(container)
    for volume in items_of(spec.get("volumes")):
        _default_volume(volume)


def _default_container(container: JsonObject) -> None:
    resources = container.setdefault("resources", {})
    for amounts in (resources.get("limits"), resources.get("requests")):
        for name, amount in (amounts or {}).items():
            amounts[name] = in_thousandths(amount)
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if container.get("image"):
        container.setdefault("imagePullPolicy", pull_policy(container["image"]))
    for port in items_of(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _default_probe(container[probe])
    for handler in (container.get("lifecycle") or {}).values():
        _default_http_get(handler)
    for variable in items_of(container.get("env")):
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")


def pull_policy(image: str) -> str:
    """Always for a floating image (`latest` or no tag), IfNotPresent for one with a tag or digest, or that makes no sense."""
    found = _IMAGE.fullmatch(image)
    if found is None or found["digest"]:
        return "IfNotPresent"
    return "Always" if found["tag"] in {None, "latest"} else "IfNotPresent"


def _default_probe(probe: JsonObject) -> None:
    for field, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(field):
            probe[field] = value
    _default_http_get(probe)
    if isinstance(probe.get("grpc"), dict):
        probe["grpc"].setdefault("service", "")


def _default_http_get(handler: object) -> None:
    request = handler.get("httpGet") if isinstance(handler, dict) else None
    if isinstance(request, dict):
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")


def _default_volume(volume: JsonObject) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in _MODED_VOLUMES:
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", _FILE_MODE)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")

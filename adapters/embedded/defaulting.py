"""The values that a real API server fills in where a client left them out, kind by kind.

The source is the SetDefaults_* functions of pkg/apis/*/v1/defaults.go of Kubernetes. Everything here changes an object in
place; nothing here depends on other objects.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from adapters.embedded import resources as known
from adapters.embedded.default_pods import default_pod_spec
from adapters.embedded.json_objects import JsonObject, items_of, metadata_of, value_at
from adapters.embedded.resources import Resource


def set_defaults(resource: Resource, obj: JsonObject) -> None:
    """Fill in what the object leaves out; nothing happens to kinds that have no defaults."""
    default = _DEFAULTS.get(resource.storage_key)
    if default is not None:
        default(obj)


def _mapping(parent: JsonObject, field: str) -> JsonObject:
    """The mapping under a field, made when it is missing."""
    found = parent.get(field)
    if not isinstance(found, dict):
        found = parent[field] = {}
    return found


def _fill(target: JsonObject, **values: Any) -> None:  # noqa: ANN401 - any JSON values
    for field, value in values.items():
        if target.get(field) is None:
            target[field] = value


def _default_template(spec: JsonObject) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        default_pod_spec(template["spec"])


def _default_deployment(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _mapping(spec, "strategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(_mapping(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    _default_template(spec)


def _default_replica_set(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, replicas=1)
    _default_template(spec)


def _default_stateful_set(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = _mapping(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(_mapping(strategy, "rollingUpdate"), partition=0)
    _fill(_mapping(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    _default_template(spec)


def _default_daemon_set(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, revisionHistoryLimit=10)
    strategy = _mapping(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(_mapping(strategy, "rollingUpdate"), maxUnavailable=1, maxSurge=0)
    _default_template(spec)


def _default_job_spec(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _fill(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False, manualSelector=False)
    _fill(spec, podReplacementPolicy="Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    _default_template(spec)


def _default_job(obj: JsonObject) -> None:
    _default_job_spec(_mapping(obj, "spec"))


def _default_cron_job(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(
        spec,
        concurrencyPolicy="Allow",
        suspend=False,
        successfulJobsHistoryLimit=3,
        failedJobsHistoryLimit=1,
    )
    job = value_at(spec, "jobTemplate", "spec")
    if isinstance(job, dict):
        _default_template(job)


def _default_pod(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    default_pod_spec(spec)
    _fill(spec, enableServiceLinks=True)
    for container in items_of(spec.get("containers")):
        resources = _mapping(container, "resources")
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def _default_service(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    if spec["sessionAffinity"] == "ClientIP":
        client_ip = _mapping(_mapping(spec, "sessionAffinityConfig"), "clientIP")
        _fill(client_ip, timeoutSeconds=10800)
    else:
        spec.pop("sessionAffinityConfig", None)
    for port in items_of(spec.get("ports")):
        _fill(port, protocol="TCP")
        if port.get("targetPort") in {None, 0, ""}:
            port["targetPort"] = port.get("port", 0)
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        _fill(spec, allocateLoadBalancerNodePorts=True)


def _default_endpoints(obj: JsonObject) -> None:
    for subset in items_of(obj.get("subsets")):
        for port in items_of(subset.get("ports")):
            _fill(port, protocol="TCP")


def _default_endpoint_slice(obj: JsonObject) -> None:
    for port in items_of(obj.get("ports")):
        _fill(port, name="", protocol="TCP")


def _default_autoscaler(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, minReplicas=1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if isinstance(behavior, dict):
        _default_scaling(_mapping(behavior, "scaleUp"), 0, [("Pods", 4), ("Percent", 100)])
        _default_scaling(_mapping(behavior, "scaleDown"), None, [("Percent", 100)])


def _default_scaling(rules: JsonObject, window: int | None, policies: list[tuple[str, int]]) -> None:
    _fill(rules, selectPolicy="Max")
    if window is not None:
        _fill(rules, stabilizationWindowSeconds=window)
    if not rules.get("policies"):
        rules["policies"] = [{"type": kind, "value": value, "periodSeconds": 15} for kind, value in policies]


def _default_network_policy(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    _fill(spec, policyTypes=["Ingress", *(["Egress"] if spec.get("egress") else [])])


def _default_claim(obj: JsonObject) -> None:
    _fill(_mapping(obj, "spec"), volumeMode="Filesystem")


def _default_secret(obj: JsonObject) -> None:
    plain = obj.pop("stringData", None) or {}
    if plain:
        data = _mapping(obj, "data")
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    _fill(obj, type="Opaque")


def _default_namespace(obj: JsonObject) -> None:
    metadata = metadata_of(obj)
    if metadata.get("name"):
        _mapping(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]


def _default_role_binding(obj: JsonObject) -> None:
    group = "rbac.authorization.k8s.io"
    _fill(_mapping(obj, "roleRef"), apiGroup=group)
    for subject in items_of(obj.get("subjects")):
        if subject.get("kind") in {"User", "Group"}:
            _fill(subject, apiGroup=group)


def _default_definition(obj: JsonObject) -> None:
    spec = _mapping(obj, "spec")
    names = _mapping(spec, "names")
    kind = str(names.get("kind", ""))
    _fill(names, singular=kind.lower(), listKind=f"{kind}List")
    _fill(_mapping(spec, "conversion"), strategy="None")


_DEFAULTS: Mapping[tuple[str, str], Callable[[JsonObject], None]] = {
    known.DEPLOYMENTS.storage_key: _default_deployment,
    known.REPLICA_SETS.storage_key: _default_replica_set,
    known.STATEFUL_SETS.storage_key: _default_stateful_set,
    known.DAEMON_SETS.storage_key: _default_daemon_set,
    known.JOBS.storage_key: _default_job,
    known.CRON_JOBS.storage_key: _default_cron_job,
    known.PODS.storage_key: _default_pod,
    known.SERVICES.storage_key: _default_service,
    known.ENDPOINTS.storage_key: _default_endpoints,
    known.ENDPOINT_SLICES.storage_key: _default_endpoint_slice,
    known.HORIZONTAL_POD_AUTOSCALERS.storage_key: _default_autoscaler,
    known.NETWORK_POLICIES.storage_key: _default_network_policy,
    known.PERSISTENT_VOLUME_CLAIMS.storage_key: _default_claim,
    known.SECRETS.storage_key: _default_secret,
    known.NAMESPACES.storage_key: _default_namespace,
    known.ROLE_BINDINGS.storage_key: _default_role_binding,
    known.CLUSTER_ROLE_BINDINGS.storage_key: _default_role_binding,
    known.CUSTOM_RESOURCE_DEFINITIONS.storage_key: _default_definition,
}

"""The columns in which kubectl shows the built-in kinds, as the server's own printers fill them.

The source is pkg/printers/internalversion/printers.go of Kubernetes. It makes cells; putting tables together is done
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from adapters.embedded import resources as known
from adapters.embedded.json_objects import JsonObject, items_of, metadata_of, name_of, parse_time, value_at
from adapters.embedded.selectors import tell_label_selector

Cell: TypeAlias = Callable[[JsonObject, datetime], Any]

_NONE = "<none>"
_UNKNOWN = "<unknown>"
_MOST_ENDPOINTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, its JSON type and what stands in it. A wide one is shown with `-o wide` only."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False


def tell_duration(span: timedelta) -> str:
    """A span of time in at most two units, as kubectl shows ages: 5s, 3m20s, 2h, 4d3h, 2y10d."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two_units(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return _two_units(years, "y", rest, "d") if years < 8 else f"{years}y"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def age_since(timestamp: object, now: datetime) -> str:
    """The age of something that happened at an API timestamp."""
    return tell_duration(now - parse_time(timestamp)) if isinstance(timestamp, str) and timestamp else _UNKNOWN


def columns_of(resource: known.Resource) -> tuple[Column, ...]:
    """The columns of a built-in kind."""
    return _COLUMNS.get(resource.storage_key, (NAME, Column("Created At", _at("metadata", "creationTimestamp"))))


def _at(*path: str, otherwise: Any = "") -> Cell:  # noqa: ANN401 - any cell
    def read(obj: JsonObject, now: datetime) -> Any:  # noqa: ANN401
        value = value_at(obj, *path)
        return otherwise if value is None or value == "" else value

    return read


def _count(*path: str) -> Cell:
    return _at(*path, otherwise=0)


def _age(obj: JsonObject, now: datetime) -> str:
    return age_since(metadata_of(obj).get("creationTimestamp"), now)


NAME = Column("Name", lambda obj, now: name_of(obj))
AGE = Column("Age", _age)


def _template_containers(field: str) -> Cell:
    def read(obj: JsonObject, now: datetime) -> str:
        containers = items_of(value_at(obj, "spec", "template", "spec", "containers"))
        return ",".join(str(container.get(field, "")) for container in containers)

    return read


def _selector(obj: JsonObject, now: datetime) -> str:
    return tell_label_selector(value_at(obj, "spec", "selector")) or _NONE


_TEMPLATE = (
    Column("Containers", _template_containers("name"), wide=True),
    Column("Images", _template_containers("image"), wide=True),
    Column("Selector", _selector, wide=True),
)


def _ready_of(*desired: str) -> Cell:
    def read(obj: JsonObject, now: datetime) -> str:
        return f"{value_at(obj, 'status', 'readyReplicas') or 0}/{value_at(obj, *desired) or 0}"

    return read


def _containers_ready(obj: JsonObject, now: datetime) -> str:
    ready = sum(bool(status.get("ready")) for status in items_of(value_at(obj, "status", "containerStatuses")))
    return f"{ready}/{len(value_at(obj, 'spec', 'containers') or ())}"


def _pod_status(obj: JsonObject, now: datetime) -> str:
    reason = value_at(obj, "status", "reason") or value_at(obj, "status", "phase") or _UNKNOWN
    running = False
    for status in reversed(list(items_of(value_at(obj, "status", "containerStatuses")))):
        state = status.get("state") or {}
        waiting, ended = value_at(state, "waiting", "reason"), value_at(state, "terminated", "reason")
        if waiting or ended:
            reason = waiting or ended
        elif status.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        reason = "Running"
    return "Terminating" if metadata_of(obj).get("deletionTimestamp") else str(reason)


def _restarts(obj: JsonObject, now: datetime) -> str:
    statuses = items_of(value_at(obj, "status", "containerStatuses"))
    return str(sum(int(status.get("restartCount") or 0) for status in statuses))


def _external_address(obj: JsonObject, now: datetime) -> str:
    spec = obj.get("spec") or {}
    own = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or _NONE)
    if spec.get("type") == "LoadBalancer":
        ingress = items_of(value_at(obj, "status", "loadBalancer", "ingress"))
        return ",".join([*(str(each.get("ip") or each.get("hostname")) for each in ingress), *own]) or "<pending>"
    return ",".join(own) or _NONE


def _service_ports(obj: JsonObject, now: datetime) -> str:
    told = []
    for port in items_of(value_at(obj, "spec", "ports")):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        told.append(f"{port.get('port')}{node}/{port.get('protocol')}")
    return ",".join(told) or _NONE


def _service_selector(obj: JsonObject, now: datetime) -> str:
    selector = value_at(obj, "spec", "selector") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or _NONE


def _endpoints(obj: JsonObject, now: datetime) -> str:
    told = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in items_of(obj.get("subsets"))
        for port in items_of(subset.get("ports"))
        for address in items_of(subset.get("addresses"))
    ]
    return _shorten(told)


def _shorten(told: list[str]) -> str:
    if not told:
        return _NONE
    shown = ",".join(told[:_MOST_ENDPOINTS_SHOWN])
    rest = len(told) - _MOST_ENDPOINTS_SHOWN
    return f"{shown} + {rest} more..." if rest > 0 else shown


def _slice_ports(obj: JsonObject, now: datetime) -> str:
    return _shorten([str(port.get("port", "*")) for port in items_of(obj.get("ports"))])


def _slice_endpoints(obj: JsonObject, now: datetime) -> str:
    return _shorten([each for endpoint in items_of(obj.get("endpoints")) for each in endpoint.get("addresses") or ()])


def _target_reference(obj: JsonObject, now: datetime) -> str:
    target = value_at(obj, "spec", "scaleTargetRef") or {}
    return f"{target.get('kind')}/{target.get('name')}"


def _autoscaler_targets(obj: JsonObject, now: datetime) -> str:
    current = list(items_of(value_at(obj, "status", "currentMetrics")))
    told = []
    for index, metric in enumerate(items_of(value_at(obj, "spec", "metrics"))):
        resource = metric.get("resource") or {}
        wanted = value_at(resource, "target", "averageUtilization")
        seen = value_at(current[index], "resource", "current", "averageUtilization") if index < len(current) else None
        name = resource.get("name") or metric.get("type")
        told.append(f"{name}: {_UNKNOWN if seen is None else f'{seen}%'}/{_UNKNOWN if wanted is None else f'{wanted}%'}")
    return ", ".join(told) or _NONE


def _data_count(obj: JsonObject, now: datetime) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _ingress_hosts(obj: JsonObject, now: datetime) -> str:
    hosts = [rule["host"] for rule in items_of(value_at(obj, "spec", "rules")) if rule.get("host")]
    return ",".join(hosts) or "*"


def _ingress_ports(obj: JsonObject, now: datetime) -> str:
    return "80, 443" if value_at(obj, "spec", "tls") else "80"


def _event_object(obj: JsonObject, now: datetime) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(obj: JsonObject, now: datetime) -> str:
    return age_since(obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp"), now)


_COLUMNS: Mapping[tuple[str, str], tuple[Column, ...]] = {
    known.PODS.storage_key: (
        NAME,
        Column("Ready", _containers_ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        AGE,
        Column("IP", _at("status", "podIP", otherwise=_NONE), wide=True),
        Column("Node", _at("spec", "nodeName", otherwise=_NONE), wide=True),
        Column("Nominated Node", _at("status", "nominatedNodeName", otherwise=_NONE), wide=True),
        Column("Readiness Gates", lambda obj, now: _NONE, wide=True),
    ),
    known.DEPLOYMENTS.storage_key: (
        NAME,
        Column("Ready", _ready_of("spec", "replicas")),
        Column("Up-to-date", _count("status", "updatedReplicas"), "integer"),
        Column("Available", _count("status", "availableReplicas"), "integer"),
        AGE,
        *_TEMPLATE,
    ),
    known.REPLICA_SETS.storage_key: (
        NAME,
        Column("Desired", _count("spec", "replicas"), "integer"),
        Column("Current", _count("status", "replicas"), "integer"),
        Column("Ready", _count("status", "readyReplicas"), "integer"),
        AGE,
        *_TEMPLATE,
    ),
    known.STATEFUL_SETS.storage_key: (NAME, Column("Ready", _ready_of("spec", "replicas")), AGE, *_TEMPLATE[:2]),
    known.DAEMON_SETS.storage_key: (
        NAME,
        Column("Desired", _count("status", "desiredNumberScheduled"), "integer"),
        Column("Current", _count("status", "currentNumberScheduled"), "integer"),
        Column("Ready", _count("status", "numberReady"), "integer"),
        Column("Up-to-date", _count("status", "updatedNumberScheduled"), "integer"),
        Column("Available", _count("status", "numberAvailable"), "integer"),
        AGE,
        *_TEMPLATE,
    ),
    known.SERVICES.storage_key: (
        NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", _at("spec", "clusterIP", otherwise=_NONE)),
        Column("External-IP", _external_address),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", _service_selector, wide=True),
    ),
    known.NAMESPACES.storage_key: (NAME, Column("Status", _at("status", "phase")), AGE),
    known.CONFIG_MAPS.storage_key: (NAME, Column("Data", _data_count, "integer"), AGE),
    known.SECRETS.storage_key: (NAME, Column("Type", _at("type")), Column("Data", _data_count, "integer"), AGE),
    known.SERVICE_ACCOUNTS.storage_key: (
        NAME,
        Column("Secrets", lambda obj, now: len(obj.get("secrets") or ()), "integer"),
        AGE,
    ),
    known.ENDPOINTS.storage_key: (NAME, Column("Endpoints", _endpoints), AGE),
    known.ENDPOINT_SLICES.storage_key: (
        NAME,
        Column("AddressType", _at("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    known.HORIZONTAL_POD_AUTOSCALERS.storage_key: (
        NAME,
        Column("Reference", _target_reference),
        Column("Targets", _autoscaler_targets),
        Column("MinPods", _at("spec", "minReplicas", otherwise="<unset>")),
        Column("MaxPods", _count("spec", "maxReplicas"), "integer"),
        Column("Replicas", _count("status", "currentReplicas"), "integer"),
        AGE,
    ),
    known.INGRESSES.storage_key: (
        NAME,
        Column("Class", _at("spec", "ingressClassName", otherwise=_NONE)),
        Column("Hosts", _ingress_hosts),
        Column("Address", lambda obj, now: ""),
        Column("Ports", _ingress_ports),
        AGE,
    ),
    known.EVENTS.storage_key: (
        Column("Last Seen", _last_seen),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _event_object),
        Column("Message", _at("message")),
    ),
    known.LEASES.storage_key: (NAME, Column("Holder", _at("spec", "holderIdentity")), AGE),
    known.POD_DISRUPTION_BUDGETS.storage_key: (
        NAME,
        Column("Min Available", _at("spec", "minAvailable", otherwise="N/A")),
        Column("Max Unavailable", _at("spec", "maxUnavailable", otherwise="N/A")),
        Column("Allowed Disruptions", _count("status", "disruptionsAllowed"), "integer"),
        AGE,
    ),
}

"""What Envoy is told: services, their endpoints and the splits between them, rendered as Envoy's own JSON files. Pure.

A service is named `service` or `service.namespace`. Every service becomes one cluster and one virtual host; a service
with a split sends its requests to the clusters of its backends, one without a split to its own endpoints. Retries,
outlier detection and health checks are off: what the application does is what its users see.

It must not know: processes, sockets, the file system beyond the names of files.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from adapters.dataplane.envoy_errors import InvalidConfiguration

JsonObject: TypeAlias = dict[str, Any]
Endpoint: TypeAlias = tuple[str, int]
Backend: TypeAlias = tuple[str, int]

LOOPBACK = "127.0.0.1"
ROUTES_FILE = "routes.json"
CLUSTERS_FILE = "clusters.json"
ROUTE_TABLE = "routes"
LISTENER = "mesh"

# Envoy keeps the sum of the weights of one route in 32 bits and rejects the route table beyond.
MAXIMUM_TOTAL_WEIGHT = 2**32 - 1
UPSTREAM_IDLE_TIMEOUT = "20s"
"""Shorter than the applications' keep-alive, so that Envoy never writes on a connection that they are closing."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SERVICE_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})?")


@dataclass(frozen=True, slots=True)
class MeshConfiguration:
    """The whole of what the mesh should do. Every change returns a new value; nothing here is written anywhere."""

    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    splits: Mapping[str, tuple[Backend, ...]] = field(default_factory=dict)

    def with_endpoints(self, service: str, endpoints: Sequence[Endpoint]) -> "MeshConfiguration":
        check_service_name(service)
        for host, port in endpoints:
            check_endpoint(service, host, port)
        return MeshConfiguration({**self.endpoints, service: tuple(endpoints)}, self.splits)

    def without_service(self, service: str) -> "MeshConfiguration":
        remaining = {name: pods for name, pods in self.endpoints.items() if name != service}
        return MeshConfiguration(remaining, self.splits)

    def with_split(self, root: str, backends: Sequence[Backend]) -> "MeshConfiguration":
        check_service_name(root)
        check_backends(root, backends)
        return MeshConfiguration(self.endpoints, {**self.splits, root: tuple(backends)})

    def without_split(self, root: str) -> "MeshConfiguration":
        remaining = {name: backends for name, backends in self.splits.items() if name != root}
        return MeshConfiguration(self.endpoints, remaining)

    def services(self) -> tuple[str, ...]:
        """Every service that anything refers to, sorted; one that has no endpoints answers 503 and is counted."""
        backends = {name for split in self.splits.values() for name, _ in split}
        return tuple(sorted({*self.endpoints, *self.splits, *backends}))


def check_service_name(service: str) -> None:
    """Raises InvalidConfiguration unless the name is one or two DNS labels (`service` or `service.namespace`)."""
    if not _SERVICE_NAME.fullmatch(service):
        raise InvalidConfiguration(
            f"{service!r} is not a service name: give 'service' or 'service.namespace' in lower-case DNS labels"
        )


def check_endpoint(service: str, host: str, port: int) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise InvalidConfiguration(
            f"service {service!r}: endpoint host {host!r} is not an IP address; Envoy does not resolve endpoint names"
        ) from None
    if not 1 <= port <= 65535:
        raise InvalidConfiguration(f"service {service!r}: endpoint port {port} is not between 1 and 65535")


def check_backends(root: str, backends: Sequence[Backend]) -> None:
    names = [name for name, _ in backends]
    for name, weight in backends:
        check_service_name(name)
        if weight < 0:
            raise InvalidConfiguration(f"split of {root!r}: the weight of {name!r} is {weight}; it must be 0 or more")
    if len(set(names)) != len(names):
        raise InvalidConfiguration(f"split of {root!r}: a backend is named twice in {', '.join(names)}")
    total = sum(weight for _, weight in backends)
    if not 1 <= total <= MAXIMUM_TOTAL_WEIGHT:
        raise InvalidConfiguration(
            f"split of {root!r}: the weights add up to {total}; the sum must be between 1 and {MAXIMUM_TOTAL_WEIGHT}"
        )


def statistics_name(service: str) -> str:
    """The service's value of Envoy's label `envoy_cluster_name`: `web`, or `prod/web` for `web.prod`.

    Envoy cuts statistic names at dots, so a cluster called `web.prod` would be counted as `web`.
    """
    name, _, namespace = service.partition(".")
    return f"{namespace}/{name}" if namespace else name


def endpoints_file(service: str) -> str:
    return f"endpoints-{service}.json"


def domains(service: str) -> list[str]:
    """Host headers (without the port) that mean this service; a bare name stands for it in every namespace.

    Envoy takes an exact domain before a wildcard and a longer wildcard before a shorter one, so `web.prod` wins
    over `web` for the hosts of both.
    """
    return [service, f"{service}.*"]


def bootstrap(directory: str) -> JsonObject:
    """Envoy's start file: administration and one listener on free loopback ports, everything else from files."""
    connection_manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "strip_any_host_port": True,
        "generate_request_id": False,
        "rds": {"route_config_name": ROUTE_TABLE, "config_source": file_source(directory, ROUTES_FILE)},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]
    listener = {"name": LISTENER, "address": socket_address(LOOPBACK, 0), "filter_chains": [{"filters": filters}]}
    return {
        "node": {"id": "headgate", "cluster": "headgate"},
        "admin": {"address": socket_address(LOOPBACK, 0)},
        "stats_flush_interval": "0.5s",
        "dynamic_resources": {"cds_config": file_source(directory, CLUSTERS_FILE)},
        "static_resources": {"listeners": [listener]},
    }


def route_table(mesh: MeshConfiguration) -> JsonObject:
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_TABLE,
        "virtual_hosts": [virtual_host(service, mesh.splits.get(service)) for service in mesh.services()],
    }


def virtual_host(service: str, split: tuple[Backend, ...] | None) -> JsonObject:
    route: JsonObject
    if split is None:
        route = {"cluster": service}
    else:
        route = {"weighted_clusters": {"clusters": [{"name": name, "weight": weight} for name, weight in split]}}
    return {"name": service, "domains": domains(service), "routes": [{"match": {"prefix": "/"}, "route": route}]}


def cluster(service: str, directory: str) -> JsonObject:
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": service,
        "alt_stat_name": statistics_name(service),
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": file_source(directory, endpoints_file(service))},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE_TIMEOUT},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def load_assignment(service: str, endpoints: Sequence[Endpoint]) -> JsonObject:
    return {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": service,
        "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": socket_address(host, port)}} for host, port in endpoints]}
        ],
    }


def file_source(directory: str, name: str) -> JsonObject:
    """Envoy re-reads a file when another one is renamed onto it, never when it is written in place."""
    return {"resource_api_version": "V3", "path_config_source": {"path": f"{directory}/{name}"}}


def socket_address(host: str, port: int) -> JsonObject:
    return {"socket_address": {"address": host, "port_value": port}}

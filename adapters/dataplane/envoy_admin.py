"""What a running Envoy says about itself, read from its administration address: ports, applied versions, statistics.

It only reads. It must not know how Envoy was started or how its files are written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import quote

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from adapters.dataplane.envoy_configuration import (
    CLUSTERS_FILE,
    LISTENER,
    LOOPBACK,
    ROUTE_TABLE,
    ROUTES_FILE,
    Backend,
    JsonObject,
    endpoints_file,
    statistics_name,
)
from adapters.dataplane.envoy_errors import EnvoyUnreachable

# Without the dot-free middle part every counter would come a second time, as "external" or "internal".
SERVICE_STATISTICS = r"^cluster\.[^.]+\.upstream_rq_([1-5]xx|completed|total|time)$"
APPLIED_VERSIONS = r"(version_text|update_rejected|warming_clusters)$"
READ_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ServiceStatistics:
    """Envoy's counters of one service since Envoy started, or since the service was first known to it.

    `requests` counts the answered requests, also those that Envoy had to answer itself with 503 because the service
    has no endpoint; requests on their way are not in it.
    """

    requests: int = 0
    responses_2xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0


@dataclass(frozen=True, slots=True)
class AppliedVersions:
    """Which version of each file Envoy works with, how many it refused, and whether new services are still warming."""

    files: Mapping[str, str]
    rejected: int
    warming: int


class EnvoyAdmin:
    """A reader of one Envoy's administration address, `host:port`. Every method raises EnvoyUnreachable."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.url = f"http://{address}"
        self._session = session

    @property
    def statistics_url(self) -> str:
        """Prometheus text of the per-service counters and the histogram of response times (milliseconds)."""
        return f"{self.url}/stats/prometheus?filter={quote(SERVICE_STATISTICS)}"

    async def is_ready(self) -> bool:
        try:
            await self._read("/ready")
        except EnvoyUnreachable:
            return False
        return True

    async def listener_port(self) -> int:
        statuses = (await self._read_json("/listeners?format=json"))["listener_statuses"]
        address = next(status["local_address"] for status in statuses if status["name"] == LISTENER)
        return cast(int, address["socket_address"]["port_value"])

    async def applied_versions(self, services: tuple[str, ...]) -> AppliedVersions:
        text = await self._read(f"/stats?type=All&filter={quote(APPLIED_VERSIONS)}")
        values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        names = {
            f"http.{LISTENER}.rds.{ROUTE_TABLE}.version_text": ROUTES_FILE,
            "cluster_manager.cds.version_text": CLUSTERS_FILE,
        }
        names |= {f"cluster.{statistics_name(name)}.version_text": endpoints_file(name) for name in services}
        return AppliedVersions(
            files={file: values[name].strip('"') for name, file in names.items() if name in values},
            rejected=sum(int(value) for name, value in values.items() if name.endswith(".update_rejected")),
            warming=int(values.get("cluster_manager.warming_clusters", "0")),
        )

    async def statistics(self, services: tuple[str, ...]) -> dict[str, ServiceStatistics]:
        """The counters of each service; a class of answers that never occurred is 0 (Envoy has no series for it)."""
        counts: dict[str, dict[str, int]] = {}
        for family in text_string_to_metric_families(await self._read_url(self.statistics_url)):
            for sample in family.samples:
                of_cluster = counts.setdefault(sample.labels.get("envoy_cluster_name", ""), {})
                # The parser adds "_total" to the name of every counter that lacks it.
                if sample.name == "envoy_cluster_upstream_rq_completed_total":
                    of_cluster["completed"] = int(sample.value)
                elif sample.name == "envoy_cluster_upstream_rq_xx_total":
                    of_cluster[sample.labels["envoy_response_code_class"]] = int(sample.value)
        return {name: service_statistics(counts.get(statistics_name(name), {})) for name in services}

    async def split(self, root: str) -> tuple[Backend, ...]:
        """The backends and weights that Envoy's own route table holds for a root service; empty without a split."""
        dump = await self._read_json("/config_dump?resource=dynamic_route_configs")
        hosts = (host for config in dump.get("configs", []) for host in config["route_config"].get("virtual_hosts", []))
        for host in hosts:
            if host["name"] == root:
                backends = host["routes"][0]["route"].get("weighted_clusters", {}).get("clusters", [])
                return tuple((backend["name"], backend["weight"]) for backend in backends)
        return ()

    async def _read_json(self, path: str) -> JsonObject:
        return cast(JsonObject, json.loads(await self._read(path)))

    async def _read(self, path: str) -> str:
        return await self._read_url(self.url + path)

    async def _read_url(self, url: str) -> str:
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(READ_TIMEOUT_S)) as response:
                text = await response.text()
                if response.status != HTTPStatus.OK:
                    raise EnvoyUnreachable(f"{url} answered {response.status}: {text.strip()[:200]}")
                return text
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EnvoyUnreachable(f"{url} does not answer: {error!r}") from error


def service_statistics(counts: Mapping[str, int]) -> ServiceStatistics:
    return ServiceStatistics(
        requests=counts.get("completed", 0),
        responses_2xx=counts.get("2", 0),
        responses_4xx=counts.get("4", 0),
        responses_5xx=counts.get("5", 0),
    )


def admin_address(text: str) -> str | None:
    """The address from the file that Envoy writes at its start, None while it has not been written in full."""
    host, _, port = text.strip().rpartition(":")
    return text.strip() if host == LOOPBACK and port.isdigit() else None

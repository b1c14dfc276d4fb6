"""The traffic of a rehearsal: requests that nobody sends, spread as a mesh would, and counted as its statistics would be.

    headgate_rehearsal_requests_total{namespace, service, replicaset, code_class}

Every Service that somebody could call gets the same constant rate. A TrafficSplit (on Linkerd, what its ServiceProfile says), a
VirtualService or a route of the Gateway API decides which pods answer, else the Service's own ready pods do, in equal shares.
The share of errors is written on the pods: `embedded.headgate.dev/error-ratio: "0.05"`. The counters are integrated over time,
so a change of the split shows at once.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from aiohttp import web

from adapters.embedded.gateway_traffic import gateway_shares_of, versions_in_routes
from adapters.embedded.history import StorageEvent
from adapters.embedded.istio_traffic import Share, shares_of
from adapters.embedded.json_objects import JsonObject, labels_of, metadata_of, name_of, namespace_of
from adapters.embedded.known_crds import SMI_SPLIT_GROUP
from adapters.embedded.linkerd_definitions import LINKERD_GROUP
from adapters.embedded.ownership import controller_of
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.pods import seconds
from adapters.embedded.resources import PODS, SERVICES, Resource
from adapters.embedded.storage import Storage

METRIC = "headgate_rehearsal_requests_total"
REQUESTS_PER_SECOND = 100.0
_DECISIVE = frozenset(
    {
        *("trafficsplits", "serviceprofiles", "virtualservices", "destinationrules", "httproutes", "grpcroutes"),
        *("services", "pods"),
    }
)

Series = tuple[str, str, str, str]
"""(namespace, service, replicaset, code class)."""


class SimulatedTraffic:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._counted: dict[Series, float] = defaultdict(float)
        self._rates: dict[Series, float] = {}
        self._since: datetime = storage.now
        storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        if event.resource.plural in _DECISIVE:
            self._integrate()
            self._rates = self._current_rates()

    def _integrate(self) -> None:
        now = self._storage.now
        elapsed = max((now - self._since).total_seconds(), 0.0)
        for series, rate in self._rates.items():
            self._counted[series] += rate * elapsed
        self._since = now

    def _current_rates(self) -> dict[Series, float]:
        rates: dict[Series, float] = defaultdict(float)
        splits = self._splits()
        backends = {(place[0], one["service"]) for place, found in splits.items() for one in found}
        backends |= versions_in_routes(self._storage)
        for service in self._storage.iterate(SERVICES):
            place = (namespace_of(service), name_of(service))
            if place in backends or not service["spec"].get("selector"):
                continue
            split = [Share(one["service"], float(one["weight"])) for one in splits.get(place) or ()]
            by_objects = shares_of(self._storage, *place) or gateway_shares_of(self._storage, *place)
            shares = split or by_objects or [Share(place[1], 1)]
            total = sum(one.weight for one in shares)
            for one in shares:
                if total > 0:
                    self._spread(rates, place, one, REQUESTS_PER_SECOND * one.weight / total)
        return rates

    def _spread(self, rates: dict[Series, float], place: tuple[str, str], share: Share, rate: float) -> None:
        service = self._storage.peek(SERVICES, place[0], share.service)
        found = self._ready_pods(service) if service is not None else []
        pods = [one for one in found if share.labels.items() <= labels_of(one).items()]
        for pod in pods:
            owner = controller_of(pod) or {"name": ""}
            errors = seconds(pod, "error-ratio", 0.0)
            rates[(*place, owner["name"], "5xx")] += rate / len(pods) * errors
            rates[(*place, owner["name"], "2xx")] += rate / len(pods) * (1 - errors)

    def _ready_pods(self, service: JsonObject) -> list[JsonObject]:
        selector = service["spec"].get("selector") or {}
        pods = self._storage.iterate(PODS, namespace_of(service))
        return [one for one in pods if selector.items() <= labels_of(one).items() and _serves(one)]

    def _splits(self) -> dict[tuple[str, str], list[JsonObject]]:
        """The backends of each root Service, by its namespace and name."""
        if self._kind(LINKERD_GROUP) is None:
            splits = self._objects(SMI_SPLIT_GROUP)
            return {(namespace_of(one), one["spec"]["service"]): one["spec"]["backends"] for one in splits}
        return {
            (namespace_of(one), _service(name_of(one))): [
                {"service": _service(each["authority"]), "weight": each["weight"]} for each in one["spec"]["dstOverrides"]
            ]
            for one in self._objects(LINKERD_GROUP)
            if (one.get("spec") or {}).get("dstOverrides")
        }

    def _kind(self, group: str) -> Resource | None:
        return next((one for one in self._storage.registry if one.group == group), None)

    def _objects(self, group: str) -> list[JsonObject]:
        resource = self._kind(group)
        return list(self._storage.iterate(resource)) if resource is not None else []

    def render(self) -> str:
        """The page that a scraper reads."""
        self._integrate()
        lines = [f"# TYPE {METRIC} counter"]
        for (namespace, service, replica_set, code_class), value in sorted(self._counted.items()):
            labels = f'namespace="{namespace}",service="{service}",replicaset="{replica_set}",code_class="{code_class}"'
            lines.append(f"{METRIC}{{{labels}}} {value}")
        return "\n".join(lines) + "\n"

    async def handle(self, request: web.Request) -> web.Response:
        return web.Response(text=self.render(), content_type="text/plain")


def _service(full_name: str) -> str:
    return full_name.partition(".")[0]


def _serves(pod: JsonObject) -> bool:
    return is_ready(pod) and not metadata_of(pod).get("deletionTimestamp")

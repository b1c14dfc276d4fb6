"""What was asked of the server: the requests, counted and kept, and the watches that are and were open.

For tests (how many watches, how many writes, by whom) and for nothing else; nobody's behaviour depends on it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.embedded.json_objects import decode_json
from adapters.embedded.routes import WRITES, Target

KEPT_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """One request that was answered, or cut off (status 0).

    Args:
        verb: as in Verb; empty for a path outside of the resources (discovery, health).
        resource: the plural name with its group, as in `deployments.apps`.
        body: the bytes of a write.
    """

    method: str
    path: str
    verb: str
    resource: str
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    user_agent: str
    media_type: str
    status: int
    body: bytes = b""

    @property
    def json(self) -> object:
        """The body, decoded."""
        return decode_json(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class WatchScope:
    """What a watch is open on; `namespace` is empty for one over all namespaces."""

    resource: str
    namespace: str


class Audit:
    """The record of one server. The latest requests are kept; the counters forget nothing."""

    def __init__(self) -> None:
        self.requests: deque[AuditedRequest] = deque(maxlen=KEPT_REQUESTS)
        self.counts: Counter[tuple[str, str]] = Counter()
        """Requests by verb and resource."""
        self.open_watches: Counter[WatchScope] = Counter()
        self.watches_ever: Counter[WatchScope] = Counter()

    def record(self, request: AuditedRequest) -> None:
        """Note a request that came to its end."""
        self.requests.append(request)
        self.counts[(request.verb, request.resource)] += 1

    def open_watch(self, target: Target) -> WatchScope:
        """Note a watch that begins; `close_watch` must follow."""
        scope = WatchScope(target.resource.qualified_name, target.namespace)
        self.open_watches[scope] += 1
        self.watches_ever[scope] += 1
        return scope

    def close_watch(self, scope: WatchScope) -> None:
        """Note the end of a watch."""
        self.open_watches[scope] -= 1
        if not self.open_watches[scope]:
            del self.open_watches[scope]

    def writes(self, resource: str = "", name: str = "") -> list[AuditedRequest]:
        """The kept requests that ask for a change, of one resource and object if these are given."""
        return [request for request in self.of(resource, name) if request.verb in WRITES]

    def of(self, resource: str = "", name: str = "") -> list[AuditedRequest]:
        """The kept requests about resources, of one resource and object if these are given."""
        return [
            request
            for request in self.requests
            if request.verb and resource in {"", request.resource} and name in {"", request.name}
        ]

    def clear(self) -> None:
        """Forget the requests and their counts; what is open stays open."""
        self.requests.clear()
        self.counts.clear()
        self.watches_ever.clear()

"""A controller like those of gateways and meshes that take up routes of the Gateway API, and say so in their status.

For each parent that is there, a Gateway or a Service, it says whether the route is accepted and whether all that it names is
found, for which generation. Of a parent that is not there it says nothing, as real controllers do whose parent it is not. Every
Gateway counts as its own, whatever its class. Sources: the reference of RouteParentStatus, and its list of reasons; the status
index of Linkerd's policy controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.embedded.controllers import Key
from adapters.embedded.gateway_definitions import GATEWAY_GROUP, ROUTE_KINDS
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, format_time, items_of, metadata_of, name_of, namespace_of
from adapters.embedded.resources import SERVICES, Resource
from adapters.embedded.storage import Storage
from engine.clock import Clock

CONTROLLER = "embedded.headgate.dev/gateway"
_LOOK_SECONDS = 0.02
_LINKERDS_CORE = "core"
_HTTP_PROTOCOLS = ("HTTP", "HTTPS")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a route in a condition, in the place of the truth."""

    condition: str
    status: str
    reason: str
    message: str = ""


class GatewayController:
    """Implements `adapters.embedded.controllers.Reconciler`."""

    name = "gateway"

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._noticed: dict[Key, float] = {}
        self.runs = True
        """While it does not, everything that changes is noticed, and done when it runs again."""
        self.lag_seconds = 0.0
        """From a change of a route to that of its status."""
        self.verdicts: list[Verdict] = []
        """Said of every route, in the place of what would be said."""
        self.speaks_as_linkerd = False
        """Of routes of Services it says no generation, and calls their group `core`, whatever the route calls it. So what it has
        said stays as it is, where it would say the same of another version of the route."""

    def keys_for(self, event: StorageEvent) -> list[Key]:
        """The route itself, or every route that may name what has changed."""
        kind = event.resource.kind
        if event.resource.group == GATEWAY_GROUP and kind in ROUTE_KINDS:
            before = event.previous
            if before is not None and before.get("spec") == event.object.get("spec"):
                return []  # Our own status.
            return self._notice([(namespace_of(event.object), f"{kind}/{name_of(event.object)}")])
        if event.resource == SERVICES or (event.resource.group == GATEWAY_GROUP and kind in ("Gateway", "ReferenceGrant")):
            return self._notice([(namespace_of(one), f"{one['kind']}/{name_of(one)}") for one in self._routes()])
        return []

    def _notice(self, keys: list[Key]) -> list[Key]:
        self._noticed.update(dict.fromkeys(keys, self._clock.monotonic()))
        return keys

    def reconcile(self, key: Key) -> float | None:
        if not self.runs:
            return _LOOK_SECONDS
        left = self._noticed.get(key, 0.0) + self.lag_seconds - self._clock.monotonic()
        if left > 0 and self.lag_seconds:
            return left
        kind, name = key[1].split("/")
        resource = self._kind(kind)
        route = self._storage.find(resource, key[0], name) if resource is not None else None
        if resource is None or route is None:
            return None
        parents = [self._parent(route, one) for one in items_of(route["spec"].get("parentRefs")) if self._is_there(route, one)]
        others = [one for one in items_of((route.get("status") or {}).get("parents")) if one["controllerName"] != CONTROLLER]
        said = {"parents": [*others, *parents]}
        if route.get("status") != said:
            self._storage.update(resource, {**route, "status": said}, manager="gateway-controller", subresource="status")
        return None

    # --- what is said --------------------------------------------------------------------------------------------------

    def _parent(self, route: JsonObject, reference: JsonObject) -> JsonObject:
        called = self._called(route, reference)
        found = {"Accepted": self._accepted(route, reference), "ResolvedRefs": self._resolved(route)}
        found |= {one.condition: one for one in self.verdicts}
        former = {
            one["type"]: one
            for status in items_of((route.get("status") or {}).get("parents"))
            if status["controllerName"] == CONTROLLER and status["parentRef"] == called
            for one in status["conditions"]
        }
        conditions = [self._condition(route, verdict, former.get(verdict.condition)) for verdict in found.values()]
        if called["group"] == _LINKERDS_CORE:
            conditions = [{key: value for key, value in one.items() if key != "observedGeneration"} for one in conditions]
        return {"parentRef": called, "controllerName": CONTROLLER, "conditions": conditions}

    def _called(self, route: JsonObject, reference: JsonObject) -> JsonObject:
        """The parent as it is called in the status."""
        if not self.speaks_as_linkerd or reference["kind"] != "Service":
            return reference
        named = {"group": _LINKERDS_CORE, "kind": "Service", "name": reference["name"], "namespace": namespace_of(route)}
        return {**named, **{key: reference[key] for key in ("namespace", "port") if key in reference}}

    def _condition(self, route: JsonObject, verdict: Verdict, former: JsonObject | None) -> JsonObject:
        is_same = former is not None and former["status"] == verdict.status
        since = former["lastTransitionTime"] if former is not None and is_same else format_time(self._storage.now)
        return {
            "type": verdict.condition,
            "status": verdict.status,
            "observedGeneration": metadata_of(route)["generation"],
            "lastTransitionTime": since,
            "reason": verdict.reason,
            "message": verdict.message,
        }

    def _accepted(self, route: JsonObject, reference: JsonObject) -> Verdict:
        gateway = self._gateway(route, reference)
        section = reference.get("sectionName")
        if gateway is not None:
            listeners = list(items_of(gateway["spec"].get("listeners")))
            if section and section not in (one["name"] for one in listeners):
                return Verdict("Accepted", "False", "NoMatchingParent", f"the Gateway has no listener {section}")
            if not any(one["protocol"] in _HTTP_PROTOCOLS for one in listeners):
                return Verdict("Accepted", "False", "NotAllowedByListeners", "no listener takes such routes")
        return Verdict("Accepted", "True", "Accepted", "the route is accepted")

    def _resolved(self, route: JsonObject) -> Verdict:
        for backend in _backends(route):
            there = backend.get("namespace") or namespace_of(route)
            if (backend.get("group", ""), backend.get("kind", "Service")) != ("", "Service"):
                return Verdict("ResolvedRefs", "False", "InvalidKind", f"{backend['kind']} is no kind of backend here")
            if there != namespace_of(route) and not self._is_granted(route, there, backend["name"]):
                message = f"no ReferenceGrant of namespace {there} lets it name Service {backend['name']}"
                return Verdict("ResolvedRefs", "False", "RefNotPermitted", message)
            if self._storage.peek(SERVICES, there, backend["name"]) is None:
                message = f"there is no Service {there}/{backend['name']}"
                return Verdict("ResolvedRefs", "False", "BackendNotFound", message)
        return Verdict("ResolvedRefs", "True", "ResolvedRefs", "all references are resolved")

    # --- what is there -------------------------------------------------------------------------------------------------

    def _is_there(self, route: JsonObject, reference: JsonObject) -> bool:
        groups = ("", _LINKERDS_CORE) if self.speaks_as_linkerd else ("",)
        if reference.get("group") in groups and reference.get("kind") == "Service":
            there = reference.get("namespace") or namespace_of(route)
            return self._storage.peek(SERVICES, there, reference["name"]) is not None
        return self._gateway(route, reference) is not None

    def _gateway(self, route: JsonObject, reference: JsonObject) -> JsonObject | None:
        kind = self._kind("Gateway")
        if kind is None or reference.get("kind", "Gateway") != "Gateway":
            return None
        return self._storage.peek(kind, reference.get("namespace") or namespace_of(route), reference["name"])

    def _is_granted(self, route: JsonObject, namespace: str, service: str) -> bool:
        kind = self._kind("ReferenceGrant")
        origin = {"group": GATEWAY_GROUP, "kind": route["kind"], "namespace": namespace_of(route)}
        for grant in self._storage.iterate(kind, namespace) if kind is not None else ():
            goals = [one for one in grant["spec"]["to"] if (one["group"], one["kind"]) == ("", "Service")]
            if origin in grant["spec"]["from"] and any(one.get("name", service) == service for one in goals):
                return True
        return False

    def _routes(self) -> Iterator[JsonObject]:
        for name in ROUTE_KINDS:
            kind = self._kind(name)
            yield from self._storage.iterate(kind) if kind is not None else ()

    def _kind(self, name: str) -> Resource | None:
        kinds = (one for one in self._storage.registry.kinds() if (one.group, one.kind) == (GATEWAY_GROUP, name))
        return next(kinds, None)


def _backends(route: JsonObject) -> Iterator[JsonObject]:
    for rule in items_of(route["spec"].get("rules")):
        yield from items_of(rule.get("backendRefs"))
        for one in items_of(rule.get("filters")):
            if "requestMirror" in one:
                yield one["requestMirror"]["backendRef"]

"""What Headgate's account may do in a story: exactly what its deploy files need by Headgate's own account, and nothing else.

So whatever a rollout turns out to ask for and `permissions_of` does not name, on any path, fails the story that takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from adapters.embedded.cluster import EmbeddedCluster
from adapters.embedded.resources import Resource
from adapters.kubernetes.own_definitions import defined_kind
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, permissions_of, roles_of
from adapters.kubernetes.routing import Routers
from adapters.routers.traefik import GROUPS, KIND, VERSION
from engine.model import TargetPlan
from engine.traffic import RouterKind


class Rights:
    def __init__(self, embedded: EmbeddedCluster, routers: Routers, *, watches_all: bool) -> None:
        self._embedded = embedded
        self._routers = routers
        self._watches_all = watches_all
        self._granted: set[Permission] = set()
        self._denied: set[Permission] = set()

    def grant(self, targets: Iterable[TargetPlan]) -> None:
        for target in targets:
            serves = frozenset(one.group for one in self._embedded.storage.registry)
            needs = Needs(target.namespace, self._watches_all, serves, dict(self._kinds_of_routes(target)))
            bodies = [json.loads(manifest.content) for manifest in target.manifests]
            found = [(self._embedded.storage.registry.find_kind(one["apiVersion"], one["kind"]), one) for one in bodies]
            placed = [(_reference(kind), body) for kind, body in found if kind is not None]
            yet_to_come = [(defined_kind(target, one["apiVersion"], one["kind"]), one) for kind, one in found if kind is None]
            placed += [(kind, body) for kind, body in yet_to_come if kind is not None]
            of_routes = {one for route in target.routes for one in self._routers.of(route).permissions(route, needs)}
            self._granted.update(permissions_of(target, placed, needs, of_routes))
        self._restrict()

    def _kinds_of_routes(self, target: TargetPlan) -> Iterator[tuple[tuple[str, str], ResourceRef]]:
        """As the routers discover them."""
        registry = self._embedded.storage.registry
        for route in target.routes:
            if route.custom is not None:
                named = (route.custom.api_version, route.custom.kind)
                if (kind := registry.find_kind(*named)) is not None:
                    yield named, _reference(kind)
            for group in reversed(GROUPS) if route.kind is RouterKind.TRAEFIK else ():
                if (kind := registry.find_kind(f"{group}/{VERSION}", KIND)) is not None:
                    yield (f"{GROUPS[0]}/{VERSION}", KIND), _reference(kind)

    def deny(self, permission: Permission) -> None:
        """Take one right away, also from stories yet to come. It has to be one that was given."""
        assert permission in self._granted, f"{permission} is not among {sorted(map(str, self._granted))}"
        self._denied.add(permission)
        self._restrict()

    def allow(self, permission: Permission) -> None:
        self._denied.remove(permission)
        self._restrict()

    def _restrict(self) -> None:
        self._embedded.server.access.restrict(roles_of(self._granted - self._denied, "headgate"))


def _reference(kind: Resource) -> ResourceRef:
    return ResourceRef(kind.group, kind.version, kind.plural, kind.kind, kind.namespaced)

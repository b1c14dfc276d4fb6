"""What an account must be allowed for one target of a deploy file, on every path that its rollout may take. Pure.

The way back counts as much as the way forward: a right that is missing only when traffic has to return is missed at the worst
moment. Names are part of a permission wherever they are known beforehand, so that the Role which follows is the smallest one.
RBAC cannot tie `create`, `list` and `watch` to a name, so these are for all objects of their kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from adapters.kubernetes import health
from adapters.kubernetes.own_definitions import defined_by
from adapters.kubernetes.paths import (
    CONFIG_KINDS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    JOBS,
    LEASES,
    POD_LOGS,
    PODS,
    REPLICA_SETS,
    SERVICE_PROXIES,
    SERVICES,
    ResourceRef,
)
from adapters.kubernetes.templates import JsonObject
from engine.gates import all_ids, step_of
from engine.model import Expose, RunJob, TargetPlan
from strategies.config_snapshots import copied_kinds

RBAC_VERSION = "rbac.authorization.k8s.io/v1"


class Verb(StrEnum):
    """In the order in which people write them."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    PATCH = "patch"
    UPDATE = "update"
    DELETE = "delete"


_ORDER = {verb: number for number, verb in enumerate(Verb)}
_EVERYTHING = (Verb.GET, Verb.CREATE, Verb.PATCH, Verb.UPDATE, Verb.DELETE)
"""For what is applied as declared, and put back as it was found or removed again."""
OPTIONAL_GROUPS = ("linkerd.io", "gateway.networking.k8s.io", "policy.linkerd.io")
"""Where a cluster serves them, a split has more to look at, and so needs more rights."""
_NAMELESS = frozenset({Verb.LIST, Verb.WATCH, Verb.CREATE})


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    group: str
    """Empty for the core group."""
    plural: str
    verb: Verb
    namespace: str = ""
    """Empty: in all namespaces, or for a kind that has none."""
    name: str = ""
    """Empty: all objects of the kind."""

    def __str__(self) -> str:
        kind = f"{self.plural}.{self.group}" if self.group else self.plural
        what = f"{kind} {self.name}" if self.name else kind
        return f"{self.verb} {what} {f'in namespace {self.namespace}' if self.namespace else 'in all namespaces'}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Writes down what one target needs. `watches_all`: its account watches all namespaces at once; `serves`: those of the API
    groups that some router looks for (`OPTIONAL_GROUPS`) that the cluster serves."""

    namespace: str
    watches_all: bool
    serves: frozenset[str] = frozenset()
    kinds: Mapping[tuple[str, str], ResourceRef] = field(default_factory=dict)
    """Where the objects of kinds live that only the deploy file names, by apiVersion and kind."""

    def resource_of(self, api_version: str, kind: str) -> ResourceRef:
        """As discovered; or, where nobody has asked a cluster, as such kinds are called by custom."""
        found = self.kinds.get((api_version, kind))
        group, _, version = api_version.rpartition("/")
        return found if found is not None else ResourceRef(group, version, _plural(kind.lower()), kind, True)

    def watch(self, resource: ResourceRef) -> set[Permission]:
        namespace = "" if self.watches_all else self.namespace
        return {Permission(resource.group, resource.plural, verb, namespace) for verb in (Verb.LIST, Verb.WATCH)}

    def look_through(self, resource: ResourceRef) -> set[Permission]:
        return self.all(resource, Verb.LIST)

    def all(self, resource: ResourceRef, *verbs: Verb) -> set[Permission]:
        return {self._permission(resource, verb, "") for verb in verbs}

    def named(self, resource: ResourceRef, name: str, *verbs: Verb) -> set[Permission]:
        return {self._permission(resource, verb, "" if verb in _NAMELESS else name) for verb in verbs}

    def _permission(self, resource: ResourceRef, verb: Verb, name: str) -> Permission:
        return Permission(resource.group, resource.plural, verb, self.namespace if resource.namespaced else "", name)


def _plural(singular: str) -> str:
    if singular.endswith("y") and singular[-2:-1] not in tuple("aeiou"):
        return f"{singular[:-1]}ies"
    return f"{singular}es" if singular.endswith(("s", "x", "z", "ch", "sh")) else f"{singular}s"


def permissions_of(
    plan: TargetPlan, placed: Sequence[tuple[ResourceRef, JsonObject]], needs: Needs, of_routes: Iterable[Permission]
) -> list[Permission]:
    """In order, each once. `placed`: the plan's manifests, each with its kind; `of_routes`: what the plan's routers need."""
    found = set(of_routes)
    for workload in plan.workloads:
        found |= _of_workload(workload.name, needs)
    for gate in all_ids(plan):
        found |= _of_condition(plan, gate, needs)
    for kind, body in placed:
        there = replace(needs, namespace=body["metadata"].get("namespace", plan.namespace))
        found |= there.named(kind, body["metadata"]["name"], *_EVERYTHING)
        watched = health.resource_of(kind.api_version, kind.kind)
        found |= needs.watch(watched) if watched is not None else set()
        # A definition that a rollout made is only removed again when nobody else has made objects of its kind.
        found |= {Permission(one.group, one.plural, Verb.LIST) for one in defined_by(kind, body)[:1]}
    for copied in copied_kinds(plan.manifests):
        # Which copies are left over is only known at the end, by their label.
        found |= needs.all(CONFIG_KINDS[copied], Verb.LIST, Verb.DELETE) | needs.look_through(DEPLOYMENTS)
    return sorted(_without_covered(found), key=_readable)


def _of_workload(name: str, needs: Needs) -> set[Permission]:
    found = needs.watch(DEPLOYMENTS) | needs.watch(REPLICA_SETS) | needs.watch(PODS)
    # The first look tries out what will be written, by dry runs, and a dry run needs the right in earnest.
    found |= needs.named(DEPLOYMENTS, name, *_EVERYTHING)
    # The names of ReplicaSets contain hashes that are not known beforehand.
    found |= needs.all(REPLICA_SETS, Verb.GET, Verb.LIST, Verb.CREATE, Verb.PATCH, Verb.DELETE)
    return found | needs.look_through(HORIZONTAL_POD_AUTOSCALERS)


def _of_condition(plan: TargetPlan, gate: str, needs: Needs) -> set[Permission]:
    match step_of(plan, gate):
        case RunJob():
            # The names of Jobs are made of the rollout's id; those of their pods, by their controller.
            found = needs.all(JOBS, Verb.GET, Verb.LIST, Verb.CREATE, Verb.DELETE)
            return found | needs.all(PODS, Verb.LIST) | needs.all(POD_LOGS, Verb.GET)
        case Expose(services):
            # RBAC takes a Service with its scheme and port for the name, and the port is not known beforehand.
            proxied = needs.all(SERVICE_PROXIES, Verb.GET, Verb.CREATE, Verb.UPDATE, Verb.PATCH, Verb.DELETE)
            return proxied.union(*(needs.named(SERVICES, service, Verb.GET) for service in services))
        case _:
            return set()


def _without_covered(found: set[Permission]) -> set[Permission]:
    """Without what follows from another of them: all namespaces contain each, and all objects contain each."""
    return {one for one in found if not any(one != other and _covers(other, one) for other in found)}


def _covers(wider: Permission, one: Permission) -> bool:
    same = (wider.group, wider.plural, wider.verb) == (one.group, one.plural, one.verb)
    return same and wider.namespace in ("", one.namespace) and wider.name in ("", one.name)


def _readable(one: Permission) -> tuple[str, str, str, int, str]:
    return one.namespace, one.group, one.plural, _ORDER[one.verb], one.name


# --- roles -------------------------------------------------------------------------------------------------------------


def permissions_of_lease(namespace: str, name: str) -> list[Permission]:
    """What a daemon needs that takes turns with others."""
    named = [Permission(LEASES.group, LEASES.plural, verb, namespace, name) for verb in (Verb.GET, Verb.UPDATE)]
    return [*named, Permission(LEASES.group, LEASES.plural, Verb.CREATE, namespace)]


def roles_of(permissions: Iterable[Permission], name: str) -> list[JsonObject]:
    """The smallest Role for each namespace, and a ClusterRole for what is asked in all of them, all of one name."""
    by_namespace: dict[str, list[Permission]] = defaultdict(list)
    for one in sorted(permissions, key=_readable):
        by_namespace[one.namespace].append(one)
    return [_role(name, namespace, found) for namespace, found in by_namespace.items()]


def _role(name: str, namespace: str, permissions: list[Permission]) -> JsonObject:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    kind = "Role" if namespace else "ClusterRole"
    return {"apiVersion": RBAC_VERSION, "kind": kind, "metadata": metadata, "rules": _rules(permissions)}


def _rules(permissions: list[Permission]) -> list[JsonObject]:
    """One rule for each kind and set of names."""
    verbs: dict[tuple[str, str, Verb], set[str]] = defaultdict(set)
    for one in permissions:
        verbs[one.group, one.plural, one.verb].add(one.name)
    rules: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, plural, verb), names in verbs.items():
        rules[group, plural, tuple(sorted(names - {""}))].append(verb.value)
    return [
        {"apiGroups": [group], "resources": [plural]} | ({"resourceNames": list(names)} if names else {}) | {"verbs": found}
        for (group, plural, names), found in rules.items()
    ]

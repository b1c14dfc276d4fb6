"""The kinds that the embedded cluster serves, built in or added by a CustomResourceDefinition.

It knows names, scopes and subresources; it knows no object and no storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

_STATUS = frozenset({"status"})
_STATUS_AND_SCALE = frozenset({"status", "scale"})


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one version, as discovery tells it.

    One stored object may be served in several versions; they share `storage_key`, and only `apiVersion` differs.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: frozenset[str] = frozenset()
    categories: tuple[str, ...] = ()
    custom: bool = False

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage_key(self) -> tuple[str, str]:
        """What all versions of one kind have in common."""
        return (self.group, self.plural)

    @property
    def qualified_name(self) -> str:
        """The name that messages use: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        """The kind of a list of these."""
        return f"{self.kind}List"


def _core(kind: str, plural: str, *short_names: str, **more: object) -> Resource:
    return _resource("", "v1", kind, plural, short_names, more)


def _grouped(api_version: str, kind: str, plural: str, *short_names: str, **more: object) -> Resource:
    group, version = api_version.split("/")
    return _resource(group, version, kind, plural, short_names, more)


def _resource(
    group: str, version: str, kind: str, plural: str, short_names: tuple[str, ...], more: dict[str, object]
) -> Resource:
    resource = Resource(group, version, kind, plural, kind.lower(), short_names)
    return replace(resource, **more)  # type: ignore[arg-type]  # the callers below are the only ones


_ALL = ("all",)
_CLUSTER: dict[str, object] = {"namespaced": False}

NAMESPACES = _core("Namespace", "namespaces", "ns", namespaced=False, subresources=frozenset({"status", "finalize"}))
NODES = _core("Node", "nodes", "no", namespaced=False, subresources=_STATUS)
PODS = _core(
    "Pod",
    "pods",
    "po",
    subresources=frozenset({"status", "binding", "eviction"}),
    categories=_ALL,
)
SERVICES = _core("Service", "services", "svc", subresources=_STATUS, categories=_ALL)
CONFIG_MAPS = _core("ConfigMap", "configmaps", "cm")
SECRETS = _core("Secret", "secrets")
SERVICE_ACCOUNTS = _core("ServiceAccount", "serviceaccounts", "sa", subresources=frozenset({"token"}))
EVENTS = _core("Event", "events", "ev")
ENDPOINTS = replace(_core("Endpoints", "endpoints", "ep"), singular="endpoints")
LIMIT_RANGES = _core("LimitRange", "limitranges", "limits")
RESOURCE_QUOTAS = _core("ResourceQuota", "resourcequotas", "quota", subresources=_STATUS)
PERSISTENT_VOLUME_CLAIMS = _core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", subresources=_STATUS)
DEPLOYMENTS = _grouped(
    "apps/v1", "Deployment", "deployments", "deploy", subresources=_STATUS_AND_SCALE, categories=_ALL
)
REPLICA_SETS = _grouped(
    "apps/v1", "ReplicaSet", "replicasets", "rs", subresources=_STATUS_AND_SCALE, categories=_ALL
)
STATEFUL_SETS = _grouped(
    "apps/v1", "StatefulSet", "statefulsets", "sts", subresources=_STATUS_AND_SCALE, categories=_ALL
)
DAEMON_SETS = _grouped("apps/v1", "DaemonSet", "daemonsets", "ds", subresources=_STATUS, categories=_ALL)
CONTROLLER_REVISIONS = _grouped("apps/v1", "ControllerRevision", "controllerrevisions")
ENDPOINT_SLICES = _grouped("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
HORIZONTAL_POD_AUTOSCALERS = _grouped(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    "hpa",
    subresources=_STATUS,
    categories=_ALL,
)
INGRESSES = replace(
    _grouped("networking.k8s.io/v1", "Ingress", "ingresses", "ing", subresources=_STATUS), singular="ingress"
)
NETWORK_POLICIES = _grouped("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol")
JOBS = _grouped("batch/v1", "Job", "jobs", subresources=_STATUS, categories=_ALL)
CRON_JOBS = _grouped("batch/v1", "CronJob", "cronjobs", "cj", subresources=_STATUS, categories=_ALL)
LEASES = _grouped("coordination.k8s.io/v1", "Lease", "leases")
POD_DISRUPTION_BUDGETS = _grouped(
    "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", subresources=_STATUS
)
ROLES = _grouped("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = _grouped("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES = _grouped("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = _grouped(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS = _grouped(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "crd",
    "crds",
    namespaced=False,
    subresources=_STATUS,
)

BUILT_IN: tuple[Resource, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    EVENTS,
    ENDPOINTS,
    LIMIT_RANGES,
    RESOURCE_QUOTAS,
    PERSISTENT_VOLUME_CLAIMS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    HORIZONTAL_POD_AUTOSCALERS,
    INGRESSES,
    NETWORK_POLICIES,
    JOBS,
    CRON_JOBS,
    LEASES,
    POD_DISRUPTION_BUDGETS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    CUSTOM_RESOURCE_DEFINITIONS,
)


class Registry:
    """The resources that are served now. Versions of one kind stand in order of preference, the storage version first."""

    def __init__(self, resources: Iterable[Resource] = BUILT_IN) -> None:
        self._versions: dict[tuple[str, str], tuple[Resource, ...]] = {}
        for resource in resources:
            self._versions[resource.storage_key] = (*self._versions.get(resource.storage_key, ()), resource)
        self._index()

    def __iter__(self) -> Iterator[Resource]:
        """Every served version of every kind."""
        return (resource for versions in self._versions.values() for resource in versions)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource under a path, or None."""
        return self._by_path.get((group, version, plural))

    def find_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an object, or None."""
        return self._by_kind.get((api_version, kind))

    def kinds(self) -> Iterator[Resource]:
        """Every served kind once, in its storage version."""
        return (versions[0] for versions in self._versions.values())

    def storage_version(self, resource: Resource) -> Resource:
        """The version in which objects of this kind are stored, and in which storage events name it.

        Raises:
            KeyError: the kind is not served (any more).
        """
        return self._versions[resource.storage_key][0]

    def serves(self, resource: Resource) -> bool:
        """Whether this kind is served in this version."""
        return self.find(resource.group, resource.version, resource.plural) is not None

    def put(self, versions: Iterable[Resource]) -> None:
        """Serve one kind in these versions, the storage version first, in place of the versions it had."""
        versions = tuple(versions)
        if len({resource.storage_key for resource in versions}) != 1:
            raise ValueError(f"put takes the versions of exactly one kind, got {[v.qualified_name for v in versions]}")
        self._versions[versions[0].storage_key] = versions
        self._index()

    def remove(self, group: str, plural: str) -> None:
        """Serve this kind no longer; nothing happens when it is not served."""
        self._versions.pop((group, plural), None)
        self._index()

    def _index(self) -> None:
        self._by_path = {(r.group, r.version, r.plural): r for r in self}
        self._by_kind = {(r.api_version, r.kind): r for r in self}

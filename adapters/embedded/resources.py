"""The kinds that the embedded cluster serves, built in or added by a CustomResourceDefinition.

It knows names, scopes and subresources; it knows no object and no storage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

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


def _built_in(
    api_version: str,
    kind: str,
    plural: str,
    *short_names: str,
    namespaced: bool = True,
    subresources: frozenset[str] = frozenset(),
    categories: tuple[str, ...] = (),
    singular: str = "",
) -> Resource:
    group, _, version = api_version.rpartition("/")
    singular = singular or kind.lower()
    return Resource(group, version, kind, plural, singular, short_names, namespaced, subresources, categories)


_ALL = ("all",)

NAMESPACES = _built_in("v1", "Namespace", "namespaces", "ns", namespaced=False, subresources=frozenset({"status", "finalize"}))
NODES = _built_in("v1", "Node", "nodes", "no", namespaced=False, subresources=_STATUS)
PODS = _built_in("v1", "Pod",
    "pods",
    "po",
    subresources=frozenset({"status", "binding", "eviction", "log"}),
    categories=_ALL,
)
SERVICES = _built_in("v1", "Service", "services", "svc", subresources=frozenset({"status", "proxy"}), categories=_ALL)
CONFIG_MAPS = _built_in("v1", "ConfigMap", "configmaps", "cm")
SECRETS = _built_in("v1", "Secret", "secrets")
SERVICE_ACCOUNTS = _built_in("v1", "ServiceAccount", "serviceaccounts", "sa", subresources=frozenset({"token"}))
EVENTS = _built_in("v1", "Event", "events", "ev")
ENDPOINTS = _built_in("v1", "Endpoints", "endpoints", "ep", singular="endpoints")
LIMIT_RANGES = _built_in("v1", "LimitRange", "limitranges", "limits")
RESOURCE_QUOTAS = _built_in("v1", "ResourceQuota", "resourcequotas", "quota", subresources=_STATUS)
PERSISTENT_VOLUME_CLAIMS = _built_in("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", subresources=_STATUS)
DEPLOYMENTS = _built_in(
    "apps/v1", "Deployment", "deployments", "deploy", subresources=_STATUS_AND_SCALE, categories=_ALL
)
REPLICA_SETS = _built_in(
    "apps/v1", "ReplicaSet", "replicasets", "rs", subresources=_STATUS_AND_SCALE, categories=_ALL
)
STATEFUL_SETS = _built_in(
    "apps/v1", "StatefulSet", "statefulsets", "sts", subresources=_STATUS_AND_SCALE, categories=_ALL
)
DAEMON_SETS = _built_in("apps/v1", "DaemonSet", "daemonsets", "ds", subresources=_STATUS, categories=_ALL)
CONTROLLER_REVISIONS = _built_in("apps/v1", "ControllerRevision", "controllerrevisions")
ENDPOINT_SLICES = _built_in("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
HORIZONTAL_POD_AUTOSCALERS = _built_in(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    "hpa",
    subresources=_STATUS,
    categories=_ALL,
)
INGRESSES = _built_in("networking.k8s.io/v1", "Ingress", "ingresses", "ing", subresources=_STATUS)
NETWORK_POLICIES = _built_in("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol")
JOBS = _built_in("batch/v1", "Job", "jobs", subresources=_STATUS, categories=_ALL)
CRON_JOBS = _built_in("batch/v1", "CronJob", "cronjobs", "cj", subresources=_STATUS, categories=_ALL)
LEASES = _built_in("coordination.k8s.io/v1", "Lease", "leases")
POD_DISRUPTION_BUDGETS = _built_in(
    "policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", subresources=_STATUS
)
ROLES = _built_in("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = _built_in("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES = _built_in("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = _built_in(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS = _built_in(
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
    """The resources that are served now. Versions of one kind stand in order, the storage version first."""

    def __init__(self, resources: Iterable[Resource] = BUILT_IN) -> None:
        self._versions: dict[tuple[str, str], tuple[Resource, ...]] = {}
        self._unserved: set[Resource] = set()
        for resource in resources:
            self._versions[resource.storage_key] = (*self._versions.get(resource.storage_key, ()), resource)
        self._index()

    def __iter__(self) -> Iterator[Resource]:
        """Every served version of every kind."""
        every = (resource for versions in self._versions.values() for resource in versions)
        return (resource for resource in every if resource not in self._unserved)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource under a path, or None."""
        return self._by_path.get((group, version, plural))

    def find_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an object, or None."""
        return self._by_kind.get((api_version, kind))

    def kinds(self) -> Iterator[Resource]:
        """Every kind once, in its storage version."""
        return (versions[0] for versions in self._versions.values())

    def storage_version(self, resource: Resource) -> Resource:
        """The version in which objects of this kind are stored, and in which storage events name it.

        Raises:
            KeyError: the kind is not served (any more).
        """
        return self._versions[resource.storage_key][0]

    def serves(self, resource: Resource) -> bool:
        """Whether this kind is served in this version."""
        return self.find(resource.group, resource.version, resource.plural) == resource

    def put(self, versions: Iterable[Resource], served: Collection[str]) -> None:
        """Serve one kind in the named ones of its versions, in place of the versions that it had.

        Raises:
            ValueError: these are not the versions of exactly one kind.
        """
        versions = tuple(versions)
        if len({resource.storage_key for resource in versions}) != 1:
            raise ValueError(f"put takes the versions of exactly one kind, got {[v.qualified_name for v in versions]}")
        self.remove(*versions[0].storage_key)
        self._versions[versions[0].storage_key] = versions
        self._unserved |= {resource for resource in versions if resource.version not in served}
        self._index()

    def remove(self, group: str, plural: str) -> None:
        """Serve this kind no longer; nothing happens when it is not served."""
        self._unserved -= set(self._versions.pop((group, plural), ()))
        self._index()

    def _index(self) -> None:
        self._by_path = {(r.group, r.version, r.plural): r for r in self}
        self._by_kind = {(r.api_version, r.kind): r for r in self}

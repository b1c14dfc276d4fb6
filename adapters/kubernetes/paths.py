"""Which resources are used, and where the API server keeps them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from adapters.kubernetes.errors import Invalid


@dataclass(frozen=True, slots=True)
class ResourceRef:
    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As RBAC and error messages write it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def collection(self, namespace: str | None) -> str:
        """The path of the collection; without a namespace, of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{_segment(self, namespace)}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}"

    def item(self, namespace: str | None, name: str) -> str:
        """The path of one object. Raises `Invalid` for a name that would lead elsewhere: to delete the object without a
        name is to delete all of them, and the one called `..` is the namespace."""
        return f"{self.collection(namespace)}/{_segment(self, name)}"


def _segment(resource: ResourceRef, name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "%" in name:
        raise Invalid(resource.full_name, f"{name!r} cannot be the name of an object")
    return quote(name, safe="")


DEPLOYMENTS = ResourceRef("apps", "v1", "deployments", "Deployment", True)
REPLICA_SETS = ResourceRef("apps", "v1", "replicasets", "ReplicaSet", True)
STATEFUL_SETS = ResourceRef("apps", "v1", "statefulsets", "StatefulSet", True)
DAEMON_SETS = ResourceRef("apps", "v1", "daemonsets", "DaemonSet", True)
JOBS = ResourceRef("batch", "v1", "jobs", "Job", True)
PODS = ResourceRef("", "v1", "pods", "Pod", True)
POD_LOGS = ResourceRef("", "v1", "pods/log", "Pod", True)
"""Only as a right: a subresource has no collection."""
CONFIG_MAPS = ResourceRef("", "v1", "configmaps", "ConfigMap", True)
SECRETS = ResourceRef("", "v1", "secrets", "Secret", True)
CONFIG_KINDS = {one.kind: one for one in (CONFIG_MAPS, SECRETS)}
LEASES = ResourceRef("coordination.k8s.io", "v1", "leases", "Lease", True)
SERVICES = ResourceRef("", "v1", "services", "Service", True)
ENDPOINT_SLICES = ResourceRef("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
SERVICE_PROXIES = ResourceRef("", "v1", "services/proxy", "Service", True)
"""Only as a right, as above."""
INGRESSES = ResourceRef("networking.k8s.io", "v1", "ingresses", "Ingress", True)
HORIZONTAL_POD_AUTOSCALERS = ResourceRef(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True
)

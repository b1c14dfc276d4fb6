"""What is known of Kubernetes' own kinds: which have no namespace, and in which order objects are applied."""

from __future__ import annotations

from typing import NamedTuple


class ObjectKind(NamedTuple):
    group: str
    """The API group without its version; empty for the core group."""
    kind: str


CLUSTER_SCOPED = frozenset(
    ObjectKind(group, kind)
    for group, kinds in {
        "": ("Namespace", "Node", "PersistentVolume", "ComponentStatus"),
        "admissionregistration.k8s.io": (
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ),
        "apiextensions.k8s.io": ("CustomResourceDefinition",),
        "apiregistration.k8s.io": ("APIService",),
        "authentication.k8s.io": ("SelfSubjectReview", "TokenReview"),
        "authorization.k8s.io": ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"),
        "certificates.k8s.io": ("CertificateSigningRequest", "ClusterTrustBundle"),
        "flowcontrol.apiserver.k8s.io": ("FlowSchema", "PriorityLevelConfiguration"),
        "gateway.networking.k8s.io": ("GatewayClass",),
        "networking.k8s.io": ("IPAddress", "IngressClass", "ServiceCIDR"),
        "node.k8s.io": ("RuntimeClass",),
        "policy": ("PodSecurityPolicy",),
        "rbac.authorization.k8s.io": ("ClusterRole", "ClusterRoleBinding"),
        "resource.k8s.io": ("DeviceClass", "DeviceTaintRule", "ResourceSlice"),
        "scheduling.k8s.io": ("PriorityClass",),
        "storage.k8s.io": ("CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"),
        "storagemigration.k8s.io": ("StorageVersionMigration",),
    }.items()
    for kind in kinds
)
"""The kinds of Kubernetes 1.35 (and Gateway API) without a namespace."""

DEPLOYMENT = ObjectKind("apps", "Deployment")
STATEFUL_SET = ObjectKind("apps", "StatefulSet")
DAEMON_SET = ObjectKind("apps", "DaemonSet")
JOB = ObjectKind("batch", "Job")
SERVICE = ObjectKind("", "Service")
CONFIG_MAP = ObjectKind("", "ConfigMap")
SECRET = ObjectKind("", "Secret")
SERVICE_ACCOUNT = ObjectKind("", "ServiceAccount")
TRAFFIC_SPLIT = ObjectKind("split.smi-spec.io", "TrafficSplit")
CUSTOM_RESOURCE_DEFINITION = ObjectKind("apiextensions.k8s.io", "CustomResourceDefinition")

CLUSTER_ROLE_BINDING = ObjectKind("rbac.authorization.k8s.io", "ClusterRoleBinding")
CALLS_A_SERVICE = frozenset(
    {
        ObjectKind("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ObjectKind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ObjectKind("apiregistration.k8s.io", "APIService"),
    }
)
"""The kinds without a namespace whose objects name a Service, and so a namespace, all the same."""

_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_OTHERS: tuple[ObjectKind, ...] = ()
"""Where the kinds come that nothing is known of: after what they may refer to, before the pods that may need them."""
_IN_ORDER: tuple[tuple[ObjectKind, ...], ...] = (
    (ObjectKind("", "Namespace"),),
    (CUSTOM_RESOURCE_DEFINITION,),
    (
        ObjectKind("scheduling.k8s.io", "PriorityClass"),
        ObjectKind("storage.k8s.io", "StorageClass"),
        ObjectKind("networking.k8s.io", "NetworkPolicy"),
        ObjectKind("", "ResourceQuota"),
        ObjectKind("", "LimitRange"),
    ),
    (SERVICE_ACCOUNT,),
    (ObjectKind(_RBAC, "ClusterRole"), ObjectKind(_RBAC, "Role")),
    (ObjectKind(_RBAC, "ClusterRoleBinding"), ObjectKind(_RBAC, "RoleBinding")),
    (CONFIG_MAP,),
    (SECRET,),
    (ObjectKind("", "PersistentVolume"),),
    (ObjectKind("", "PersistentVolumeClaim"),),
    (SERVICE,),
    _OTHERS,
    (
        STATEFUL_SET,
        DAEMON_SET,
        JOB,
        ObjectKind("batch", "CronJob"),
        ObjectKind("", "ReplicationController"),
    ),
    (
        ObjectKind("autoscaling", "HorizontalPodAutoscaler"),
        ObjectKind("policy", "PodDisruptionBudget"),
        ObjectKind("networking.k8s.io", "Ingress"),
        ObjectKind("apiregistration.k8s.io", "APIService"),
        ObjectKind(_ADMISSION, "MutatingWebhookConfiguration"),
        ObjectKind(_ADMISSION, "ValidatingWebhookConfiguration"),
    ),
)
_RANKS = {kind: rank for rank, kinds in enumerate(_IN_ORDER) for kind in kinds}
_RANK_OF_OTHERS = _IN_ORDER.index(_OTHERS)


def group_of(api_version: str) -> str:
    """`apps` of `apps/v1`, and nothing of `v1`."""
    return api_version.rpartition("/")[0]


def rank(kind: ObjectKind) -> int:
    """Where a kind comes when objects are applied: what others refer to first, what acts on others last."""
    return _RANKS.get(kind, _RANK_OF_OTHERS)

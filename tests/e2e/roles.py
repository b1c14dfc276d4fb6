"""What Headgate may do in a namespace of these stories."""

from __future__ import annotations

from adapters.embedded.json_objects import JsonObject

_RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("apps", "deployments", ("get", "list", "watch", "create", "patch", "update", "delete")),
    ("apps", "replicasets", ("get", "list", "watch", "create", "patch", "delete")),
    ("", "pods", ("get", "list", "watch")),
    ("", "services", ("get", "list", "watch", "create", "patch", "update", "delete")),
    ("", "configmaps", ("get", "list", "watch", "create", "patch", "update", "delete")),
    ("autoscaling", "horizontalpodautoscalers", ("get", "list", "watch", "patch")),
    ("split.smi-spec.io", "trafficsplits", ("get", "list", "watch", "create", "patch", "delete")),
)


def role_of_headgate(name: str, *, without: tuple[str, str] | None = None) -> JsonObject:
    """`without`: a (resource, verb) that is left out."""
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb for verb in verbs if (resource, verb) != without]}
        for group, resource, verbs in _RULES
    ]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}

"""What Headgate may do in a namespace of these stories: exactly what it says itself that it needs."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.permissions import Needs, Permission, permissions_of, roles_of
from adapters.routers.pod_ratio import PodRatioRouter
from adapters.routers.smi import SmiRouter
from tests.builders import pod_ratio_route, smi_route, target_plan


def role_of_headgate(name: str, namespace: str, applications: Sequence[str], *, without: Permission | None = None) -> JsonObject:
    """For applications that are shifted by a mesh or by the ratio of their pods."""
    needs = Needs(namespace, watches_all=False)
    needed = set[Permission]()
    for application in applications:
        mesh, ratio = smi_route(application), pod_ratio_route(application)
        plan = target_plan(namespace=namespace, workload=application)
        of_routes = SmiRouter().permissions(mesh, needs) | PodRatioRouter().permissions(ratio, needs)
        needed.update(permissions_of(plan, [], needs, of_routes))
    assert without is None or without in needed, f"{without} is not needed anyway"
    (role,) = roles_of(needed - {without}, name)
    return role

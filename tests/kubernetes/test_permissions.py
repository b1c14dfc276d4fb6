"""What an account must be allowed for a target, and the smallest roles that allow it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from adapters.kubernetes.paths import PODS, SERVICES, ResourceRef
from adapters.kubernetes.permissions import Needs, Permission, Verb, permissions_of, roles_of
from adapters.routers.pod_ratio import PodRatioRouter
from adapters.routers.smi import SmiRouter
from engine.model import Expose, GateStep, RunJob, TargetPlan
from tests.builders import pod_ratio_route, service, smi_route, target_plan

DEPLOYMENT = {"apiGroups": ["apps"], "resources": ["deployments"]}
REPLICA_SET = {"apiGroups": ["apps"], "resources": ["replicasets"]}
IN_SHOP = Needs("shop", watches_all=False)
EVERYWHERE = Needs("shop", watches_all=True)
NAMESPACES = ResourceRef("", "v1", "namespaces", "Namespace", False)
CONFIG_MAPS = ResourceRef("", "v1", "configmaps", "ConfigMap", True)


def mesh(needs: Needs = IN_SHOP, plan: TargetPlan | None = None) -> list[Permission]:
    plan = plan or target_plan(route=smi_route())
    return permissions_of(plan, [], needs, SmiRouter().permissions(plan.routes[0], needs))


def ratio(needs: Needs = IN_SHOP) -> list[Permission]:
    plan = target_plan(route=pod_ratio_route())
    return permissions_of(plan, [], needs, PodRatioRouter().permissions(plan.routes[0], needs))


def verbs_on(permissions: list[Permission], plural: str) -> dict[str, set[str]]:
    """The verbs by name."""
    found: dict[str, set[str]] = {}
    for one in permissions:
        if one.plural == plural:
            found.setdefault(one.name, set()).add(one.verb.value)
    return found


def test_objects_whose_names_are_known_are_asked_for_by_name() -> None:
    assert verbs_on(mesh(), "deployments") == {"": {"list", "watch", "create"}, "web": {"get", "patch", "update", "delete"}}
    assert verbs_on(mesh(), "trafficsplits") == {"": {"list", "watch", "create"}, "web": {"get", "patch", "delete"}}


def test_the_names_of_replica_sets_are_not_known_beforehand() -> None:
    assert verbs_on(mesh(), "replicasets") == {"": {"get", "list", "watch", "create", "patch", "delete"}}


def test_pods_are_only_looked_at() -> None:
    assert verbs_on(mesh(), "pods") == {"": {"list", "watch"}}


def test_the_root_service_is_never_written_and_a_service_of_the_users_never_removed() -> None:
    assert verbs_on(mesh(), "services")["web"] == {"get"}
    own = verbs_on(mesh(), "services")["web-canary"]
    adopting = target_plan(route=replace(smi_route(), adopts_canary_service=True))
    assert verbs_on(mesh(plan=adopting), "services")["web-canary"] == own | {"patch"}


def test_only_a_ratio_of_pods_touches_an_autoscaler() -> None:
    assert verbs_on(mesh(), "horizontalpodautoscalers") == {"": {"list"}}
    assert verbs_on(ratio(), "horizontalpodautoscalers") == {"": {"get", "list", "patch"}}


def test_a_ratio_of_pods_needs_neither_services_nor_splits() -> None:
    assert {one.plural for one in ratio()} == {"deployments", "replicasets", "pods", "horizontalpodautoscalers"}


def test_an_account_that_watches_everything_at_once_needs_that_in_all_namespaces() -> None:
    found = mesh(EVERYWHERE)
    assert {(one.plural, one.verb) for one in found if not one.namespace} == {
        (plural, verb)
        for plural in ("deployments", "replicasets", "pods", "services", "trafficsplits")
        for verb in (Verb.LIST, Verb.WATCH)
    }
    assert not [one for one in found if one.namespace and (one.plural, one.verb) == ("replicasets", Verb.LIST)]
    assert Permission("autoscaling", "horizontalpodautoscalers", Verb.LIST, "shop") in found


def test_a_manifest_needs_what_its_application_and_its_way_back_need() -> None:
    plan = target_plan(route=pod_ratio_route())
    settings = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}
    found = permissions_of(plan, [(CONFIG_MAPS, settings)], IN_SHOP, [])
    assert verbs_on(found, "configmaps") == {"": {"create"}, "settings": {"get", "patch", "update", "delete"}}


def test_a_kind_without_namespaces_is_asked_for_in_none() -> None:
    body = {"kind": "Namespace", "metadata": {"name": "shop"}}
    found = permissions_of(target_plan(), [(NAMESPACES, body)], IN_SHOP, [])
    assert {one.namespace for one in found if one.plural == "namespaces"} == {""}


def test_a_service_that_is_both_a_manifest_and_a_root_is_named_once_for_each_verb() -> None:
    plan = target_plan(route=smi_route())
    found = permissions_of(plan, [(SERVICES, service())], IN_SHOP, SmiRouter().permissions(plan.routes[0], IN_SHOP))
    assert len(found) == len(set(found))
    assert verbs_on(found, "services")["web"] == {"get", "patch", "update", "delete"}


@pytest.mark.parametrize(
    ("permission", "sentence"),
    [
        (Permission("apps", "replicasets", Verb.PATCH, "shop"), "patch replicasets.apps in namespace shop"),
        (Permission("", "services", Verb.GET, "shop", "web"), "get services web in namespace shop"),
        (Permission("", "pods", Verb.WATCH), "watch pods in all namespaces"),
    ],
)
def test_a_permission_reads_as_a_sentence(permission: Permission, sentence: str) -> None:
    assert str(permission) == sentence


def of_step(step: GateStep) -> list[Permission]:
    return permissions_of(target_plan([step], route=pod_ratio_route()), [], IN_SHOP, [])


def test_a_test_that_is_a_job_needs_jobs_and_the_logs_of_their_pods() -> None:
    found = of_step(RunJob("smoke", "{}"))
    assert verbs_on(found, "jobs") == {"": {"get", "list", "create", "delete"}}
    assert verbs_on(found, "pods/log") == {"": {"get"}}
    assert verbs_on(found, "pods") == {"": {"list", "watch"}}
    assert str(next(one for one in found if one.plural == "pods/log")) == "get pods/log in namespace shop"


def test_a_preview_needs_the_proxy_to_services_and_a_look_at_its_own() -> None:
    found = of_step(Expose(("web", "web-canary")))
    assert verbs_on(found, "services/proxy") == {"": {"get", "create", "update", "patch", "delete"}}
    assert verbs_on(found, "services") == {"web": {"get"}, "web-canary": {"get"}}


def test_conditions_around_the_deployment_count_too() -> None:
    plan = replace(target_plan(route=pod_ratio_route()), after=(RunJob("smoke", "{}"),))
    assert verbs_on(permissions_of(plan, [], IN_SHOP, []), "jobs") == {"": {"get", "list", "create", "delete"}}


# --- roles -------------------------------------------------------------------------------------------------------------


def test_one_role_has_one_rule_for_each_kind_and_its_names() -> None:
    (role,) = roles_of(ratio(), "headgate")
    assert role == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "headgate", "namespace": "shop"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {**DEPLOYMENT, "resourceNames": ["web"], "verbs": ["get", "patch", "update", "delete"]},
            {**DEPLOYMENT, "verbs": ["list", "watch", "create"]},
            {**REPLICA_SET, "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
            {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["get", "list", "patch"]},
        ],
    }


def test_names_with_the_same_verbs_share_a_rule() -> None:
    found = [Permission("", "services", Verb.GET, "shop", name) for name in ("web", "api")]
    (role,) = roles_of(found, "headgate")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["services"], "resourceNames": ["api", "web"], "verbs": ["get"]}]


def test_what_is_needed_everywhere_is_a_cluster_role() -> None:
    roles = roles_of(mesh(EVERYWHERE), "headgate")
    assert [(role["kind"], role["metadata"].get("namespace")) for role in roles] == [("ClusterRole", None), ("Role", "shop")]
    watched = {"apiGroups": [PODS.group], "resources": [PODS.plural], "verbs": ["list", "watch"]}
    assert watched in roles[0]["rules"]

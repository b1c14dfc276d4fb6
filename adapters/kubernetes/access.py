"""Whether an account is allowed what a rollout will need, asked of the API server before anything is changed.

One question per namespace (SelfSubjectRulesReview) answers nearly everything. Its answer may be incomplete where rights do not
come from RBAC, and it does not tell a right in this namespace from one in all, so what it leaves open is asked one by one
(SelfSubjectAccessReview). Only a yes is remembered, for a minute: a right that somebody has just given counts at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import anyio

from adapters.kubernetes import permissions
from adapters.kubernetes.cluster import Cluster, WatchScope
from adapters.kubernetes.errors import Forbidden, MalformedAnswer, NotFound, NotServed
from adapters.kubernetes.own_definitions import defined_kind
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.permissions import Needs, Permission
from adapters.kubernetes.routing import NamesKinds, Routers
from adapters.kubernetes.templates import JsonObject
from engine.clock import Clock
from engine.model import TargetPlan
from engine.traffic import RouterKind

REMEMBERED_SECONDS = 60.0
ACCESS_REVIEW = ResourceRef("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False)
RULES_REVIEW = ResourceRef("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False)


class AccessUnknown(Exception):
    """The API server does not tell this account what it may do; the message is what it said instead."""


async def required_permissions(cluster: Cluster, plan: TargetPlan, routers: Routers) -> list[Permission]:
    """What the target needs on this cluster. Raises `NotServed` for a manifest, or an object that a route names, of a kind that
    neither the cluster knows nor one of the manifests defines."""
    kinds: dict[tuple[str, str], ResourceRef] = {}
    for route in plan.routes:
        router = routers.of(route)
        if isinstance(router, NamesKinds):
            kinds.update(await router.kinds_of(cluster, plan, route))
    served = await _optional_groups(cluster, plan)
    needs = Needs(plan.namespace, cluster.scope is WatchScope.CLUSTER, served, kinds)
    objects: list[JsonObject] = [json.loads(manifest.content) for manifest in plan.manifests]
    placed = [(await _place(cluster, plan, one["apiVersion"], one["kind"]), one) for one in objects]
    of_routes = {one for route in plan.routes for one in routers.of(route).permissions(route, needs)}
    return permissions.permissions_of(plan, placed, needs, of_routes)


async def _optional_groups(cluster: Cluster, plan: TargetPlan) -> frozenset[str]:
    if not any(route.kind is RouterKind.SMI for route in plan.routes):
        return frozenset()
    return frozenset([group for group in permissions.OPTIONAL_GROUPS if await cluster.served_versions(group)])


async def _place(cluster: Cluster, plan: TargetPlan, api_version: str, kind: str) -> ResourceRef:
    try:
        return await cluster.resource_of(api_version, kind)
    except NotServed:
        defined = defined_kind(plan, api_version, kind)
        if defined is None:
            raise
        return defined


@dataclass
class AccessReviews:
    """The questions to all accounts, and the yeses of the last minute."""

    clock: Clock
    _granted: dict[tuple[str, Permission], float] = field(default_factory=dict)
    _asking: dict[str, anyio.Lock] = field(default_factory=dict)

    async def missing(self, cluster: Cluster, wanted: Iterable[Permission]) -> list[Permission]:
        """Those that the account does not have, in order. Raises `AccessUnknown`, and `ApiError` where there is no answer."""
        async with self._asking.setdefault(cluster.account, anyio.Lock()):
            self._forget_old()
            open_questions = [one for one in wanted if (cluster.account, one) not in self._granted]
            for namespace in sorted({one.namespace for one in open_questions} - {""}):
                rules = await _rules(cluster, namespace)
                self._note(cluster, [one for one in open_questions if one.namespace == namespace and _allows(rules, one)])
            left = [one for one in open_questions if (cluster.account, one) not in self._granted]
            missing = [one for one in left if not await _is_allowed(cluster, one)]
            self._note(cluster, [one for one in left if one not in missing])
            return missing

    def _note(self, cluster: Cluster, granted: Iterable[Permission]) -> None:
        now = self.clock.monotonic()
        self._granted.update({(cluster.account, one): now for one in granted})

    def _forget_old(self) -> None:
        oldest = self.clock.monotonic() - REMEMBERED_SECONDS
        self._granted = {key: at for key, at in self._granted.items() if at > oldest}


async def _rules(cluster: Cluster, namespace: str) -> list[JsonObject]:
    status = await _review(cluster, RULES_REVIEW, {"namespace": namespace}, f"the rights in namespace {namespace}")
    rules: list[JsonObject] = status.get("resourceRules") or []
    return rules


async def _is_allowed(cluster: Cluster, one: Permission) -> bool:
    plural, _, subresource = one.plural.partition("/")
    attributes = {"group": one.group, "resource": plural, "verb": one.verb.value}
    attributes |= {"subresource": subresource} if subresource else {}
    attributes |= {"namespace": one.namespace} if one.namespace else {}
    attributes |= {"name": one.name} if one.name else {}
    status = await _review(cluster, ACCESS_REVIEW, {"resourceAttributes": attributes}, f"the right to {one}")
    return bool(status.get("allowed"))


async def _review(cluster: Cluster, resource: ResourceRef, spec: JsonObject, what: str) -> JsonObject:
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec}
    try:
        answer = await cluster.transport.request("POST", resource.collection(None), what=f"asking for {what}", body=body)
    except (Forbidden, NotFound) as error:
        raise AccessUnknown(str(error)) from error
    status = answer.get("status")
    if not isinstance(status, dict):
        raise MalformedAnswer(f"asking for {what}", "the answer has no status")
    return status


def _allows(rules: Iterable[JsonObject], one: Permission) -> bool:
    return any(
        one.verb in _star(rule, "verbs", one.verb)
        and one.group in _star(rule, "apiGroups", one.group)
        and one.plural in _star(rule, "resources", one.plural)
        and (not rule.get("resourceNames") or (one.name and one.name in rule["resourceNames"]))
        for rule in rules
    )


def _star(rule: JsonObject, part: str, wanted: str) -> list[str]:
    """What the rule names; everything that could be wanted where it has a star."""
    named: list[str] = rule.get(part) or []
    return [wanted] if "*" in named else named


"""All accounts and targets in question, one section for each, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from adapters.doctor.accounts import examine_account
from adapters.doctor.findings import Section, problem
from adapters.doctor.leases import LeasePlace, examine_lease
from adapters.doctor.targets import examine_target
from adapters.kubernetes.access import AccessReviews, required_permissions
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.permissions import Permission, permissions_of_lease, roles_of
from adapters.kubernetes.routing import Routers
from adapters.kubernetes.templates import JsonObject
from engine.clock import Clock
from engine.errors import ClusterUnreachable
from engine.model import TargetPlan

OpenAccount: TypeAlias = Callable[[str], AbstractAsyncContextManager[Cluster]]
"""The way to a cluster; raises `ClusterUnreachable`."""

ROLE_NAME = "headgate"


@dataclass(frozen=True, slots=True)
class Examination:
    open_account: OpenAccount
    routers: Routers
    clock: Clock
    lease: LeasePlace | None = None
    """Where daemons take turns."""

    async def examine(self, accounts: Iterable[str], targets: Iterable[TargetPlan]) -> list[Section]:
        plans, access, sections = list(targets), AccessReviews(self.clock), list[Section]()
        for account in accounts:
            try:
                async with self.open_account(account) as cluster:
                    sections += await self._examine_cluster(cluster, [one for one in plans if one.account == account], access)
            except ClusterUnreachable as error:
                sections.append(Section(f"account {account}", (problem(str(error)),)))
        return sections

    async def _examine_cluster(self, cluster: Cluster, plans: list[TargetPlan], access: AccessReviews) -> list[Section]:
        sections = [Section(f"account {cluster.account}", tuple(await examine_account(cluster)))]
        if sections[0].has_problems:
            return sections
        if self.lease is not None and self.lease.account == cluster.account:
            sections.append(Section(str(self.lease), tuple(await examine_lease(cluster, self.lease, access))))
        for plan in plans:
            subject = f"target {plan.target} (account {plan.account}, namespace {plan.namespace})"
            findings = await examine_target(cluster, plan, self.routers, access)
            sections.append(Section(subject, tuple(findings)))
        return sections

    async def roles(self, targets: Iterable[TargetPlan]) -> dict[str, list[JsonObject]]:
        """The smallest roles, by account. Raises `ClusterUnreachable` where a cluster cannot say what it serves."""
        needed: dict[str, set[Permission]] = {}
        if self.lease is not None:
            needed[self.lease.account] = set(permissions_of_lease(self.lease.namespace, self.lease.name))
        for plan in targets:
            wanted = await self._required(plan)
            if isinstance(wanted, ApiError):
                raise ClusterUnreachable(f"account {plan.account}: {wanted}")
            needed.setdefault(plan.account, set()).update(wanted)
        return {account: roles_of(permissions, ROLE_NAME) for account, permissions in needed.items()}

    async def _required(self, plan: TargetPlan) -> list[Permission] | ApiError:
        async with self.open_account(plan.account) as cluster:
            try:
                return await required_permissions(cluster, plan, self.routers)
            except ApiError as error:  # Raised through the cluster's task group, it would come out as a group.
                return error

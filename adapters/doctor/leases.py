"""The Lease by which daemons take turns: may this account have it, and who has it now?"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.doctor.findings import Finding, note, ok, problem
from adapters.doctor.targets import NAMESPACES
from adapters.kubernetes.access import AccessReviews, AccessUnknown
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError, Forbidden
from adapters.kubernetes.lease import read_record
from adapters.kubernetes.paths import LEASES
from adapters.kubernetes.permissions import permissions_of_lease


@dataclass(frozen=True, slots=True)
class LeasePlace:
    account: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"lease {self.namespace}/{self.name} (account {self.account})"


async def examine_lease(cluster: Cluster, place: LeasePlace, access: AccessReviews) -> list[Finding]:
    findings: list[Finding] = []
    for look in (_of_rights(cluster, place, access), _of_holder(cluster, place)):
        try:
            findings += await look
        except Forbidden as error:
            findings.append(note(f"could not be looked at: {error}"))
        except ApiError as error:
            findings.append(problem(str(error)))
    return findings


async def _of_rights(cluster: Cluster, place: LeasePlace, access: AccessReviews) -> list[Finding]:
    try:
        missing = await access.missing(cluster, permissions_of_lease(place.namespace, place.name))
    except AccessUnknown as error:
        return [note(f"the account may not ask what it may do, so its rights are not known: {error}")]
    advice = "no daemon can lead without; headgate doctor --print-role prints the Role"
    return [problem(f"the account may not {one}: {advice}") for one in missing] or [ok("the account may take and renew it")]


async def _of_holder(cluster: Cluster, place: LeasePlace) -> list[Finding]:
    found = await cluster.find(LEASES, place.namespace, place.name)
    if found is None:
        return [await _of_namespace(cluster, place.namespace)]
    record = read_record(found)
    told = f"{record.holder} has it, {record.transitions} changes of hands so far" if record.holder else "nobody has it now"
    return [ok(told)]


async def _of_namespace(cluster: Cluster, name: str) -> Finding:
    """Only asked where there is no Lease yet: afterwards an account needs no right to it."""
    told = "nobody has ever taken it; the first daemon makes it"
    try:
        found = await cluster.find(NAMESPACES, None, name)
    except Forbidden:
        return note(f"{told}, if there is a namespace {name}, which this account may not look for")
    if found is None:
        return problem(f"there is no namespace {name}, so no daemon can lead; make it: kubectl create namespace {name}")
    return note(told)

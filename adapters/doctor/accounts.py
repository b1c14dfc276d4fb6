"""One account: does its cluster answer, which version is it, as whom does it know us, and which traffic routers does it serve?"""

from __future__ import annotations

import re

from adapters.doctor.findings import Finding, note, ok, problem, warning
from adapters.kubernetes.cluster import Cluster
from adapters.kubernetes.errors import ApiError
from adapters.kubernetes.templates import JsonObject
from adapters.routers import istio_objects, smi, traefik
from adapters.routers.gateway_objects import VERSIONS
from adapters.routers.gateway_status import GATEWAY_GROUP

OLDEST_MINOR = 23
"""Kubernetes 1.23 is the first with autoscaling/v2, which is read at the first look."""

_ROUTERS = (
    (smi.GROUP, "SMI TrafficSplit", smi.VERSIONS),
    (istio_objects.GROUP, "Istio VirtualService", istio_objects.VERSIONS),
    *((group, f"Traefik's TraefikService of {group}", (traefik.VERSION,)) for group in traefik.GROUPS),
    (GATEWAY_GROUP, "Gateway API routes", VERSIONS["HTTPRoute"]),
)
"""Group, name, and the versions that this Headgate can use."""


async def examine_account(cluster: Cluster) -> list[Finding]:
    try:
        version = await cluster.transport.request("GET", "/version", what="GET /version")
    except ApiError as error:
        return [problem(f"the cluster does not answer: {error}; see that its address and login in the settings are right")]
    return [_of_version(version), await _of_user(cluster), *await _of_routers(cluster)]


def _of_version(version: JsonObject) -> Finding:
    name = str(version.get("gitVersion", "unknown"))
    minor = re.match(r"\d+", str(version.get("minor", "")))
    if minor is None or int(version.get("major", "1")) > 1:
        return note(f"Kubernetes {name} answers; its version says nothing to this Headgate")
    if int(minor[0]) < OLDEST_MINOR:
        return problem(f"Kubernetes {name} is too old: autoscaling/v2 is needed; upgrade to 1.{OLDEST_MINOR} or newer")
    return ok(f"Kubernetes {name} answers")


async def _of_user(cluster: Cluster) -> Finding:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        review = await cluster.transport.request("POST", path, what="asking who we are", body=body)
        return ok(f"the login is accepted: {review['status']['userInfo']['username']}")
    except (ApiError, KeyError) as error:
        return note(f"the cluster does not say as whom it knows this account ({error})")


async def _of_routers(cluster: Cluster) -> list[Finding]:
    findings = []
    usable = False
    for group, name, wanted in _ROUTERS:
        try:
            served = await cluster.served_versions(group)
        except ApiError as error:
            findings.append(warning(f"whether it serves {name} is not known: {error}"))
            continue
        versions = ", ".join(served)
        if any(one in wanted for one in served):
            usable = True
            findings.append(ok(f"serves {name} ({versions})"))
        elif served:
            findings.append(note(f"serves {name} ({versions}), which this Headgate does not use yet"))
    if not usable:
        kinds = " and no ".join(name for _, name, wanted in _ROUTERS if wanted)
        findings.append(note(f"serves no {kinds}: traffic can only be shifted by the ratio of pods"))
    return findings

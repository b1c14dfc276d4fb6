"""What a ServiceProfile of Linkerd says of a Service's traffic. Pure.

linkerd-smi turns a TrafficSplit into the `dstOverrides` of the root Service's profile, which is what proxies follow. The name of
a profile ends with the domain of the cluster, which nothing in the API tells, so it is found by how it begins. Source: what the
adaptor of linkerd-smi does (what it writes, what it skips, what it leaves behind).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.templates import JsonObject
from adapters.routers.weights import basis_points, parse_weight, relative_weights
from engine.traffic import RoutePlan

LINKERD_GROUP = "linkerd.io"
SERVICE_PROFILES = ResourceRef(LINKERD_GROUP, "v1alpha2", "serviceprofiles", "ServiceProfile", True)
SKIP = "smi.linkerd.io/skip"
"""The annotation of a profile that linkerd-smi leaves alone: a split of its Service has no effect, and no error."""
OVERRIDES_PATH = "/spec/dstOverrides"
_IN_CLUSTER = ".svc."


def beginning(service: str, namespace: str) -> str:
    """How the name of a Service's profile begins, whatever the domain of the cluster is."""
    return f"{service}.{namespace}{_IN_CLUSTER}"


def beginning_of(profile_name: str) -> str:
    """What `beginning` says of the Service that the profile is for; the whole name where it is for something outside."""
    before, found, _ = profile_name.partition(_IN_CLUSTER)
    return before + found


def is_for(profile: JsonObject, service: str, namespace: str) -> bool:
    return str(profile["metadata"]["name"]).startswith(beginning(service, namespace))


def overrides_of(profile: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = (profile.get("spec") or {}).get("dstOverrides") or []
    return found


def backend_of(override: JsonObject, namespace: str) -> str:
    """The name of the Service in this namespace that an override sends to; for any other place, its whole authority."""
    authority = str(override.get("authority", ""))
    service, _, rest = authority.partition(".")
    return service if rest.startswith(namespace + _IN_CLUSTER) else authority


def backends_of(profile: JsonObject, namespace: str) -> list[str]:
    return [backend_of(one, namespace) for one in overrides_of(profile)]


def is_ours(route: RoutePlan, profile: JsonObject, namespace: str) -> bool:
    """Whether all that it overrides is between the two Services of the route, and there is any."""
    found = backends_of(profile, namespace)
    return bool(found) and set(found) <= {route.stable_service, route.canary_service}


def canary_share(route: RoutePlan, profile: JsonObject, namespace: str) -> int | None:
    """The canary's part of all that is overridden, in basis points; None where that says nothing usable."""
    canary = total = Decimal(0)
    for override in overrides_of(profile):
        weight = parse_weight(override.get("weight"))
        if weight is None:
            return None
        total += weight
        if backend_of(override, namespace) == route.canary_service:
            canary += weight
    return basis_points(canary, total)


def is_skipped(profile: JsonObject) -> bool:
    return SKIP in (profile["metadata"].get("annotations") or {})


def is_empty_without_overrides(profile: JsonObject) -> bool:
    """Whether nothing but overrides was ever said in it: no routes, no budget of retries, nothing else."""
    spec = profile.get("spec") or {}
    return not any(value for name, value in spec.items() if name != "dstOverrides")


def overrides_at(route: RoutePlan, profile: JsonObject, namespace: str, weight: int) -> list[JsonObject]:
    """As linkerd-smi writes a weight in basis points."""
    domain = str(profile["metadata"]["name"]).removeprefix(beginning(route.root_service, namespace))
    weights = zip((route.stable_service, route.canary_service), relative_weights(weight), strict=True)
    return [{"authority": beginning(service, namespace) + domain, "weight": one} for service, one in weights]


def effective(profiles: Iterable[JsonObject]) -> JsonObject | None:
    """The one that has overrides, of those whose names differ in the domain only; without any such, the first."""
    found = sorted(profiles, key=lambda one: (not overrides_of(one), str(one["metadata"]["name"])))
    return found[0] if found else None

"""Where in a VirtualService the weights stand, and which of its destinations are meant. Pure.

Hosts are read as Istio reads them: a name without a dot is a Service of the object's own namespace, everything else is a full
name. Source: the reference of VirtualService (Destination.host).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected
from engine.traffic import IstioProtocol, IstioRoute

_OURS = "headgate/"
"""How the names of http routes begin that were put into a list for a rollout."""
NamesUs: TypeAlias = Callable[[Sequence[JsonObject]], bool]
"""Whether a list of destinations is one that a rollout has divided."""


@dataclass(frozen=True, slots=True)
class Side:
    """What a destination names: a host as it is written, and a subset of it, if any."""

    host: str
    subset: str = ""


def words_for(place: IstioRoute) -> str:
    """The list of destinations in words: `http route main of VirtualService web`."""
    name = f" {place.http_route}" if place.http_route else ""
    matches = [f"port {place.port}"] if place.port else []
    matches += [", ".join(place.sni_hosts)] if place.sni_hosts else []
    told = f" for {' and '.join(matches)}" if matches else ""
    return f"{place.protocol} route{name}{told} of VirtualService {place.virtual_service}"


def service_of(host: str, namespace: str) -> tuple[str, str] | None:
    """Name and namespace of the Service that a host in an object of `namespace` means; None for something else."""
    name, _, rest = host.partition(".")
    if not rest:
        return name, namespace
    there, _, domain = rest.partition(".")
    return (name, there) if domain.startswith("svc.") else None


def sibling(host: str, name: str) -> str:
    """The host of another Service beside this one, written as this one is."""
    _, dot, rest = host.partition(".")
    return f"{name}{dot}{rest}"


def side_of(destination: JsonObject) -> Side:
    found = destination.get("destination") or {}
    return Side(str(found.get("host") or ""), str(found.get("subset") or ""))


def is_same(one: Side, other: Side, namespace: str) -> bool:
    """Whether both mean the same, one by a short name and one by a full one perhaps."""
    hosts = [service_of(side.host, namespace) or (side.host, "") for side in (one, other)]
    return hosts[0] == hosts[1] and one.subset == other.subset


def ours_before(place: IstioRoute) -> str:
    """How the names begin of the http routes that stand in front of this one for its rollout. A slash in its own name is written
    as in JSON pointers, so that no two routes have a beginning in common."""
    own = place.http_route.replace("~", "~0").replace("/", "~1")
    return f"{_OURS}{own}/"


def is_ours(route: JsonObject, place: IstioRoute) -> bool:
    return str(route.get("name") or "").startswith(ours_before(place))


def find_index(virtual_service: JsonObject, place: IstioRoute, names_us: NamesUs | None = None) -> int | str:
    """Which route of its list is meant; or, in words that follow the route's, why none is. Once a route is divided it is known by
    that (`names_us`), also where somebody has put others beside it that the deploy file's words would fit as well."""
    routes = (virtual_service.get("spec") or {}).get(place.protocol.value) or []
    is_only = place.protocol is IstioProtocol.HTTP and not place.http_route
    found = [index for index, route in enumerate(routes) if _is_meant(route, place)]
    if len(found) > 1 and names_us is not None:
        divided = [index for index in found if names_us(routes[index].get("route") or [])]
        found = divided or found
    if len(found) == 1:
        return found[0]
    if is_only:
        return f"cannot be told: there are {len(found)}; name it with httpRouteName"
    return "is there more than once" if found else f"does not exist{_others(routes, place)}"


def _others(routes: Iterable[JsonObject], place: IstioRoute) -> str:
    names = [str(route["name"]) for route in routes if route.get("name") and not str(route["name"]).startswith(_OURS)]
    return f"; the names that there are: {', '.join(names)}" if place.http_route and names else ""


def _is_meant(route: JsonObject, place: IstioRoute) -> bool:
    if place.protocol is IstioProtocol.HTTP:
        is_theirs = not str(route.get("name") or "").startswith(_OURS)
        return bool(route.get("name") == place.http_route) if place.http_route else is_theirs
    return any(_matches(one, place) for one in route.get("match") or ())


def _matches(match: JsonObject, place: IstioRoute) -> bool:
    port, hosts = match.get("port") or 0, tuple(sorted(match.get("sniHosts") or ()))
    return (not place.port or port == place.port) and (not place.sni_hosts or hosts == place.sni_hosts)


def destinations_at(
    virtual_service: JsonObject, place: IstioRoute, names_us: NamesUs | None = None
) -> list[JsonObject] | None:
    """The list of destinations as it stands; None where there is none any more."""
    index = find_index(virtual_service, place, names_us)
    if isinstance(index, str):
        return None
    found: list[JsonObject] | None = virtual_service["spec"][place.protocol.value][index].get("route")
    return found


def http_of(virtual_service: JsonObject) -> list[JsonObject]:
    """All its http routes, in the order in which they are asked."""
    found: list[JsonObject] = (virtual_service.get("spec") or {}).get("http") or []
    return found


def path_of(virtual_service: JsonObject, place: IstioRoute, names_us: NamesUs | None = None) -> str:
    """The JSON pointer of the list of destinations, in exactly this version of the object. Raises `Rejected`."""
    index = find_index(virtual_service, place, names_us)
    if isinstance(index, str):
        raise Rejected(f"the {words_for(place)} {index}")
    return f"/spec/{place.protocol}/{index}/route"

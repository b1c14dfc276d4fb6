"""How each kind of traffic object is read, from its own documentation: for a request, which backends it may come to.

A reading is a list of places that divide requests, each with all its ways, those without weight among them. Requests that are
singled out (by a header, a cookie) are read by giving them. Nothing here is shared with `adapters.routers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import TypeAlias

from tests.conformance.routers.view import JsonObject, View, Way, Ways

Headers: TypeAlias = Mapping[str, str]
Reading: TypeAlias = Callable[[View, Headers], list[Ways]]
ROOT: Ways = [Way("web")]
NGINX = "nginx.ingress.kubernetes.io/canary"


def by_root(view: View, headers: Headers) -> list[Ways]:
    """Where nothing but the Service stands before the pods."""
    return [ROOT]


def not_mirrored(view: View) -> Fraction:
    """Where nothing can be copied."""
    return Fraction(0)


# --- SMI and Linkerd ---------------------------------------------------------------------------------------------------


def by_split(view: View, headers: Headers) -> list[Ways]:
    """Without a split, the root Service's own pods."""
    splits = [one for one in view.of_kind("TrafficSplit") if one["spec"]["service"] == "web"]
    return [[Way(one["service"], _quantity(one["weight"])) for one in split["spec"]["backends"]] for split in splits] or [ROOT]


def by_profile(view: View, headers: Headers) -> list[Ways]:
    """Linkerd's proxies know profiles and no splits."""
    for profile in view.of_kind("ServiceProfile"):
        found = (profile.get("spec") or {}).get("dstOverrides")
        if profile["metadata"]["name"].startswith("web.") and found:
            return [[Way(one["authority"].partition(".")[0], _quantity(one["weight"])) for one in found]]
    return [ROOT]


def _quantity(weight: object) -> Fraction:
    text = str(weight)
    return Fraction(text[:-1]) / 1_000 if text.endswith("m") else Fraction(text)


# --- Istio -------------------------------------------------------------------------------------------------------------


def by_istio(*names: str, protocol: str = "http", match: Callable[[JsonObject], bool] = lambda route: True) -> Reading:
    """The http routes of these names, or the first one; of tls and tcp, all routes that fit."""

    def read(view: View, headers: Headers) -> list[Ways]:
        found = view.find("VirtualService", "web")
        assert found is not None, "there is no VirtualService web"
        routes = [one for one in found["spec"][protocol] if match(one)]
        if protocol != "http":
            return [_ways_of(view, one) for one in routes]
        theirs = [one.get("name") for one in routes if not str(one.get("name", "")).startswith("headgate/")]
        wanted = names or tuple(theirs[:1])
        return [_ways_of(view, _first(routes, name, headers)) for name in wanted]

    return read


def _first(routes: list[JsonObject], name: str | None, headers: Headers) -> JsonObject:
    """The route that a request gets which none of another name takes: those in front of the named one are of the rollout."""
    index = next(number for number, one in enumerate(routes) if one.get("name") == name)
    ours = [one for one in routes[:index] if str(one.get("name", "")).startswith("headgate/")]
    return next((one for one in ours if any(_matches(entry, headers) for entry in one["match"])), routes[index])


def _matches(entry: JsonObject, headers: Headers) -> bool:
    """The request asks for the path `/`."""
    uri = entry.get("uri")
    asked = entry.get("headers") or {}
    fits = [name in headers and _fits(value, headers[name]) for name, value in asked.items()]
    return all(fits) and (uri is None or _fits(uri, "/"))


def _fits(condition: JsonObject, value: str) -> bool:
    ((how, wanted),) = condition.items()
    if how == "regex":
        return re.fullmatch(wanted, value) is not None
    return value == wanted if how == "exact" else value.startswith(wanted)


def _ways_of(view: View, route: JsonObject) -> Ways:
    targets = route["route"]
    alone = 100 if len(targets) == 1 else 0
    return [Way(_service(one), Fraction(one.get("weight", alone)), _subset(view, one)) for one in targets]


def _service(target: JsonObject) -> str:
    host: str = target["destination"]["host"]
    return host.partition(".")[0]


def _subset(view: View, target: JsonObject) -> Mapping[str, str] | None:
    named = target["destination"].get("subset")
    if not named:
        return {}
    rules = (one for one in view.of_kind("DestinationRule") if one["spec"]["host"].partition(".")[0] == _service(target))
    subsets = [one for rule in rules for one in rule["spec"].get("subsets") or () if one["name"] == named]
    return (subsets[0].get("labels") or {}) if subsets else None


def mirrored_by_istio(view: View) -> Fraction:
    """The share of requests that are copied to pods of the new version."""
    found = view.find("VirtualService", "web")
    assert found is not None
    shares = set()
    for route in found["spec"]["http"]:
        target = route.get("mirror")
        copied = Fraction(str((route.get("mirrorPercentage") or {}).get("value", 100))) / 100 if target else Fraction(0)
        ways = [Way(_service({"destination": target}), Fraction(1), _subset(view, {"destination": target}))] if target else []
        shares.add(copied * view.share(ways) if ways else Fraction(0))
    return max(shares)


def cookie_of_istio(view: View) -> str:
    """What the new version's clients are given, as they send it back."""
    found = view.find("VirtualService", "web")
    assert found is not None
    targets = [one for route in found["spec"]["http"] for one in route["route"]]
    given = [((one.get("headers") or {}).get("response") or {}).get("add") or {} for one in targets]
    cookies = {value for one in given for name, value in one.items() if name.lower() == "set-cookie"}
    (cookie,) = cookies or {""}
    return str(cookie).partition(";")[0]


# --- ingress-nginx -----------------------------------------------------------------------------------------------------


def by_ingress(view: View, headers: Headers) -> list[Ways]:
    """Of each place of the user's Ingress that leads to the application; a canary whose Service has no pods is passed over."""
    places: list[Ways] = []
    ingresses = list(view.of_kind("Ingress"))
    canaries = [one for one in ingresses if _notes(one).get(NGINX) == "true"]
    for main in (one for one in ingresses if one not in canaries):
        for place, service in _places(main):
            if not service.startswith("web"):
                continue
            beside = [(one, name) for one in canaries for at, name in _places(one) if at == place]
            share = _canary_share(_notes(beside[0][0]), headers) if beside and view.pods(Way(beside[0][1])) else Fraction(0)
            named = [Way(beside[0][1], share)] if beside else []
            places.append([Way(service, 1 - share), *named])
    return places


def _canary_share(notes: Mapping[str, str], headers: Headers) -> Fraction:
    asked = notes.get(f"{NGINX}-by-header")
    if asked is not None and asked in headers:
        value, pattern = notes.get(f"{NGINX}-by-header-value"), notes.get(f"{NGINX}-by-header-pattern")
        if headers[asked] == value or (pattern is not None and re.search(pattern, headers[asked])):
            return Fraction(1)
    return Fraction(int(notes[f"{NGINX}-weight"]), int(notes.get(f"{NGINX}-weight-total", 100)))


def _notes(body: JsonObject) -> Mapping[str, str]:
    found: Mapping[str, str] = body["metadata"].get("annotations") or {}
    return found


def _places(ingress: JsonObject) -> Iterator[tuple[tuple[str, str], str]]:
    spec = ingress["spec"]
    if "defaultBackend" in spec:
        yield ("", ""), spec["defaultBackend"]["service"]["name"]
    for rule in spec.get("rules") or ():
        for path in rule["http"]["paths"]:
            yield (rule.get("host", ""), path["path"]), path["backend"]["service"]["name"]


# --- Traefik, and kinds that nobody knows ------------------------------------------------------------------------------


def by_traefik(view: View, headers: Headers) -> list[Ways]:
    (found,) = view.of_kind("TraefikService")
    listed = found["spec"]["weighted"]["services"]
    return [[Way(one["name"], Fraction(one.get("weight", 1))) for one in listed if one["name"].startswith("web")]]


def cookie_of_traefik(view: View) -> str:
    """The name only: which Service it stands for is Traefik's secret."""
    (found,) = view.of_kind("TraefikService")
    return str(((found["spec"]["weighted"].get("sticky") or {}).get("cookie") or {}).get("name", ""))


def by_weighted_route(view: View, headers: Headers) -> list[Ways]:
    """A proxy that has no route for the application asks its Service."""
    routes = list(view.of_kind("WeightedRoute"))
    found = [[Way(one["service"], Fraction(str(one["weight"]))) for one in route["spec"]["backends"]] for route in routes]
    return [[way for way in ways if way.service.startswith("web")] for ways in found] or [ROOT]


# --- the Gateway API ---------------------------------------------------------------------------------------------------


def by_gateway_route(kind: str, name: str = "web") -> Reading:
    """A route that is not there divides nothing: requests come to the Service."""

    def read(view: View, headers: Headers) -> list[Ways]:
        route = view.find(kind, name)
        if route is None:
            return [ROOT]
        fitting = [
            (_precedence(match), -index, rule)
            for index, rule in enumerate(route["spec"]["rules"])
            for match in rule.get("matches") or [{}]
            if _takes(match, headers)
        ]
        _, _, chosen = max(fitting, key=lambda one: one[:2])
        return [[Way(one["name"], Fraction(one.get("weight", 1))) for one in chosen["backendRefs"] if one["name"] != "legacy"]]

    return read


def _takes(match: JsonObject, headers: Headers) -> bool:
    """The request asks for the path `/` by GET."""
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    asked = match.get("headers") or ()
    fits = [one["name"] in headers and _is_like(one, headers[one["name"]]) for one in asked]
    return path["value"] == "/" and match.get("method", "GET") == "GET" and all(fits)


def _is_like(condition: JsonObject, value: str) -> bool:
    if condition.get("type") == "RegularExpression":
        return re.search(condition["value"], value) is not None
    return bool(condition["value"] == value)


def _precedence(match: JsonObject) -> tuple[bool, int]:
    """Of matches of one path: those that name a method go first, then those with more headers."""
    return "method" in match, len(match.get("headers") or ())


def mirrored_by_gateway_route(kind: str, name: str = "web") -> Callable[[View], Fraction]:
    def read(view: View) -> Fraction:
        route = view.find(kind, name)
        filters = [one for rule in (route or {"spec": {"rules": []}})["spec"]["rules"] for one in rule.get("filters") or ()]
        mirrors = [one["requestMirror"] for one in filters if one["type"] == "RequestMirror"]
        shares = [
            Fraction(one.get("percent", 100), 100) * view.share([Way(one["backendRef"]["name"])])
            for one in mirrors
            if "fraction" not in one
        ]
        parts = [one for one in mirrors if "fraction" in one]
        shares += [
            Fraction(one["fraction"]["numerator"], one["fraction"].get("denominator", 100))
            * view.share([Way(one["backendRef"]["name"])])
            for one in parts
        ]
        return max(shares, default=Fraction(0))

    return read


def cookie_of_gateway_route(view: View) -> str:
    """The name only: what stands in it is the gateway's."""
    routes = [*view.of_kind("HTTPRoute"), *view.of_kind("GRPCRoute")]
    sessions = [rule.get("sessionPersistence") for route in routes for rule in route["spec"]["rules"]]
    (found,) = {str(one["sessionName"]) for one in sessions if one} or {""}
    return found

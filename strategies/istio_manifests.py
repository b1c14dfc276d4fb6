"""Whether what an `istio` block names is in the VirtualService and the DestinationRule, where these are among the manifests.
Works on files that do not fit the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from strategies.istio_matching import DESTINATION_RULE, VIRTUAL_SERVICE, find_istio_workload, shipped
from strategies.istio_routes import CANARY_SUBSET
from strategies.manifest_objects import ManifestObject
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote, suggest
from strategies.traffic_matching import DeploymentFacts, NoMatch, ServiceFacts


def check_shipped_istio(
    blocks: Iterable[Place],
    objects: Sequence[ManifestObject],
    deployments: Sequence[DeploymentFacts],
    services: Mapping[str, ServiceFacts],
    say: FileReport,
) -> None:
    for block in blocks:
        named, rule = block.get("virtualService"), block.get("destinationRule")
        name = _text(named, "name")
        if named is not None and name is not None:
            matched = find_istio_workload(
                name, _text(rule, "name"), _text(block, "stableServiceName"), objects, deployments, services
            )
            if isinstance(matched, NoMatch):
                say.error(named.mark, matched.message)
        if named is not None and (found := shipped(VIRTUAL_SERVICE, name, objects)) is not None:
            _check_route(named, found, say)
        if rule is not None and (found := shipped(DESTINATION_RULE, _text(rule, "name"), objects)) is not None:
            _check_subset(rule, found, say)


def _text(owner: Place | None, field: str) -> str | None:
    place = owner.get(field) if owner is not None else None
    return place.text if place is not None else None


def _check_route(named: Place, found: ManifestObject, say: FileReport) -> None:
    routes = list(found.place.items("spec", "http"))
    names = [name.text for route in routes if (name := route.get("name")) is not None and name.text is not None]
    given = named.get("httpRouteName")
    others = [place for field in ("tlsRoutes", "tcpRoutes") for place in named.items(field)]
    if given is None and not others and len(routes) != 1:
        say.error(
            named.mark,
            f"the VirtualService {quote(found.name)} at {found.where} has {len(routes)} http routes; name one with httpRouteName",
        )
    elif given is not None and given.text is not None and given.text not in names:
        advice = suggest(given.text, names, "none of its http routes has a name; give it one")
        message = f"the VirtualService {quote(found.name)} at {found.where} has no http route {quote(given.text)}; {advice}"
        say.error(given.mark, message)


def _check_subset(rule: Place, found: ManifestObject, say: FileReport) -> None:
    subsets = (subset.get("name") for subset in found.place.items("spec", "subsets"))
    canary = rule.get("canarySubsetName")
    fresh = canary.text if canary is not None else CANARY_SUBSET
    names = [one.text for one in subsets if one is not None and one.text is not None and one.text != fresh]
    given = rule.get("activeSubsetName")
    where = f"the DestinationRule {quote(found.name)} at {found.where}"
    if given is None and len(names) != 1:
        say.error(rule.mark, f"{where} has {len(names)} subsets that may serve now; name one with activeSubsetName")
    elif given is not None and given.text is not None and given.text not in names:
        advice = suggest(given.text, names, "it has none; add one")
        say.error(given.mark, f"{where} has no subset {quote(given.text)}; {advice}")

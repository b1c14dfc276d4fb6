"""Whether the `gatewayApi` blocks of a deploy file make sense, as far as the file and its manifests tell.

Works on files that do not fit the schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from strategies.istio_checks import check_sticky
from strategies.kubernetes_kinds import ObjectKind
from strategies.manifest_objects import ManifestObject
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote, suggest
from strategies.traffic_matching import ServiceFacts

GATEWAY_GROUP = "gateway.networking.k8s.io"
ROUTES = {"httpRoute": "HTTPRoute", "grpcRoute": "GRPCRoute"}
_OF_A_MADE_ONE = ("hostnames", "port")


def routes_in(block: Place) -> Iterator[tuple[str, Place]]:
    """The kind of each route that a block names, and where it does."""
    for field, kind in ROUTES.items():
        if (route := block.get(field)) is not None:
            yield kind, route


def check_gateway(block: Place, say: FileReport) -> None:
    found = list(routes_in(block))
    if not found:
        say.error(block.mark, 'nothing says which route is edited; write "httpRoute" or "grpcRoute"')
    if len(found) > 1:
        say.error(found[1][1].key_mark, 'httpRoute and grpcRoute are both here; keep one of them, or make an entry for each')
    for _, route in found:
        if route.is_mapping:
            _check_route(route, say)
    if (sticky := block.get("stickySession")) is not None:
        check_sticky(sticky, say)


def _check_route(route: Place, say: FileReport) -> None:
    if route.get("parents") is None:
        for field in _OF_A_MADE_ONE:
            if (given := route.get(field)) is not None:
                message = f'"{field}" is for a route that is made for the rollout; without "parents" this one is yours; remove it'
                say.error(given.key_mark, message)
        return
    if (rule := route.get("ruleName")) is not None:
        message = '"ruleName" is for a route of yours, and with "parents" one of a single rule is made; keep one of them'
        say.error(rule.key_mark, message)
    parents = list(route.items("parents"))
    kinds = [_kind_of(parent) for parent in parents]
    if kinds and "gateway" not in kinds and (hosts := route.get("hostnames")) is not None:
        say.error(hosts.key_mark, 'the callers of a Service are told by no host name; remove "hostnames", or name a Gateway')
    if "gateway" in kinds:
        say.warn(
            route.mark_of("parents"),
            "this route stands only for the time of a rollout, so before and after it another one has to lead these requests to "
            'the root Service; name a route of your own, without "parents", to have that one edited',
        )
    taken: dict[tuple[object, ...], Place] = {}
    for parent, kind in zip(parents, kinds, strict=True):
        _check_parent(parent, kind, say)
        key = (kind, *(_text(parent, name) for name in ("namespace", "name", "sectionName", "port")))
        first = taken.setdefault(key, parent)
        if first is not parent:
            at = f"{first.mark.line}:{first.mark.column}"
            say.error(parent.mark, f"this parent is there a second time, the first at {at}; remove one")


def _check_parent(parent: Place, kind: str, say: FileReport) -> None:
    if kind == "service" and (section := parent.get("sectionName")) is not None:
        say.error(section.key_mark, 'a Service has ports and no sections; write its "port" instead of "sectionName"')


def _kind_of(parent: Place) -> str:
    """In small letters, as the file may write it in any."""
    return (_text(parent, "kind") or "Gateway").lower()


# --- with the manifests ------------------------------------------------------------------------------------------------


def check_shipped_routes(
    blocks: Sequence[Place], objects: Sequence[ManifestObject], services: Mapping[str, ServiceFacts], say: FileReport
) -> None:
    _warn_of_routes_left_out(blocks, objects, say)
    for block in blocks:
        root = _text(block, "rootServiceName")
        for kind, route in routes_in(block):
            name = route.get("name")
            if name is None or name.text is None or root is None:
                continue
            found = _shipped(ObjectKind(GATEWAY_GROUP, kind), name.text, objects)
            if route.get("parents") is not None:
                _check_made(kind, name, route, found, services.get(root), say)
            elif found is not None:
                _check_own(kind, route, name, root, found, say)


def _check_made(
    kind: str, name: Place, route: Place, found: ManifestObject | None, root: ServiceFacts | None, say: FileReport
) -> None:
    if found is not None:
        say.error(
            name.mark,
            f"the {kind} {quote(found.name)} is among the manifests, but the rollout makes and removes one of that name; leave "
            'it out, or leave "parents" out to have yours edited',
        )
    if root is None or not root.ports:
        return
    told, port = ", ".join(map(str, sorted(root.ports))), route.get("port")
    if port is None and len(root.ports) > 1:
        say.error(route.mark, f'the Service {quote(root.name)} has the ports {told}; say which one is meant with "port"')
    elif port is not None and isinstance(port.number, int) and port.number not in root.ports:
        say.error(port.mark, f"the Service {quote(root.name)} has no port {port.number}; those that it has are: {told}")


def _check_own(kind: str, route: Place, name: Place, root: str, found: ManifestObject, say: FileReport) -> None:
    where = f"the {kind} {quote(found.name)} at {found.where}"
    rules = list(found.place.items("spec", "rules"))
    chosen, given = rules, route.get("ruleName")
    if given is not None and given.text is not None:
        names = [named.text for rule in rules if (named := rule.get("name")) is not None and named.text is not None]
        chosen = [rule for rule in rules if _text(rule, "name") == given.text]
        if not chosen:
            advice = suggest(given.text, names, "none of its rules has a name; give it one")
            say.error(given.mark, f"{where} has no rule {quote(given.text)}; {advice}")
            return
        _warn_of_rules_left_out(given, where, root, [rule for rule in rules if rule not in chosen], say)
    if not any(_leads_to(root, rule) for rule in chosen):
        told = "that rule" if chosen is not rules else "any of its rules"
        say.error(name.mark, f"{where} does not name the Service {quote(root)} in {told}; correct one of them")


def _warn_of_routes_left_out(blocks: Sequence[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    """As with rules; an entry that names another route than was meant looks just like this."""
    divided = {(kind, _text(route, "name")) for block in blocks for kind, route in routes_in(block)}
    roots = {root: place for block in blocks if (place := block.get("rootServiceName")) is not None and (root := place.text)}
    for found in objects:
        kind = next((kind for kind in ROUTES.values() if found.kind == ObjectKind(GATEWAY_GROUP, kind)), None)
        if kind is None or (kind, found.name) in divided:
            continue
        for root, place in roots.items():
            if any(_leads_to(root, rule) for rule in found.place.items("spec", "rules")):
                say.warn(
                    place.mark,
                    f"the {kind} {quote(found.name)} at {found.where} names the Service {quote(root)} and is in no entry of "
                    "gatewayApi, so its requests reach the pods of both versions, whatever the weight; make an entry for it",
                )


def _warn_of_rules_left_out(given: Place, where: str, root: str, others: Sequence[Place], say: FileReport) -> None:
    """The root Service selects the pods of both versions as long as there are both."""
    if any(_leads_to(root, rule) for rule in others):
        say.warn(
            given.mark,
            f"{where} has another rule that names the Service {quote(root)}, whose requests reach the pods of both versions, "
            'whatever the weight; leave "ruleName" out to have all such rules divided',
        )


def _leads_to(service: str, rule: Place) -> bool:
    return any(_text(backend, "name") == service for backend in rule.items("backendRefs"))


def _shipped(kind: ObjectKind, name: str, objects: Iterable[ManifestObject]) -> ManifestObject | None:
    return next((one for one in objects if one.kind == kind and one.name == name), None)


def _text(block: Place, field: str) -> str | None:
    place = block.get(field)
    return place.text if place is not None else None

"""Whether the `istio` blocks of a deploy file say clearly what is edited, and agree with each other. Works on files that do not
fit the schema; what the VirtualService really looks like only the cluster tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strategies.istio_routes import CANARY_SUBSET
from strategies.places import Place
from strategies.problems import FileReport
from strategies.step_checks import check_duration
from strategies.suggestions import quote
from strategies.traffic_step_checks import check_token


def check_istio(blocks: Iterable[Place], say: FileReport) -> None:
    """Each block by itself."""
    for block in blocks:
        if block.is_mapping:
            _check_sides(block, say)
            if (sticky := block.get("stickySession")) is not None:
                check_sticky(sticky, say)
            for route in block.items("virtualService", "tlsRoutes"):
                if route.is_mapping and route.get("port") is None and route.get("sniHosts") is None:
                    say.error(route.mark, "a tls route is told by what it matches; give its port, its sniHosts, or both")


def check_sticky(sticky: Place, say: FileReport) -> None:
    """The `stickySession` of any router."""
    if (name := sticky.get("cookieName")) is not None:
        check_token("cookie", name, say)
    if (age := sticky.get("maxAge")) is not None:
        check_duration(age, say, least=1)


def _check_sides(block: Place, say: FileReport) -> None:
    services = {field: block.get(field) for field in ("stableServiceName", "canaryServiceName")}
    given = {field: place for field, place in services.items() if place is not None}
    rule = block.get("destinationRule")
    if rule is None and not given:
        message = "nothing tells the two versions apart; name a destinationRule, or stableServiceName and canaryServiceName"
        say.error(block.mark, message)
    elif rule is not None and given:
        say.error(
            rule.key_mark,
            f"destinationRule and {next(iter(given))} both tell the versions apart, by subsets and by Services; keep one of them",
        )
    elif rule is None and len(given) == 1:
        (field, place), missing = next(iter(given.items())), next(iter(services.keys() - given.keys()))
        say.error(place.key_mark, f"{field} needs its counterpart; name {missing} too")
    elif rule is None and len({place.text for place in given.values()}) == 1:
        place = given["canaryServiceName"]
        text = quote(place.text or "")
        say.error(place.mark, f"stableServiceName and canaryServiceName are both {text}; each has to be a Service of its own")
    elif rule is not None:
        _check_subsets(rule, say)


def _check_subsets(rule: Place, say: FileReport) -> None:
    active, canary = rule.get("activeSubsetName"), rule.get("canarySubsetName")
    name = canary.text if canary is not None else CANARY_SUBSET
    if active is not None and active.text == name:
        say.error(
            (canary or active).mark,
            f"activeSubsetName and canarySubsetName are both {quote(name or '')}; name another subset for the new version",
        )


def check_istio_of_target(target: str, blocks: Iterable[Place], others: Iterable[Place], say: FileReport) -> None:
    """`blocks`: all that the target has in the file's order; `others`: its entries of another kind for canaries."""
    found = list(blocks)
    if found and (other := next(iter(others), None)) is not None:
        say.error(
            other.mark,
            f"the target {quote(target)} has its canary by smi and by istio; keep one of them, or limit the entries with "
            '"targets"',
        )
    _check_edited_once(target, found, say)
    _check_one_opinion(target, found, say)


def _check_edited_once(target: str, blocks: Iterable[Place], say: FileReport) -> None:
    taken: dict[tuple[object, ...], Place] = {}
    for block in blocks:
        for key, what, place in _edited(block):
            first = taken.setdefault(key, place)
            if first is not place:
                at = f"{first.mark.line}:{first.mark.column}"
                say.error(place.mark, f"the target {quote(target)} edits {what} a second time, the first at {at}; remove one")


def _edited(block: Place) -> Iterator[tuple[tuple[object, ...], str, Place]]:
    """Every list of destinations that a block names: a key, words for it, and its place."""
    named = block.get("virtualService")
    service = named.get("name") if named is not None else None
    if named is None or service is None or service.text is None:
        return
    owner = f"VirtualService {quote(service.text)}"
    route = named.get("httpRouteName")
    tls, tcp = list(named.items("tlsRoutes")), list(named.items("tcpRoutes"))
    if route is not None or not (tls or tcp):
        text = route.text if route is not None else ""
        what = f"the http route {quote(text or '')} of {owner}" if text else f"the http route of {owner}"
        yield ("http", service.text, text), what, route if route is not None else service
    for one in tls:
        hosts = tuple(sorted(host.text or "" for host in one.items("sniHosts")))
        yield ("tls", service.text, _number(one), hosts), f"the same tls route of {owner}", one
    for one in tcp:
        yield ("tcp", service.text, _number(one)), f"the same tcp route of {owner}", one


def _number(route: Place) -> object:
    port = route.get("port")
    return port.number if port is not None else None


def _check_one_opinion(target: str, blocks: Iterable[Place], say: FileReport) -> None:
    """Several VirtualServices may share a DestinationRule; then they have to mean the same subsets."""
    meant: dict[str, tuple[str, str]] = {}
    for block in blocks:
        rule = block.get("destinationRule")
        name = rule.get("name") if rule is not None else None
        if rule is None or name is None or name.text is None:
            continue
        active, canary = _text(rule, "activeSubsetName") or "", _text(rule, "canarySubsetName") or CANARY_SUBSET
        if meant.setdefault(name.text, (active, canary)) != (active, canary):
            say.error(
                name.mark,
                f"the target {quote(target)} uses the DestinationRule {quote(name.text)} twice with different subsets; "
                "name the same activeSubsetName and canarySubsetName in both",
            )


def _text(owner: Place, field: str) -> str | None:
    place = owner.get(field)
    return place.text if place is not None else None

"""Whether the `gatewayApi`, `ingressNginx`, `traefik` and `custom` blocks of a deploy file make sense, as far as the file alone
tells.

Works on files that do not fit the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from strategies.gateway_checks import check_gateway, routes_in
from strategies.istio_checks import check_sticky
from strategies.json_pointers import Json, LeadsNowhere, check_pointer, find_at
from strategies.places import Place
from strategies.problems import FileReport
from strategies.service_name_checks import check_services_differ
from strategies.suggestions import quote
from strategies.yaml_document import MappingNode, ScalarNode, SequenceNode, to_plain

ROUTER_BLOCKS = ("gatewayApi", "ingressNginx", "traefik", "custom")
_LONGEST_NAME = 253
_API_VERSION = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[a-z](?:[-a-z0-9]*[a-z0-9])?")
_KIND = re.compile(r"[A-Za-z](?:[-A-Za-z0-9]*[A-Za-z0-9])?")
_WEIGHTS, _SERVICES = ("stableWeight", "canaryWeight"), ("stableService", "canaryService")


def check_router_blocks(entry: Place, say: FileReport) -> None:
    """The blocks of one entry of `trafficManagement`, each by itself."""
    for kind in ROUTER_BLOCKS:
        for block in entry.items(kind):
            check_services_differ(block, say)
    for block in entry.items("gatewayApi"):
        check_gateway(block, say)
    for block in entry.items("ingressNginx"):
        _check_ingress(block, say)
    for sticky in (block.get("stickySession") for block in entry.items("traefik")):
        if sticky is not None:
            check_sticky(sticky, say)
    for block in entry.items("custom"):
        _check_custom(block, say)


def _check_ingress(block: Place, say: FileReport) -> None:
    name, given = _text(block, "ingressName"), block.get("canaryIngressName")
    if name is None:
        return
    if given is not None and given.text == name:
        say.error(given.mark, f"ingressName and canaryIngressName are both {quote(name)}; the canary is an Ingress of its own")
    if given is None and len(f"{name}-canary") > _LONGEST_NAME:
        say.error(
            block.mark,
            f'"{name}-canary" is longer than the {_LONGEST_NAME} characters of a name; give a "canaryIngressName"',
        )


# --- objects by pointers -----------------------------------------------------------------------------------------------


def _check_custom(block: Place, say: FileReport) -> None:
    template = block.get("template")
    _check_words(block, say)
    taken: dict[str, str] = {}
    for field in (*_WEIGHTS, *_SERVICES):
        place = block.get(field)
        if place is None or place.text is None:
            continue
        first = taken.setdefault(place.text, field)
        if first != field:
            say.error(place.mark, f"{first} and {field} both lead to {place.text}; each has a place of its own")
    if template is not None:
        _check_template(block, template, say)
        return
    if block.get("stableService") is None:
        say.error(
            block.mark,
            "nothing says where the object names the Service of the version that serves now; its root Service selects the pods "
            'of both versions. Give a "stableService", or the whole object as a "template"',
        )
    if block.get("canaryService") is None and block.get("canaryServiceName") is None:
        say.error(
            block.mark,
            'nothing says which Service the new version has in the object; give a "canaryService", or, where a Service of yours '
            'stands there, its "canaryServiceName"',
        )


def _check_words(block: Place, say: FileReport) -> None:
    version, kind = block.get("apiVersion"), block.get("kind")
    if version is not None and version.text is not None and not _API_VERSION.fullmatch(version.text):
        told = "expected a group and a version, such as networking.example.com/v1"
        say.error(version.mark, f"{version.label} is {quote(version.text)}; {told}")
    if kind is not None and kind.text is not None and not _KIND.fullmatch(kind.text):
        told = "which no kind is called; expected letters only, such as WeightedRoute"
        say.error(kind.mark, f"{kind.label} is {quote(kind.text)}, {told}")


def _check_template(block: Place, template: Place, say: FileReport) -> None:
    if not template.is_mapping:
        return
    for one in _texts(template):
        if "{{" in (one.text or ""):
            told = quote(one.text or "")
            say.error(one.mark, f'{told} holds "{{{{", and a template of an object is not filled in; write it out')
    for field, inside in (("apiVersion", ("apiVersion",)), ("kind", ("kind",)), ("name", ("metadata", "name"))):
        given, meant = template.at(*inside), block.get(field)
        if given is not None and meant is not None and given.value != meant.value:
            path, told = ".".join(inside), quote(meant.text or "")
            say.error(given.mark, f"{path} is {quote(str(given.value))} in the template, and {field} is {told}; let them agree")
    body = to_plain(template.node)
    for field in (*_WEIGHTS, *_SERVICES):
        place = block.get(field)
        if place is None or place.text is None or check_pointer(place.text):
            continue
        if wrong := wrong_leaf(body, place.text, is_weight=field in _WEIGHTS):
            say.error(place.mark, f"{field}: in the template, {wrong}")


def wrong_leaf(body: Json, pointer: str, *, is_weight: bool) -> str:
    """Why what stands there is no weight, or no name of a Service; empty where it is one."""
    try:
        found = find_at(body, pointer)
    except LeadsNowhere as error:
        return f"{error}; correct the pointer, or add it"
    if is_weight and (isinstance(found, bool) or not isinstance(found, int | float)):
        return f"{pointer} leads to what is no number; let it be a weight"
    if not is_weight and not isinstance(found, str):
        return f"{pointer} leads to what is no text; let it name a Service"
    return ""


def _texts(place: Place) -> Iterator[Place]:
    match place.node:
        case MappingNode(entries=entries):
            for key, entry in entries.items():
                yield from _texts(Place(entry.node, (*place.path, key), entry.key_mark))
        case SequenceNode():
            for item in place.items():
                yield from _texts(item)
        case ScalarNode():
            yield place


# --- together ----------------------------------------------------------------------------------------------------------


def check_routers_of_target(target: str, blocks: Mapping[str, list[Place]], say: FileReport) -> None:
    """`blocks`: all blocks for canaries that the target has, by their kind, in the file's order."""
    kinds = [kind for kind, found in blocks.items() if found]
    ours = [kind for kind in kinds if kind in ROUTER_BLOCKS]
    if len(kinds) > 1 and ours:
        other = next(kind for kind in kinds if kind != ours[-1])
        say.error(
            blocks[ours[-1]][0].mark,
            f"the target {quote(target)} has its canary by {other} and by {ours[-1]}; keep one of them, or limit the entries "
            'with "targets"',
        )
    for kind in ours:
        _check_edited_once(target, blocks[kind], say)
        _check_one_opinion(target, blocks[kind], say)


def _check_edited_once(target: str, blocks: Iterable[Place], say: FileReport) -> None:
    taken: dict[tuple[str, ...], Place] = {}
    for block in blocks:
        for key, what, place in _objects_of(block):
            first = taken.setdefault(key, place)
            if first is not place:
                at = f"{first.mark.line}:{first.mark.column}"
                say.error(place.mark, f"the target {quote(target)} uses {what} a second time, the first at {at}; remove one")


def _objects_of(block: Place) -> Iterator[tuple[tuple[str, ...], str, Place]]:
    """Every object, or place of one, that a block is the only one to write: a key, words for it, and its place."""
    root = _text(block, "rootServiceName") or ""
    for made_of, route in routes_in(block):
        if (route_name := route.get("name")) is not None and route_name.text is not None:
            is_made = route.get("parents") is not None
            what = f"the {made_of} {quote(route_name.text)}" + ("" if is_made else f" for the root Service {quote(root)}")
            yield (made_of, route_name.text, "" if is_made else root), what, route_name
    ingress, traefik = block.get("ingressName"), block.get("traefikServiceName")
    if ingress is not None and ingress.text is not None:
        yield ("Ingress", ingress.text), f"the Ingress {quote(ingress.text)}", ingress
        canary = block.get("canaryIngressName") or ingress
        name = canary.text if canary is not ingress else f"{ingress.text}-canary"
        yield ("Ingress", name or ""), f"the Ingress {quote(name or '')}", canary
    if traefik is not None and traefik.text is not None:
        yield ("TraefikService", traefik.text), f"the TraefikService {quote(traefik.text)}", traefik
    kind, name_place = _text(block, "kind"), block.get("name")
    if kind is not None and name_place is not None and name_place.text is not None:
        for field in (*_WEIGHTS, *_SERVICES):
            pointer = block.get(field)
            if pointer is not None and pointer.text is not None:
                owner = (_text(block, "apiVersion") or "", kind, name_place.text)
                yield (*owner, pointer.text), f"{pointer.text} of the {kind} {quote(name_place.text)}", pointer


def _check_one_opinion(target: str, blocks: Iterable[Place], say: FileReport) -> None:
    """Several Ingresses may lead to one root Service: then they share the two Services that stand for it, and nobody else has
    them."""
    by_root: dict[str, tuple[str, str]] = {}
    by_name: dict[str, str] = {}
    for block in blocks:
        place = block.get("rootServiceName")
        if place is None or place.text is None:
            continue
        root = place.text
        stable, canary = _text(block, "stableServiceName"), _text(block, "canaryServiceName")
        named = (stable or f"{root}-stable", canary or f"{root}-canary")
        if by_root.setdefault(root, named) != named:
            say.error(
                place.mark,
                f"the target {quote(target)} uses the root Service {quote(root)} twice with different Services for its versions; "
                "name the same ones in both",
            )
        for name in named:
            if by_name.setdefault(name, root) != root:
                say.error(
                    place.mark,
                    f"the target {quote(target)} uses the Service {quote(name)} for {quote(by_name[name])} and for "
                    f"{quote(root)}; name another",
                )


def _text(block: Place, field: str) -> str | None:
    place = block.get(field)
    return place.text if place is not None else None

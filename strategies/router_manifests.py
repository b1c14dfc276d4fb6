"""Whether what an `ingressNginx`, `traefik` or `custom` block names is in the objects that the manifests hold, and that nothing
is shipped that a rollout makes and removes. Works on files that do not fit the schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from strategies.json_pointers import check_pointer
from strategies.kubernetes_kinds import ObjectKind
from strategies.manifest_objects import ManifestObject
from strategies.places import Place
from strategies.problems import FileReport
from strategies.router_checks import wrong_leaf
from strategies.suggestions import quote
from strategies.yaml_document import to_plain

INGRESS = ObjectKind("networking.k8s.io", "Ingress")
TRAEFIK_GROUPS = ("traefik.io", "traefik.containo.us")


def check_shipped_ingresses(blocks: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    for block in blocks:
        name, root = block.get("ingressName"), _text(block, "rootServiceName")
        if name is None or name.text is None or root is None:
            continue
        found = _shipped([INGRESS], name.text, objects)
        if found is not None and root not in set(_services_of(found.place)):
            where = f"the Ingress {quote(name.text)} at {found.where}"
            say.error(name.mark, f"{where} does not name the Service {quote(root)}; correct one of them")
        given = block.get("canaryIngressName")
        canary = given.text if given is not None else f"{name.text}-canary"
        if canary is not None and _shipped([INGRESS], canary, objects) is not None:
            say.error(
                (given or block).mark,
                f"the Ingress {quote(canary)} is among the manifests, but the rollout makes and removes one of that name; leave "
                "it out, or give another canaryIngressName",
            )


def _services_of(ingress: Place) -> Iterable[str]:
    backends = [ingress.at("spec", "defaultBackend")]
    for rule in ingress.items("spec", "rules"):
        backends += [path.get("backend") for path in rule.items("http", "paths")]
    for backend in backends:
        service = backend.at("service", "name") if backend is not None else None
        if service is not None and service.text is not None:
            yield service.text


def check_shipped_traefik(blocks: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    kinds = [ObjectKind(group, "TraefikService") for group in TRAEFIK_GROUPS]
    for block in blocks:
        name, root = block.get("traefikServiceName"), _text(block, "rootServiceName")
        if name is None or name.text is None or root is None:
            continue
        found = _shipped(kinds, name.text, objects)
        if found is None:
            continue
        listed = [one.get("name") for one in found.place.items("spec", "weighted", "services")]
        if root not in [one.text for one in listed if one is not None]:
            where = f"the TraefikService {quote(name.text)} at {found.where}"
            say.error(name.mark, f"{where} has no Service {quote(root)} in spec.weighted.services; correct one of them")


def check_shipped_custom(blocks: Iterable[Place], objects: Sequence[ManifestObject], say: FileReport) -> None:
    for block in blocks:
        name, kind, api = block.get("name"), _text(block, "kind"), _text(block, "apiVersion")
        if name is None or name.text is None or kind is None or api is None:
            continue
        found = _shipped([ObjectKind(api.rpartition("/")[0], kind)], name.text, objects)
        if found is None:
            continue
        where = f"the {kind} {quote(name.text)}"
        if block.get("template") is not None:
            message = f"{where} is among the manifests, but the rollout makes and removes one of that name; leave one of them out"
            say.error(name.mark, message)
            continue
        body = to_plain(found.place.node)
        for field in ("stableWeight", "canaryWeight", "stableService", "canaryService"):
            place = block.get(field)
            if place is None or place.text is None or check_pointer(place.text):
                continue
            if wrong := wrong_leaf(body, place.text, is_weight=field.endswith("Weight")):
                say.error(place.mark, f"{field}: in {where} at {found.where}, {wrong}")


def _shipped(kinds: Iterable[ObjectKind], name: str, objects: Iterable[ManifestObject]) -> ManifestObject | None:
    return next((one for one in objects if one.kind in kinds and one.name == name), None)


def _text(block: Place, field: str) -> str | None:
    place = block.get(field)
    return place.text if place is not None else None

"""What stands in Ingresses, the user's own and the canary's beside it. Pure; knows nothing of rollouts.

Source: the reference of `networking.k8s.io/v1`, and ingress-nginx' documentation of its canary annotations. Of the other
annotations, a canary Ingress has those of its main one whether it repeats them or not (rewrites, TLS, timeouts, ...), but for
those in `_REPEATED`, which count for its own pods only.

A weight is written in percent where that says it exactly, without a total: every version of the controller reads that. Finer
weights need the annotation `canary-weight-total`, which is there since 0.42 and, for what is not the default backend, has an
effect since 1.7.0 only (its pull request 9729).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from adapters.kubernetes.putting_back import change_of
from adapters.kubernetes.templates import JsonObject
from adapters.routers.weights import basis_points, relative_weights
from strategies.nginx_limits import CONDITIONS, PREFIX

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
CANARY, WEIGHT, TOTAL = f"{PREFIX}canary", f"{PREFIX}canary-weight", f"{PREFIX}canary-weight-total"
OURS = (CANARY, WEIGHT, TOTAL, *CONDITIONS)
"""What makes an Ingress a canary, and says when it is one."""
_PERCENT = 100
_REPEATED = frozenset(
    {
        CLASS_ANNOTATION,
        *(
            f"{PREFIX}{name}"
            for name in (
                "affinity",
                "affinity-canary-behavior",
                "affinity-mode",
                "load-balance",
                "service-upstream",
                "upstream-hash-by",
                "upstream-hash-by-subset",
                "upstream-hash-by-subset-size",
            )
        ),
    }
)
_REPEATED_FAMILY = f"{PREFIX}session-cookie-"


def annotations_of(ingress: JsonObject) -> dict[str, str]:
    found: dict[str, str] = ingress["metadata"].get("annotations") or {}
    return found


def is_canary(ingress: JsonObject) -> bool:
    return annotations_of(ingress).get(CANARY) == "true"


# --- the Services that an Ingress names --------------------------------------------------------------------------------


def backends_of(ingress: JsonObject) -> Iterator[tuple[str, str]]:
    """The JSON pointer to each place that names a Service, and the name."""
    spec = ingress.get("spec") or {}
    if (name := _service_of(spec.get("defaultBackend"))) is not None:
        yield "/spec/defaultBackend/service/name", name
    for number, rule in enumerate(spec.get("rules") or ()):
        for index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            if (name := _service_of(path.get("backend"))) is not None:
                yield f"/spec/rules/{number}/http/paths/{index}/backend/service/name", name


def _service_of(backend: JsonObject | None) -> str | None:
    service = (backend or {}).get("service") or {}
    return str(service["name"]) if service.get("name") else None


def names(ingress: JsonObject, service: str) -> bool:
    return any(name == service for _, name in backends_of(ingress))


def services_of(ingress: JsonObject) -> set[str]:
    return {name for _, name in backends_of(ingress)}


def find_obstacle(ingress: JsonObject, root: str) -> str:
    """Why no canary can stand beside it, in words that follow its name; empty where one can."""
    if is_canary(ingress):
        return "is a canary Ingress itself; name the one beside which it stands"
    if not names(ingress, root):
        named = ", ".join(sorted(services_of(ingress))) or "none"
        return f"does not name the Service {root}; the Services that it names are: {named}"
    return ""


def renaming(ingress: JsonObject, before: str, after: str) -> list[JsonObject]:
    """The patch that names another Service wherever this one is named."""
    places = [pointer for pointer, name in backends_of(ingress) if name == before]
    return [{"op": "replace", "path": pointer, "value": after} for pointer in places]


def places_of(ingress: JsonObject, service: str) -> set[tuple[str, str]]:
    """Host and path wherever the Service is named; both are empty for the default backend."""
    spec = ingress.get("spec") or {}
    found = {("", "")} if _service_of(spec.get("defaultBackend")) == service else set()
    for rule in spec.get("rules") or ():
        for path in _paths_to(rule, service):
            found.add((rule.get("host") or "", path.get("path") or "/"))
    return found


def _paths_to(rule: JsonObject, service: str) -> list[JsonObject]:
    paths = (rule.get("http") or {}).get("paths") or []
    return [path for path in paths if _service_of(path.get("backend")) == service]


# --- the canary Ingress ------------------------------------------------------------------------------------------------


def canary_spec(ingress: JsonObject, root: str, canary: str) -> JsonObject:
    """Class, hosts, paths and TLS of the user's, as far as they lead to the root Service, with the canary Service for it."""
    spec = ingress["spec"]
    made: JsonObject = {name: spec[name] for name in ("ingressClassName", "tls") if name in spec}
    if _service_of(spec.get("defaultBackend")) == root:
        made["defaultBackend"] = _renamed(spec["defaultBackend"], canary)
    rules = [(rule, _paths_to(rule, root)) for rule in spec.get("rules") or ()]
    led = [
        {**rule, "http": {"paths": [{**path, "backend": _renamed(path["backend"], canary)} for path in paths]}}
        for rule, paths in rules
        if paths
    ]
    return {**made, "rules": led} if led else made


def _renamed(backend: JsonObject, service: str) -> JsonObject:
    return {**backend, "service": {**backend["service"], "name": service}}


def repeated_annotations(ingress: JsonObject) -> dict[str, str]:
    """With the class that older Ingresses have as an annotation, unless there is a field for it as well: the API server makes no
    new Ingress that has both."""
    has_class = (ingress.get("spec") or {}).get("ingressClassName") is not None
    found = annotations_of(ingress).items()
    kept = {name: value for name, value in found if name in _REPEATED or name.startswith(_REPEATED_FAMILY)}
    return {name: value for name, value in kept.items() if not (has_class and name == CLASS_ANNOTATION)}


def weight_annotations(weight: int) -> dict[str, str]:
    stable, canary = relative_weights(weight)
    total = stable + canary
    return {WEIGHT: str(canary)} | ({TOTAL: str(total)} if total != _PERCENT else {})


def read_weight(ingress: JsonObject) -> int | None:
    """In basis points; None where the annotations say nothing usable."""
    found = annotations_of(ingress)
    try:
        weight, total = int(found.get(WEIGHT, "")), int(found.get(TOTAL, _PERCENT))
    except ValueError:
        return None
    return basis_points(Decimal(weight), Decimal(total)) if is_canary(ingress) else None


def read_conditions(ingress: JsonObject) -> dict[str, str]:
    found = annotations_of(ingress)
    return {name: found[name] for name in CONDITIONS if name in found}


def saying(ingress: JsonObject, weight: int, conditions: Mapping[str, str]) -> list[JsonObject]:
    """The patch after which a canary Ingress says this and nothing else of ours; empty where it does."""
    now = annotations_of(ingress)
    theirs = {name: value for name, value in now.items() if name not in OURS}
    return change_of("/metadata/annotations", now, theirs | canary_annotations(weight, conditions))


def canary_annotations(weight: int, conditions: Mapping[str, str]) -> dict[str, str]:
    return {CANARY: "true", **weight_annotations(weight), **conditions}

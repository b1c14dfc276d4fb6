"""From a method and a path to what is asked for: the verb, the resource, the object and its subresource.

The paths are those of the Kubernetes API conventions. Nothing here looks at objects, bodies or selectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from adapters.embedded.errors import MethodNotAllowed, NotFound, UnknownPath
from adapters.embedded.resources import NAMESPACES, Registry, Resource


class Verb(StrEnum):
    """What a request does, in the words of audit logs and access rules."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    DELETE_COLLECTION = "deletecollection"


WRITES = frozenset({Verb.CREATE, Verb.UPDATE, Verb.PATCH, Verb.DELETE, Verb.DELETE_COLLECTION})

_COLLECTION_VERBS: Mapping[str, Verb] = {
    "GET": Verb.LIST,
    "HEAD": Verb.LIST,
    "POST": Verb.CREATE,
    "DELETE": Verb.DELETE_COLLECTION,
}
_OBJECT_VERBS: Mapping[str, Verb] = {
    "GET": Verb.GET,
    "HEAD": Verb.GET,
    "PUT": Verb.UPDATE,
    "PATCH": Verb.PATCH,
    "DELETE": Verb.DELETE,
}
_SUBRESOURCE_VERBS: Mapping[str, Mapping[str, Verb]] = {
    "status": {"GET": Verb.GET, "PUT": Verb.UPDATE, "PATCH": Verb.PATCH},
    "scale": {"GET": Verb.GET, "PUT": Verb.UPDATE, "PATCH": Verb.PATCH},
    "finalize": {"PUT": Verb.UPDATE},
    "binding": {"POST": Verb.CREATE},
    "eviction": {"POST": Verb.CREATE},
    "token": {"POST": Verb.CREATE},
    "log": {"GET": Verb.GET},
    "proxy": {**_COLLECTION_VERBS, **_OBJECT_VERBS, "POST": Verb.CREATE},
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `namespace` is empty for cluster-scoped kinds and for lists over all namespaces; `is_dry_run` is
    what the query says (a deletion may say it in its body alone)."""

    verb: Verb
    resource: Resource
    namespace: str
    name: str
    subresource: str
    is_dry_run: bool = False


def find_target(registry: Registry, method: str, path: str, query: Mapping[str, str]) -> Target:
    """The target of a request under /api or /apis.

    Raises:
        UnknownPath: nothing is served there.
        MethodNotAllowed: something is, but not with this method.
    """
    group, version, rest = _split_path(path)
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in NAMESPACES.subresources:
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0]) if rest else None
    has_path = rest[2:3] == ["proxy"]  # What follows is the Service's business.
    if resource is None or (len(rest) > 3 and not has_path) or (namespace and not resource.namespaced):
        raise UnknownPath()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and resource.namespaced and not namespace:
        raise UnknownPath()
    verb = _find_verb(resource, method, name, subresource)
    if verb is Verb.LIST and query.get("watch") in {"true", "1"}:
        verb = Verb.WATCH
    if verb in {Verb.CREATE, Verb.DELETE_COLLECTION} and resource.namespaced and not namespace:
        raise MethodNotAllowed()
    return Target(verb, resource, namespace, name, subresource, "dryRun" in query)


def _split_path(path: str) -> tuple[str, str, list[str]]:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[:1] == ["api"] and len(parts) >= 3:
        return "", parts[1], parts[2:]
    if parts[:1] == ["apis"] and len(parts) >= 4:
        return parts[1], parts[2], parts[3:]
    raise UnknownPath()


def _find_verb(resource: Resource, method: str, name: str, subresource: str) -> Verb:
    if subresource:
        if subresource not in resource.subresources:
            raise NotFound.of(resource, name) if resource.custom else UnknownPath()
        verb = _SUBRESOURCE_VERBS[subresource].get(method)
    else:
        verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method)
    if verb is None or (verb is Verb.DELETE_COLLECTION and resource == NAMESPACES):
        raise MethodNotAllowed()
    return verb


def not_found(target: Target) -> NotFound:
    """The error for the object that a target names and that is not there."""
    return NotFound.of(target.resource, target.name)

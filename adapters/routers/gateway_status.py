"""What a route's status says of what was written to it: by whom it was taken up, by whom not, and why. Pure.

A route has one status for each of its parents and each controller that carries it out there. A controller says nothing at all
where it is not there, or the parent is none of its own. Source: the reference of `gateway.networking.k8s.io/v1`
(RouteParentStatus).

Linkerd says in no condition of which version of the route it speaks, and writes nothing where what it would say is what it has
said before. So what it says counts as it stands, since it will never say more; that it is behind is covered by the settle times
alone. Source: the status index of Linkerd's policy controller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from adapters.kubernetes.templates import JsonObject

GATEWAY_GROUP = "gateway.networking.k8s.io"
ACCEPTED, RESOLVED, PARTIAL = "Accepted", "ResolvedRefs", "PartiallyInvalid"


def key_of(parent: JsonObject, namespace: str) -> str:
    """What tells one parent of a route from another, with what a reference leaves out; also the words for it."""
    group = _group(parent)
    kind = parent.get("kind", "Gateway") + (f".{group}" if group not in (GATEWAY_GROUP, "") else "")
    where = "" if (there := parent.get("namespace") or namespace) == namespace else f"{there}/"
    section = f", section {parent['sectionName']}" if parent.get("sectionName") else ""
    port = f", port {parent['port']}" if parent.get("port") else ""
    return f"{kind} {where}{parent.get('name')}{section}{port}"


def _group(parent: JsonObject) -> str:
    """Linkerd calls the group of Services `core` in what it says, whatever the route calls it, and takes either from a route."""
    group = str(parent.get("group", GATEWAY_GROUP))
    return "" if group.lower() == "core" else group


def parents_of(route: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = (route.get("spec") or {}).get("parentRefs") or []
    return found


def is_told(route: JsonObject) -> bool:
    """Whether anybody says anything of the route."""
    return bool(_statuses(route))


def find_refusal(route: JsonObject) -> str:
    """Why the route as it is now leads nowhere, by what its controllers say of just this version of it; empty where it leads
    somewhere by one of its parents, or where nobody has said so yet."""
    refused = set(refusing_parents(route))
    keys = _keys(route)
    left = [key for key in keys if key not in refused]
    chosen = [key for key in left if _now(route, key)] if left else keys
    return "; ".join(trouble for key in chosen if (trouble := _trouble(route, key)))


def refusing_parents(route: JsonObject) -> list[str]:
    """The parents that have not accepted this version of the route, by what they say: no traffic comes by them, so they do not
    matter."""
    told = {key: _now(route, key) for key in _keys(route)}
    return [key for key, now in told.items() if now and all(_status(one, ACCEPTED) == "False" for one in now)]


def why_not_accepted(route: JsonObject, but: Collection[str] = ()) -> str:
    """Why this version of the route does not count yet; empty where every parent that matters has accepted it and found all
    that it names. `but`: parents that do not matter."""
    return next((trouble for key in _keys(route) if key not in but and (trouble := _trouble(route, key))), "")


def why_not_seen(route: JsonObject) -> str:
    """Which controller that has said something of the route before has not come to this version of it; whatever it says of it.
    One that never says of which version it speaks is not waited for, as there would be no end."""
    generation, kind, name = _generation(route), route.get("kind"), route["metadata"]["name"]
    for one in _statuses(route):
        if _is_dated(one) and (seen := _seen(one)) < generation:
            return f"{kind} {name} is at generation {generation}, and {_who(one)} has come to {seen or 'none'}"
    return ""


def _keys(route: JsonObject) -> list[str]:
    namespace = route["metadata"]["namespace"]
    return list(dict.fromkeys(key_of(parent, namespace) for parent in parents_of(route)))


# --- one parent --------------------------------------------------------------------------------------------------------


def _trouble(route: JsonObject, key: str) -> str:
    kind, name, generation = route.get("kind"), route["metadata"]["name"], _generation(route)
    where = f"{kind} {name} at {key}"
    statuses = _of_parent(route, key)
    if not statuses:
        return f"{where}: no controller says anything of it; see that the parent is there, and that one carries it out"
    now = _now(route, key)
    if not now:
        newest = max(statuses, key=_seen)
        return f"{where}: {_who(newest)} has come to generation {_seen(newest) or 'none'}, and it is at {generation}"
    for one in now:
        for condition in (ACCEPTED, RESOLVED):
            if _status(one, condition) != "True":
                return f"{where}: {_words(one, condition)}"
        if _status(one, PARTIAL) == "True":
            return f"{where}: {_words(one, PARTIAL)}"
    return ""


def _statuses(route: JsonObject) -> Sequence[JsonObject]:
    found: list[JsonObject] = (route.get("status") or {}).get("parents") or []
    return found


def _of_parent(route: JsonObject, key: str) -> list[JsonObject]:
    namespace = route["metadata"]["namespace"]
    return [one for one in _statuses(route) if key_of(one.get("parentRef") or {}, namespace) == key]


def _now(route: JsonObject, key: str) -> list[JsonObject]:
    """What is said of this version of the route; or, where nobody at the parent ever says of which, all that is said."""
    generation, statuses = _generation(route), _of_parent(route, key)
    return [one for one in statuses if _seen(one) >= generation] if any(map(_is_dated, statuses)) else statuses


def _generation(route: JsonObject) -> int:
    found: int = route["metadata"].get("generation", 0)
    return found


def _seen(status: JsonObject) -> int:
    """The older of both conditions that matter: a controller may write one after the other."""
    both = [_condition(status, ACCEPTED), _condition(status, RESOLVED)]
    return min(_generations(both) or _generations(_conditions(status)), default=0)


def _is_dated(status: JsonObject) -> bool:
    """Whether it says of any condition which version of the route that is about."""
    return bool(_generations(_conditions(status)))


def _generations(conditions: Iterable[JsonObject]) -> list[int]:
    found = (one.get("observedGeneration") for one in conditions)
    return [one for one in found if isinstance(one, int)]


def _conditions(status: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = status.get("conditions") or []
    return found


def _condition(status: JsonObject, condition: str) -> JsonObject:
    found = (one for one in _conditions(status) if one.get("type") == condition)
    return next(found, {})


def _status(status: JsonObject, condition: str) -> str:
    return str(_condition(status, condition).get("status", ""))


def _who(status: JsonObject) -> str:
    return str(status.get("controllerName") or "its controller")


def _words(status: JsonObject, condition: str) -> str:
    """`example.com/mesh says ResolvedRefs False (BackendNotFound: Service web-canary not found)`."""
    found = _condition(status, condition)
    reason, message = found.get("reason", ""), str(found.get("message", "")).strip()
    why = ": ".join(part for part in (reason, message) if part)
    return f"{_who(status)} says {condition} {found.get('status', 'nothing')}" + (f" ({why})" if why else "")

"""What a route's status says of what was written to it: by whom it was taken up, by whom not, and why. Pure.

A route has one status for each of its parents and each controller that carries it out there. A controller says nothing at all
where it is not there, or the parent is none of its own. Source: the reference of `gateway.networking.k8s.io/v1`
(RouteParentStatus).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapters.kubernetes.templates import JsonObject

GATEWAY_GROUP = "gateway.networking.k8s.io"
ACCEPTED, RESOLVED, PARTIAL = "Accepted", "ResolvedRefs", "PartiallyInvalid"


def key_of(parent: JsonObject, namespace: str) -> str:
    """What tells one parent of a route from another, with what a reference leaves out; also the words for it."""
    group = parent.get("group", GATEWAY_GROUP)
    kind = parent.get("kind", "Gateway") + (f".{group}" if group not in (GATEWAY_GROUP, "") else "")
    where = "" if (there := parent.get("namespace") or namespace) == namespace else f"{there}/"
    section = f", section {parent['sectionName']}" if parent.get("sectionName") else ""
    port = f", port {parent['port']}" if parent.get("port") else ""
    return f"{kind} {where}{parent.get('name')}{section}{port}"


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
    """Which controller that has said something of the route before has not come to this version of it; whatever it says of it."""
    generation, kind, name = _generation(route), route.get("kind"), route["metadata"]["name"]
    for one in _statuses(route):
        if (seen := _seen(one)) < generation:
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
    now = [one for one in statuses if _seen(one) >= generation]
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
    generation = _generation(route)
    return [one for one in _of_parent(route, key) if _seen(one) >= generation]


def _generation(route: JsonObject) -> int:
    found: int = route["metadata"].get("generation", 0)
    return found


def _seen(status: JsonObject) -> int:
    """The older of both conditions that matter: a controller may write one after the other."""
    found = [one.get("observedGeneration") for one in (_condition(status, ACCEPTED), _condition(status, RESOLVED)) if one]
    return min((one if isinstance(one, int) else 0 for one in found), default=0)


def _condition(status: JsonObject, condition: str) -> JsonObject:
    found = (one for one in status.get("conditions") or () if one.get("type") == condition)
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

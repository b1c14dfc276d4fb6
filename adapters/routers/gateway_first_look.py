"""The first look at a route of the Gateway API, before anything is changed: what stands in the way of a rollout, and how the
rules are divided. The most that the steps will ask for is tried out on the API server by a dry run, as only it knows which
fields its definition of the kind has, and drops what it does not know without an error.
"""

from __future__ import annotations

from adapters.kubernetes.errors import Invalid
from adapters.kubernetes.paths import ResourceRef
from adapters.kubernetes.putting_back import change_of
from adapters.kubernetes.task import Task
from adapters.kubernetes.templates import JsonObject
from adapters.routers import services
from adapters.routers.gateway_backends import Shares
from adapters.routers.gateway_objects import (
    find_profile,
    find_rival,
    gateway_of,
    made_route,
    root_backend,
    rules_of,
    services_among,
    words_for,
    written_parent,
)
from adapters.routers.gateway_obstacles import all_at_once, find_division, find_lost, find_obstacle
from adapters.routers.gateway_rules import Division
from adapters.routers.gateway_status import find_refusal, is_told, parents_of
from adapters.routers.istio_http import Ordered
from adapters.routers.user_objects import Read, absent, read_declared
from engine.errors import Rejected
from engine.traffic import RoutePlan


async def look(task: Task, route: RoutePlan, resource: ResourceRef, read: Read) -> tuple[JsonObject, Division]:
    """The user's route, and how its rules are divided. Raises `Rejected`."""
    gateway = gateway_of(route)
    found = await read(task, resource, gateway.name)
    if found is None:
        raise absent(task, route, resource, gateway.name)
    where = f"route {route.name}: {words_for(route)}"
    rules = rules_of(found)
    division = find_division(
        gateway.kind, rules, route.root_service, route.stable_service, route.canary_service, task.namespace, gateway.rule
    )
    if isinstance(division, str):
        raise Rejected(f"{where} {division}")
    if obstacle := find_obstacle(division, rules, task.spec.plan, route.sticky):
        raise Rejected(f"{where} {obstacle}")
    if trap := await find_profile(task.cluster, task.namespace, services_among(parents_of(found), task.namespace)):
        raise Rejected(f"route {route.name}: {trap}")
    if found["metadata"].get("resourceVersion"):
        if read is read_declared:
            _check_leads_somewhere(route, found)
        await _try_out(task, route, resource, found, division)
    return found, division


def _check_leads_somewhere(route: RoutePlan, found: JsonObject) -> None:
    """Of a route that was live before the rollout, so that somebody must have said something of it."""
    if not is_told(found):
        raise Rejected(
            f"route {route.name}: no controller says anything of {words_for(route)}, so nobody would carry a weight out; see "
            "that its parents are there, and that a controller runs for them"
        )
    if refusal := find_refusal(found):
        raise Rejected(f"route {route.name}: {words_for(route)} leads nowhere already: {refusal}; mend it first")


async def _try_out(task: Task, route: RoutePlan, resource: ResourceRef, found: JsonObject, division: Division) -> None:
    ordered = all_at_once(task.spec.plan, route.sticky)
    change = change_of("/spec/rules", rules_of(found), division.arrange(rules_of(found), ordered))
    try:
        answered = await task.cluster.patch(resource, found, change, dry_run=True)
    except Invalid as error:
        raise _refused_try(route, error) from error
    if lost := find_lost(division, rules_of(answered), ordered):
        raise Rejected(f"route {route.name}: {words_for(route)} {lost}")


def _refused_try(route: RoutePlan, error: Invalid) -> Rejected:
    return Rejected(f"route {route.name}: the cluster does not take {words_for(route)} as the steps need it: {error.message}")


async def look_for_room(task: Task, route: RoutePlan, resource: ResourceRef) -> None:
    """Whether a route of ours can stand where it is to be made. Raises `Rejected`."""
    gateway, where = gateway_of(route), f"route {route.name}"
    found = await task.cluster.find(resource, task.namespace, gateway.name)
    if found is not None and not task.is_ours(found):
        raise Rejected(services.taken(gateway.kind, found))
    parents = [written_parent(one, task.namespace) for one in gateway.parents]
    if trap := await find_profile(task.cluster, task.namespace, services_among(parents, task.namespace)):
        raise Rejected(f"{where}: {trap}")
    if rival := await find_rival(task.cluster, resource, task.namespace, gateway):
        raise Rejected(f"{where}: {rival}")
    division = await division_to_make(task, route)
    if found is None:
        ordered = all_at_once(task.spec.plan, route.sticky)
        body = made_route(task, route, resource.version, made_rules(division, ordered))
        try:
            answered = await task.cluster.create(resource, body, dry_run=True)
        except Invalid as error:
            raise _refused_try(route, error) from error
        if lost := find_lost(division, rules_of(answered), ordered):
            raise Rejected(f"{where}: {words_for(route)} {lost}")


async def division_to_make(task: Task, route: RoutePlan) -> Division:
    """Of a rule that sends all to the root Service. Raises `Rejected` where its port cannot be told."""
    root = await services.root_service(task, route, route.root_service)
    numbers = [int(port["port"]) for port in root["spec"].get("ports") or ()]
    wanted = gateway_of(route).port
    if wanted and wanted not in numbers:
        told = ", ".join(map(str, numbers))
        raise Rejected(f"route {route.name}: Service {route.root_service} has no port {wanted}; those that it has are: {told}")
    if not wanted and len(numbers) != 1:
        told = ", ".join(map(str, numbers))
        raise Rejected(f"route {route.name}: Service {route.root_service} has the ports {told}; say which one is meant with port")
    shares = Shares(
        (root_backend(route, wanted or numbers[0]),), 0, route.stable_service, route.canary_service, task.namespace
    )
    return divided_by(route, task.namespace, (shares,))


def divided_by(route: RoutePlan, namespace: str, parts: tuple[Shares, ...]) -> Division:
    gateway = gateway_of(route)
    return Division(
        gateway.kind, route.root_service, route.stable_service, route.canary_service, namespace, parts, gateway.rule
    )


def made_rules(division: Division, ordered: Ordered) -> list[JsonObject]:
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}] if division.kind == "HTTPRoute" else []
    rule: JsonObject = {"matches": matches} if matches else {}
    return division.arrange([{**rule, "backendRefs": list(division.parts[0].found)}], ordered)

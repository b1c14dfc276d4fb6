"""The routers of an Argo Rollout -> the traffic management of a deploy file."""

from __future__ import annotations

from strategies.importing.argo_routers import GATEWAY_PLUGIN, Services, read_gateway, read_nginx, read_traefik
from strategies.importing.draft import Draft, Part
from strategies.importing.go_durations import duration
from strategies.importing.input_file import InputObject
from strategies.importing.manifests import Manifests
from strategies.importing.names import is_name, is_service_name
from strategies.importing.root_services import name_what_is_made
from strategies.importing.subjects import Lost, Subject
from strategies.kubernetes_kinds import SERVICE
from strategies.places import Place
from strategies.suggestions import quote
from strategies.traffic_matching import DeploymentFacts

_BY_PODS = (
    "until Headgate has that router, traffic is divided by the number of pods; use another one, custom for any object with two "
    "weights, or keep Argo here"
)
_ROUTERS_LOST: Lost = {
    "alb": ("divided the traffic by an AWS load balancer", _BY_PODS),
    "ambassador": ("divided the traffic by Mappings of Ambassador", _BY_PODS),
    "appMesh": ("divided the traffic by App Mesh", _BY_PODS),
    "apisix": ("divided the traffic by an ApisixRoute", _BY_PODS),
}


def read_traffic(
    rollout: Subject,
    canary: Place,
    item: InputObject,
    manifests: Manifests,
    pods: DeploymentFacts | None,
    draft: Draft,
) -> None:
    stable, new = rollout.text(canary, "stableService"), rollout.text(canary, "canaryService")
    _read_delay(rollout, canary, draft)
    routing = canary.get("trafficRouting")
    if routing is None:
        return
    if "maxTrafficWeight" in routing.names and (most := routing.get("maxTrafficWeight")) is not None:
        rollout.changed(most, "was the weight of all traffic", "weights are percentages here, and were converted")
    rollout.lose(routing, _ROUTERS_LOST)
    plugin = _find_plugin(rollout, routing)
    if (managed := routing.get("managedRoutes")) is not None:
        rollout.finish(managed)
        rollout.note(managed, "gave the order of header routes and mirrors", "here what was set earlier comes first")
    if "smi" in routing.names:
        smi = routing.get("smi")
        _read_smi(rollout, canary, smi, stable, new, manifests, pods, draft)
    elif (istio := routing.get("istio")) is not None:
        _read_istio(rollout, istio, draft)
    else:
        services = Services(stable, new, manifests, pods)
        others = (("nginx", read_nginx), ("traefik", read_traefik))
        if plugin is not None:
            read_gateway(rollout, plugin, services, draft)
        for key, read in others if plugin is None else ():
            if (place := routing.get(key)) is not None and not draft.traffic:
                read(rollout, place, services, draft)
    if not draft.traffic:
        draft.traffic_words.append("No trafficManagement: traffic is divided by the number of pods of each version.")


def _find_plugin(rollout: Subject, routing: Place) -> Place | None:
    """Argo's plugin for the Gateway API. Other plugins are lost."""
    found = None
    for name, plugin in routing.entries("plugins"):
        if name == GATEWAY_PLUGIN:
            found = plugin
        else:
            rollout.lost(plugin, "divided the traffic by a plugin of Argo", _BY_PODS)
    return found


def _read_delay(rollout: Subject, canary: Place, draft: Draft) -> None:
    seconds = rollout.integer(canary, "scaleDownDelaySeconds")
    if seconds is not None:
        draft.config["settle"] = duration(seconds)


# --- smi -----------------------------------------------------------------------------------------------------------------


def _read_smi(
    rollout: Subject,
    canary: Place,
    smi: Place | None,
    stable: str | None,
    new: str | None,
    manifests: Manifests,
    pods: DeploymentFacts | None,
    draft: Draft,
) -> None:
    place = smi or canary
    root = rollout.text(smi, "rootService") or stable
    split = rollout.text(smi, "trafficSplitName")
    if root is None or not is_service_name(root):
        rollout.lost(place, "names no root Service that Headgate can use", "write trafficManagement by hand")
        return
    if why := manifests.why_not_root(root, pods):
        rollout.lost(place, f"cannot be carried over: {why}", "correct the Service and import again")
        return
    block: Part = {"rootServiceName": root}
    if new is not None and new != root and is_service_name(new):
        if manifests.lacks_ports(root, new):
            manifests.leave_out(SERVICE, new)
            rollout.changed(
                canary.get("canaryService") or place,
                f"the Service {quote(new)} lacks ports of {quote(root)}, so it is left out",
                "Headgate makes a canary Service itself",
            )
        else:
            block["canaryServiceName"] = new
    name_what_is_made(root, block, stable, manifests)
    if split is not None and is_name(split):
        block["trafficSplitName"] = split
    rollout.note(
        place,
        "Headgate makes the TrafficSplit for the time of a rollout and removes it at the end",
        f"remove Argo's before the first run: kubectl delete trafficsplit {split or rollout_name(rollout)}",
    )
    draft.traffic = {"smi": [block]}


def rollout_name(rollout: Subject) -> str:
    name = rollout.root.at("metadata", "name")
    return (name.text if name is not None else None) or ""


# --- istio ---------------------------------------------------------------------------------------------------------------


def _read_istio(rollout: Subject, istio: Place, draft: Draft) -> None:
    services = [place for place in (istio.get("virtualService"), *istio.items("virtualServices")) if place is not None]
    rule = istio.get("destinationRule")
    if not services or rule is None:
        rollout.lost(
            istio,
            "divided the traffic between two Services, without a DestinationRule",
            "give the VirtualService two subsets of one DestinationRule, and write trafficManagement by hand",
        )
        return
    service, *others = services
    for other in others:
        rollout.lost(other, "is another VirtualService with the same weights", "Headgate edits one of them for a target")
    service_named, rule_named = rollout.text(service, "name"), rollout.text(rule, "name")
    routes = [route for route in service.items("routes") if route.text is not None]
    rollout.take(service, "routes")
    rollout.lose(
        service,
        dict.fromkeys(("tlsRoutes", "tcpRoutes"), ("named routes that are not HTTP", "Headgate edits HTTP routes only")),
    )
    for route in routes[1:]:
        rollout.lost(route, "is another route with the same weights", "Headgate edits one route of a VirtualService")
    if service_named is None or rule_named is None or not (is_name(service_named) and is_name(rule_named)):
        rollout.lost(istio, "names objects of another namespace", "write trafficManagement by hand")
        return
    virtual: Part = {"name": service_named}
    if routes:
        virtual["httpRouteName"] = routes[0].text
    subsets: Part = {"name": rule_named}
    for key, ours in (("stableSubsetName", "activeSubsetName"), ("canarySubsetName", "canarySubsetName")):
        if (subset := rollout.text(rule, key)) is not None:
            subsets[ours] = subset
    draft.traffic = {"istio": [{"virtualService": virtual, "destinationRule": subsets}]}

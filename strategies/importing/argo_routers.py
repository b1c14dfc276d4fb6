"""The routers of an Argo Rollout that divide the traffic between two Services in an object of the user's (a route of the
Gateway API, a TraefikService), or beside one (an Ingress of nginx) -> the traffic management of a deploy file.

Argo wants both Services in such an object. Here it names one, the root Service, and a rollout puts both versions' in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strategies.importing.draft import Draft, Part
from strategies.importing.manifests import JsonObject, Manifests, inside
from strategies.importing.names import is_name, is_service_name
from strategies.importing.root_services import name_what_is_made
from strategies.importing.subjects import Lost, Subject
from strategies.importing.writing import Value
from strategies.kubernetes_kinds import ObjectKind
from strategies.places import Place
from strategies.suggestions import quote
from strategies.traffic_matching import DeploymentFacts

GATEWAY_PLUGIN = "argoproj-labs/gatewayAPI"
_ROUTES = {"httpRoute": "HTTPRoute", "grpcRoute": "GRPCRoute"}
_GATEWAY = "gateway.networking.k8s.io"
_TRAEFIK = ("traefik.io", "traefik.containo.us")
_NOT_HTTP = ("divided connections, and not requests", "Headgate divides the requests of HTTPRoutes and GRPCRoutes only")
_GATEWAY_LOST: Lost = {
    **dict.fromkeys(("tcpRoute", "tcpRoutes", "tlsRoute", "tlsRoutes"), _NOT_HTTP),
    **dict.fromkeys(
        ("httpRouteSelector", "grpcRouteSelector", "tcpRouteSelector", "tlsRouteSelector"),
        ("chose routes by their labels", "name each of them"),
    ),
}
_NGINX_LOST: Lost = {
    "annotationPrefix": ("was another prefix of the controller's annotations", "Headgate writes nginx.ingress.kubernetes.io"),
    "additionalIngressAnnotations": ("stood on the canary Ingress", "single requests out with a setHeaderRoute step"),
    "canaryIngressAnnotations": ("stood on the canary Ingress", "single requests out with a setHeaderRoute step"),
}


@dataclass(frozen=True, slots=True)
class Services:
    """Those of both versions, as the Rollout names them, and what is known of them."""

    stable: str | None
    new: str | None
    manifests: Manifests
    pods: DeploymentFacts | None

    def root_block(self, rollout: Subject, place: Place) -> Part | None:
        """What every block says of its Services; None, with a remark, where there is no root Service for it."""
        if self.stable is None or not is_service_name(self.stable):
            rollout.lost(place, "names no Service that Headgate can use as its root Service", "write trafficManagement by hand")
            return None
        if why := self.manifests.why_not_root(self.stable, self.pods):
            rollout.lost(place, f"cannot be carried over: {why}", "correct the Service and import again")
            return None
        block: Part = {"rootServiceName": self.stable}
        if self.new is not None and self.new != self.stable and is_service_name(self.new):
            block["canaryServiceName"] = self.new
        name_what_is_made(self.stable, block, None, self.manifests)
        return block


def read_gateway(rollout: Subject, plugin: Place, services: Services, draft: Draft) -> None:
    rollout.lose(plugin, _GATEWAY_LOST)
    named = list(_named_routes(rollout, plugin))
    for key in ("disableInProgressLabel", "inProgressLabelKey", "inProgressLabelValue"):
        rollout.take(plugin, key)
    namespace, own = rollout.text(plugin, "namespace"), rollout.root.at("metadata", "namespace")
    if namespace is not None and own is not None and own.text != namespace:
        rollout.lost(plugin, "names routes of another namespace", "Headgate edits routes of the target's own namespace only")
        return
    block = services.root_block(rollout, plugin) if named else None
    if not named:
        rollout.lost(plugin, "names no HTTPRoute and no GRPCRoute", "write trafficManagement by hand")
    if block is None:
        return
    for field, name in named:
        _take_out(rollout, plugin, [ObjectKind(_GATEWAY, _ROUTES[field])], name, services)
    draft.traffic = {"gatewayApi": [{field: {"name": name}, **block} for field, name in named]}


def _named_routes(rollout: Subject, plugin: Place) -> Iterator[tuple[str, str]]:
    for field in _ROUTES:
        given = rollout.text(plugin, field)
        for name in [given] if given is not None else []:
            if is_name(name):
                yield field, name
        for one in plugin.items(f"{field}s"):
            for key in ("useHeaderRoutes",):
                rollout.take(one, key)
            listed = rollout.text(one, "name")
            if listed is not None and is_name(listed):
                yield field, listed


def read_nginx(rollout: Subject, nginx: Place, services: Services, draft: Draft) -> None:
    rollout.lose(nginx, _NGINX_LOST)
    given = rollout.text(nginx, "stableIngress")
    names = [given] if given is not None else []
    names += [one.text for one in nginx.items("stableIngresses") if one.text is not None]
    rollout.take(nginx, "stableIngresses")
    block = services.root_block(rollout, nginx)
    if block is None:
        return
    if not names or not all(map(is_name, names)):
        rollout.lost(nginx, "names no Ingress that Headgate can use", "write trafficManagement by hand")
        return
    of_argo = " ".join(f"{_name_of(rollout)}-{name}-canary" for name in names)
    rollout.note(
        nginx,
        "Headgate makes a canary Ingress for the time of a rollout and removes it at the end",
        f"remove Argo's before the first run: kubectl delete ingress {of_argo}",
    )
    draft.traffic = {"ingressNginx": [{"ingressName": name, **block} for name in dict.fromkeys(names)]}


def read_traefik(rollout: Subject, traefik: Place, services: Services, draft: Draft) -> None:
    name = rollout.text(traefik, "weightedTraefikServiceName")
    block = services.root_block(rollout, traefik)
    if block is None:
        return
    if name is None or not is_name(name):
        rollout.lost(traefik, "names no TraefikService that Headgate can use", "write trafficManagement by hand")
        return
    _take_out(rollout, traefik, [ObjectKind(group, "TraefikService") for group in _TRAEFIK], name, services)
    draft.traffic = {"traefik": [{"traefikServiceName": name, **block}]}


def _name_of(rollout: Subject) -> str:
    name = rollout.root.at("metadata", "name")
    return (name.text if name is not None else None) or ""


# --- the new version's Service in the user's object --------------------------------------------------------------------


def _take_out(rollout: Subject, place: Place, kinds: list[ObjectKind], name: str, services: Services) -> None:
    new = services.new
    if new is None or new == services.stable:
        return
    for kind in kinds:
        found = services.manifests.kept.get((kind, name))
        if found is None:
            continue
        if sum(_without(backends, new) for backends in _lists_of(found)):
            rollout.changed(
                place,
                f"the {kind.kind} {quote(name)} named the Service {quote(new)} too",
                "it is taken out of the manifest: Headgate puts both versions in the place of the root Service itself",
            )
        return
    rollout.fill_in(
        place,
        f"the {kinds[0].kind} {quote(name)} names the Services of both versions, and is not in the input",
        f"take {quote(new)} out of it before the first run: Headgate puts both versions in the place of the root Service itself",
    )


def _lists_of(found: JsonObject) -> Iterator[list[Value]]:
    rules = inside(found, "spec", "rules")
    lists = [inside(rule, "backendRefs") for rule in rules] if isinstance(rules, list) else []
    yield from (one for one in (*lists, inside(found, "spec", "weighted", "services")) if isinstance(one, list))


def _without(backends: list[Value], service: str) -> bool:
    """Take a Service out of the list, and the weights with it, as one Service is sent everything whatever its weight."""
    left = [one for one in backends if not (isinstance(one, dict) and one.get("name") == service)]
    is_there = len(left) < len(backends)
    if is_there and len(left) == 1 and isinstance(left[0], dict):
        left = [{key: value for key, value in left[0].items() if key != "weight"}]
    backends[:] = left
    return is_there

"""What a Flagger Canary had divided by a route of the Gateway API, an Ingress of nginx or a TraefikService -> the traffic
management of a deploy file. What Flagger made of these by itself goes with the Canary, so it is made for the manifests.
"""

from __future__ import annotations

from typing import Any

from strategies.importing.draft import Draft, Part, service_name
from strategies.importing.manifests import JsonObject, Manifests
from strategies.importing.names import is_name
from strategies.importing.subjects import Subject
from strategies.kubernetes_kinds import SERVICE, ObjectKind
from strategies.places import Place
from strategies.suggestions import quote
from strategies.yaml_document import to_plain

_GATEWAY = "gateway.networking.k8s.io"
GATEWAY_FIELDS = ("gatewayRefs", "hosts")
"""Of the Canary's `service`: what the route says that is made here."""


def write_gateway(canary: Subject, spec: Place, apex: str, manifests: Manifests, draft: Draft) -> None:
    place, service = spec.get("provider") or spec, spec.get("service")
    draft.traffic = {"gatewayApi": [{"httpRoute": {"name": apex}, **_services(apex, manifests)}]}
    references = [to_plain(one.node) for one in service.items("gatewayRefs")] if service is not None else []
    for key in GATEWAY_FIELDS:
        canary.take(service, key)
    if (ObjectKind(_GATEWAY, "HTTPRoute"), apex) in manifests.kept:
        return
    if not references:
        canary.fill_in(
            place,
            f"Flagger made the HTTPRoute {quote(apex)}, which goes with the Canary",
            f"write an HTTPRoute {quote(apex)} with a rule for the Service {quote(apex)} into your manifests",
        )
        return
    written = list(service.items("hosts")) if service is not None else []
    hosts = [one.text for one in written if one.text is not None and one.text != "*"]
    rule = {"backendRefs": [{"name": apex, "port": _port(service)}]}
    body: JsonObject = {
        "apiVersion": f"{_GATEWAY}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": apex},
        "spec": {"parentRefs": references, **({"hostnames": hosts} if hosts else {}), "rules": [rule]},
    }
    manifests.add(body)
    canary.note(
        place,
        f"Flagger made the HTTPRoute {quote(apex)}; one with its Gateways and hosts is among the manifests here",
        "see that it says all that yours has to say, and that Flagger's is gone before the first run",
    )


def write_nginx(canary: Subject, spec: Place, apex: str, manifests: Manifests, draft: Draft) -> None:
    reference = spec.get("ingressRef")
    name = canary.text(reference, "name")
    if reference is None or name is None or not is_name(name):
        place = spec.get("provider") or spec
        canary.lost(place, "names no Ingress that Headgate can use", "write trafficManagement by hand (ingressNginx)")
        return
    for key in ("apiVersion", "kind"):
        canary.take(reference, key)
    draft.traffic = {"ingressNginx": [{"ingressName": name, **_services(apex, manifests)}]}
    canary.note(
        reference,
        f"Headgate makes the canary Ingress {quote(name + '-canary')} for the time of a rollout",
        "Flagger's own one of that name goes with the Canary; see that it is gone before the first run",
    )


def write_traefik(canary: Subject, spec: Place, apex: str, manifests: Manifests, draft: Draft) -> None:
    place = spec.get("provider") or spec
    draft.traffic = {"traefik": [{"traefikServiceName": apex, **_services(apex, manifests)}]}
    if any((ObjectKind(group, "TraefikService"), apex) in manifests.kept for group in ("traefik.io", "traefik.containo.us")):
        return
    entry: dict[str, Any] = {"name": apex, "port": _port(spec.get("service")), "weight": 1}
    body: JsonObject = {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "TraefikService",
        "metadata": {"name": apex},
        "spec": {"weighted": {"services": [entry]}},
    }
    manifests.add(body)
    canary.note(
        place,
        f"Flagger made the TraefikService {quote(apex)}, which your IngressRoutes name; one is among the manifests here",
        "see that Flagger's is gone, or kept when the Canary is deleted, before the first run",
    )


def _port(service: Place | None) -> int:
    port = service.get("port") if service is not None else None
    return int(port.number) if port is not None and port.number is not None else 80


def _services(apex: str, manifests: Manifests) -> Part:
    """The Services of both versions are made by the rollout, those of Flagger are not shipped."""
    block: Part = {"rootServiceName": apex}
    for field, suffix in (("canaryServiceName", "canary"), ("stableServiceName", "stable")):
        usual = f"{apex}-{suffix}"
        manifests.leave_out(SERVICE, usual)
        if len(usual) > 63:
            block[field] = service_name(apex, suffix)
    return block

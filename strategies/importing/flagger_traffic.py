"""The provider and the Service of a Flagger Canary -> the traffic management of a deploy file, and the Service that
Flagger made by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from strategies.importing.draft import Draft, Part, service_name
from strategies.importing.flagger_routers import GATEWAY_FIELDS, write_gateway, write_nginx, write_traefik
from strategies.importing.input_file import InputObject
from strategies.importing.manifests import (
    JsonObject,
    Manifests,
    container_ports,
    inside,
    knows_service,
    pod_labels,
    pods_of,
    selector_of,
)
from strategies.importing.names import is_service_name
from strategies.importing.subjects import Lost, Subject
from strategies.kubernetes_kinds import SERVICE
from strategies.places import Place
from strategies.suggestions import quote
from strategies.yaml_document import to_plain


class Mesh(Enum):
    """What moved the traffic."""

    LINKERD = auto()
    SMI = auto()
    OSM = auto()
    ISTIO = auto()
    APP_MESH = auto()
    GATEWAY_API = auto()
    NGINX = auto()
    TRAEFIK = auto()
    NONE = auto()
    """Nothing: Flagger's provider `kubernetes` waits and checks."""
    OTHER = auto()
    UNKNOWN = auto()
    """The Canary leaves it to the controller."""


_SPLITS = (Mesh.LINKERD, Mesh.SMI, Mesh.OSM)
_MESHES = {
    "linkerd": Mesh.LINKERD,
    "smi": Mesh.SMI,
    "osm": Mesh.OSM,
    "istio": Mesh.ISTIO,
    "appmesh": Mesh.APP_MESH,
    "gatewayapi": Mesh.GATEWAY_API,
    "nginx": Mesh.NGINX,
    "traefik": Mesh.TRAEFIK,
    "kubernetes": Mesh.NONE,
}
_WRITTEN: Mapping[Mesh, Callable[[Subject, Place, str, Manifests, Draft], None]] = {
    Mesh.GATEWAY_API: write_gateway,
    Mesh.NGINX: write_nginx,
    Mesh.TRAEFIK: write_traefik,
}
_BY_PODS = (
    "until Headgate has that router, traffic is divided by the number of pods; use another one, custom for any object with two "
    "weights, or keep Flagger here"
)
_OF_THE_MESH = ("configured the mesh or gateway object that Flagger made", "write it into an object of your own")
_SERVICE_LOST: Lost = {
    **dict.fromkeys(
        (
            "gateways",
            "gatewayRefs",
            "hosts",
            "delegation",
            "trafficPolicy",
            "match",
            "rewrite",
            "retries",
            "timeout",
            "backendTimeout",
            "headers",
            "mirror",
            "corsPolicy",
            "meshName",
            "backends",
        ),
        _OF_THE_MESH,
    ),
    "primary": ("described the Service of Flagger's own copy", "there is no copy here"),
    "unmanagedMetadata": ("named labels that Flagger leaves alone", "Headgate leaves the Service alone altogether"),
}


def read_provider(canary: Subject, spec: Place) -> Mesh:
    written = canary.text(spec, "provider")
    if written is None:
        canary.fill_in(
            spec,
            "does not say what moves the traffic; Flagger's own setting did",
            "add trafficManagement for your mesh; until then traffic is divided by the number of pods",
        )
        return Mesh.UNKNOWN
    mesh = _MESHES.get(written.partition(":")[0].strip().lower(), Mesh.OTHER)
    if mesh not in (*_SPLITS, *_WRITTEN, Mesh.ISTIO, Mesh.NONE) and (place := spec.get("provider")) is not None:
        canary.lost(place, f"divided the traffic by {written}", _BY_PODS)
    return mesh


def read_service(
    canary: Subject, item: InputObject, spec: Place, target: str, mesh: Mesh, manifests: Manifests, draft: Draft
) -> str:
    """The name of the Service that clients call."""
    service = spec.get("service")
    is_written = mesh is Mesh.GATEWAY_API and not draft.is_blue_green
    canary.lose(service, {key: lost for key, lost in _SERVICE_LOST.items() if not (is_written and key in GATEWAY_FIELDS)})
    apex = canary.text(service, "name") or target
    deployment = manifests.deployment(target)
    made = _service(canary, service, apex, deployment)
    for key in ("apex", "canary"):
        canary.take(service, key)
    place = service or spec
    if not is_service_name(apex):
        canary.error(place, f"names the Service {quote(apex)}, which cannot be the name of a Service")
        return apex
    if knows_service(manifests, apex):
        pass
    elif deployment is not None and made is not None:
        manifests.add(made)
        canary.note(
            place,
            f"Flagger made the Service {quote(apex)}; it is among the manifests here",
            f"before the Canary is deleted, see that it keeps the Service, or that {quote(apex)} is applied again at once",
        )
    else:
        canary.fill_in(
            place,
            f"Flagger made the Service {quote(apex)}, which has to be among your manifests now",
            f"write a Service {quote(apex)} that selects the pods of the Deployment {quote(target)}",
        )
    if draft.is_blue_green:
        _write_blue_green(canary, service, spec, apex, deployment, made, mesh, manifests, draft)
    elif mesh in (*_SPLITS, *_WRITTEN) and _can_be_root(canary, spec, apex, target, deployment, manifests):
        if mesh in _SPLITS:
            _write_split(canary, spec, apex, manifests, draft)
        else:
            _WRITTEN[mesh](canary, spec, apex, manifests, draft)
    elif mesh is Mesh.ISTIO:
        _write_istio(canary, spec, apex, draft)
    if not draft.traffic:
        draft.traffic_words.append("No trafficManagement: traffic is divided by the number of pods of each version.")
    return apex


def _service(canary: Subject, service: Place | None, apex: str, deployment: JsonObject | None) -> JsonObject | None:
    """The Service as Flagger makes it; None when the Deployment is not there to say what it selects."""
    port = canary.take(service, "port")
    target_port = canary.take(service, "targetPort")
    name, protocol = canary.text(service, "portName") or "http", canary.text(service, "appProtocol")
    discovers = canary.boolean(service, "portDiscovery") or False
    headless = canary.boolean(service, "headless") or False
    distribution = canary.text(service, "trafficDistribution")
    if deployment is None or not selector_of(deployment):
        return None
    number = port.number if port is not None else 80
    main: dict[str, Any] = {"name": name, "port": number, "protocol": "TCP"}
    main["targetPort"] = target_port.value if target_port is not None else number
    if protocol is not None:
        main["appProtocol"] = protocol
    ports = [main]
    for found in container_ports(deployment) if discovers else ():
        inner = found.get("containerPort")
        if inner not in (number, main["targetPort"]) and found.get("name") not in (name, main["targetPort"]):
            ports.append(
                {
                    "name": str(found.get("name") or f"tcp-{inner}"),
                    "port": inner,
                    "protocol": found.get("protocol") or "TCP",
                    "targetPort": inner,
                }
            )
    body: JsonObject = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": apex}}
    custom = service.get("apex") if service is not None else None
    plain = to_plain(custom.node) if custom is not None else None
    if isinstance(plain, dict):
        body["metadata"].update({key: plain[key] for key in ("labels", "annotations") if plain.get(key)})
    body["spec"] = {"selector": selector_of(deployment), "ports": ports}
    if headless:
        body["spec"]["clusterIP"] = "None"
    if distribution is not None:
        body["spec"]["trafficDistribution"] = distribution
    return body


def _can_be_root(
    canary: Subject, spec: Place, apex: str, target: str, deployment: JsonObject | None, manifests: Manifests
) -> bool:
    """False, with a remark, where the Service cannot be divided."""
    place = spec.get("provider") or spec
    pods = pods_of(target, pod_labels(deployment)) if deployment is not None else None
    is_headless = inside(manifests.kept.get((SERVICE, apex)), "spec", "clusterIP") == "None"
    known_to_input = (SERVICE, apex) not in manifests.made
    why = manifests.why_not_root(apex, pods) if known_to_input else ""
    if is_headless or why:
        canary.lost(
            place,
            f"cannot be carried over: {why or 'a headless Service cannot be divided'}",
            "correct the Service and import again",
        )
        return False
    return True


def _write_split(canary: Subject, spec: Place, apex: str, manifests: Manifests, draft: Draft) -> None:
    block: Part = {"rootServiceName": apex}
    for field, suffix in (("canaryServiceName", "canary"), ("stableServiceName", "stable")):
        usual = f"{apex}-{suffix}"
        manifests.leave_out(SERVICE, usual)
        if len(usual) > 63:
            block[field] = service_name(apex, suffix)
    draft.traffic = {"smi": [block]}
    canary.note(
        spec.get("provider") or spec,
        f"Headgate makes the TrafficSplit {quote(apex)} and the Services {quote(apex + '-canary')} and "
        f"{quote(apex + '-stable')} for the time of a rollout",
        "Flagger's own ones of these names go with the Canary; see that they are gone before the first run",
    )


def _write_istio(canary: Subject, spec: Place, apex: str, draft: Draft) -> None:
    draft.traffic = {
        "istio": [{"virtualService": {"name": apex}, "destinationRule": {"name": apex, "canarySubsetName": "canary"}}]
    }
    canary.fill_in(
        spec.get("provider") or spec,
        f"Flagger made the VirtualService {quote(apex)} and two DestinationRules; they go with the Canary",
        f"write a VirtualService {quote(apex)} with one route and a DestinationRule {quote(apex)} with one subset into your "
        "manifests; Headgate edits yours and puts them back",
    )


def _write_blue_green(
    canary: Subject,
    service: Place | None,
    spec: Place,
    apex: str,
    deployment: JsonObject | None,
    made: JsonObject | None,
    mesh: Mesh,
    manifests: Manifests,
    draft: Draft,
) -> None:
    place = spec.get("provider") or spec
    pods = pods_of(apex, pod_labels(deployment)) if deployment is not None else None
    why = manifests.why_not_root(apex, pods) if (SERVICE, apex) not in manifests.made else ""
    if why or inside(made, "spec", "clusterIP") == "None":
        canary.error(service or place, f"cannot be redirected: {why or 'a headless Service has no address of its own'}")
        return
    preview = service_name(apex, "canary")
    if manifests.why_not_root(preview, pods):
        manifests.leave_out(SERVICE, preview)
    pair: Part = {"activeService": apex}
    known = knows_service(manifests, preview)
    if made is not None and not known:
        body: JsonObject = {**made, "metadata": {"name": preview}}
        custom = service.get("canary") if service is not None else None
        plain = to_plain(custom.node) if custom is not None else None
        if isinstance(plain, dict):
            body["metadata"] |= {key: plain[key] for key in ("labels", "annotations") if plain.get(key)}
        manifests.add(body)
    if made is not None or known:
        pair["previewService"] = preview
    else:
        canary.fill_in(
            place,
            f"Flagger made the Service {quote(preview)}, which shows the new version only",
            "write such a Service into your manifests and name it as previewService, if the checks need it",
        )
    draft.traffic = {"kubernetes": [pair]}
    if mesh is not Mesh.NONE:
        canary.changed(place, "moved the traffic of blue/green by the mesh", "here the Service's selector moves it, all at once")

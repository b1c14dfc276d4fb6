"""Performs `exposeServices` steps: looks whether each Service can be shown, and gives it its preview address.

Nothing is changed in the cluster. The address leads to the daemon, which sends requests on through the API server's own proxy
(`adapters.http.previews`), for as long as the step says and the rollout lasts.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from adapters.forwarding import Door
from adapters.kubernetes.paths import SERVICES
from adapters.kubernetes.task import Done, Task
from adapters.kubernetes.templates import JsonObject
from engine.errors import Rejected
from engine.gates import sign_preview, step_of
from engine.model import Expose, Facts
from strategies.durations import in_words

_SCHEMES = ("http", "https")


async def expose_services(task: Task, public_url: str | None) -> Done:
    step = step_of(task.spec.plan, task.gate)
    assert isinstance(step, Expose)
    if public_url is None:
        raise Rejected(
            "Services are to be exposed, but nobody told the daemon how it is reached from outside; set publicUrl in its "
            "settings, and deploy again"
        )
    until = task.cluster.clock.now() + timedelta(seconds=step.ttl_seconds)
    facts: Facts = {}
    for service in step.services:
        door = _door(service, await task.cluster.find(SERVICES, task.namespace, service), task.namespace)
        place = f"{quote(task.rollout, safe='')}/{service}/{sign_preview(task.spec, service)}"
        facts[f"preview.{service}"] = f"{public_url}/v1/previews/{place}/"
        facts[f"preview.{service}.until"] = until.isoformat()
        facts[f"preview.{service}.port"] = door.port
        facts[f"preview.{service}.scheme"] = door.scheme
    return Done(f"{', '.join(step.services)} can be looked at for {in_words(step.ttl_seconds)}", facts)


def _door(name: str, service: JsonObject | None, namespace: str) -> Door:
    """Its one HTTP port. Raises `Rejected`."""
    if service is None:
        advice = "correct the exposeServices step, or add the Service"
        raise Rejected(f"there is no Service {name} in namespace {namespace}; {advice}")
    if service["spec"].get("type") == "ExternalName":
        raise Rejected(f"Service {name} is only a name for {service['spec'].get('externalName')}; expose a Service with pods")
    ports: list[JsonObject] = [one for one in service["spec"].get("ports") or [] if one.get("protocol", "TCP") == "TCP"]
    found = [(one, scheme) for one in ports if (scheme := _scheme(one, alone=len(ports) == 1)) is not None]
    if len(found) != 1:
        named = ", ".join(_told(one) for one in ports) or "none"
        many = "no port that is known to be HTTP" if not found else f"{len(found)} HTTP ports"
        raise Rejected(
            f"Service {name} has {many} (its ports: {named}), and a preview needs exactly one; say which by appProtocol: http, "
            "or expose a Service with one port"
        )
    port, scheme = found[0]
    return Door(name, port["port"], scheme)


def _scheme(port: JsonObject, *, alone: bool) -> str | None:
    """How the port is spoken to; None where it is not HTTP. An only port is taken for HTTP unless it says otherwise."""
    protocol = str(port.get("appProtocol") or "").lower()
    if protocol:
        return protocol if protocol in _SCHEMES else None
    first = str(port.get("name") or "").partition("-")[0]
    if first in _SCHEMES:
        return first
    if port["port"] == 443 and alone:
        return "https"
    return "http" if alone else None


def _told(port: JsonObject) -> str:
    return f"{port['port']} {port.get('name') or ''}".rstrip()

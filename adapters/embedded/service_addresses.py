"""The addresses and node ports that the cluster gives to Services.

Given out in order, so that two runs of a test see the same ones (the real ones are random). It knows the Services that
exist through a function; nothing is remembered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

from adapters.embedded.errors import Cause, Invalid
from adapters.embedded.json_objects import JsonObject, encode_json, items_of, name_of, value_at
from adapters.embedded.resources import SERVICES

SERVICE_NETWORK = IPv4Network("10.96.0.0/16")
NODE_PORTS = range(30000, 32768)

_NONE = "None"
_RESERVED = 10
"""The first addresses of the network stay free for Services that ask for them (the cluster's DNS by custom)."""


def keep_addresses(service: JsonObject, old: JsonObject) -> None:
    """On an update that leaves out what the cluster had given, keep it: clients need not read before they write."""
    spec, former = service["spec"], old.get("spec") or {}
    if not _wants_address(spec):
        if spec.get("internalTrafficPolicy") == former.get("internalTrafficPolicy"):
            spec.pop("internalTrafficPolicy", None)
        return
    if not _wants_address(former):
        return
    _follow_change(spec, former)
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if field in former:
                spec.setdefault(field, former[field])
    given = {port.get("port"): port.get("nodePort") for port in items_of(former.get("ports"))}
    if _wants_node_ports(spec):
        for port in items_of(spec.get("ports")):
            if not port.get("nodePort") and given.get(port.get("port")):
                port["nodePort"] = given[port.get("port")]
    elif _wants_node_ports(former):
        for port in items_of(spec.get("ports")):
            if port.get("nodePort") == given.get(port.get("port")):
                port.pop("nodePort", None)


def _follow_change(spec: JsonObject, former: JsonObject) -> None:
    """Of the one address and the list of addresses, the one that a client changes; the other follows."""
    one, several = spec.get("clusterIP"), spec.get("clusterIPs")
    if one != former.get("clusterIP") and several == former.get("clusterIPs"):
        spec["clusterIPs"] = [one] if one else []
    elif not several and one:
        spec["clusterIPs"] = [one]


def assign_addresses(service: JsonObject, others: Callable[[], Iterable[JsonObject]]) -> None:
    """Give the Service a cluster address and node ports as far as its type has them and it has none.

    Raises:
        Invalid: it asks for an address that is taken or outside of the network.
    """
    spec = service["spec"]
    if not _wants_address(spec):
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(field, None)
        return
    _agree(service, spec)
    wanted = spec.get("clusterIP")
    if wanted and wanted != _NONE:
        _check_address(service, wanted, others)
    elif not wanted:
        taken = {value_at(other, "spec", "clusterIP") for other in others()}
        wanted = next(str(address) for address in _free_addresses() if str(address) not in taken)
    spec["clusterIP"] = wanted
    spec["clusterIPs"] = [wanted]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    _assign_node_ports(spec, others)


def _free_addresses() -> Iterable[IPv4Address]:
    first = int(SERVICE_NETWORK.network_address) + _RESERVED
    return (IPv4Address(number) for number in range(first, int(SERVICE_NETWORK.broadcast_address)))


def _agree(service: JsonObject, spec: JsonObject) -> None:
    """The one address and the list of addresses must say the same."""
    one, several = spec.get("clusterIP"), spec.get("clusterIPs")
    if not several or several[0] == one:
        return
    told = "first value must match `clusterIP`" if one else "must be empty when `clusterIP` is not specified"
    raise _refused(service, "spec.clusterIPs", several, told)


def _refused(service: JsonObject, field: str, value: object, why: str) -> Invalid:
    message = f"Invalid value: {encode_json(value).decode()}: {why}"
    return Invalid.of(SERVICES, name_of(service), [Cause("FieldValueInvalid", field, message)])


def _check_address(service: JsonObject, wanted: str, others: Callable[[], Iterable[JsonObject]]) -> None:
    uid = value_at(service, "metadata", "uid")
    try:
        inside = IPv4Address(wanted) in SERVICE_NETWORK
    except ValueError:
        told = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        raise _refused(service, "spec.clusterIPs[0]", wanted, told) from None
    why = ""
    if not inside:
        why = "the provided network does not match the current range"
    elif any(
        value_at(other, "spec", "clusterIP") == wanted and value_at(other, "metadata", "uid") != uid
        for other in others()
    ):
        why = "provided IP is already allocated"
    if why:
        raise _refused(service, "spec.clusterIPs", [wanted], f"failed to allocate IP {wanted}: {why}")


def _assign_node_ports(spec: JsonObject, others: Callable[[], Iterable[JsonObject]]) -> None:
    if not _wants_node_ports(spec):
        return
    lacking = [port for port in items_of(spec.get("ports")) if not port.get("nodePort")]
    if not lacking:
        return
    taken = {port.get("nodePort") for other in others() for port in items_of(value_at(other, "spec", "ports"))}
    taken |= {port.get("nodePort") for port in items_of(spec.get("ports"))}
    free = (number for number in NODE_PORTS if number not in taken)
    for port in lacking:
        port["nodePort"] = next(free)


def _wants_address(spec: JsonObject) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName")


def _wants_node_ports(spec: JsonObject) -> bool:
    if spec.get("type") == "LoadBalancer":
        return bool(spec.get("allocateLoadBalancerNodePorts", True))
    return bool(spec.get("type") == "NodePort")

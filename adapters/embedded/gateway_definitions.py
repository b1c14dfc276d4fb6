"""Definitions of the Gateway API: HTTPRoute, GRPCRoute, Gateway, GatewayClass and ReferenceGrant, as far as traffic is divided
by them.

What decides where requests go has its types, limits and defaults, and fields that a release or channel does not know are
dropped as an API server drops them; what is not about that is taken as it comes. The rules that the real definitions write in
CEL are not here. As there, lists are atomic, but for headers, which are told by their names. Source: the reference of
`gateway.networking.k8s.io`.
"""

from __future__ import annotations

from enum import StrEnum

from adapters.embedded.json_objects import JsonObject

GATEWAY_GROUP = "gateway.networking.k8s.io"
ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")
_ANYTHING: JsonObject = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: JsonObject = {"type": "string"}
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_GROUP: JsonObject = {"type": "string", "maxLength": 253, "pattern": f"^$|^{_DOMAIN}$"}
_KIND: JsonObject = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"}
_NAMESPACE: JsonObject = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": f"^{_LABEL}$"}
_SECTION: JsonObject = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": f"^{_DOMAIN}$"}
_HOST: JsonObject = {**_SECTION, "pattern": rf"^(\*\.)?{_DOMAIN}$"}
_TOKEN = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"
_DURATION: JsonObject = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}


_APPROVED = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2466"}
"""An API server takes no definition of a group of Kubernetes' own without it."""


class GatewayChannel(StrEnum):
    """Which fields the definitions have."""

    OLD = "old"
    """The standard channel of release 1.2 and before: a mirror gets all requests."""
    STANDARD = "standard"
    """The standard channel since 1.3: a mirror may get a share."""
    EXPERIMENTAL = "experimental"
    """With sessionPersistence."""


def gateway_definitions(channel: GatewayChannel = GatewayChannel.EXPERIMENTAL) -> list[JsonObject]:
    """The CustomResourceDefinitions."""
    return [
        _definition("HTTPRoute", ("v1", "v1beta1"), _route_spec(_http_rules(channel)), _route_status()),
        _definition("GRPCRoute", ("v1",), _route_spec(_grpc_rules(channel)), _route_status()),
        _definition("Gateway", ("v1", "v1beta1"), _gateway_spec(), _ANYTHING, short="gtw"),
        _definition("GatewayClass", ("v1", "v1beta1"), _ANYTHING, _ANYTHING, short="gc", plural="gatewayclasses"),
        _definition("ReferenceGrant", ("v1beta1", "v1"), _grant_spec(), None, short="refgrant"),
    ]


def _definition(
    kind: str,
    versions: tuple[str, ...],
    spec: JsonObject,
    status: JsonObject | None,
    *,
    short: str = "",
    plural: str = "",
) -> JsonObject:
    singular = kind.lower()
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural or f"{singular}s", "singular": singular}
    properties = {"spec": spec} | ({"status": status} if status is not None else {})
    schema = {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": properties}}
    more: JsonObject = {"subresources": {"status": {}}} if status is not None else {}
    served = [{"name": one, "served": True, "storage": one == versions[0], "schema": schema, **more} for one in versions]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GATEWAY_GROUP}", "annotations": _APPROVED},
        "spec": {
            "group": GATEWAY_GROUP,
            "scope": "Cluster" if kind == "GatewayClass" else "Namespaced",
            "names": {**names, "shortNames": [short]} if short else names,
            "versions": served,
        },
    }


# --- routes ------------------------------------------------------------------------------------------------------------


def _object(properties: JsonObject, *required: str) -> JsonObject:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(items: JsonObject, most: int, *, by: str = "", least: int = 0) -> JsonObject:
    made: JsonObject = {"type": "array", "items": items, "maxItems": most} | ({"minItems": least} if least else {})
    how = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [by]} if by else {"x-kubernetes-list-type": "atomic"}
    return made | how


def _one_of(*values: str, default: str = "") -> JsonObject:
    return {"type": "string", "enum": list(values), **({"default": default} if default else {})}


def _port() -> JsonObject:
    return {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65_535}


def _parent() -> JsonObject:
    properties = {
        "group": {**_GROUP, "default": GATEWAY_GROUP},
        "kind": {**_KIND, "default": "Gateway"},
        "namespace": _NAMESPACE,
        "name": {"type": "string", "minLength": 1, "maxLength": 253},
        "sectionName": _SECTION,
        "port": _port(),
    }
    return _object(properties, "name")


def _route_spec(rules: JsonObject) -> JsonObject:
    return _object({"parentRefs": _list(_parent(), 32), "hostnames": _list(_HOST, 16), "rules": rules})


def _backend(**more: JsonObject) -> JsonObject:
    properties = {
        "group": {**_GROUP, "default": ""},
        "kind": {**_KIND, "default": "Service"},
        "namespace": _NAMESPACE,
        "name": {"type": "string", "minLength": 1, "maxLength": 253},
        "port": _port(),
        **more,
    }
    return _object(properties, "name")


def _weighted(kinds: tuple[str, ...], channel: GatewayChannel) -> JsonObject:
    weight = {"type": "integer", "format": "int32", "default": 1, "minimum": 0, "maximum": 1_000_000}
    return _list(_backend(weight=weight, filters=_list(_filter(kinds, channel), 16)), 16)


_HTTP_FILTERS = (
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
)
_GRPC_FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef")


def _filter(kinds: tuple[str, ...], channel: GatewayChannel) -> JsonObject:
    mirror: JsonObject = {"backendRef": _backend()}
    if channel is not GatewayChannel.OLD:
        number = {"type": "integer", "format": "int32", "minimum": 0}
        denominator = {"type": "integer", "format": "int32", "minimum": 1, "default": 100}
        mirror["percent"] = {**number, "maximum": 100}
        mirror["fraction"] = _object({"numerator": number, "denominator": denominator}, "numerator")
    properties = {
        "type": _one_of(*kinds),
        "requestMirror": _object(mirror, "backendRef"),
        **dict.fromkeys(("requestHeaderModifier", "responseHeaderModifier", "extensionRef"), _ANYTHING),
        **(dict.fromkeys(("requestRedirect", "urlRewrite", "cors"), _ANYTHING) if "URLRewrite" in kinds else {}),
    }
    return _object(properties, "type")


def _named_value(longest: int) -> JsonObject:
    kind = _one_of("Exact", "RegularExpression", default="Exact")
    name = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": _TOKEN}
    value = {"type": "string", "minLength": 1, "maxLength": longest}
    return _object({"type": kind, "name": name, "value": value}, "name", "value")


def _rule(matches: JsonObject, kinds: tuple[str, ...], channel: GatewayChannel) -> JsonObject:
    properties: JsonObject = {
        "matches": matches,
        "filters": _list(_filter(kinds, channel), 16),
        "backendRefs": _weighted(kinds, channel),
    }
    if channel is not GatewayChannel.OLD:
        properties["name"] = _SECTION
    if channel is GatewayChannel.EXPERIMENTAL:
        properties["retry"] = _ANYTHING
        cookie = _object({"lifetimeType": _one_of("Permanent", "Session", default="Session")})
        properties["sessionPersistence"] = _object(
            {
                "sessionName": {"type": "string", "maxLength": 128},
                "absoluteTimeout": _DURATION,
                "idleTimeout": _DURATION,
                "type": _one_of("Cookie", "Header", default="Cookie"),
                "cookieConfig": cookie,
            }
        )
    return _object(properties)


def _http_rules(channel: GatewayChannel) -> JsonObject:
    path = {
        "type": "object",
        "default": {"type": "PathPrefix", "value": "/"},
        "properties": {
            "type": _one_of("Exact", "PathPrefix", "RegularExpression", default="PathPrefix"),
            "value": {"type": "string", "maxLength": 1_024, "default": "/"},
        },
    }
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
    headers, parameters = (_list(_named_value(longest), 16, by="name") for longest in (4_096, 1_024))
    match = _object({"path": path, "headers": headers, "queryParams": parameters, "method": _one_of(*methods)})
    anything = {"path": {"type": "PathPrefix", "value": "/"}}
    rule = _rule({**_list(match, 64), "default": [anything]}, _HTTP_FILTERS, channel)
    rule["properties"] |= {"timeouts": _object({"request": _DURATION, "backendRequest": _DURATION})}
    return {**_list(rule, 16, least=1), "default": [{"matches": [anything]}]}


def _grpc_rules(channel: GatewayChannel) -> JsonObject:
    name = {"type": "string", "maxLength": 1_024}
    method = _object({"type": _one_of("Exact", "RegularExpression", default="Exact"), "service": name, "method": name})
    match = _object({"method": method, "headers": _list(_named_value(4_096), 16, by="name")})
    return _list(_rule(_list(match, 64), _GRPC_FILTERS, channel), 16)


def _route_status() -> JsonObject:
    condition = _object(
        {
            "type": _TEXT,
            "status": _one_of("True", "False", "Unknown"),
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": _TEXT,
            "reason": {"type": "string", "minLength": 1},
            "message": _TEXT,
        },
        *("lastTransitionTime", "message", "reason", "status", "type"),
    )
    conditions = _list(condition, 8, by="type", least=1)
    properties = {"parentRef": _parent(), "controllerName": _TEXT, "conditions": conditions}
    parent = _object(properties, "conditions", "controllerName", "parentRef")
    return _object({"parents": _list(parent, 32)}, "parents")


# --- the other kinds ---------------------------------------------------------------------------------------------------


def _gateway_spec() -> JsonObject:
    listener = _object({"name": _SECTION, "port": _port(), "protocol": _TEXT, "hostname": _HOST}, "name", "port", "protocol")
    listener["x-kubernetes-preserve-unknown-fields"] = True
    listeners = _list(listener, 64, by="name", least=1)
    return {**_ANYTHING, "required": ["gatewayClassName"], "properties": {"gatewayClassName": _TEXT, "listeners": listeners}}


def _grant_spec() -> JsonObject:
    origin = _object({"group": _TEXT, "kind": _TEXT, "namespace": _TEXT}, "group", "kind", "namespace")
    goal = _object({"group": _TEXT, "kind": _TEXT, "name": _TEXT}, "group", "kind")
    return _object({"from": _list(origin, 16, least=1), "to": _list(goal, 16, least=1)}, "from", "to")

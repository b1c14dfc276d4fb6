"""What the Service of one version takes over from the root Service, in whose place it is called. Pure.

From the first write of a route to the last all traffic goes to the Services of both versions, also at 0 %. So what the root
Service tells those who carry requests has to be told there too: the protocol that pods speak, limits, plugins that ask for a
login, ports whose bytes are to be left alone. It is taken over by a list of what is known to be read there, and never all of it:
other annotations make a DNS name, a load balancer or a certificate for whatever Service has them, or say who has applied it and
may remove it again.

Sources: what each project reads of Services. Contour (`internal/annotation`), Kong (`internal/annotations`), both HAProxy
controllers (`annotations.md`, `keys.md`), Traefik's providers of Ingresses and of the Gateway API, Linkerd's policy controller
(`outbound/index.rs`), Istio (`annotations.yaml`, and the labels of its ambient mode), Kuma's ServiceValidator, ingress-gce
(`pkg/annotations`), the AWS Load Balancer Controller (`annotations.md`), Gloo's service converters, Kubernetes' topology hints.
"""

from __future__ import annotations

import copy

from adapters.kubernetes.templates import JsonObject

_ANNOTATIONS = (
    "projectcontour.io/",
    "konghq.com/",
    "haproxy.org/",
    "haproxy.com/",
    "haproxy-ingress.github.io/",
    "ingress.kubernetes.io/",  # Kong's service-upstream, and the older name of both of HAProxy's.
    "traefik.ingress.kubernetes.io/service.",
    "traefik.io/service.",
    "config.linkerd.io/",
    "balancer.linkerd.io/",
    "balancer.alpha.linkerd.io/",
    "retry.linkerd.io/",
    "timeout.linkerd.io/",
    "networking.istio.io/",
    "alb.ingress.kubernetes.io/",
    "cloud.google.com/app-protocols",  # Not cloud.google.com/neg, which may name what there can be only one of.
    "cloud.google.com/backend-config",
    "beta.cloud.google.com/backend-config",
    "service.alpha.kubernetes.io/app-protocols",
    "service.kubernetes.io/topology-",
    "gloo.solo.io/h2_service",
    "gloo.solo.io/upstream_config",
)
"""How the names begin of what is read by those who carry requests."""
_KUMA = ".service.kuma.io/protocol"
"""And how one ends, which begins with the number of a port."""

_LABELS = ("istio.io/use-waypoint", "istio.io/ingress-use-waypoint")
"""Istio's ambient mode is told by labels which proxy has to see a Service's requests, and with it which policies they meet."""

_PORT_FIELDS = ("name", "port", "protocol", "targetPort", "appProtocol")

_SPEC_FIELDS = ("sessionAffinity", "sessionAffinityConfig", "trafficDistribution", "ipFamilies", "ipFamilyPolicy")
"""How requests find a pod, as far as a version can keep it. Not `internalTrafficPolicy`: few pods are not on every node, and none
is asked on another one. Not `publishNotReadyAddresses`: a version is sent to pods that are ready. And nothing of what makes a
Service reachable from outside, or is its own: its type, addresses and node ports."""


def carried_metadata(root: JsonObject) -> dict[str, dict[str, str]]:
    """The root Service's annotations and labels that belong to its traffic."""
    annotations, labels = root["metadata"].get("annotations") or {}, root["metadata"].get("labels") or {}
    return {
        "annotations": {key: value for key, value in annotations.items() if key.startswith(_ANNOTATIONS) or key.endswith(_KUMA)},
        "labels": {key: value for key, value in labels.items() if key.startswith(_LABELS)},
    }


def carried_spec(root: JsonObject) -> JsonObject:
    """All of its spec that belongs to its traffic, but its selector."""
    spec = root["spec"]
    ports = [{key: port[key] for key in _PORT_FIELDS if key in port} for port in spec["ports"]]
    return {"ports": ports, **{name: copy.deepcopy(spec[name]) for name in _SPEC_FIELDS if name in spec}}

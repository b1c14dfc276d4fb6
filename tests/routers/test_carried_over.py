"""What the Service of one version takes over from the root Service, and what it must not."""

from __future__ import annotations

import pytest

from adapters.kubernetes.templates import JsonObject
from adapters.routers.carried_over import carried_metadata, carried_spec
from tests.builders import service


def root(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> JsonObject:
    body: JsonObject = service()
    body["metadata"] |= {"annotations": annotations} if annotations else {}
    body["metadata"] |= {"labels": labels} if labels else {}
    return body


@pytest.mark.parametrize(
    "name",
    [
        "projectcontour.io/upstream-protocol.h2c",
        "projectcontour.io/max-connections",
        "konghq.com/plugins",
        "konghq.com/upstream-policy",
        "ingress.kubernetes.io/service-upstream",
        "haproxy.org/server-ssl",
        "haproxy.com/server-proto",
        "haproxy-ingress.github.io/backend-protocol",
        "traefik.ingress.kubernetes.io/service.serversscheme",
        "traefik.io/service.nativelb",
        "config.linkerd.io/opaque-ports",
        "balancer.linkerd.io/failure-accrual",
        "retry.linkerd.io/http",
        "timeout.linkerd.io/response",
        "networking.istio.io/exportTo",
        "networking.istio.io/traffic-distribution",
        "8080.service.kuma.io/protocol",
        "cloud.google.com/app-protocols",
        "cloud.google.com/backend-config",
        "alb.ingress.kubernetes.io/auth-type",
        "gloo.solo.io/h2_service",
        "service.kubernetes.io/topology-mode",
    ],
)
def test_what_is_told_to_those_who_carry_requests_is_taken_over(name: str) -> None:
    assert carried_metadata(root({name: "any"}))["annotations"] == {name: "any"}


@pytest.mark.parametrize(
    "name",
    [
        "external-dns.alpha.kubernetes.io/hostname",
        "service.beta.kubernetes.io/aws-load-balancer-type",
        "service.beta.kubernetes.io/azure-load-balancer-internal",
        "service.beta.openshift.io/serving-cert-secret-name",
        "service.kubernetes.io/tcp-forwarding-rule",
        "networking.gke.io/load-balancer-type",
        "cloud.google.com/neg",
        "cloud.google.com/neg-status",
        "metallb.universe.tf/loadBalancerIPs",
        "service.cilium.io/global",
        "mirror.linkerd.io/remote-svc-fq-name",
        "consul.hashicorp.com/service-sync",
        "getambassador.io/config",
        "gloo.solo.io/scrape-openapi-source",
        "argocd.argoproj.io/tracking-id",
        "kustomize.toolkit.fluxcd.io/prune",
        "meta.helm.sh/release-name",
        "helm.sh/hook",
        "kubectl.kubernetes.io/last-applied-configuration",
        "prometheus.io/scrape",
        "headgate.dev/rollout",
        "projectcontour.io.example.com/any",
        "plain",
    ],
)
def test_what_would_make_something_or_names_an_owner_is_not(name: str) -> None:
    assert carried_metadata(root({name: "any"}))["annotations"] == {}


def test_of_labels_only_those_that_choose_a_proxy_are_taken_over() -> None:
    names = ("istio.io/use-waypoint", "istio.io/use-waypoint-namespace", "istio.io/ingress-use-waypoint")
    waypoints = dict.fromkeys(names, "any")
    others = {"app": "web", "app.kubernetes.io/managed-by": "Helm", "mirror.linkerd.io/exported": "true"}
    assert carried_metadata(root(labels={**waypoints, **others}))["labels"] == waypoints
    assert carried_metadata(root()) == {"annotations": {}, "labels": {}}


def test_how_requests_find_a_pod_is_taken_over_and_nothing_that_is_the_root_services_own() -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]
    flows = {
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "trafficDistribution": "PreferClose",
        "ipFamilies": ["IPv6", "IPv4"],
        "ipFamilyPolicy": "RequireDualStack",
    }
    own = {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.20",
        "clusterIPs": ["10.96.0.20"],
        "externalIPs": ["192.0.2.1"],
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30_001,
        "loadBalancerClass": "example.com/any",
        "internalTrafficPolicy": "Local",
        "publishNotReadyAddresses": True,
    }
    body = root()
    body["spec"] |= {**flows, **own, "ports": [{**ports[0], "nodePort": 30_000}]}
    assert carried_spec(body) == {"ports": ports, **flows}

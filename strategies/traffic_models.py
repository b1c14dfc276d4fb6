"""How a deploy file says which traffic objects move traffic, as pydantic models: every field, its type and what it means.

The shape only; what the parts mean together is checked on the tree of the file, by `strategies.traffic_checks`.
"""

from __future__ import annotations

from pydantic import Field

from strategies.field_types import (
    ADDITION,
    DeployModel,
    Duration,
    Name,
    ObjectName,
    Port,
    ServiceName,
    Text,
    Weight,
    WithoutTraffic,
    WithoutTrafficWord,
)
from strategies.gateway_models import GatewayApi
from strategies.router_models import Custom, IngressNginx, StickySession, Traefik


class Smi(DeployModel):
    """A canary by a TrafficSplit of the Service Mesh Interface, for example with Linkerd."""

    root_service_name: ServiceName = Field(
        description="The Service that clients call. Its selector says which Deployment is meant.", examples=["web"]
    )
    canary_service_name: ServiceName | None = Field(
        default=None,
        description=(
            "A Service of yours for the new version: used and put back, never deleted. Without it, "
            "`<rootServiceName>-canary` is created and removed again."
        ),
        examples=["web-canary"],
    )
    stable_service_name: ServiceName | None = Field(
        default=None,
        description="The name of the Service for the version that serves now. Without it, `<rootServiceName>-stable`.",
        examples=["web-stable"],
        json_schema_extra=ADDITION,
    )
    traffic_split_name: ObjectName | None = Field(
        default=None, description="The name of the TrafficSplit. Without it, `<rootServiceName>`.", examples=["web"]
    )
    matches: list[ObjectName] | None = Field(
        default=None,
        min_length=1,
        description="HTTPRouteGroups (`specs.smi-spec.io`), live or among the manifests: only requests that fit one of them are "
        "split. All others go to the root Service. Needs a mesh that serves TrafficSplit v1alpha3 or v1alpha4; Linkerd does not.",
        examples=[["beta-users"]],
        json_schema_extra=ADDITION,
    )


class TlsRoute(DeployModel):
    """A tls route of a VirtualService, told by what it matches."""

    port: Port | None = Field(default=None, description="The port that it matches.", examples=[443])
    sni_hosts: list[Name] | None = Field(
        default=None, min_length=1, description="All SNI hosts that it matches.", examples=[["web.example.com"]]
    )


class TcpRoute(DeployModel):
    """A tcp route of a VirtualService, told by what it matches."""

    port: Port = Field(description="The port that it matches.", examples=[5432])


class VirtualService(DeployModel):
    """Your Istio VirtualService. In each named route, the share of the version that serves now is divided; other
    destinations keep theirs."""

    name: ObjectName = Field(description="The name of the VirtualService.", examples=["web"])
    http_route_name: Name | None = Field(
        default=None,
        description="The http route to edit. Not needed when there is only one. Without it, and with `tlsRoutes` or "
        "`tcpRoutes`, no http route is edited.",
    )
    tls_routes: list[TlsRoute] | None = Field(
        default=None, min_length=1, description="The tls routes to edit.", json_schema_extra=ADDITION
    )
    tcp_routes: list[TcpRoute] | None = Field(
        default=None, min_length=1, description="The tcp routes to edit.", json_schema_extra=ADDITION
    )


class DestinationRule(DeployModel):
    """Your Istio DestinationRule. During a rollout its subsets are pinned on one version each, by
    `pod-template-hash`."""

    name: ObjectName = Field(description="The name of the DestinationRule.", examples=["web"])
    active_subset_name: Name | None = Field(
        default=None, description="The subset that serves now. Not needed when there is only one."
    )
    canary_subset_name: Name | None = Field(
        default=None, description="The subset for the new version; it need not exist. Without it, `canary`."
    )


class Istio(DeployModel):
    """A canary by Istio. The versions are told apart by the subsets of a DestinationRule, or by two Services."""

    virtual_service: VirtualService = Field(description="The VirtualService whose weights are edited.")
    destination_rule: DestinationRule | None = Field(
        default=None, description="The DestinationRule whose subsets are edited. Needed unless two Services are named."
    )
    stable_service_name: ServiceName | None = Field(
        default=None,
        description="Instead of `destinationRule`: your Service for the version that serves now, which the "
        "VirtualService names as a host.",
        examples=["web-stable"],
        json_schema_extra=ADDITION,
    )
    canary_service_name: ServiceName | None = Field(
        default=None,
        description="Instead of `destinationRule`: your Service for the new version.",
        examples=["web-canary"],
        json_schema_extra=ADDITION,
    )
    sticky_session: StickySession | None = Field(
        default=None, description="Whether clients stay with the version that has answered them.", json_schema_extra=ADDITION
    )


class KubernetesServices(DeployModel):
    """The Services of a blue/green strategy."""

    active_service: ServiceName = Field(description="The Service that clients call.", examples=["web"])
    preview_service: ServiceName | None = Field(
        default=None, description="Another Service, which shows the new version only.", examples=["web-preview"]
    )


class EffectCheck(DeployModel):
    """Measures, after each weight, what clients really get: a weight that nobody obeys (no proxy beside the callers, a
    controller that is missing) stops the rollout."""

    canary_requests: Text = Field(
        description="A query for the number of requests that the new version has answered in the window, with the variables of "
        "`queryTemplate`.",
        examples=['increase(requests_total{replicaset="{{armory.replicaSetName}}"})'],
    )
    all_requests: Text = Field(
        description="A query for the number of requests that both versions have answered in the window.",
        examples=["increase(requests_total)"],
    )
    metric_provider_name: Name | None = Field(
        default=None,
        description="The metric provider of both queries. Without it, `analysis.defaultMetricProviderName`.",
        examples=["prometheus"],
    )
    tolerance: Weight = Field(
        default=500,
        description=(
            "How far the new version's share may be from the asked one, in percentage points as `setWeight` takes them, beside "
            "what chance explains (three standard errors of so many requests). Without it, 5."
        ),
        examples=[2],
    )
    least_requests: int = Field(
        default=100, ge=1, description="With fewer requests in the window there is nothing to judge by.", examples=[100]
    )
    interval: Duration | None = Field(
        default=None, description="The window: the last so many seconds since the weight was set. Without it, 10 seconds."
    )
    timeout: Duration | None = Field(
        default=None,
        description=(
            "How long the share may take to come within the tolerance, before the rollout is undone. Without it, 2 minutes."
        ),
    )
    without_traffic: WithoutTrafficWord = Field(
        default=WithoutTraffic.FAIL,
        description=(
            "What follows where there were too few requests, or no answer of the provider, until the end: `fail` undoes the "
            "rollout, `pass` goes on."
        ),
    )


class TrafficManagement(DeployModel):
    """How traffic is moved. Targets without any of it move traffic by the number of pods of each version."""

    targets: list[Name] | None = Field(
        default=None, min_length=1, description="The targets that this is for. Without it, all.", examples=[["prod"]]
    )
    smi: list[Smi] | None = Field(
        default=None, min_length=1, description="TrafficSplits of the Service Mesh Interface, one per Service."
    )
    istio: list[Istio] | None = Field(
        default=None, min_length=1, description="Your Istio VirtualServices, whose weights are edited and put back in the end."
    )
    gateway_api: list[GatewayApi] | None = Field(
        default=None,
        min_length=1,
        description="HTTPRoutes and GRPCRoutes of the Gateway API: your own, which are edited and put back in the end, or made "
        "for the time of a rollout.",
        json_schema_extra=ADDITION,
    )
    ingress_nginx: list[IngressNginx] | None = Field(
        default=None,
        min_length=1,
        description="Your Ingresses of ingress-nginx, each with a canary Ingress beside it for the time of a rollout.",
        json_schema_extra=ADDITION,
    )
    traefik: list[Traefik] | None = Field(
        default=None,
        min_length=1,
        description="Your weighted TraefikServices, whose lists are edited and put back in the end.",
        json_schema_extra=ADDITION,
    )
    custom: list[Custom] | None = Field(
        default=None,
        min_length=1,
        description="Objects of any other kind that say two weights, by JSON pointers to them.",
        json_schema_extra=ADDITION,
    )
    effect: EffectCheck | None = Field(
        default=None,
        description="Measures after each weight whether the traffic has really moved. For an entry of one traffic object.",
        json_schema_extra=ADDITION,
    )
    kubernetes: list[KubernetesServices] | None = Field(
        default=None, min_length=1, description="Services of blue/green strategies; canaries do not use them."
    )

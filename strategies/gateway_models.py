"""How a deploy file names routes of the Gateway API, as pydantic models.

The shape only; what the parts mean together is checked on the tree of the file, by `strategies.gateway_checks`.
"""

from __future__ import annotations

from pydantic import Field

from strategies.field_types import (
    ADDITION,
    DeployModel,
    HostName,
    KubernetesName,
    Name,
    ObjectName,
    ParentKind,
    ParentKindWord,
    Port,
    ServiceName,
)
from strategies.router_models import CANARY_SERVICE, ROOT_SERVICE, STABLE_SERVICE, StickySession


class GatewayParent(DeployModel):
    """What a route is attached to: a Gateway, or a Service whose callers are in a mesh."""

    kind: ParentKindWord = Field(default=ParentKind.GATEWAY, description="What kind it is of.", examples=["Service"])
    name: ObjectName = Field(description="Its name.", examples=["web"])
    namespace: KubernetesName | None = Field(default=None, description="Its namespace. Without it, the target's.")
    section_name: Name | None = Field(default=None, description="The listener of the Gateway. Without it, all that fit.")
    port: Port | None = Field(default=None, description="The port of it that is meant. Without it, all.")


class GatewayRoute(DeployModel):
    """One HTTPRoute or GRPCRoute: your own, or, with `parents`, one that is made for the rollout and removed in the end."""

    name: ObjectName = Field(description="The name of the route.", examples=["web"], json_schema_extra=ADDITION)
    rule_name: Name | None = Field(
        default=None,
        description="The name of the only rule of your route that is divided. Without it, all that name the root Service are. "
        "Other rules that name it lead to the pods of both versions meanwhile.",
        examples=["main"],
        json_schema_extra=ADDITION,
    )
    parents: list[GatewayParent] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="What the route is attached to, for one that is made. It stands only for the time of a rollout, so behind a "
        "Gateway you will mostly want to name your own route instead.",
        json_schema_extra=ADDITION,
    )
    hostnames: list[HostName] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Which hosts of a Gateway the route is for, for one that is made. Without it, all.",
        examples=[["shop.example.com"]],
        json_schema_extra=ADDITION,
    )
    port: Port | None = Field(
        default=None,
        description="The port of the root Service, for a route that is made. Not needed where the Service has only one.",
        json_schema_extra=ADDITION,
    )


class GatewayApi(DeployModel):
    """A canary by the Gateway API: by weights in the rules of an HTTPRoute or a GRPCRoute. A weight counts when the route's
    status says that it was taken up."""

    http_route: GatewayRoute | None = Field(
        default=None, description="The HTTPRoute. Either this or `grpcRoute`.", json_schema_extra=ADDITION
    )
    grpc_route: GatewayRoute | None = Field(
        default=None, description="The GRPCRoute. Either this or `httpRoute`.", json_schema_extra=ADDITION
    )
    root_service_name: ServiceName = Field(
        description=f"The Service that the rules of your route name, or that is called, for a route that is made. {ROOT_SERVICE}",
        examples=["web"],
        json_schema_extra=ADDITION,
    )
    canary_service_name: ServiceName | None = Field(default=None, description=CANARY_SERVICE, json_schema_extra=ADDITION)
    stable_service_name: ServiceName | None = Field(default=None, description=STABLE_SERVICE, json_schema_extra=ADDITION)
    sticky_session: StickySession | None = Field(
        default=None,
        description="Lets clients stay with the version that has answered them, the old one or the new one, by the "
        "sessionPersistence of the Gateway API's experimental channel. Where the cluster does not know it, it is refused before "
        "anything is changed.",
        json_schema_extra=ADDITION,
    )

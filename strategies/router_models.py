"""How a deploy file names Ingresses, TraefikServices and objects of any other kind, and clients that stay, as pydantic models.

The shape only; what the parts mean together is checked on the tree of the file, by `strategies.router_checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from strategies.field_types import ADDITION, DeployModel, Duration, Name, ObjectName, ServiceName, sentence
from strategies.json_pointers import check_pointer
from strategies.suggestions import quote

MOST_TOTAL = 1_000_000


def _require_pointer(value: str) -> str:
    if wrong := check_pointer(value):
        raise sentence(f"is {quote(value)}, which {wrong}")
    return value


def _require_scalar(value: object) -> object:
    if isinstance(value, dict | list):
        raise sentence("is a list or a mapping; expected text, a number, true or false")
    return value


JsonPointer: TypeAlias = Annotated[
    str, AfterValidator(_require_pointer), WithJsonSchema({"type": "string", "format": "json-pointer", "pattern": "^/"})
]
Scalar: TypeAlias = Annotated[
    Any, BeforeValidator(_require_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]

STABLE_SERVICE = "The name of the Service for the version that serves now. Without it, `<rootServiceName>-stable`."
CANARY_SERVICE = (
    "A Service of yours for the new version: used and put back, never deleted. Without it, `<rootServiceName>-canary` is created "
    "and removed again."
)
ROOT_SERVICE = "Its selector says which Deployment is meant. It is never edited."


class IngressNginx(DeployModel):
    """A canary by ingress-nginx: a canary Ingress beside your own, which names the old version's Service meanwhile."""

    ingress_name: ObjectName = Field(
        description="Your Ingress (networking.k8s.io/v1). Wherever it names the root Service, it names the stable one for the "
        "time of a rollout; it is put back as it was found.",
        examples=["web"],
        json_schema_extra=ADDITION,
    )
    root_service_name: ServiceName = Field(
        description=f"The Service that your Ingress names. {ROOT_SERVICE}", examples=["web"], json_schema_extra=ADDITION
    )
    canary_ingress_name: ObjectName | None = Field(
        default=None,
        description="The name of the canary Ingress, which is made for the rollout and removed again. Without it, "
        "`<ingressName>-canary`.",
        examples=["web-canary"],
        json_schema_extra=ADDITION,
    )
    canary_service_name: ServiceName | None = Field(default=None, description=CANARY_SERVICE, json_schema_extra=ADDITION)
    stable_service_name: ServiceName | None = Field(default=None, description=STABLE_SERVICE, json_schema_extra=ADDITION)


class StickySession(DeployModel):
    """Clients that the new version has answered by its weight stay with it, by a cookie of this rollout. Who comes often is drawn
    often, so the new version's share of all requests grows beyond its weight as time goes by."""

    cookie_name: Name = Field(description="The name of the cookie.", examples=["web-version"])
    max_age: Duration | None = Field(
        default=None, description="How long a client stays after it was drawn; 1 second or more. Without it, a day."
    )


class Traefik(DeployModel):
    """A canary by the weights of your own TraefikService, which are put back in the end."""

    traefik_service_name: ObjectName = Field(
        description="Your TraefikService (traefik.io/v1alpha1, or the older group traefik.containo.us). The part that the root "
        "Service has in its `spec.weighted.services` is divided; other Services keep theirs.",
        examples=["web"],
        json_schema_extra=ADDITION,
    )
    root_service_name: ServiceName = Field(
        description=f"The Service whose part of the list is divided. {ROOT_SERVICE}", examples=["web"], json_schema_extra=ADDITION
    )
    canary_service_name: ServiceName | None = Field(default=None, description=CANARY_SERVICE, json_schema_extra=ADDITION)
    stable_service_name: ServiceName | None = Field(default=None, description=STABLE_SERVICE, json_schema_extra=ADDITION)
    sticky_session: StickySession | None = Field(
        default=None,
        description="Lets clients stay with the version that has answered them, the old one or the new one, for the time of the "
        "rollout.",
        json_schema_extra=ADDITION,
    )


class Accepted(DeployModel):
    """What the object's status has to say before a weight counts."""

    pointer: JsonPointer = Field(
        description="Where it says so.", examples=["/status/conditions/0/status"], json_schema_extra=ADDITION
    )
    value: Scalar = Field(description="What has to stand there.", examples=["True"], json_schema_extra=ADDITION)


class Custom(DeployModel):
    """A canary by two weights in any object, of a mesh or gateway that Headgate has no router for. JSON pointers (RFC 6901) say
    where they stand."""

    api_version: Name = Field(
        description="The object's group and version.", examples=["networking.example.com/v1"], json_schema_extra=ADDITION
    )
    kind: Name = Field(description="Its kind, which the cluster serves.", examples=["WeightedRoute"], json_schema_extra=ADDITION)
    name: ObjectName = Field(
        description="Its name. It is yours, and its leaves are put back in the end; with `template` it is made for the rollout.",
        examples=["web"],
        json_schema_extra=ADDITION,
    )
    root_service_name: ServiceName = Field(
        description=f"The Service that clients call, or that your object names. {ROOT_SERVICE}",
        examples=["web"],
        json_schema_extra=ADDITION,
    )
    stable_weight: JsonPointer = Field(
        description="Where the weight of the version that serves now stands.",
        examples=["/spec/routes/0/weight"],
        json_schema_extra=ADDITION,
    )
    canary_weight: JsonPointer = Field(
        description="Where the weight of the new version stands; it has to be 0 between rollouts.",
        examples=["/spec/routes/1/weight"],
        json_schema_extra=ADDITION,
    )
    total: int = Field(
        default=100,
        ge=1,
        le=MOST_TOTAL,
        description="What both weights add up to. A weight is the nearest whole number of it, and never all of it before 100 %.",
        examples=[10_000],
        json_schema_extra=ADDITION,
    )
    stable_service: JsonPointer | None = Field(
        default=None,
        description="Where the Service of the version that serves now is named. Needed unless there is a `template`.",
        examples=["/spec/routes/0/service"],
        json_schema_extra=ADDITION,
    )
    canary_service: JsonPointer | None = Field(
        default=None,
        description="Where the new version's Service is named. Needed unless there is a `template`, or the object names your own "
        "Service for the new version (`canaryServiceName`).",
        examples=["/spec/routes/1/service"],
        json_schema_extra=ADDITION,
    )
    accepted: Accepted | None = Field(
        default=None,
        description="What the status has to say before a weight counts, within `deploymentConfig.timeout`.",
        json_schema_extra=ADDITION,
    )
    observed_generation: JsonPointer | None = Field(
        default=None,
        description="Where the status says which generation it speaks of. A weight counts when that is the object's own.",
        examples=["/status/observedGeneration"],
        json_schema_extra=ADDITION,
    )
    template: dict[str, Any] | None = Field(
        default=None,
        description="The object itself, as plain YAML: made when the rollout begins and removed at its end. Weights and Services "
        "are written where the pointers say, so something has to stand there.",
        json_schema_extra=ADDITION,
    )
    canary_service_name: ServiceName | None = Field(default=None, description=CANARY_SERVICE, json_schema_extra=ADDITION)
    stable_service_name: ServiceName | None = Field(default=None, description=STABLE_SERVICE, json_schema_extra=ADDITION)

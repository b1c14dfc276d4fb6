"""The steps that single out requests, as a deploy file writes them: header routes and mirrors, and what a request is told by.

The shape only; what the parts mean together is checked on the tree of the file, by `strategies.traffic_step_checks`. Where a list
may stand for one, `strategies.tolerated` has made a list of it before a file is read by these models.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from strategies.field_types import DeployModel, Name, Text, Weight

_EXACT = "All of the value, with its case."
_PREFIX = "What the value begins with."
_REGEX = "A regular expression that all of the value has to match, as the router's proxies read it: for Envoy's that is RE2."


def _one_or_several(schema: dict[str, Any]) -> None:
    """In the file one may stand without a list around it."""
    listed = next(option for option in schema.pop("anyOf") if option.get("type") == "array")
    schema["anyOf"] = [listed["items"], listed, {"type": "null"}]


class HeaderOrCookie(DeployModel):
    """A header or a cookie of a request: its name, and exactly one of `exact`, `prefix` and `regex`."""

    name: Name = Field(description="The name of the header, whatever its case, or of the cookie.", examples=["x-user"])
    exact: Text | None = Field(default=None, description=_EXACT, examples=["anna"])
    prefix: Text | None = Field(default=None, description=_PREFIX, examples=["beta-"])
    regex: Text | None = Field(default=None, description=_REGEX, examples=["(anna|ben)"])


class PathMatch(DeployModel):
    """The path of a request, without its query: exactly one of `exact`, `prefix` and `regex`. With gRPC, the service's name."""

    exact: Text | None = Field(default=None, description=_EXACT, examples=["/checkout"])
    prefix: Text | None = Field(default=None, description=_PREFIX, examples=["/v2/"])
    regex: Text | None = Field(default=None, description=_REGEX, examples=["/users/[0-9]+"])


class RequestMatch(DeployModel):
    """Requests that fit all of what is given here; at least one field."""

    header: list[HeaderOrCookie] | None = Field(
        default=None,
        min_length=1,
        description="A header, or a list of headers that have to match all.",
        examples=[{"name": "x-user", "exact": "anna"}],
        json_schema_extra=_one_or_several,
    )
    cookie: list[HeaderOrCookie] | None = Field(
        default=None,
        min_length=1,
        description="A cookie, or a list of cookies that have to match all.",
        examples=[{"name": "beta", "exact": "always"}],
        json_schema_extra=_one_or_several,
    )
    path: PathMatch | None = Field(
        default=None, description="The path.", examples=[{"prefix": "/v2/"}]
    )
    method: Name | None = Field(
        default=None,
        description="The HTTP method, in capitals. With gRPC, the name of the method.",
        examples=["GET"],
    )


class SetHeaderRouteStep(DeployModel):
    """Sends the requests that fit to the new version, whatever the weight; until another `setHeaderRoute` of the same name, or
    until all traffic is the new version's. Several routes are asked in the order in which they were set."""

    name: Name = Field(
        description="What the route is called, so that a later step can change it or take it away.", examples=["beta"]
    )
    match: list[RequestMatch] | None = Field(
        default=None,
        min_length=1,
        description="Requests that fit any of these. Without it, the route of this name is taken away.",
        examples=[[{"header": {"name": "x-user", "exact": "anna"}}]],
    )


class SetMirrorStep(DeployModel):
    """Sends copies of this share of all requests to the new version, whose answers nobody gets; until another `setMirror`, or
    until all traffic is the new version's. What a copy does (an order, a mail) is done twice."""

    weight: Weight = Field(
        description="The share of requests that are copied, in percent as in `setWeight`. 0 ends it.", examples=[10]
    )

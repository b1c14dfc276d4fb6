"""What the doctor says of routes of the Gateway API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from adapters.doctor.findings import Level
from adapters.embedded.gateway_definitions import GATEWAY_GROUP, gateway_definitions
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.linkerd_definitions import service_profile_definition
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from engine.model import TargetPlan
from engine.traffic import GatewayParent
from tests.builders import gateway_route, target_plan
from tests.doctor.test_examining import Patient, patient
from tests.rollouts.routed import backend_ref, gateway, http_route, parent, path_match, rule

OWN = target_plan(route=gateway_route())
ONE_RULE = target_plan(route=gateway_route(rule="main"))
MADE = target_plan(route=gateway_route("made", parents=[GatewayParent("Service", "web")]))
FAR = target_plan(route=gateway_route("made", parents=[GatewayParent("Gateway", "far", "gates")]))


def said(route: JsonObject, *conditions: tuple[str, str], generation: int = 1, at: JsonObject | None = None) -> JsonObject:
    """The route with a controller's verdict on it."""
    written = [
        {
            "type": kind,
            "status": status,
            "observedGeneration": generation,
            "reason": "Because",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind, status in conditions
    ]
    parents = [{"parentRef": at or parent(), "controllerName": "a/b", "conditions": written}]
    return {**route, "status": {"parents": parents}}


FINE = (("Accepted", "True"), ("ResolvedRefs", "True"))


@asynccontextmanager
async def behind(*bodies: JsonObject) -> AsyncIterator[Patient]:
    async with patient() as one:
        one.install()
        for definition in gateway_definitions():
            one.storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        one.create("Gateway", {"metadata": gateway()["metadata"], "spec": gateway()["spec"]})
        for body in bodies:
            one.create(body["kind"], {key: body[key] for key in ("metadata", "spec")})
            if "status" in body:
                kind = next(each for each in one.storage.registry.kinds() if each.kind == body["kind"])
                live = one.storage.get(kind, "shop", body["metadata"]["name"])
                one.storage.update(kind, {**live, "status": body["status"]}, subresource="status")
        yield one


@pytest.mark.parametrize(
    ("bodies", "plan", "texts"),
    [
        (
            [said(http_route(), *FINE)],
            OWN,
            ["HTTPRoute web leads to Service web in 1 rule", "HTTPRoute web is accepted at Gateway shop"],
        ),
        ([], MADE, ["HTTPRoute made can be made"]),
    ],
    ids=["the user's own", "one that is made"],
)
async def test_all_is_well_and_the_printed_role_is_enough(bodies: list[JsonObject], plan: TargetPlan, texts: list[str]) -> None:
    async with behind(*bodies) as one:
        assert await one.texts(Level.PROBLEM, plan) == []
        assert set(texts) <= set(await one.texts(Level.OK, plan))
        (role,) = (await one.examination.roles([plan]))["embedded"]
        one.embedded.server.access.restrict([role])
        assert await one.texts(Level.PROBLEM, plan) == []
        assert set(texts) <= set(await one.texts(Level.OK, plan))


async def test_the_account_serves_what_is_usable() -> None:
    async with behind() as one:
        assert "serves Gateway API routes (v1, v1beta1)" in await one.texts(Level.OK, OWN)


@pytest.mark.parametrize(
    ("bodies", "plan", "problem"),
    [
        ([], OWN, "there is no HTTPRoute web; make it, or add it to the manifests"),
        ([said(http_route(rule(backend_ref("legacy"))), *FINE)], OWN, "HTTPRoute web does not name the Service web in any rule"),
        ([http_route()], OWN, "no controller says anything of HTTPRoute web"),
        ([said(http_route(), ("Accepted", "False"))], OWN, "leads nowhere: HTTPRoute web at Gateway shop: a/b says Accepted"),
        ([said(http_route(), FINE[0], ("ResolvedRefs", "False"))], OWN, "a/b says ResolvedRefs False (Because)"),
        ([http_route(name="made")], MADE, "there is a HTTPRoute made already"),
        ([http_route(parents=[parent("Service", "web")])], MADE, "HTTPRoute web is for Service web already"),
        ([], FAR, "there is no Gateway gates/far, which the route is attached to"),
        (
            [said(http_route(rule(backend_ref(), backend_ref("there", namespace="far"))), *FINE)],
            OWN,
            "no ReferenceGrant of namespace far lets HTTPRoutes of shop name its Service there",
        ),
    ],
)
async def test_what_would_be_refused_is_a_problem(bodies: list[JsonObject], plan: TargetPlan, problem: str) -> None:
    async with behind(*bodies) as one:
        assert any(problem in text for text in await one.texts(Level.PROBLEM, plan))


async def test_a_cluster_without_the_gateway_api_is_told() -> None:
    async with patient() as one:
        one.install()
        assert any("the cluster serves no HTTPRoute" in text for text in await one.texts(Level.PROBLEM, OWN))


async def test_linkerds_profile_is_a_problem_of_a_route_whose_parent_is_its_service() -> None:
    async with behind(said(http_route(parents=[parent("Service", "web")]), *FINE, at=parent("Service", "web"))) as one:
        one.storage.create(CUSTOM_RESOURCE_DEFINITIONS, service_profile_definition())
        one.create("ServiceProfile", {"metadata": {"name": "web.shop.svc.cluster.local", "namespace": "shop"}, "spec": {}})
        problems = await one.texts(Level.PROBLEM, OWN)
        assert any("ServiceProfile web.shop.svc.cluster.local outranks all routes of Service web" in text for text in problems)


def other_rules() -> Sequence[JsonObject]:
    return (rule(name="main"), rule(name="other", matches=[path_match("/other")]))


async def test_rules_that_are_left_out_and_parents_that_do_not_matter_are_told() -> None:
    body = http_route(*other_rules(), parents=[parent(), parent(name="old")])
    refused = {**said(body, ("Accepted", "False"), at=parent(name="old"))}
    both = [*said(body, *FINE)["status"]["parents"], *refused["status"]["parents"]]
    async with behind({**body, "status": {"parents": both}}) as one:
        warnings = await one.texts(Level.WARNING, ONE_RULE)
        assert any("1 other rules of HTTPRoute web lead to Service web too" in text for text in warnings)
        notes = await one.texts(Level.NOTE, ONE_RULE)
        assert any("HTTPRoute web is not accepted at Gateway old, so no traffic comes by it" in text for text in notes)


async def test_a_stale_status_is_a_warning() -> None:
    async with behind(said(http_route(), *FINE, generation=0)) as one:
        warnings = await one.texts(Level.WARNING, OWN)
        assert any("not everybody has taken up HTTPRoute web as it is now" in text for text in warnings)


async def test_a_grant_lets_a_route_name_a_service_of_another_namespace() -> None:
    body = said(http_route(rule(backend_ref(), backend_ref("there", namespace="far"))), *FINE)
    async with behind(body) as one:
        one.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far"}})
        grant = {
            "from": [{"group": GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service"}],
        }
        one.create("ReferenceGrant", {"metadata": {"name": "any", "namespace": "far"}, "spec": grant})
        with anyio.fail_after(5):
            assert "a ReferenceGrant lets HTTPRoutes of shop name Service far/there" in await one.texts(Level.OK, OWN)

"""What the doctor says of Istio's objects: whether edits of them will have an effect, and the one that is meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.doctor.findings import Level
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import NAMESPACES
from engine.model import TargetPlan
from engine.traffic import RoutePlan
from tests.builders import istio_route, target_plan
from tests.doctor.test_examining import Patient, patient
from tests.rollouts.istio_objects import FULL_NAME, destination, destination_rule, http_route, virtual_service

PLAN = target_plan(route=istio_route())


@asynccontextmanager
async def meshed(*bodies: JsonObject, proxy: str | None = "istio-proxy") -> AsyncIterator[Patient]:
    async with patient() as one:
        one.install(proxy=proxy)
        for body in bodies or (virtual_service(), destination_rule()):
            one.create(body["kind"], {"metadata": {"name": body["metadata"]["name"]}, "spec": body["spec"]})
        yield one


async def warnings_of_routes(one: Patient, plan: TargetPlan) -> list[str]:
    """Not those of pods: here the Deployment's own have no proxy."""
    return [text for text in await one.texts(Level.WARNING, plan) if "route" in text or "VirtualService" in text]


async def test_all_is_well_and_what_was_looked_at_is_said() -> None:
    async with meshed() as one:
        told = await one.texts(Level.OK, PLAN)
        assert await one.texts(Level.PROBLEM, PLAN) == []
        assert await warnings_of_routes(one, PLAN) == []
        assert "serves Istio VirtualService (v1, v1beta1, v1alpha3)" in told
        assert "VirtualService web directs calls to web" in told
        assert "DestinationRule web tells the versions apart by its subset active" in told


async def test_the_printed_role_names_the_objects_and_is_enough() -> None:
    async with meshed() as one:
        (role,) = (await one.examination.roles([PLAN]))["embedded"]
        named = {rule["resources"][0]: rule for rule in role["rules"] if rule.get("resourceNames") == ["web"]}
        for plural in ("virtualservices", "destinationrules"):
            assert named[plural]["verbs"] == ["get", "patch"]
        one.embedded.server.access.restrict([role])
        assert await one.texts(Level.PROBLEM, PLAN) == []


@pytest.mark.parametrize(
    ("labels", "level", "sentence"),
    [
        ({}, Level.NOTE, "namespace shop does not ask for Istio's proxy"),
        ({"istio-injection": "enabled"}, Level.OK, "Istio injects its proxy into the pods of namespace shop"),
        ({"istio.io/rev": "stable"}, Level.OK, "Istio injects its proxy into the pods of namespace shop"),
        ({"istio.io/dataplane-mode": "ambient"}, Level.WARNING, "where only a waypoint carries out a VirtualService"),
    ],
)
async def test_how_the_namespace_is_joined_to_the_mesh(labels: dict[str, str], level: Level, sentence: str) -> None:
    async with meshed() as one:
        found = one.storage.get(NAMESPACES, None, "shop")
        one.storage.update(NAMESPACES, {**found, "metadata": {**found["metadata"], "labels": labels}})
        assert any(sentence in text for text in await one.texts(level, PLAN))


async def test_pods_without_a_proxy_are_a_problem() -> None:
    async with meshed(proxy=None) as one:
        assert any("no pod in namespace shop carries a mesh proxy" in text for text in await one.texts(Level.PROBLEM, PLAN))


SPEC = virtual_service()["spec"]
HOSTS: list[tuple[JsonObject, Level, str]] = [
    ({"hosts": [FULL_NAME]}, Level.OK, "VirtualService web directs calls to web"),
    ({"hosts": ["*"]}, Level.OK, "VirtualService web directs calls to *"),
    ({"hosts": ["depot"]}, Level.WARNING, "is for depot, and not for web, which it leads to"),
    ({"hosts": ["shop.example.com"]}, Level.NOTE, "is for shop.example.com; only calls to these names are divided"),
    ({"hosts": ["shop.example.com"], "gateways": ["public"]}, Level.NOTE, "directs what comes through public; whoever calls web"),
    ({"hosts": ["web"], "gateways": ["public", "mesh"]}, Level.OK, "VirtualService web directs calls to web"),
]


@pytest.mark.parametrize(("spec", "level", "sentence"), HOSTS)
async def test_whose_calls_are_divided(spec: JsonObject, level: Level, sentence: str) -> None:
    service = {**virtual_service(), "spec": {**SPEC, **spec}}
    async with meshed(service, destination_rule()) as one:
        assert any(sentence in text for text in await one.texts(level, PLAN))


async def test_another_route_that_would_reach_the_new_pods_at_once_is_warned_of() -> None:
    async with meshed(virtual_service(http_route(name="main"), http_route(destination(), name="api")), destination_rule()) as one:
        plan = target_plan(route=istio_route(http_route="main"))
        (said,) = await warnings_of_routes(one, plan)
        assert said.startswith("http route api of VirtualService web names the Service without a subset")
        both = target_plan(routes=[istio_route(http_route="main"), istio_route(http_route="api")])
        assert await warnings_of_routes(one, both) == []


@pytest.mark.parametrize(
    ("bodies", "route", "problem"),
    [
        ([destination_rule()], istio_route(), "there is no VirtualService web; make it, or add it to the manifests"),
        ([virtual_service()], istio_route(), "there is no DestinationRule web; make it, or add it to the manifests"),
        (
            [virtual_service(), destination_rule({"name": "live"})],
            istio_route(),
            "DestinationRule web has no subset active; its subsets are: live",
        ),
        (
            [virtual_service(), destination_rule()],
            istio_route(http_route="api"),
            "the http route api of VirtualService web does not exist",
        ),
    ],
)
async def test_what_is_not_there_is_said(bodies: list[JsonObject], route: RoutePlan, problem: str) -> None:
    async with meshed(*bodies) as one:
        assert problem in await one.texts(Level.PROBLEM, target_plan(route=route))


async def test_what_the_manifests_bring_need_not_be_there() -> None:
    async with patient() as one:
        one.install(proxy="istio-proxy")
        plan = target_plan(route=istio_route(), manifests=[virtual_service(), destination_rule()])
        assert await one.texts(Level.PROBLEM, plan) == []

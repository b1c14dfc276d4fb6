"""What the doctor says of Ingresses, TraefikServices and objects by pointers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from adapters.doctor.findings import Level
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NAMESPACES
from engine.model import TargetPlan
from tests.builders import (
    WEIGHTED_ROUTE,
    custom_route,
    definition,
    deployment,
    ingress_route,
    percent,
    target_plan,
    traefik_route,
)
from tests.doctor.test_examining import Patient, patient
from tests.rollouts.routed import entry, ingress, path, traefik_service, weighted_route
from tests.rollouts.routes_watch import NGINX

INGRESS, TRAEFIK, CUSTOM = (target_plan(route=route) for route in (ingress_route(), traefik_route(), custom_route()))


@asynccontextmanager
async def behind(*bodies: JsonObject) -> AsyncIterator[Patient]:
    async with patient() as one:
        one.install()
        one.storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition("WeightedRoute"))
        for body in bodies:
            one.create(body["kind"], {"metadata": body["metadata"], "spec": body["spec"]})
        yield one


@pytest.mark.parametrize(
    ("body", "plan", "text"),
    [
        (ingress(), INGRESS, "Ingress web leads to Service web"),
        (traefik_service(), TRAEFIK, "TraefikService web leads to Service web"),
        (weighted_route(), CUSTOM, "WeightedRoute web has both weights"),
    ],
)
async def test_all_is_well_and_the_printed_role_is_enough(body: JsonObject, plan: TargetPlan, text: str) -> None:
    async with behind(body) as one:
        assert await one.texts(Level.PROBLEM, plan) == []
        assert text in await one.texts(Level.OK, plan)
        (role,) = (await one.examination.roles([plan]))["embedded"]
        one.embedded.server.access.restrict([role])
        assert await one.texts(Level.PROBLEM, plan) == []
        assert text in await one.texts(Level.OK, plan)


OTHER_CANARY = ingress(path("/", "beta"), name="theirs", annotations={f"{NGINX}canary": "true", f"{NGINX}canary-weight": "1"})
UNKNOWN = target_plan(route=custom_route(replace(WEIGHTED_ROUTE, kind="HeavyRoute")))


@pytest.mark.parametrize(
    ("bodies", "plan", "problem"),
    [
        ([], INGRESS, "there is no Ingress web; make it, or add it to the manifests"),
        ([ingress(path("/", "legacy"))], INGRESS, "Ingress web does not name the Service web"),
        ([ingress(), OTHER_CANARY], INGRESS, "Ingress theirs is a canary beside Ingress web already"),
        ([], TRAEFIK, "there is no TraefikService web; make it, or add it to the manifests"),
        ([traefik_service(entry("legacy"))], TRAEFIK, "TraefikService web does not name the Service web"),
        ([], CUSTOM, "there is no WeightedRoute web; make it, or add it to the manifests"),
        ([weighted_route({"service": "web", "weight": 1})], CUSTOM, "/spec/backends/1/weight leads nowhere"),
        ([], UNKNOWN, "the cluster serves no HeavyRoute (sea.example.com/v1)"),
    ],
)
async def test_what_would_be_refused_is_a_problem(bodies: list[JsonObject], plan: TargetPlan, problem: str) -> None:
    async with behind(*bodies) as one:
        assert any(problem in text for text in await one.texts(Level.PROBLEM, plan))


async def test_what_leads_around_the_ingress_and_who_stays_at_a_cookie_is_told() -> None:
    sticky = ingress(annotations={f"{NGINX}affinity": "cookie"})
    async with behind(sticky, ingress(name="other")) as one:
        warnings = await one.texts(Level.WARNING, INGRESS)
        leak = "Ingress other leads to Service web too, so it reaches the new version's pods at once"
        assert any(leak in text for text in warnings)
        assert any("the class nginx of Ingress web is not there" in text for text in warnings)
        assert any("Ingress web keeps clients by a cookie" in text for text in await one.texts(Level.NOTE, INGRESS))


@pytest.mark.parametrize(
    ("version", "level", "text"),
    [
        ("", Level.NOTE, "weights finer than 1 % need ingress-nginx 1.7 or newer: an older one takes them for much more; which"),
        ("1.6.4", Level.PROBLEM, "here is 1.6.4"),
        ("1.12.1", Level.OK, "ingress-nginx 1.12.1 takes weights of 0.01 %"),
    ],
)
async def test_fine_weights_need_a_young_controller(version: str, level: Level, text: str) -> None:
    labels = {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}
    async with behind(ingress()) as one:
        if version:
            one.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ingress-nginx"}})
            controller = deployment("controller", namespace="ingress-nginx")
            controller["metadata"] = {
                "name": "controller",
                "namespace": "ingress-nginx",
                "labels": {**labels, "app.kubernetes.io/version": version},
            }
            one.storage.create(DEPLOYMENTS, controller)
        plan = target_plan([percent(0.5)], route=ingress_route())
        assert any(text in said for said in await one.texts(level, plan))
        assert not any("finer" in said for said in await one.texts(level, INGRESS))

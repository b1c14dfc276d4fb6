"""The kinds of the Gateway API: kept to their schema, taken up by a controller, and followed by the traffic of a rehearsal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.gateway_controller import CONTROLLER
from adapters.embedded.gateway_definitions import GATEWAY_GROUP, GatewayChannel, gateway_definitions
from adapters.embedded.gateway_traffic import gateway_shares_of
from adapters.embedded.istio_traffic import Share
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.rehearsal import install_previous, wait_until_live
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, SERVICES, Resource
from adapters.embedded.simulated_traffic import SimulatedTraffic
from adapters.embedded.storage import Storage
from engine.clock import SystemClock
from engine.model import ReleasePlan, TargetPlan
from strategies.deployfile import compile_release, load_deploy_file
from tests.builders import gateway_route, service, target_plan
from tests.embedded.api_stand import Api, eventually, new_storage, serve
from tests.rollouts.routed import backend_ref, gateway, http_route, parent, path_match, rule

ROUTES_PATH = f"/apis/{GATEWAY_GROUP}/v1/namespaces/shop/httproutes"
EXAMPLES = Path(__file__).parent.parent.parent / "config" / "examples"


def kind_called(storage: Storage, kind: str) -> Resource:
    return next(one for one in storage.registry.kinds() if one.kind == kind)


# --- the definitions ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(channel: GatewayChannel = GatewayChannel.EXPERIMENTAL) -> AsyncIterator[Api]:
    storage = new_storage()
    storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for definition in gateway_definitions(channel):
        storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
    async with serve(storage) as api:
        yield api


async def test_what_is_left_out_is_filled_in_and_both_versions_show_one_object() -> None:
    body = http_route({"backendRefs": [{"name": "web", "port": 80}]}, parents=[{"name": "shop"}])
    async with serving() as api:
        assert (await api.post(ROUTES_PATH, body)).status == 201
        older = await api.get(f"{ROUTES_PATH.replace('/v1/', '/v1beta1/')}/web")
        assert older.json["spec"] == http_route()["spec"]


REFUSED: list[tuple[JsonObject, str]] = [
    (http_route(rule(backend_ref(weight=1_000_001))), "should be less than or equal to 1000000"),
    (http_route(rule(backend_ref(weight=-1))), "should be greater than or equal to 0"),
    (http_route(*(rule(matches=[path_match(f"/{number}")]) for number in range(17))), "must have at most 16 items"),
    (http_route(rule(matches=[path_match(f"/{number}") for number in range(65)])), "must have at most 64 items"),
    (http_route(rule(*(backend_ref(f"web-{number}") for number in range(17)))), "must have at most 16 items"),
    (http_route(rule(matches=[path_match("/", "Prefix")])), "supported values"),
    (http_route(rule(filters=[{"type": "RequestMirror", "requestMirror": {"percent": 5}}])), "backendRef"),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSED)
async def test_what_the_real_definitions_refuse_is_refused(body: JsonObject, sentence: str) -> None:
    async with serving() as api:
        answer = await api.post(ROUTES_PATH, body)
        assert answer.status == 422
        assert sentence in str(answer.json)


@pytest.mark.parametrize(
    ("channel", "known"),
    [
        (GatewayChannel.OLD, set()),
        (GatewayChannel.STANDARD, {"name", "percent"}),
        (GatewayChannel.EXPERIMENTAL, {"name", "percent", "sessionPersistence"}),
    ],
)
async def test_fields_that_a_channel_does_not_know_are_dropped_without_an_error(channel: GatewayChannel, known: set[str]) -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web", "port": 80}, "percent": 5}}
    body = http_route(rule(name="main", filters=[mirror], sessionPersistence={"sessionName": "a"}))
    async with serving(channel) as api:
        assert (await api.post(ROUTES_PATH, body)).status == 201
        (found,) = (await api.get(f"{ROUTES_PATH}/web")).json["spec"]["rules"]
        told = {name for name in ("name", "sessionPersistence") if name in found}
        told |= {"percent"} & set(found["filters"][0]["requestMirror"])
        assert told == known


# --- the controller ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def taking_up() -> AsyncIterator[EmbeddedCluster]:
    numbers = count(1)
    running = run_embedded_cluster(
        SystemClock(), lambda: f"uid-{next(numbers)}", gateway_channel=GatewayChannel.EXPERIMENTAL, takes_up_routes=True
    )
    async with running as cluster:
        for name in ("shop", "far"):
            cluster.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.storage.create(SERVICES, service())
        cluster.storage.create(kind_called(cluster.storage, "Gateway"), gateway())
        yield cluster


def verdicts(cluster: EmbeddedCluster) -> dict[str, list[tuple[str, str, int]]]:
    """Status, reason and generation of each condition, by parent."""
    found = cluster.storage.find(kind_called(cluster.storage, "HTTPRoute"), "shop", "web")
    parents = ((found or {}).get("status") or {}).get("parents") or []
    assert all(one["controllerName"] == CONTROLLER for one in parents)
    return {
        one["parentRef"]["name"]: [(each["status"], each["reason"], each["observedGeneration"]) for each in one["conditions"]]
        for one in parents
    }


FINE = [("True", "Accepted", 1), ("True", "ResolvedRefs", 1)]


async def test_of_a_parent_that_is_not_there_nothing_is_said_until_it_is() -> None:
    async with taking_up() as cluster:
        routes = kind_called(cluster.storage, "HTTPRoute")
        cluster.storage.create(routes, http_route(parents=[parent(), parent(name="later"), parent("Service", "web")]))
        await eventually(lambda: verdicts(cluster) == {"shop": FINE, "web": FINE})
        cluster.storage.create(kind_called(cluster.storage, "Gateway"), gateway("later"))
        await eventually(lambda: set(verdicts(cluster)) == {"shop", "later", "web"})


async def test_a_missing_service_and_one_that_nobody_allows_are_told_and_so_is_their_coming() -> None:
    async with taking_up() as cluster:
        storage = cluster.storage
        body = http_route(rule(backend_ref(), backend_ref("there", namespace="far")))
        storage.create(kind_called(storage, "HTTPRoute"), body)
        await eventually(lambda: verdicts(cluster).get("shop", [])[1:] == [("False", "RefNotPermitted", 1)])
        grant = {
            "from": [{"group": GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service", "name": "there"}],
        }
        metadata = {"name": "any", "namespace": "far"}
        kind = kind_called(storage, "ReferenceGrant")
        storage.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": grant})
        await eventually(lambda: verdicts(cluster)["shop"][1:] == [("False", "BackendNotFound", 1)])
        storage.create(SERVICES, service("there", namespace="far"))
        await eventually(lambda: verdicts(cluster)["shop"] == FINE)


async def test_a_listener_that_is_not_there_is_told() -> None:
    async with taking_up() as cluster:
        body = http_route(parents=[parent(sectionName="https")])
        cluster.storage.create(kind_called(cluster.storage, "HTTPRoute"), body)
        await eventually(lambda: verdicts(cluster).get("shop", [])[:1] == [("False", "NoMatchingParent", 1)])


async def test_a_controller_that_speaks_as_linkerd_says_no_generation_and_calls_the_group_of_services_core() -> None:
    async with taking_up() as cluster:
        assert cluster.gateway is not None
        cluster.gateway.speaks_as_linkerd = True
        routes, reference = kind_called(cluster.storage, "HTTPRoute"), parent("Service", "web", port=80)
        cluster.storage.create(routes, http_route(parents=[reference, parent()]))
        await eventually(lambda: "status" in cluster.storage.get(routes, "shop", "web"))
        told = cluster.storage.get(routes, "shop", "web")
        mesh, gateway_told = told["status"]["parents"]
        assert mesh["parentRef"] == {**reference, "group": "core", "namespace": "shop"}
        assert [(one["type"], one["status"], "observedGeneration" in one) for one in mesh["conditions"]] == [
            ("Accepted", "True", False),
            ("ResolvedRefs", "True", False),
        ]
        assert all(one["observedGeneration"] == 1 for one in gateway_told["conditions"])


# --- rehearsals --------------------------------------------------------------------------------------------------------


def counted(page: str) -> dict[str, float]:
    """Requests by the Service that was called."""
    found: dict[str, float] = {}
    for called, value in re.findall(r'service="([^"]+)".*code_class="2xx"} (\S+)', page):
        found[called] = found.get(called, 0.0) + float(value)
    return found


@pytest.mark.parametrize("at", ["a Gateway", "a Service"])
async def test_the_traffic_of_a_rehearsal_follows_the_route(at: str) -> None:
    async with taking_up() as cluster:
        storage = cluster.storage
        plan = target_plan(route=gateway_route())
        install_previous(cluster, plan)
        await wait_until_live(cluster, SystemClock())
        traffic = SimulatedTraffic(storage)
        for side in ("stable", "canary"):
            body = service(f"web-{side}", app="web")
            body["spec"]["selector"]["pod-template-hash"] = "x" if side == "canary" else _hash(storage)  # type: ignore[index]
            storage.create(SERVICES, body)
        routes = kind_called(storage, "HTTPRoute")
        found = storage.get(routes, "shop", "web")
        found["spec"]["rules"][0]["backendRefs"] = [backend_ref("web-stable", 3), backend_ref("web-canary", 1)]
        found["spec"]["parentRefs"] = [parent() if at == "a Gateway" else parent("Service", "web")]
        storage.update(routes, found)
        assert gateway_shares_of(storage, "shop", "web") == [Share("web-stable", 3.0), Share("web-canary", 1.0)]
        before = counted(traffic.render())
        await eventually(lambda: counted(traffic.render())["web"] > before["web"])
        after = counted(traffic.render())
        assert after.get("web-stable") == before.get("web-stable"), "nobody calls one version's Service by itself"


def _hash(storage: Storage) -> str:
    (found,) = storage.list(kind_called(storage, "ReplicaSet"), "shop")
    return str(found["metadata"]["labels"]["pod-template-hash"])


def target_of(name: str) -> TargetPlan:
    plan = compile_release(load_deploy_file(EXAMPLES / name))
    assert isinstance(plan, ReleasePlan)
    return plan.targets[0]


async def test_what_an_example_relies_on_is_there_and_taken_up_before_its_rehearsal() -> None:
    async with taking_up() as cluster:
        target = target_of("canary-gateway-api.yaml")
        install_previous(cluster, target)
        await wait_until_live(cluster, SystemClock())
        routes = kind_called(cluster.storage, "HTTPRoute")

        def is_accepted() -> bool:
            found = cluster.storage.get(routes, target.namespace, "web")
            parents = (found.get("status") or {}).get("parents") or []
            return bool(parents) and all(one["status"] == "True" for each in parents for one in each["conditions"])

        await eventually(is_accepted)

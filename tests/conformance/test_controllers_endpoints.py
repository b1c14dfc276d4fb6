"""Endpoints and EndpointSlices: which pods a Service finds, in which state, under which ports, and in how many slices."""

from __future__ import annotations

import asyncio

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance import stand as k8s
from tests.conformance.stand import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, HASH, PODS, REPLICA_SETS, SERVICES, Stand

PUBLISHED = (True, True, False)
NOT_READY = (False, False, False)
LEAVING = (False, True, True)
"""(ready, serving, terminating)."""


async def slices_of(stand: Stand, name: str = "web") -> list[JsonObject]:
    return await stand.list_all(ENDPOINT_SLICES, f"kubernetes.io/service-name={name}")


async def endpoints_of(stand: Stand, name: str = "web") -> dict[str, tuple[bool, bool, bool]]:
    """By the name of the pod."""
    found = {}
    for one in await slices_of(stand, name):
        for endpoint in one["endpoints"] or ():
            conditions = endpoint["conditions"]
            state = (conditions["ready"], conditions["serving"], conditions["terminating"])
            found[endpoint["targetRef"]["name"]] = state
    return found


async def addresses_of(stand: Stand, name: str = "web") -> tuple[set[str], set[str]]:
    """Of the Endpoints object: (names of ready pods, of pods that are not)."""
    found = await stand.find(ENDPOINTS, name) or {}
    ready, unready = set(), set()
    for subset in found.get("subsets") or ():
        ready |= {one["targetRef"]["name"] for one in subset.get("addresses") or ()}
        unready |= {one["targetRef"]["name"] for one in subset.get("notReadyAddresses") or ()}
    return ready, unready


async def until_endpoints(stand: Stand, wanted: dict[str, tuple[bool, bool, bool]], name: str = "web") -> None:
    async def so() -> bool:
        return await endpoints_of(stand, name) == wanted

    await stand.until(so, f"the endpoints of {name} are {wanted}")


async def until_addresses(stand: Stand, ready: set[str], unready: set[str], name: str = "web") -> None:
    async def so() -> bool:
        return await addresses_of(stand, name) == (ready, unready)

    await stand.until(so, f"{name} has the addresses of {ready}, and of {unready} that are not ready")


async def test_a_service_publishes_the_pods_that_its_selector_finds(stand: Stand) -> None:
    await stand.live(2)
    made = await stand.create(SERVICES, {**k8s.service(), "metadata": {"name": "web", "labels": {"team": "blue"}}})
    names = k8s.names(await stand.pods())
    await until_endpoints(stand, dict.fromkeys(names, PUBLISHED))
    await until_addresses(stand, names, set())
    (one,) = await slices_of(stand)
    assert one["metadata"]["generateName"] == "web-"
    assert one["metadata"]["labels"] == {
        "team": "blue", "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }  # fmt: skip
    assert k8s.owners(one) == [{
        "apiVersion": "v1", "kind": "Service", "name": "web", "uid": made["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }]  # fmt: skip
    assert (one["addressType"], one["ports"]) == ("IPv4", [{"name": "http", "port": 8080, "protocol": "TCP"}])
    pods = {pod["metadata"]["name"]: pod for pod in await stand.pods()}
    for endpoint in one["endpoints"]:
        pod = pods[endpoint["targetRef"]["name"]]
        assert endpoint["addresses"] == [pod["status"]["podIP"]]
        assert endpoint["nodeName"] == pod["spec"]["nodeName"]
        assert endpoint["targetRef"] == {
            "kind": "Pod", "name": pod["metadata"]["name"], "namespace": stand.namespace, "uid": pod["metadata"]["uid"],
        }  # fmt: skip
    endpoints = await stand.get(ENDPOINTS, "web")
    assert endpoints["metadata"]["labels"] == {"team": "blue", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert endpoints["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


async def test_a_pod_that_is_not_ready_is_known_but_not_published(stand: Stand) -> None:
    await stand.live(2)
    await stand.create(SERVICES, k8s.service())
    first, second = sorted(k8s.names(await stand.pods()))
    await until_endpoints(stand, {first: PUBLISHED, second: PUBLISHED})
    await stand.set_pod(first, ready=False)
    await until_endpoints(stand, {first: NOT_READY, second: PUBLISHED})
    await until_addresses(stand, {second}, {first})
    await stand.set_pod(first, ready=True)
    await until_endpoints(stand, {first: PUBLISHED, second: PUBLISHED})
    await until_addresses(stand, {first, second}, set())


async def test_a_pod_that_leaves_serves_on_but_is_no_longer_ready_until_it_has_ended(stand: Stand) -> None:
    """The endpoint goes out of use at once, before the pod ends; it goes away with it. Endpoints has no place for it."""
    body = k8s.pod("leaver", {"app": "web"}, pretend={"terminate-seconds": "3600"})
    await stand.create(PODS, {**body, "spec": {**body["spec"], "terminationGracePeriodSeconds": 3600}})
    await stand.create(PODS, k8s.pod("stayer", {"app": "web"}))
    await stand.create(SERVICES, k8s.service())
    await until_endpoints(stand, {"leaver": PUBLISHED, "stayer": PUBLISHED})
    await stand.delete(PODS, "leaver")
    await until_endpoints(stand, {"leaver": LEAVING, "stayer": PUBLISHED})
    await until_addresses(stand, {"stayer"}, set())
    await stand.delete(PODS, "leaver", gracePeriodSeconds=0)
    await until_endpoints(stand, {"stayer": PUBLISHED})


async def test_unready_pods_are_published_when_the_service_wants_it(stand: Stand) -> None:
    slow = {"boot-seconds": "3600", "terminate-seconds": "3600"}
    await stand.create(PODS, k8s.pod("slow", {"app": "web"}, pretend=slow))
    await stand.create(SERVICES, k8s.service(publishNotReadyAddresses=True))
    await until_endpoints(stand, {"slow": (True, False, False)})
    await until_addresses(stand, {"slow"}, set())
    await stand.delete(PODS, "slow")
    await until_endpoints(stand, {"slow": (True, False, True)})
    await until_addresses(stand, {"slow"}, set())
    await stand.delete(PODS, "slow", gracePeriodSeconds=0)
    await until_endpoints(stand, {})


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_pod_that_has_ended_is_no_endpoint(stand: Stand, phase: str) -> None:
    await stand.create(PODS, k8s.pod("one", {"app": "web"}))
    await stand.create(PODS, k8s.pod("other", {"app": "web"}))
    await stand.create(SERVICES, k8s.service(publishNotReadyAddresses=True))
    await until_endpoints(stand, {"one": PUBLISHED, "other": PUBLISHED})
    await stand.set_pod("one", ready=False, phase=phase)
    await until_endpoints(stand, {"other": PUBLISHED})
    await until_addresses(stand, {"other"}, set())


async def test_a_service_that_pins_a_version_follows_its_selector(stand: Stand) -> None:
    """As the stable and the canary Service do."""
    await stand.live(2)
    await stand.set_image("web:2")
    await stand.complete()
    old, new = await stand.replica_sets()
    await stand.create(SERVICES, k8s.service("pinned", {"app": "web", HASH: old["metadata"]["labels"][HASH]}))
    names = k8s.names(await stand.pods_of(new["metadata"]["name"]))

    async def placeholder() -> bool:
        found = await slices_of(stand, "pinned")
        return len(found) == 1 and not found[0]["endpoints"] and not found[0]["ports"]

    await stand.until(placeholder, "a Service that finds nothing has one slice, which says so")
    await stand.merge(SERVICES, "pinned", {"spec": {"selector": {HASH: new["metadata"]["labels"][HASH]}}})
    await until_endpoints(stand, dict.fromkeys(names, PUBLISHED), "pinned")
    await until_addresses(stand, names, set(), "pinned")
    assert len(await slices_of(stand, "pinned")) == 1
    await stand.merge(SERVICES, "pinned", {"spec": {"selector": {HASH: old["metadata"]["labels"][HASH]}}})
    await until_endpoints(stand, {}, "pinned")
    await until_addresses(stand, set(), set(), "pinned")


async def test_a_service_without_a_selector_keeps_the_endpoints_that_others_gave_it(stand: Stand) -> None:
    await stand.live(1)
    await stand.create(SERVICES, k8s.service())
    names = k8s.names(await stand.pods())
    await until_endpoints(stand, dict.fromkeys(names, PUBLISHED))
    await stand.merge(SERVICES, "web", {"spec": {"selector": None}})
    await stand.create(SERVICES, k8s.service("fence", {"app": "web"}))
    await stand.scale(2)
    await stand.complete()
    everybody = dict.fromkeys(k8s.names(await stand.pods()), PUBLISHED)
    await until_endpoints(stand, everybody, "fence")
    assert await endpoints_of(stand) == dict.fromkeys(names, PUBLISHED), "as they were when it lost its selector"


async def test_a_pod_whose_labels_change_moves_from_one_service_to_another(stand: Stand) -> None:
    await stand.create(PODS, k8s.pod("one", {"app": "web"}))
    await stand.create(SERVICES, k8s.service())
    await stand.create(SERVICES, k8s.service("other"))
    await until_endpoints(stand, {"one": PUBLISHED})
    await stand.merge(PODS, "one", {"metadata": {"labels": {"app": "other"}}})
    await until_endpoints(stand, {})
    await until_endpoints(stand, {"one": PUBLISHED}, "other")


async def test_named_ports_are_what_each_pod_calls_so(stand: Stand) -> None:
    """Two versions that listen on different ports have a slice each, and a subset each."""
    for name, port in (("one", 8080), ("other", 9090)):
        body = k8s.pod(name, {"app": "web"})
        body["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": port}]
        await stand.create(PODS, body)
    nameless = k8s.pod("nameless", {"app": "web"})
    del nameless["spec"]["containers"][0]["ports"]
    await stand.create(PODS, nameless)
    await stand.create(SERVICES, k8s.service())
    await until_endpoints(stand, dict.fromkeys(("one", "other", "nameless"), PUBLISHED))
    await until_addresses(stand, {"one", "other"}, set())
    found = {
        endpoint["targetRef"]["name"]: [port["port"] for port in one["ports"] or ()]
        for one in await slices_of(stand)
        for endpoint in one["endpoints"]
    }
    assert found == {"one": [8080], "other": [9090], "nameless": []}
    subsets = (await stand.get(ENDPOINTS, "web"))["subsets"]
    assert sorted(one["ports"][0]["port"] for one in subsets) == [8080, 9090]


async def test_several_ports_are_in_one_slice_and_a_change_of_them_moves_its_endpoints(stand: Stand) -> None:
    await stand.create(PODS, k8s.pod("one", {"app": "web"}))
    ports = [
        {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"},
        {"name": "metrics", "port": 81, "targetPort": 9090, "protocol": "UDP"},
    ]
    await stand.create(SERVICES, k8s.service(ports=ports))
    await until_endpoints(stand, {"one": PUBLISHED})
    (one,) = await slices_of(stand)
    assert sorted(one["ports"], key=lambda port: str(port["name"])) == [
        {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
        {"name": "metrics", "port": 9090, "protocol": "UDP"},
    ]
    await stand.merge(SERVICES, "web", {"spec": {"ports": [{"port": 80, "targetPort": 7070}]}})

    async def moved() -> bool:
        return [found["ports"] for found in await slices_of(stand)] == [[{"name": "", "port": 7070, "protocol": "TCP"}]]

    await stand.until(moved, "the only slice has the only port")
    await until_endpoints(stand, {"one": PUBLISHED})
    assert (await stand.get(ENDPOINTS, "web"))["subsets"][0]["ports"] == [{"port": 7070, "protocol": "TCP"}]


async def test_a_headless_service_without_ports_publishes_its_pods(stand: Stand) -> None:
    await stand.create(PODS, k8s.pod("one", {"app": "web"}))
    body = k8s.service(clusterIP="None")
    del body["spec"]["ports"]
    await stand.create(SERVICES, body)
    await until_endpoints(stand, {"one": PUBLISHED})
    await until_addresses(stand, {"one"}, set())
    (found,) = await slices_of(stand)
    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert (await stand.get(ENDPOINTS, "web"))["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


async def test_more_than_a_hundred_endpoints_take_several_slices(stand: Stand) -> None:
    await stand.create(SERVICES, k8s.service())
    await stand.create(DEPLOYMENTS, k8s.deployment(replicas=120))
    await stand.complete()

    async def all_published() -> bool:
        found = await endpoints_of(stand)
        return len(found) == 120 and set(found.values()) == {PUBLISHED}

    await stand.until(all_published, "all are published")
    sizes = [len(one["endpoints"]) for one in await slices_of(stand)]
    assert len(sizes) > 1 and max(sizes) <= 100
    assert len((await addresses_of(stand))[0]) == 120
    await stand.scale(0)
    await until_endpoints(stand, {})

    async def one_slice() -> bool:
        return len(await slices_of(stand)) == 1

    await stand.until(one_slice, "one empty slice is left")


async def test_the_endpoints_of_a_deleted_service_go_with_it(stand: Stand) -> None:
    await stand.live(1)
    await stand.create(SERVICES, k8s.service())
    names = k8s.names(await stand.pods())
    await until_endpoints(stand, dict.fromkeys(names, PUBLISHED))
    await stand.delete(SERVICES, "web")
    await stand.gone(ENDPOINTS, "web")

    async def none() -> bool:
        return not await slices_of(stand)

    await stand.until(none, "its slices are collected")
    await stand.create(SERVICES, k8s.service())
    await until_endpoints(stand, dict.fromkeys(names, PUBLISHED))


async def test_a_slice_that_somebody_else_made_for_a_service_is_left_alone(stand: Stand) -> None:
    await stand.live(1)
    await stand.create(SERVICES, k8s.service())
    names = k8s.names(await stand.pods())
    foreign = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }  # fmt: skip
    made = await stand.create(ENDPOINT_SLICES, foreign)
    await stand.scale(2)
    await stand.complete()

    async def two_published() -> bool:
        found = [one for one in await slices_of(stand) if one["metadata"]["name"] != "by-hand"]
        return sum(len(one["endpoints"] or ()) for one in found) == 2

    await stand.until(two_published, "the new pod is published")
    assert await stand.get(ENDPOINT_SLICES, "by-hand") == made
    assert len(names) == 1


async def test_labels_of_the_service_are_those_of_its_endpoints(stand: Stand) -> None:
    await stand.create(SERVICES, k8s.service())
    await stand.create(PODS, k8s.pod("one", {"app": "web"}))
    await until_endpoints(stand, {"one": PUBLISHED})
    await stand.merge(SERVICES, "web", {"metadata": {"labels": {"team": "blue"}}})

    async def labelled() -> bool:
        found = [*await slices_of(stand), await stand.get(ENDPOINTS, "web")]
        return [(one["metadata"].get("labels") or {}).get("team") for one in found] == ["blue", "blue"]

    await stand.until(labelled, "both are labelled")


async def test_a_roll_out_never_leaves_a_service_without_a_ready_endpoint(stand: Stand) -> None:
    await stand.live(2, strategy=k8s.rolling(1, 0))
    await stand.create(SERVICES, k8s.service())
    await until_endpoints(stand, dict.fromkeys(k8s.names(await stand.pods()), PUBLISHED))
    async with stand.recording(ENDPOINT_SLICES) as recording:

        def somebody_serves(found: list[JsonObject]) -> None:
            ready = [e for one in found for e in one["endpoints"] or () if e["conditions"]["ready"]]
            assert ready, "nobody is ready"

        recording.always(somebody_serves)
        await stand.set_image("web:2")
        await stand.complete()
        await until_endpoints(stand, dict.fromkeys(k8s.names(await stand.pods()), PUBLISHED))
        await recording.verify()


async def test_pods_of_a_bare_replica_set_are_found_like_any_others(stand: Stand) -> None:
    """Why the split has to stand before the canary exists: the root Service's selector finds its pods."""
    await stand.live(1)
    await stand.create(SERVICES, k8s.service())
    await stand.create(REPLICA_SETS, k8s.replica_set("bare", replicas=2))
    await stand.available("bare", 2)
    await asyncio.gather(
        until_endpoints(stand, dict.fromkeys(k8s.names(await stand.pods()), PUBLISHED)),
        until_addresses(stand, k8s.names(await stand.pods()), set()),
    )

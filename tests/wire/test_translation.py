"""The judge is right: what objects mean for requests, by the words of Kubernetes, SMI and Istio."""

from __future__ import annotations

from dataclasses import replace

from adapters.embedded.json_objects import JsonObject
from tests.wire.translation import Host, World, share_of, translate

SPACE = "shop"


def service(name: str) -> JsonObject:
    return {"metadata": {"name": name}, "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}


def endpoint_slice(name: str, *endpoints: JsonObject) -> JsonObject:
    labels = {"kubernetes.io/service-name": name}
    return {"metadata": {"name": name, "labels": labels}, "ports": [{"port": 8080}], "endpoints": list(endpoints)}


def endpoint(number: int, *, ready: bool = True) -> JsonObject:
    target = {"kind": "Pod", "name": f"web-{number}"}
    return {"addresses": [f"10.244.0.{number}"], "conditions": {"ready": ready}, "targetRef": target}


def pod(number: int, version: str) -> JsonObject:
    return {"metadata": {"name": f"web-{number}", "labels": {"app": "web", "pod-template-hash": version}}}


def keyed(*objects: JsonObject) -> dict[tuple[str, str], JsonObject]:
    return {(SPACE, one["metadata"]["name"]): one for one in objects}


WORLD = World(
    services=keyed(*(service(name) for name in ("web", "web-stable", "web-canary"))),
    slices=keyed(
        endpoint_slice("web", endpoint(1), endpoint(2), endpoint(3, ready=False)),
        endpoint_slice("web-stable", endpoint(1)),
        endpoint_slice("web-canary", endpoint(2)),
    ),
    pods=keyed(pod(1, "old"), pod(2, "new"), pod(3, "new")),
)
SPLIT: JsonObject = {
    "metadata": {"name": "web"},
    "spec": {
        "service": "web",
        "backends": [{"service": "web-stable", "weight": 999}, {"service": "web-canary", "weight": 1}],
    },
}


def host(world: World, name: str = "web") -> Host:
    return next(one for one in translate(world).hosts if one.name == f"{name}.{SPACE}")


def weights(route: JsonObject) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in route["route"]["weighted_clusters"]["clusters"]}


def virtual_service(*http: JsonObject) -> JsonObject:
    return {"metadata": {"name": "web"}, "spec": {"hosts": ["web"], "http": list(http)}}


def rule(**labels: JsonObject) -> JsonObject:
    subsets = [{"name": name, "labels": one} for name, one in labels.items()]
    return {"metadata": {"name": "web"}, "spec": {"host": "web.shop.svc.cluster.local", "subsets": subsets}}


def to(subset: str, weight: int | None = None) -> JsonObject:
    return {"destination": {"host": "web", "subset": subset}} | ({} if weight is None else {"weight": weight})


def test_a_service_leads_to_its_ready_endpoints() -> None:
    table = translate(WORLD)
    assert table.clusters["web.shop"] == (("10.244.0.1", 8080), ("10.244.0.2", 8080))
    assert {(door.address, door.cluster) for door in table.doors} >= {(("10.96.0.7", 80), "web.shop")}
    (route,) = host(WORLD).routes
    assert weights(route) == {"web.shop": 1}


def test_a_split_of_the_root_service_divides_its_requests_and_those_of_no_other() -> None:
    world = replace(WORLD, splits=keyed(SPLIT))
    (route,) = host(world).routes
    assert weights(route) == {"web-stable.shop": 999, "web-canary.shop": 1}
    (other,) = host(world, "web-canary").routes
    assert weights(other) == {"web-canary.shop": 1}


def test_each_answer_tells_of_the_split_that_it_was_drawn_from() -> None:
    (route,) = host(replace(WORLD, splits=keyed(SPLIT))).routes
    (header,) = route["response_headers_to_add"]
    assert header["header"] == {"key": "x-route", "value": "web-stable=999,web-canary=1"}
    assert share_of(header["header"]["value"], "web-canary") == 0.001
    assert share_of("web=1", "web-canary") is None


def test_without_any_weight_there_is_nowhere_to_go() -> None:
    backends = [{**one, "weight": 0} for one in SPLIT["spec"]["backends"]]
    (route,) = host(replace(WORLD, splits=keyed({**SPLIT, "spec": {"service": "web", "backends": backends}}))).routes
    assert route["direct_response"]["status"] == 503


def test_a_subset_is_the_ready_pods_of_the_host_with_its_labels() -> None:
    rules = keyed(rule(active={"app": "web"}, canary={"pod-template-hash": "new"}))
    services = keyed(virtual_service({"route": [to("active", 3), to("canary", 1)]}))
    world = replace(WORLD, virtual_services=services, rules=rules)
    (route,) = host(world).routes
    assert weights(route) == {"web--active.shop": 3, "web--canary.shop": 1}
    clusters = translate(world).clusters
    assert clusters["web--active.shop"] == (("10.244.0.1", 8080), ("10.244.0.2", 8080))
    assert clusters["web--canary.shop"] == (("10.244.0.2", 8080),)


def test_a_subset_that_does_not_exist_has_no_endpoints() -> None:
    services = keyed(virtual_service({"route": [to("gone")]}))
    world = replace(WORLD, virtual_services=services, rules=keyed(rule(active={"app": "web"})))
    assert translate(world).clusters["web--gone.shop"] == ()


def test_the_first_route_that_matches_counts_and_a_weight_that_is_not_given_among_several_is_none() -> None:
    match = [{"headers": {"x-tester": {"exact": "yes"}}, "uri": {"prefix": "/new"}}, {"uri": {"exact": "/always"}}]
    services = keyed(virtual_service({"match": match, "route": [to("canary")]}, {"route": [to("active", 7), to("canary")]}))
    by_header, by_path, otherwise = host(replace(WORLD, virtual_services=services)).routes
    assert by_header["match"] == {
        "prefix": "/new",
        "headers": [{"name": "x-tester", "string_match": {"exact": "yes"}}],
    }
    assert by_path["match"] == {"path": "/always"}
    assert weights(by_header) == weights(by_path) == {"web--canary.shop": 1}
    assert weights(otherwise) == {"web--active.shop": 7, "web--canary.shop": 0}


def test_a_mirror_gets_its_share_of_copies() -> None:
    mirror = {"destination": {"host": "web", "subset": "canary"}, "percentage": {"value": 12.5}}
    services = keyed(virtual_service({"route": [to("active")], "mirrors": [mirror]}))
    (route,) = host(replace(WORLD, virtual_services=services)).routes
    (policy,) = route["route"]["request_mirror_policies"]
    assert policy["cluster"] == "web--canary.shop"
    assert policy["runtime_fraction"]["default_value"] == {"numerator": 125_000, "denominator": "MILLION"}

"""What Envoy is told, without an Envoy: names, checks, and the one virtual host per service."""

import pytest

from adapters.dataplane.envoy_configuration import MeshConfiguration, cluster, route_table, statistics_name
from adapters.dataplane.envoy_errors import EnvoyError, InvalidConfiguration


def test_a_split_root_has_weighted_clusters_and_every_other_service_its_own() -> None:
    mesh = MeshConfiguration().with_endpoints("web", [("127.0.0.1", 8080)])
    mesh = mesh.with_split("web", [("web-stable", 9999), ("web-canary", 1)])

    hosts = {host["name"]: host["routes"][0]["route"] for host in route_table(mesh)["virtual_hosts"]}

    assert hosts["web"] == {
        "weighted_clusters": {"clusters": [{"name": "web-stable", "weight": 9999}, {"name": "web-canary", "weight": 1}]}
    }
    assert hosts["web-stable"] == {"cluster": "web-stable"}
    assert hosts["web-canary"] == {"cluster": "web-canary"}


def test_a_service_lives_as_long_as_anything_names_it() -> None:
    mesh = MeshConfiguration().with_endpoints("web-canary", []).with_split("web", [("web-canary", 1)])
    assert mesh.without_service("web-canary").services() == ("web", "web-canary")
    assert mesh.without_service("web-canary").without_split("web").services() == ()


def test_no_service_has_a_dot_in_its_statistics() -> None:
    assert statistics_name("web") == "web"
    assert statistics_name("web.prod") == "prod/web"
    assert cluster("web.prod", "/somewhere")["alt_stat_name"] == "prod/web"


@pytest.mark.parametrize("name", ["", "Web", "web_1", "-web", "web-", "a.b.c", "web.", "web prod", "../web", "w" * 64])
def test_what_is_not_a_service_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfiguration, match="is not a service name"):
        MeshConfiguration().with_endpoints(name, [])


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (("localhost", 80), "'localhost' is not an IP address"),
        (("10.0.0.256", 80), "is not an IP address"),
        (("127.0.0.1", 0), "port 0 is not between 1 and 65535"),
        (("127.0.0.1", 65536), "port 65536 is not between 1 and 65535"),
    ],
)
def test_what_is_not_an_endpoint_is_refused(endpoint: tuple[str, int], message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        MeshConfiguration().with_endpoints("web", [endpoint])


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        ([], "add up to 0"),
        ([("web-stable", 0), ("web-canary", 0)], "add up to 0"),
        ([("web-stable", 2**32 - 1), ("web-canary", 1)], "add up to 4294967296"),
        ([("web-stable", 101), ("web-canary", -1)], "the weight of 'web-canary' is -1"),
        ([("web-stable", 1), ("web-stable", 1)], "named twice"),
        ([("Web", 1)], "is not a service name"),
    ],
)
def test_what_is_not_a_split_is_refused(backends: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message) as refusal:
        MeshConfiguration().with_split("web", backends)
    assert isinstance(refusal.value, EnvoyError)
    assert isinstance(refusal.value, ValueError)

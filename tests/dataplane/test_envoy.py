"""The mesh: what was asked for is what the users get, and changing it costs none of them a request."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from adapters.dataplane.applications import Application
from adapters.dataplane.envoy import Envoy
from adapters.dataplane.envoy_configuration import Endpoint
from adapters.dataplane.envoy_errors import ConfigurationNotApplied, InvalidConfiguration
from adapters.dataplane.load import LoadGenerator
from tests.dataplane.conftest import StartPods
from tests.dataplane.waiting import until

pytestmark = pytest.mark.envoy


def addresses(pods: Sequence[Application]) -> list[Endpoint]:
    return [pod.address for pod in pods]


def served(pods: Sequence[Application]) -> int:
    return sum(pod.requests for pod in pods)


def inodes(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in directory.rglob("*.json")}


async def until_sent(load: LoadGenerator, more: int) -> None:
    """Wait until this many more requests have been sent."""
    enough = load.totals().sent + more
    await until(lambda: load.totals().sent >= enough)


async def send(mesh: Envoy, host: str, count: int, concurrency: int = 16) -> Counter[tuple[int, str]]:
    """Send requests as fast as they are answered; the number of answers by (status, version)."""
    answers: Counter[tuple[int, str]] = Counter()
    remaining = iter(range(count))

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in remaining:
            async with session.get(mesh.url, headers={"Host": host}) as response:
                await response.read()
                answers[response.status, response.headers.get("X-Version", "")] += 1

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work(session))
    return answers


@pytest.mark.parametrize("basis_points", [2500, 5000, 100])
async def test_the_split_that_was_asked_for_is_served(mesh: Envoy, start_pods: StartPods, basis_points: int) -> None:
    await mesh.set_endpoints("web-stable", addresses(await start_pods("v1", 3)))
    await mesh.set_endpoints("web-canary", addresses(await start_pods("v2", 2)))
    await mesh.set_routes("web", [("web-stable", 10_000 - basis_points), ("web-canary", basis_points)])
    await mesh.wait_applied()

    answers = await send(mesh, "web.demo", 2000)

    share = basis_points / 10_000
    standard_error = math.sqrt(2000 * share * (1 - share))
    assert set(answers) == {(200, "v1"), (200, "v2")}
    assert abs(answers[200, "v2"] - 2000 * share) <= 4 * standard_error


async def test_one_in_ten_thousand_is_what_envoy_works_with(mesh: Envoy) -> None:
    await mesh.set_routes("web", [("web-stable", 9999), ("web-canary", 1)])
    await mesh.wait_applied()
    assert await mesh.read_routes("web") == (("web-stable", 9999), ("web-canary", 1))
    await mesh.set_routes("web", [("web-stable", 10_000), ("web-canary", 0)])
    await mesh.wait_applied()
    assert await mesh.read_routes("web") == (("web-stable", 10_000), ("web-canary", 0))


async def test_weights_change_under_load_without_a_failed_request(mesh: Envoy, start_pods: StartPods) -> None:
    stable, canary = await start_pods("v1", 2, latency=0.005), await start_pods("v2", 2, latency=0.005)
    await mesh.set_endpoints("web", addresses(stable))
    await mesh.wait_applied()
    async with LoadGenerator(mesh.url, "web", rate=300) as load:
        await until(lambda: load.totals().answers >= 30)
        await mesh.set_endpoints("web-stable", addresses(stable))
        await mesh.set_endpoints("web-canary", addresses(canary))
        for percent in (0, 1, 10, 25, 50, 75, 90, 99, 100):
            await mesh.set_routes("web", [("web-stable", 100 - percent), ("web-canary", percent)])
            await mesh.wait_applied()
            await until_sent(load, 15)
        await until(lambda: not any(pod.in_flight for pod in stable))
        before = served(stable)
        load.window()
        await until_sent(load, 50)
        assert load.window().share("v2") > 0.9, "no more than the requests that were on their way are the old version's"
        assert served(stable) == before
        await mesh.set_endpoints("web", addresses(canary))
        await mesh.remove_routes("web")
        await mesh.remove_service("web-stable")
        await mesh.remove_service("web-canary")
        await mesh.wait_applied()
        await until_sent(load, 30)
    assert load.totals().failures == 0
    assert await mesh.read_routes("web") == ()
    assert set(await mesh.statistics()) == {"web"}


async def test_pods_leave_under_load_without_a_failed_request(mesh: Envoy, start_pods: StartPods) -> None:
    pods = await start_pods("v1", 5, latency=0.1)
    await mesh.set_endpoints("web", addresses(pods))
    await mesh.wait_applied()
    async with LoadGenerator(mesh.url, "web", rate=300) as load:
        await until(lambda: load.totals().answers >= 50)
        for leaving in range(1, 5):
            await mesh.set_endpoints("web", addresses(pods[leaving:]))
            await mesh.wait_applied()
            await pods[leaving - 1].stop()
            with pytest.raises(RuntimeError, match="has no address"):
                _ = pods[leaving - 1].address
        await until_sent(load, 50)
    totals = load.totals()
    assert totals.failures == 0
    assert served(pods) == totals.answers == totals.sent
    assert (await mesh.statistics())["web"].responses_2xx == totals.sent


async def test_errors_of_the_bad_version_are_in_envoys_counters(mesh: Envoy, start_pods: StartPods) -> None:
    stable, canary = await start_pods("v1", 2), await start_pods("v2", 2, error_ratio=0.05)
    await mesh.set_endpoints("web-stable", addresses(stable))
    await mesh.set_endpoints("web-canary", addresses(canary))
    await mesh.set_routes("web", [("web-stable", 1), ("web-canary", 1)])
    await mesh.wait_applied()

    answers = await send(mesh, "web", 1000)
    statistics = await mesh.statistics()

    errors = sum(pod.errors for pod in canary)
    assert errors > 0
    assert statistics["web-canary"].responses_5xx == errors == answers[500, "v2"]
    assert statistics["web-canary"].requests == served(canary)
    assert statistics["web-canary"].responses_2xx == served(canary) - errors
    assert statistics["web-stable"].responses_5xx == 0, "a series that Envoy does not have is a zero"
    assert statistics["web-stable"].requests == served(stable)
    assert statistics["web"].requests == 0, "a root service that only splits serves nothing itself"
    async with aiohttp.ClientSession() as session, session.get(mesh.stats_url) as response:
        text = await response.text()
    series = 'envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="web-canary"}'
    assert f"{series} {errors}\n" in text
    assert "external" not in text


async def test_a_service_without_endpoints_answers_503_and_is_counted(mesh: Envoy) -> None:
    await mesh.set_endpoints("web", [])
    await mesh.wait_applied()
    assert await send(mesh, "web", 5) == {(503, ""): 5}
    assert (await mesh.statistics())["web"].responses_5xx == 5
    assert (await mesh.statistics())["web"].requests == 5


async def test_hosts_find_their_service_in_their_namespace(mesh: Envoy, start_pods: StartPods) -> None:
    await mesh.set_endpoints("web", addresses(await start_pods("anywhere", 1)))
    await mesh.set_endpoints("web.prod", addresses(await start_pods("prod", 1)))
    await mesh.wait_applied()
    for host in ("web", "web:80", "web.staging", "web.staging.svc.cluster.local"):
        assert set(await send(mesh, host, 1)) == {(200, "anywhere")}, host
    for host in ("web.prod", "web.prod:8080", "web.prod.svc.cluster.local"):
        assert set(await send(mesh, host, 1)) == {(200, "prod")}, host
    for host in ("stranger", "web-canary", "prod"):
        assert set(await send(mesh, host, 1)) == {(404, "")}, host
    assert (await mesh.statistics())["web.prod"].requests == 3
    assert (await mesh.statistics())["web"].requests == 4


async def test_saying_the_same_again_writes_nothing(envoy_binary: Path, temporary_root: Path) -> None:
    async with Envoy(binary=envoy_binary) as mesh:
        await mesh.set_endpoints("web-stable", [("127.0.0.1", 9)])
        await mesh.set_routes("web", [("web-stable", 1)])
        written = inodes(temporary_root)
        await mesh.set_endpoints("web-stable", [("127.0.0.1", 9)])
        await mesh.set_routes("web", [("web-stable", 1)])
        await mesh.wait_applied()
        assert inodes(temporary_root) == written
        await mesh.set_routes("web", [("web-stable", 2)])
        now = inodes(temporary_root)
        assert [path.name for path in written if now[path] != written[path]] == ["routes.json"]


async def test_rubbish_is_refused_and_changes_nothing(mesh: Envoy, start_pods: StartPods) -> None:
    await mesh.set_endpoints("web", addresses(await start_pods("v1", 1)))
    with pytest.raises(InvalidConfiguration):
        await mesh.set_endpoints("web", [("nowhere", 80)])
    with pytest.raises(InvalidConfiguration):
        await mesh.set_routes("web", [])
    await mesh.wait_applied()
    assert set(await send(mesh, "web", 3)) == {(200, "v1")}


async def test_what_only_envoy_refuses_is_told_in_its_words_and_can_be_made_good(
    mesh: Envoy, start_pods: StartPods
) -> None:
    pods = await start_pods("v1", 1)
    await mesh.set_endpoints("web", addresses(pods))
    await mesh.wait_applied()
    await mesh.set_endpoints("web", [("fe80::1%no-such-interface", 80)])
    with pytest.raises(ConfigurationNotApplied, match=r"Envoy refused endpoints-web\.json: (.|\n)*malformed IP"):
        await mesh.wait_applied()
    assert set(await send(mesh, "web", 3)) == {(200, "v1")}, "Envoy goes on with what it had"
    await mesh.set_endpoints("web", [])
    await mesh.wait_applied()
    assert set(await send(mesh, "web", 3)) == {(503, "")}


async def test_many_changes_at_once_end_in_the_last_of_each(mesh: Envoy) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, 21):
            tasks.create_task(mesh.set_routes(f"web-{number % 4}", [("stable", 100 - number), ("canary", number)]))
    await mesh.wait_applied()
    for number in (17, 18, 19, 20):
        assert await mesh.read_routes(f"web-{number % 4}") == (("stable", 100 - number), ("canary", number))


async def test_services_come_and_go_while_somebody_waits(mesh: Envoy) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            await mesh.set_endpoints(f"web-{number}", [("127.0.0.1", 9)])
            tasks.create_task(mesh.wait_applied())
            tasks.create_task(mesh.remove_service(f"web-{number}"))
            tasks.create_task(mesh.wait_applied())
    assert await mesh.statistics() == {}


async def test_a_change_that_was_cancelled_is_made_good_by_the_next(mesh: Envoy, start_pods: StartPods) -> None:
    pods = await start_pods("v1", 1)
    for turns in range(6):
        service = f"web-{turns}"
        change = asyncio.create_task(mesh.set_endpoints(service, addresses(pods)))
        for _ in range(turns):
            await asyncio.sleep(0)
        change.cancel()
        await asyncio.wait([change])
    await mesh.set_endpoints("last", [])
    await mesh.wait_applied()
    for turns in range(1, 6):
        assert set(await send(mesh, f"web-{turns}", 1)) == {(200, "v1")}

"""The two control planes behind one fixture. A test that takes `plane` runs on both; the real one has the marker `real`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest

from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.transport import Transport, open_transport
from engine.clock import SystemClock
from tests.conformance.asking import Api
from tests.conformance.stand import Stand
from tests.e2e.controlplane.running import RealControlPlane


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane, seen from outside, and a namespace of the test's own in it."""

    kubeconfig: JsonObject
    """An administrator's."""
    transport: Transport
    """Headgate's own way to the API server."""
    http: aiohttp.ClientSession
    """A plain way to it: paths begin with "/", the login is in it, a refusal is an answer."""
    namespace: str
    embedded: EmbeddedCluster | None = None
    real: RealControlPlane | None = None


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.real)])
async def plane(request: pytest.FixtureRequest) -> AsyncIterator[Plane]:
    real = request.getfixturevalue("real_control_plane") if request.param == "real" else None
    opened: asyncio.Future[Plane] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def hold() -> None:
        async with _open_plane(real) as plane:
            opened.set_result(plane)
            await ended.wait()

    # Set-up and tear-down of a fixture are tasks of their own, and a task group has to be left by the task that entered it.
    holder = asyncio.create_task(hold())
    await asyncio.wait((holder, opened), return_when=asyncio.FIRST_COMPLETED)
    try:
        if opened.done():
            yield opened.result()
    finally:
        ended.set()
        await holder


@pytest.fixture
def stand(plane: Plane) -> Stand:
    """The plane, in the words of stories about controllers."""
    return Stand(plane)


@pytest.fixture
def api(plane: Plane) -> Api:
    """The plane, in the words of cases about the API."""
    return Api(plane)


@asynccontextmanager
async def _open_plane(real: RealControlPlane | None) -> AsyncIterator[Plane]:
    async with AsyncExitStack() as stack:
        embedded = None
        if real is None:
            embedded = await stack.enter_async_context(run_embedded_cluster(SystemClock(), lambda: str(uuid4())))
            kubeconfig = embedded.kubeconfig()
        else:
            kubeconfig = real.kubeconfig()
        credentials = await load_kubeconfig_content(kubeconfig)
        transport = await stack.enter_async_context(open_transport(credentials))
        http = await stack.enter_async_context(open_http(kubeconfig))
        namespace = f"test-{uuid4().hex[:10]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        async with http.post("/api/v1/namespaces", json=body) as answer:
            assert answer.status == 201, await answer.text()
        yield Plane(kubeconfig, transport, http, namespace, embedded, real)
        await _clean_up(http, namespace)


async def _clean_up(http: aiohttp.ClientSession, namespace: str) -> None:
    """Where nothing runs, nothing has to be ended: the namespace controller of a real cluster asks some sixty times for each
    namespace, and a queue of hundreds would keep those waiting that are about the deletion of one."""
    async with http.get(f"/api/v1/namespaces/{namespace}/pods", params={"limit": "1"}) as answer:
        answer.raise_for_status()
        is_quiet = not (await answer.json())["items"]
    if is_quiet:
        return
    async with http.delete(f"/api/v1/namespaces/{namespace}") as answer:
        assert answer.status in (200, 202), await answer.text()


def open_http(kubeconfig: JsonObject) -> aiohttp.ClientSession:
    """A plain way to an API server, with an administrator's login in it."""
    cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
    authority = cluster.get("certificate-authority")
    context = ssl.create_default_context(cafile=authority) if authority else False
    headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    connector = aiohttp.TCPConnector(ssl=context)
    return aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers, read_bufsize=4 * 2**20)

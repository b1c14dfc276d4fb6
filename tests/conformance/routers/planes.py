"""The two control planes on which the stories are told, and what each of them serves for a case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import aiohttp
import anyio

from adapters.embedded.cluster import run_embedded_cluster
from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from adapters.embedded.server import ApiServer
from adapters.kubernetes.cluster import Cluster, WatchScope, open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.permissions import RBAC_VERSION
from adapters.kubernetes.transport import open_transport
from engine.bus import Bus
from engine.clock import SystemClock
from tests.builders import service
from tests.conformance.conftest import open_http
from tests.conformance.routers.cases import OLD_TRAEFIK, WEIGHTED_ROUTES, RouterCase
from tests.conformance.routers.daemon import Daemon
from tests.conformance.routers.deploy_files import deployment
from tests.conformance.routers.gateways import take_up_routes
from tests.conformance.routers.ground import OURS, Ground, collections_of, go_live
from tests.conformance.routers.recording import Change, Recording, record
from tests.conformance.routers.view import JsonObject
from tests.e2e.conftest import define
from tests.e2e.controlplane.certificates import sign_token
from tests.e2e.controlplane.definitions import SMI, TRAEFIK, load_definitions
from tests.e2e.controlplane.running import RealControlPlane, kubeconfig

NAMESPACE = "shop"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@asynccontextmanager
async def _stand_on(
    case: RouterCase,
    namespace: str,
    people: JsonObject,
    daemon: JsonObject,
    restrict: Callable[[Sequence[JsonObject]], Awaitable[None]],
) -> AsyncIterator[Ground]:
    """`people`, `daemon`: kubeconfigs of an administrator, and of the account whose rights are small."""
    async with open_http(people) as http, _open_cluster(people) as cluster:
        ground = Ground(case, namespace, http, cluster, restrict, Daemon(daemon), Recording(case.read), {})
        try:
            yield ground
        finally:
            await ground.daemon.end()


@asynccontextmanager
async def _open_cluster(people: JsonObject) -> AsyncIterator[Cluster]:
    async with (
        open_transport(await load_kubeconfig_content(people)) as transport,
        open_cluster("people", transport, Bus(), clock=SystemClock(), random=Random(1), scope=WatchScope.NAMESPACE) as cluster,
    ):
        yield cluster


async def _begin(ground: Ground) -> None:
    await go_live(ground, (service(), deployment(), *ground.case.objects))
    await ground.daemon.start()


# --- the embedded cluster ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def embedded_ground(case: RouterCase) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as stack:
        running = run_embedded_cluster(
            SystemClock(),
            lambda: str(uuid4()),
            split_versions=case.split_versions,
            traefik_groups=(case.traefik_group,),
            linkerd=case.linkerd,
            gateway_channel=GatewayChannel.EXPERIMENTAL if case.gateways else None,
            takes_up_routes=case.gateways,
        )
        embedded = await stack.enter_async_context(running)
        people = await stack.enter_async_context(ApiServer(embedded.storage))
        embedded.storage.create(CUSTOM_RESOURCE_DEFINITIONS, WEIGHTED_ROUTES)
        embedded.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})

        async def restrict(roles: Sequence[JsonObject]) -> None:
            embedded.server.access.restrict(roles)

        ground = await stack.enter_async_context(
            _stand_on(case, NAMESPACE, people.kubeconfig(), embedded.kubeconfig(), restrict)
        )
        kinds = collections_of(case, NAMESPACE)

        def notice(event: StorageEvent) -> None:
            if event.resource.kind in kinds:
                body = {**event.object, "kind": event.resource.kind}
                revision = int(body["metadata"]["resourceVersion"])
                ground.recording.take(Change(revision, event.type is EventType.DELETED, body))

        embedded.storage.subscribe(notice)
        await _begin(ground)
        yield ground


# --- a real one --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def real_ground(plane: RealControlPlane, case: RouterCase) -> AsyncIterator[Ground]:
    namespace = f"routers-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(plane.kubeconfig()))
        await stack.enter_async_context(_offered(plane, http, case))
        await _create(http, "/api/v1/namespaces", {"metadata": {"name": namespace}})
        stack.push_async_callback(_remove_namespace, http, namespace)
        account = await _create(http, f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": OURS}})
        await _bind(http, namespace)

        async def restrict(roles: Sequence[JsonObject]) -> None:
            for role in roles:
                await _put(http, f"/apis/{RBAC_VERSION}/namespaces/{namespace}/roles", role)

        login = _login(plane, namespace, account["metadata"]["uid"])
        ground = await stack.enter_async_context(_stand_on(case, namespace, plane.kubeconfig(), login, restrict))
        await stack.enter_async_context(record(http, collections_of(case, namespace), ground.recording))
        if case.gateways:
            await stack.enter_async_context(take_up_routes(ground))
        await _begin(ground)
        yield ground


def _login(plane: RealControlPlane, namespace: str, uid: str) -> JsonObject:
    now = datetime.now(UTC) - timedelta(minutes=1)
    token = sign_token(
        plane.certificates, namespace=namespace, name=OURS, uid=uid, now=now, lifetime=timedelta(hours=1)
    )
    return kubeconfig(plane.server, plane.certificates.authority, {"token": token})


async def _bind(http: aiohttp.ClientSession, namespace: str) -> None:
    subject = {"kind": "ServiceAccount", "name": OURS, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": OURS}
    body = {"metadata": {"name": OURS}, "subjects": [subject], "roleRef": reference}
    await _create(http, f"/apis/{RBAC_VERSION}/namespaces/{namespace}/rolebindings", body)


async def _create(http: aiohttp.ClientSession, path: str, body: JsonObject) -> JsonObject:
    async with http.post(path, json=body) as answer:
        assert answer.status == 201, f"{path}: {await answer.text()}"
        made: JsonObject = await answer.json()
        return made


async def _put(http: aiohttp.ClientSession, collection: str, body: JsonObject) -> None:
    async with http.post(collection, json=body) as answer:
        if answer.status == 201:
            return
    async with http.put(f"{collection}/{body['metadata']['name']}", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def _remove_namespace(http: aiohttp.ClientSession, namespace: str) -> None:
    async with http.delete(f"/api/v1/namespaces/{namespace}") as answer:
        assert answer.status in (200, 202), await answer.text()


@asynccontextmanager
async def _offered(plane: RealControlPlane, http: aiohttp.ClientSession, case: RouterCase) -> AsyncIterator[None]:
    """What the case's clusters serve, for its time: TrafficSplits in its versions only, or the group that Traefik began with."""
    if "WeightedRoute" in case.kinds:
        await anyio.to_thread.run_sync(define, plane, WEIGHTED_ROUTES)
    (splits,) = (one for one in load_definitions(SMI) if one["spec"]["names"]["kind"] == "TrafficSplit")
    if "TrafficSplit" in case.kinds:
        versions = [{**one, "served": one["name"] in case.split_versions} for one in splits["spec"]["versions"]]
        narrowed = {**splits, "spec": {**splits["spec"], "versions": versions}}
        await anyio.to_thread.run_sync(define, plane, narrowed)
        await _until_served(http, splits["spec"]["group"], case.split_versions)
    if case.name == OLD_TRAEFIK.name:
        for one in load_definitions(TRAEFIK):
            async with http.delete(f"{DEFINITIONS}/{one['metadata']['name']}") as answer:
                assert answer.status in (200, 404), await answer.text()
        await _until_served(http, "traefik.io", ())
    try:
        yield
    finally:
        if "TrafficSplit" in case.kinds:
            await anyio.to_thread.run_sync(define, plane, splits)
        if case.name == OLD_TRAEFIK.name:
            for one in load_definitions(TRAEFIK):
                await anyio.to_thread.run_sync(define, plane, one)


async def _until_served(http: aiohttp.ClientSession, group: str, versions: Sequence[str]) -> None:
    with anyio.fail_after(30):
        while True:
            async with http.get(f"/apis/{group}") as answer:
                found = (await answer.json())["versions"] if answer.status == 200 else []
            if {one["version"] for one in found} == set(versions):
                return
            await asyncio.sleep(0.05)

"""One namespace of a real cluster with a web application in it, and one daemon that may change that namespace and nothing else.

The daemon is `headgate serve` as a process, logged in as a ServiceAccount with the smallest Role; the story looks on as an
administrator.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import aiohttp
import anyio

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import (
    CommandBody,
    EntryLine,
    ReleaseBody,
    ReleaseDetail,
    RolloutBody,
    SnapshotLine,
    SourceBody,
    SubmitBody,
)
from adapters.http.client import DaemonClient, SocketPlace
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from adapters.kubernetes.permissions import RBAC_VERSION, Permission, roles_of
from engine.events import CommandKind
from engine.model import FINAL_STATUSES, State
from tests.e2e.controlplane.certificates import sign_token
from tests.e2e.controlplane.processes import Program, python_module
from tests.e2e.controlplane.running import RealControlPlane, kubeconfig
from tests.e2e.recording import Recording, record_namespace
from tests.e2e.roles import role_of_headgate

SERVICE_ACCOUNT = "headgate"
TOKEN_SECONDS = 3_600.0
LEEWAY = timedelta(minutes=1)
"""The API server takes a token for this much longer than the token says, so one is dated back by it."""
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}
CORE = "/api/v1"
GROUPS = {
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "trafficsplits": "/apis/split.smi-spec.io/v1alpha4",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}


class Site:
    def __init__(self, plane: RealControlPlane, http: aiohttp.ClientSession, namespace: str, folder: Path) -> None:
        self.plane = plane
        self.http = http
        self.namespace = namespace
        self.folder = folder
        self.server = plane.server
        """Where the daemon finds the API server: there may be something in between."""
        self.token_file = folder / "token"
        self.socket = folder / "headgate.sock"
        self.daemon = Program("headgate", self._serve(), folder / "headgate.log", self.socket.exists)
        self.recording: Recording

    def _serve(self) -> list[str]:
        return python_module("adapters.cli", "serve", "--config", str(self.folder / "headgate.yaml"))

    # --- the cluster, as an administrator ------------------------------------------------------------------------------

    async def get(self, path: str) -> JsonObject:
        async with self.http.get(path) as answer:
            assert answer.status == 200, f"{path}: {await answer.text()}"
            found: JsonObject = await answer.json()
            return found

    async def find(self, path: str) -> JsonObject | None:
        async with self.http.get(path) as answer:
            found: JsonObject | None = await answer.json() if answer.status == 200 else None
            return found

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        async with self.http.post(path, json=body) as answer:
            assert answer.status == 201, f"{path}: {await answer.text()}"
            made: JsonObject = await answer.json()
            return made

    async def merge(self, path: str, change: JsonObject) -> JsonObject:
        async with self.http.patch(path, json=change, headers=MERGE) as answer:
            assert answer.status == 200, f"{path}: {await answer.text()}"
            changed: JsonObject = await answer.json()
            return changed

    async def delete(self, path: str) -> None:
        async with self.http.delete(path) as answer:
            assert answer.status in (200, 202), f"{path}: {await answer.text()}"

    def path(self, plural: str, name: str = "") -> str:
        collection = f"{GROUPS.get(plural, CORE)}/namespaces/{self.namespace}/{plural}"
        return f"{collection}/{name}" if name else collection

    async def items(self, plural: str) -> list[JsonObject]:
        found: list[JsonObject] = (await self.get(self.path(plural)))["items"]
        return found

    async def deployment(self, name: str = "web") -> JsonObject:
        return await self.get(self.path("deployments", name))

    async def pods_of(self, image: str) -> dict[str, JsonObject]:
        """The pods that run this image and are not ending, by uid."""
        pods = [one for one in await self.items("pods") if "deletionTimestamp" not in one["metadata"]]
        return {one["metadata"]["uid"]: one for one in pods if one["spec"]["containers"][0]["image"] == image}

    async def go_live(self, name: str = "web", image: str = "web:1", replicas: int = 4) -> None:
        """The application as it runs before the story begins, made by kubectl's own manager."""
        for plural, body in (("services", service(name)), ("deployments", deployment(name, image, replicas))):
            path = self.path(plural, name)
            async with self.http.patch(path, json=body, params={"fieldManager": "kubectl"}, headers=APPLY) as answer:
                assert answer.status in (200, 201), await answer.text()

        await self.until_live(name, replicas)

    async def until_live(self, name: str, replicas: int) -> None:
        """Until the Deployment runs its template with that many pods that are available, and no others."""

        async def is_live() -> bool:
            found = await self.deployment(name)
            status = found.get("status", {})
            # Until it has been observed, a status may still tell of the version before.
            counts = [status.get(count) for count in ("replicas", "updatedReplicas", "availableReplicas")]
            return bool(status.get("observedGeneration") == found["metadata"]["generation"] and counts == [replicas] * 3)

        await self.until(is_live)

    async def grant(self, name: str, permissions: Iterable[Permission]) -> None:
        """More rights for the daemon's account than it has from the beginning."""
        (role,) = roles_of(permissions, name)
        await self.create(self.path("roles"), role)
        binding = {
            "apiVersion": RBAC_VERSION,
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": self.namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        }
        await self.create(self.path("rolebindings"), binding)

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints. An error of its own is a failure of the story."""
        file = self.folder / "admin.kubeconfig"
        if not file.exists():
            self.plane.write_kubeconfig(file)
        command = ["kubectl", "--kubeconfig", str(file), "--namespace", self.namespace, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    # --- the daemon ----------------------------------------------------------------------------------------------------

    async def log_in(self, lifetime: float = TOKEN_SECONDS) -> None:
        """Write a new token for the daemon, taken for `lifetime` seconds from now on."""
        account = await self.get(self.path("serviceaccounts", SERVICE_ACCOUNT))
        token = sign_token(
            self.plane.certificates,
            namespace=self.namespace,
            name=SERVICE_ACCOUNT,
            uid=account["metadata"]["uid"],
            now=datetime.now(UTC) - LEEWAY,
            lifetime=timedelta(seconds=lifetime),
        )
        fresh = self.token_file.with_suffix(".new")
        fresh.write_text(token, "utf-8")
        fresh.replace(self.token_file)

    async def until_refused(self, token: str) -> None:
        """Until the API server takes the token no more; it remembers for some seconds what it has accepted."""

        async def is_refused() -> bool:
            async with self.http.get("/version", headers={"Authorization": f"Bearer {token}"}) as answer:
                return answer.status == 401

        await self.until(is_refused)

    def configure(self, **more: object) -> None:
        login = kubeconfig(self.server, self.plane.certificates.authority, {"tokenFile": str(self.token_file)})
        self.folder.joinpath("kubeconfig").write_text(json.dumps(login), "utf-8")
        settings: JsonObject = {
            "store": str(self.folder / "headgate.db"),
            "socket": str(self.socket),
            "accounts": {"real": {"kubeconfig": str(self.folder / "kubeconfig"), "watch": "namespace"}},
            **more,
        }
        self.folder.joinpath("headgate.yaml").write_text(json.dumps(settings), "utf-8")

    async def start_daemon(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.daemon.launch()
        await anyio.to_thread.run_sync(self.daemon.wait_until_ready)

    async def kill_daemon(self) -> None:
        await anyio.to_thread.run_sync(self.daemon.kill)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[DaemonClient]:
        async with DaemonClient(SocketPlace(self.socket)) as client:
            yield client

    def headgate(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of an operator. `check`: anything but success is a failure of the story."""
        command = [sys.executable, "-m", "adapters.cli", *arguments]
        environment = {"HEADGATE_CONFIG": str(self.folder / "headgate.yaml"), "PATH": "/usr/bin:/bin", "COLUMNS": "140"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    async def deploy(
        self,
        image: str,
        steps: list[JsonObject],
        *,
        mesh: bool = True,
        annotations: Mapping[str, str] | None = None,
        settings: JsonObject | None = None,
    ) -> ReleaseBody:
        body = self.submission(image, steps, mesh=mesh, annotations=annotations, settings=settings)
        async with self.client() as client:
            return (await client.submit(body)).release

    def submission(
        self,
        image: str,
        steps: list[JsonObject],
        *,
        name: str = "web",
        replicas: int = 4,
        mesh: bool = True,
        annotations: Mapping[str, str] | None = None,
        settings: JsonObject | None = None,
    ) -> SubmitBody:
        file: JsonObject = {
            "version": "v1",
            "kind": "kubernetes",
            "application": f"{self.namespace}-{name}",
            "targets": {"production": {"account": "real", "namespace": self.namespace, "strategy": "gentle"}},
            "manifests": [{"path": "web.yaml"}],
            "strategies": {"gentle": {"canary": {"steps": steps}}},
            "deploymentConfig": {"settle": {"duration": 0, "unit": "seconds"}, **(settings or {})},
        }
        if mesh:
            file["trafficManagement"] = [{"smi": [{"rootServiceName": name}]}]
        body = json.dumps(deployment(name, image, replicas, annotations))
        return SubmitBody("deploy.yaml", json.dumps(file), {"web.yaml": [SourceBody("web.yaml", body)]})

    async def order(self, release: str, kind: CommandKind) -> None:
        async with self.client() as client:
            await client.command(release, CommandBody(kind))

    async def approve_and_abort_at(self, release: str, words: str) -> bool:
        """Approve, and abort in the very moment in which the story comes to these words: too short for asking again and again.

        Whether the abort was in time: this process may be kept waiting for longer than what is left of the release.
        """
        async with self.client() as client, aclosing(client.watch(release)) as lines:
            async for line in lines:
                if isinstance(line, SnapshotLine):
                    await client.command(release, CommandBody(CommandKind.APPROVE))
                if isinstance(line, EntryLine) and words in line.entry.text:
                    try:
                        await client.command(release, CommandBody(CommandKind.ABORT))
                    except DaemonRefused:
                        if (await client.release(release)).release.status not in FINAL_STATUSES:
                            raise
                        return False
                    return True
        raise AssertionError(f"it never came to {words!r}\n{await self.tell(release)}")

    async def detail(self, release: str) -> ReleaseDetail:
        async with self.client() as client:
            return await client.release(release)

    async def until_rollout(
        self, release: str, holds: Callable[[RolloutBody], bool], within: float = 60.0
    ) -> RolloutBody:
        """Wait until the release's first rollout is as asked; the daemon may be away in the meantime."""
        found: RolloutBody | None = None

        async def is_so() -> bool:
            nonlocal found
            try:
                found = (await self.detail(release)).rollouts[0]
            except DaemonUnreachable:
                return False
            return holds(found)

        try:
            await self.until(is_so, within)
        except TimeoutError as error:
            raise AssertionError(f"not so: {found}\n{await self.tell(release)}") from error
        assert found is not None
        return found

    async def until_state(self, release: str, state: State, within: float = 60.0) -> RolloutBody:
        return await self.until_rollout(release, lambda rollout: rollout.state is state, within)

    async def until_ended(self, release: str, within: float = 90.0) -> ReleaseBody:
        async def is_over() -> bool:
            try:
                return (await self.detail(release)).release.status in FINAL_STATUSES
            except DaemonUnreachable:
                return False

        try:
            await self.until(is_over, within)
        except TimeoutError as error:
            raise AssertionError(f"{release} did not end:\n{await self.tell(release)}") from error
        return (await self.detail(release)).release

    async def tell(self, release: str) -> str:
        """The release's story so far: for a test that fails."""
        try:
            async with self.client() as client:
                entries = (await client.journal(release)).entries
        except DaemonUnreachable as error:
            return f"{error}\n{self.folder.joinpath('headgate.log').read_text('utf-8')[-4000:]}"
        return "\n".join(f"{one.at:%M:%S.%f} {one.event}: {one.text}" for one in entries)

    async def until(self, holds: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
        with anyio.fail_after(within):
            while not await holds():
                await anyio.sleep(0.05)


@asynccontextmanager
async def open_site(
    plane: RealControlPlane, folder: Path, applications: Sequence[str] = ("web",)
) -> AsyncIterator[Site]:
    """A namespace with an account that may roll these out and no more, for a daemon that is not started yet."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(_open_http(plane))
        site = Site(plane, http, f"e2e-{uuid4().hex[:8]}", folder)
        await site.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace}})
        stack.push_async_callback(site.delete, f"/api/v1/namespaces/{site.namespace}")
        for plural, body in account_objects(site.namespace, applications):
            await site.create(site.path(plural), body)
        await site.log_in()
        site.configure()
        site.recording = await stack.enter_async_context(record_namespace(http, site.namespace))
        try:
            yield site
        finally:
            await site.kill_daemon()


def _open_http(plane: RealControlPlane) -> aiohttp.ClientSession:
    content = plane.kubeconfig()
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    return aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers, read_bufsize=4 * 2**20)


def account_objects(namespace: str, applications: Sequence[str]) -> list[tuple[str, JsonObject]]:
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": SERVICE_ACCOUNT}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": SERVICE_ACCOUNT}}
    return [
        ("serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SERVICE_ACCOUNT}}),
        ("roles", role_of_headgate(SERVICE_ACCOUNT, namespace, applications)),
        ("rolebindings", {**binding, "subjects": [subject], "roleRef": reference}),
    ]


def service(name: str) -> JsonObject:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def deployment(name: str, image: str, replicas: int, annotations: Mapping[str, str] | None = None) -> JsonObject:
    metadata: JsonObject = {"labels": {"app": name}} | ({"annotations": dict(annotations)} if annotations else {})
    container = {"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
        },
    }

"""Two daemons as processes that take turns: one PostgreSQL store, one cluster, one Lease, and a tapped wire for each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, LEASES, NAMESPACES, SERVICES
from adapters.http.bodies import CommandBody, SourceBody, SubmitBody
from adapters.http.client import DaemonClient, SocketPlace
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from engine.clock import SystemClock
from engine.events import CommandKind
from engine.model import FINAL_STATUSES, ReleaseStatus
from tests.builders import deployment, service
from tests.postgres.server import PASSWORD, PostgresServer
from tests.process.tapped_wire import TappedWire, tap_wire
from tests.process.watchman import PATIENCE_SECONDS, Watchman

NAMESPACE = "shop"
TIMES = {"leaseDuration": 8, "renewDeadline": 6.5, "retryPeriod": 0.5}
"""Short enough to be waited for, and long enough for machines that have much else to do."""


class Tapped(Watchman):
    """One of the two."""

    def __init__(self, folder: Path, wire: TappedWire) -> None:
        super().__init__(folder)
        self.wire = wire


class Crew:
    def __init__(self, cluster: EmbeddedCluster, server: PostgresServer, database: str, watchmen: Sequence[Tapped]) -> None:
        self.cluster = cluster
        self._server = server
        self._database = database
        self.first, self.second = watchmen

    @property
    def lease(self) -> JsonObject:
        found = self.cluster.storage.peek(LEASES, "tools", "headgate")
        assert found is not None
        spec: JsonObject = found["spec"]
        return spec

    async def journal(self) -> list[tuple[str, int, str]]:
        """Everything that was ever decided."""
        sql = "SELECT rollout, seq, convert_from(body, 'UTF8') FROM journal ORDER BY rollout, seq"
        return [(str(rollout), int(seq), str(body)) for rollout, seq, body in await self._server.ask(self._database, sql)]

    async def writer(self) -> tuple[int, str]:
        """Epoch and holder."""
        ((epoch, holder),) = await self._server.ask(self._database, "SELECT epoch, holder FROM writer")
        return int(epoch), str(holder)

    async def deploy(self, at: Watchman, *, image: str, steps: int) -> str:
        """A canary of many small steps, each with a pause of a second: the release's id."""
        moves: list[JsonObject] = []
        for number in range(1, steps + 1):
            moves += [{"setWeight": {"weight": 90 * number // steps}}, {"pause": {"duration": 1, "unit": "seconds"}}]
        file = {
            "version": "v1",
            "kind": "kubernetes",
            "application": "shop",
            "targets": {"production": {"account": "embedded", "namespace": NAMESPACE, "strategy": "gentle"}},
            "manifests": [{"path": "web.yaml"}],
            "strategies": {"gentle": {"canary": {"steps": moves}}},
            "trafficManagement": [{"smi": [{"rootServiceName": "web"}]}],
            "deploymentConfig": {"settle": {"duration": 0, "unit": "seconds"}},
        }
        body = json.dumps(deployment(image=image, namespace=NAMESPACE))
        submission = SubmitBody("deploy.yaml", json.dumps(file), {"web.yaml": [SourceBody("web.yaml", body)]})
        async with DaemonClient(SocketPlace(at.socket)) as client:
            return (await client.submit(submission)).release.id

    async def abort(self, at: Watchman, release: str) -> None:
        async with DaemonClient(SocketPlace(at.socket)) as client:
            await client.command(release, CommandBody(CommandKind.ABORT))

    async def until_entries(self, number: int) -> None:
        """Until the journal has this many lines at least."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while len(await self.journal()) < number:
                await anyio.sleep(0.05)

    async def until_ended(self, at: Watchman, release: str) -> ReleaseStatus:
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    async with DaemonClient(SocketPlace(at.socket)) as client:
                        found = (await client.release(release)).release
                except (DaemonUnreachable, DaemonRefused):
                    pass
                else:
                    if found.status in FINAL_STATUSES:
                        return found.status
                await anyio.sleep(0.1)

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not holds():
                await anyio.sleep(0.02)


@asynccontextmanager
async def gather_crew(folder: Path, server: PostgresServer, database: str) -> AsyncIterator[Crew]:
    """Nobody of it is started yet; the application runs already."""
    numbers = count(1)
    async with AsyncExitStack() as stack:
        running = run_embedded_cluster(SystemClock(), lambda: f"uid-{next(numbers)}")
        cluster = await stack.enter_async_context(running)
        for name in (NAMESPACE, "tools"):
            cluster.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        cluster.storage.create(SERVICES, service(namespace=NAMESPACE), manager="kubectl")
        cluster.storage.create(DEPLOYMENTS, deployment(image="web:1", namespace=NAMESPACE), manager="kubectl")
        await _until_available(cluster)
        watchmen = []
        for name in ("first", "second"):
            port = urlsplit(cluster.kubeconfig()["clusters"][0]["cluster"]["server"]).port
            assert port is not None
            wire = await stack.enter_async_context(tap_wire(port))
            watchman = Tapped(folder / name, wire)
            _configure(watchman, cluster, server, database)
            stack.callback(watchman.clean_up)
            watchmen.append(watchman)
        try:
            yield Crew(cluster, server, database, watchmen)
        except BaseException as error:
            for watchman in watchmen:
                error.add_note(f"{watchman.folder.name}:\n{watchman.log[-6000:]}")
            raise
        for watchman in watchmen:
            assert PASSWORD not in watchman.log


async def _until_available(cluster: EmbeddedCluster) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            found = cluster.storage.peek(DEPLOYMENTS, NAMESPACE, "web")
            if found is not None and found.get("status", {}).get("availableReplicas") == 3:
                return
            await anyio.sleep(0.02)


def _configure(watchman: Tapped, cluster: EmbeddedCluster, server: PostgresServer, database: str) -> None:
    watchman.folder.mkdir()
    kubeconfig = cluster.kubeconfig()
    kubeconfig["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{watchman.wire.port}"
    (watchman.folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    secret = watchman.folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    settings = {
        "store": server.place(database).url,
        "storePassword": {"file": str(secret)},
        "socket": str(watchman.socket),
        "accounts": {"embedded": {"kubeconfig": str(watchman.folder / "kubeconfig")}},
        "highAvailability": {"account": "embedded", "namespace": "tools", **TIMES},
        "listen": "127.0.0.1:0",
        "tokens": [{"name": "operator", "sha256": "0" * 64}],
        "log": {"format": "json"},
    }
    (watchman.folder / "headgate.yaml").write_text(json.dumps(settings))

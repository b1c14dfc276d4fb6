"""Two daemons take turns by a Lease of a real API server, each with an account of its own: whose write was whose stands in that
server's audit log."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from adapters.cli.exit_codes import ExitCode
from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes.permissions import RBAC_VERSION, permissions_of_lease
from engine.model import ReleaseStatus
from tests.e2e.controlplane.certificates import sign_token
from tests.e2e.controlplane.running import RealControlPlane, kubeconfig
from tests.e2e.site import LEEWAY, SERVICE_ACCOUNT, TOKEN_SECONDS, Site, open_site
from tests.postgres.server import PASSWORD, PostgresServer
from tests.process.watchman import Watchman

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SECOND = "headgate-second"
WRITES = ("create", "update", "patch", "delete")
TIMES = {"leaseDuration": 8, "renewDeadline": 6.5, "retryPeriod": 0.5}
STEPS: list[JsonObject] = [
    step
    for weight in range(10, 100, 10)
    for step in ({"setWeight": {"weight": weight}}, {"pause": {"duration": 1, "unit": "seconds"}})
]


class Turns:
    def __init__(self, site: Site, first: Watchman, second: Watchman, server: PostgresServer, database: str) -> None:
        self.site = site
        self.first = first
        self.second = second
        self._server = server
        self._database = database

    def writes_of(self, account: str) -> list[str]:
        """What the account has written, by the audit log: without the Lease, and the questions after its rights."""
        user = f"system:serviceaccount:{self.site.namespace}:{account}"
        events = [json.loads(line) for line in self.site.plane.audit_log.read_text("utf-8").splitlines()]
        return [
            f"{event['verb']} {event['requestURI']}"
            for event in events
            if event["user"]["username"] == user
            and event["verb"] in WRITES
            and event["objectRef"]["resource"] != "leases"
            and event["objectRef"].get("apiGroup") != "authorization.k8s.io"
        ]

    async def lease(self) -> JsonObject:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.site.namespace}/leases/headgate"
        found: JsonObject = (await self.site.get(path))["spec"]
        return found

    async def numbers(self) -> list[int]:
        """The journal's, in order."""
        return [int(seq) for (seq,) in await self._server.ask(self._database, "SELECT seq FROM journal ORDER BY rollout, seq")]

    async def until_entries(self, number: int) -> None:
        async def are_there() -> bool:
            return len(await self.numbers()) >= number

        await self.site.until(are_there)

    async def deploy(self) -> str:
        """With the first one leading and the second one standing by."""
        await self.site.go_live()
        self.first.start()
        await self.first.until_leading()
        self.second.start()
        await self.second.until_standing_by((await self.lease())["holderIdentity"])
        return (await self.site.deploy("web:2", STEPS)).id

    async def end_with_the_second(self, release: str) -> None:
        self.site.socket = self.second.socket
        assert (await self.site.until_ended(release)).status is ReleaseStatus.SUCCEEDED, await self.site.tell(release)
        assert len(await self.site.pods_of("web:2")) == 4
        assert await self.site.pods_of("web:1") == {}
        assert await self.numbers() == list(range(1, len(await self.numbers()) + 1))
        assert (await self.lease())["leaseTransitions"] == 1
        self.site.recording.check()


@asynccontextmanager
async def taking_turns(plane: RealControlPlane, folder: Path, server: PostgresServer, database: str) -> AsyncIterator[Turns]:
    for name in ("first", "second"):
        await anyio.Path(folder / name).mkdir()
    async with open_site(plane, folder / "first") as site:
        await _let_second_in(site, folder / "second")
        await site.grant("lease", permissions_of_lease(site.namespace, "headgate"))
        first, second = Watchman(folder / "first"), Watchman(folder / "second")
        for watchman in (first, second):
            _configure(site, watchman.folder, server, database)
        try:
            yield Turns(site, first, second, server, database)
        finally:
            first.clean_up()
            second.clean_up()


async def _let_second_in(site: Site, folder: Path) -> None:
    """An account of its own, with the rights of the first one."""
    made = await site.create(
        site.path("serviceaccounts"), {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SECOND}}
    )
    for role in (SERVICE_ACCOUNT, "lease"):
        binding = {
            "apiVersion": RBAC_VERSION,
            "kind": "RoleBinding",
            "metadata": {"name": f"{role}-second"},
            "subjects": [{"kind": "ServiceAccount", "name": SECOND, "namespace": site.namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        }
        await site.create(site.path("rolebindings"), binding)
    token = sign_token(
        site.plane.certificates,
        namespace=site.namespace,
        name=SECOND,
        uid=made["metadata"]["uid"],
        now=datetime.now(UTC) - LEEWAY,
        lifetime=timedelta(seconds=TOKEN_SECONDS),
    )
    (folder / "token").write_text(token, "utf-8")


def _configure(site: Site, folder: Path, server: PostgresServer, database: str) -> None:
    login = kubeconfig(site.server, site.plane.certificates.authority, {"tokenFile": str(folder / "token")})
    (folder / "kubeconfig").write_text(json.dumps(login), "utf-8")
    (folder / "password").write_text(PASSWORD, "utf-8")
    settings: JsonObject = {
        "store": server.place(database).url,
        "storePassword": {"file": str(folder / "password")},
        "socket": str(folder / "headgate.sock"),
        "accounts": {"real": {"kubeconfig": str(folder / "kubeconfig"), "watch": "namespace"}},
        "highAvailability": {"account": "real", "namespace": site.namespace, **TIMES},
    }
    (folder / "headgate.yaml").write_text(json.dumps(settings), "utf-8")


async def test_who_is_stopped_for_longer_than_the_lease_has_written_nothing_since(
    mesh_plane: RealControlPlane, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = await to_thread.run_sync(postgres_server.make_database)
    async with taking_turns(mesh_plane, tmp_path, postgres_server, database) as turns:
        release = await turns.deploy()
        await turns.until_entries(12)
        turns.first.send(signal.SIGSTOP)
        await anyio.sleep(0.5)  # What had left it by then has been answered.
        written, decided = turns.writes_of(SERVICE_ACCOUNT), len(await turns.numbers())
        await turns.second.until_leading()
        await turns.until_entries(decided + 4)
        turns.first.send(signal.SIGCONT)
        assert await turns.first.end() == ExitCode.DEPOSED
        await turns.end_with_the_second(release)
        assert turns.writes_of(SERVICE_ACCOUNT) == written
        assert len(written) > 5
        assert len(turns.writes_of(SECOND)) > 5


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_who_ends_is_followed(
    mesh_plane: RealControlPlane, tmp_path: Path, postgres_server: PostgresServer, how: signal.Signals
) -> None:
    database = await to_thread.run_sync(postgres_server.make_database)
    async with taking_turns(mesh_plane, tmp_path, postgres_server, database) as turns:
        release = await turns.deploy()
        await turns.until_entries(12)
        turns.first.send(how)
        await turns.first.end()
        await turns.second.until_leading()
        await turns.end_with_the_second(release)

"""The mesh of the demo: a real Envoy whose weighted routes and endpoints are changed while requests flow.

It must not know Kubernetes objects or the engine: the composition translates Services, Endpoints and TrafficSplits into
the calls here.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import anyio

from adapters.dataplane import envoy_configuration as configuration
from adapters.dataplane.envoy_admin import EnvoyAdmin, ServiceStatistics
from adapters.dataplane.envoy_configuration import Backend, Endpoint, JsonObject, MeshConfiguration
from adapters.dataplane.envoy_errors import ConfigurationNotApplied, EnvoyFailed, EnvoyUnreachable
from adapters.dataplane.envoy_process import BOOTSTRAP_FILE, EnvoyProcess, find_envoy, start_envoy

DIRECTORY_PREFIX = "headgate-envoy-"
APPLY_LIMIT_S = 5.0


class Envoy:
    """One Envoy on loopback for the length of an `async with` block.

    Entering raises EnvoyMissing or EnvoyFailed; afterwards it is ready for requests at `url`, which it routes by their
    Host header: `service`, `service.namespace` or any longer name below it, with or without a port. A host that no call
    here has named gets 404. Leaving the block, in whatever way, ends the process and removes its files; if this process
    is killed, Envoy and its files go too.

    `binary` is a program to use in place of the one that `find_envoy` finds; `start_limit` is in seconds.
    """

    def __init__(self, *, binary: Path | None = None, start_limit: float = 15.0) -> None:
        self._binary = binary
        self._start_limit = start_limit
        self._mesh = MeshConfiguration()
        self._publishing = anyio.Lock()
        self._files: dict[str, tuple[int, list[JsonObject]]] = {}
        self._known: set[str] = set()  # the services that Envoy has confirmed
        self._version = 0
        self._rejected = 0
        self._port = 0
        self._stack = AsyncExitStack()
        self._directory: Path
        self._process: EnvoyProcess
        self._admin: EnvoyAdmin

    async def __aenter__(self) -> Self:
        binary = self._binary or find_envoy()
        async with AsyncExitStack() as stack:
            # In this thread and without an await: a cancellation cannot fall between the making and the callback.
            self._directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
            stack.callback(shutil.rmtree, self._directory, ignore_errors=True)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            self._write_first_files()
            try:
                self._process = await stack.enter_async_context(start_envoy(binary, self._directory))
                with anyio.fail_after(self._start_limit):
                    self._admin = EnvoyAdmin(session, await self._process.wait_for_admin_address())
                    while not await self._admin.is_ready():
                        await self._process.pause()
            except OSError as error:  # TimeoutError is one, too
                limit = f"the limit is {self._start_limit} s"
                raise EnvoyFailed(f"Envoy ({binary}) did not start ({limit}): {error!r}") from error
            self._port = await self._admin.listener_port()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def address(self) -> Endpoint:
        """Where the mesh takes requests."""
        return (configuration.LOOPBACK, self._port)

    @property
    def url(self) -> str:
        return f"http://{configuration.LOOPBACK}:{self._port}"

    @property
    def stats_url(self) -> str:
        """Prometheus text of the services' counters and response times, for the `scrape` provider.

        A class of answers that never occurred has no series: read it as 0.
        """
        return self._admin.statistics_url

    async def set_routes(self, root: str, backends: Sequence[Backend]) -> None:
        """Split the requests for the root service among (service, weight) backends, a sum of weights from 1 to 2^32-1.

        Returns when the files are written. Envoy draws a backend for every request by its share of the sum, so 1 in
        10000 is exact. Doing the same again writes nothing. Raises InvalidConfiguration; also ConfigurationNotApplied
        when a service that is new to Envoy does not become known to it, because no route may name it before.
        """
        self._mesh = self._mesh.with_split(root, backends)
        await self._publish()

    async def remove_routes(self, root: str) -> None:
        """End the split of a root service: its requests go to its own endpoints again."""
        self._mesh = self._mesh.without_split(root)
        await self._publish()

    async def set_endpoints(self, service: str, endpoints: Sequence[Endpoint]) -> None:
        """Let these (IP address, port) pairs answer for the service; none at all is legal and means 503.

        A removed endpoint gets no new requests and finishes those it has. Raises InvalidConfiguration.
        """
        self._mesh = self._mesh.with_endpoints(service, endpoints)
        await self._publish()

    async def remove_service(self, service: str) -> None:
        """Forget the endpoints of a service, and, unless a split still names it, the service and its counters."""
        self._mesh = self._mesh.without_service(service)
        await self._publish()

    async def wait_applied(self, limit: float = APPLY_LIMIT_S) -> None:
        """Wait until Envoy itself reports the versions written last, which takes about 1 ms; `limit` is in seconds.

        Raises ConfigurationNotApplied after the limit or when Envoy refused a file, EnvoyFailed when it has ended.
        """
        await self._wait_for(set(self._files), limit)

    async def statistics(self) -> dict[str, ServiceStatistics]:
        """The counters of every service, by the name it was set with. Raises EnvoyUnreachable."""
        return await self._admin.statistics(self._mesh.services())

    async def read_routes(self, root: str) -> tuple[Backend, ...]:
        """The split that Envoy works with now, read from its own route table; empty without one."""
        return await self._admin.split(root)

    async def _publish(self) -> None:
        """Bring the files in line with what is wanted, in the order in which no request can meet a hole.

        A service exists before a route names it, and no route names it any more when it goes. Level-triggered: a call
        that was cancelled or failed half-way is made good by the next one.
        """
        async with self._publishing:
            mesh = self._mesh
            before = self._published_services()
            wanted = set(mesh.services())
            for service in wanted:
                assignment = configuration.load_assignment(service, mesh.endpoints.get(service, ()))
                self._write(configuration.endpoints_file(service), [assignment])
            if new := wanted - self._known:
                self._write_clusters(wanted | before)
                await self._wait_for({configuration.CLUSTERS_FILE, *map(configuration.endpoints_file, new)})
                self._known |= new
            self._write(configuration.ROUTES_FILE, [configuration.route_table(mesh)])
            if before - wanted:
                await self._wait_for({configuration.ROUTES_FILE})
                self._write_clusters(wanted)
                self._known &= wanted

    def _published_services(self) -> set[str]:
        _, clusters = self._files[configuration.CLUSTERS_FILE]
        return {str(cluster["name"]) for cluster in clusters}

    def _write_first_files(self) -> None:
        bootstrap = json.dumps(configuration.bootstrap(str(self._directory)))
        replace_file(self._directory / BOOTSTRAP_FILE, bootstrap)
        self._write_clusters(set())
        self._write(configuration.ROUTES_FILE, [configuration.route_table(self._mesh)])

    def _write_clusters(self, services: set[str]) -> None:
        clusters = [configuration.cluster(name, str(self._directory)) for name in sorted(services)]
        self._write(configuration.CLUSTERS_FILE, clusters)
        kept = {configuration.endpoints_file(name) for name in services}
        for name in [name for name in self._files if name.startswith("endpoints-") and name not in kept]:
            del self._files[name]

    def _write(self, name: str, resources: list[JsonObject]) -> None:
        if name in self._files and self._files[name][1] == resources:
            return
        self._version += 1
        text = json.dumps({"version_info": str(self._version), "resources": resources})
        # Not in a thread: a cancellation between the write and the record would let an older write win over a newer one.
        replace_file(self._directory / name, text)
        self._files[name] = (self._version, resources)

    async def _wait_for(self, names: set[str], limit: float = APPLY_LIMIT_S) -> None:
        pending = sorted(names)
        with anyio.move_on_after(limit):
            while True:
                with suppress(EnvoyUnreachable):  # it is busy, or it has ended, which the pause tells
                    pending = await self._pending(names)
                if not pending:
                    return
                await self._process.pause()
        raise ConfigurationNotApplied(
            f"Envoy did not take over {', '.join(pending)} within {limit} s: {self._process.last_words()}"
        )

    async def _pending(self, names: set[str]) -> list[str]:
        applied = await self._admin.applied_versions(tuple(sorted(self._published_services())))
        # Another caller may have removed a service in the meantime.
        written = {name: str(self._files[name][0]) for name in names & self._files.keys()}
        pending = sorted(name for name, version in written.items() if applied.files.get(name) != version)
        newly_rejected, self._rejected = applied.rejected - self._rejected, applied.rejected
        if pending and newly_rejected > 0:
            raise ConfigurationNotApplied(f"Envoy refused {', '.join(pending)}: {self._process.last_words()}")
        return pending or (["the new services"] if applied.warming else [])


def replace_file(path: Path, text: str) -> None:
    """Write in one step: whoever reads sees the old content or the new one, never a part."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)

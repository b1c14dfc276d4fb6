"""An Envoy that is kept as a `Table` says, in the order in which no request can meet a hole, as Istio's control plane does it.

What a route names is there, with its endpoints, before the route names it, and goes only after no route names it any more.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import anyio

from adapters.dataplane import envoy_configuration as configuration
from adapters.dataplane.envoy import DIRECTORY_PREFIX, replace_file
from adapters.dataplane.envoy_admin import EnvoyAdmin
from adapters.dataplane.envoy_configuration import JsonObject
from adapters.dataplane.envoy_process import BOOTSTRAP_FILE, EnvoyProcess, find_envoy, start_envoy
from tests.wire.translation import Door, Host, Table

LISTENERS_FILE = "listeners.json"
START_SECONDS = 15.0
APPLY_SECONDS = 5.0
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


class Proxy:
    def __init__(self, directory: Path, process: EnvoyProcess, admin: EnvoyAdmin, port: int) -> None:
        self.port = port
        self.admin = admin
        self._directory = directory
        self._process = process
        self._files: dict[str, tuple[int, list[JsonObject]]] = {}
        self._clusters: set[str] = set()
        self._version = 0

    async def apply(self, table: Table) -> None:
        """Returns when Envoy works by it."""
        wanted = set(table.clusters)
        for name in wanted:
            self._write(configuration.endpoints_file(name), [configuration.load_assignment(name, table.clusters[name])])
        if wanted - self._clusters:
            await self._write_clusters(wanted | self._clusters)
        self._write(configuration.ROUTES_FILE, [_route_table(table.hosts)])
        self._write(LISTENERS_FILE, [_listener(door) for door in table.doors])
        await self._until_applied({configuration.ROUTES_FILE, *map(configuration.endpoints_file, wanted)})
        if self._clusters - wanted:
            await self._write_clusters(wanted)

    async def _write_clusters(self, names: set[str]) -> None:
        new = names - self._clusters
        clusters = [{**configuration.cluster(name, str(self._directory)), "lb_policy": "RANDOM"} for name in sorted(names)]
        self._write(configuration.CLUSTERS_FILE, clusters)
        self._clusters = names
        await self._until_applied({configuration.CLUSTERS_FILE, *map(configuration.endpoints_file, new)})

    def _write(self, name: str, resources: list[JsonObject]) -> None:
        if name in self._files and self._files[name][1] == resources:
            return
        self._version += 1
        replace_file(self._directory / name, json.dumps({"version_info": str(self._version), "resources": resources}))
        self._files[name] = (self._version, resources)

    async def _until_applied(self, files: Collection[str]) -> None:
        with anyio.fail_after(APPLY_SECONDS):
            while True:
                applied = await self.admin.applied_versions(tuple(self._clusters))
                if not applied.warming and all(applied.files.get(name) == str(self._files[name][0]) for name in files):
                    return
                await self._process.pause()


def _route_table(hosts: Collection[Host]) -> JsonObject:
    """A name stands for its Service in every namespace that has no such Service of its own."""
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": configuration.ROUTE_TABLE,
        "virtual_hosts": [
            {"name": host.name, "domains": configuration.domains(host.name), "routes": list(host.routes)} for host in hosts
        ],
    }


def _listener(door: Door) -> JsonObject:
    proxy = {"@type": TCP_PROXY, "stat_prefix": "door", "cluster": door.cluster}
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": f"{door.address[0]}:{door.address[1]}",
        "address": configuration.socket_address(*door.address),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}],
    }


@asynccontextmanager
async def run_proxy() -> AsyncIterator[Proxy]:
    async with AsyncExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        bootstrap = configuration.bootstrap(str(directory))
        bootstrap["dynamic_resources"]["lds_config"] = configuration.file_source(str(directory), LISTENERS_FILE)
        replace_file(directory / BOOTSTRAP_FILE, json.dumps(bootstrap))
        for name, resources in (
            (configuration.CLUSTERS_FILE, []),
            (LISTENERS_FILE, []),
            (configuration.ROUTES_FILE, [_route_table(())]),
        ):
            replace_file(directory / name, json.dumps({"version_info": "0", "resources": resources}))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        process = await stack.enter_async_context(start_envoy(find_envoy(), directory))
        with anyio.fail_after(START_SECONDS):
            admin = EnvoyAdmin(session, await process.wait_for_admin_address())
            while not await admin.is_ready():
                await process.pause()
        yield Proxy(directory, process, admin, await admin.listener_port())

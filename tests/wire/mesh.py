"""A mesh's control plane, as a process: it watches a cluster's objects and keeps an Envoy as they say.

    python -m tests.wire.mesh KUBECONFIG FOLDER

FOLDER/mesh.ready is written when Envoy takes requests, and holds its port; FOLDER/mesh.admin holds the address of its
administration; FOLDER/mesh.applied holds the endpoints of each Service that Envoy works by, and is renewed with them.
"""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

import aiohttp
import anyio

from adapters.dataplane.envoy import replace_file
from tests.wire.proxy import Proxy, run_proxy
from tests.wire.translation import World, translate
from tests.wire.watching import Watched

PATHS = {
    "services": "/api/v1/services",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "pods": "/api/v1/pods",
    "trafficsplits": "/apis/split.smi-spec.io/v1alpha4/trafficsplits",
    "virtualservices": "/apis/networking.istio.io/v1/virtualservices",
    "destinationrules": "/apis/networking.istio.io/v1/destinationrules",
}
"""In the order of the fields of `World`."""


async def main(kubeconfig: Path, folder: Path) -> None:
    content = json.loads(await anyio.Path(kubeconfig).read_text("utf-8"))
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with (
        aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers, read_bufsize=4 * 2**20) as session,
        run_proxy() as proxy,
        anyio.create_task_group() as tasks,
    ):
        watched = Watched(session, PATHS)
        tasks.start_soon(watched.run)
        await keep(watched, proxy, folder)


async def keep(watched: Watched, proxy: Proxy, folder: Path) -> None:
    """A change wakes, and what the cluster says now is applied."""
    ready = folder / "mesh.ready"
    while True:
        await watched.changed.wait()
        watched.changed.clear()
        if not watched.is_complete:
            continue
        table = translate(World(*map(watched.of, PATHS)))
        await proxy.apply(table)
        replace_file(folder / "mesh.applied", json.dumps(table.clusters))
        if not ready.exists():
            replace_file(folder / "mesh.admin", proxy.admin.url)
            replace_file(ready, str(proxy.port))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))

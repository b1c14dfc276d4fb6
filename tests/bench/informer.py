"""How fast a cache fills with pods and follows their changes, and for how long the event loop stands still meanwhile.

    python -m tests.bench.informer [--pods 5000] [--events 5000]

A process of its own serves the pods (9.6 kB each, as real ones are) over loopback; this one holds nothing but the cache
of one cluster with its index and bus, and a task that notices when the loop comes back to it late. It ends after a
minute whatever happens.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
from aiohttp import web

from adapters.kubernetes.cluster import open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.paths import PODS
from adapters.kubernetes.transport import open_transport
from engine.bus import Bus
from engine.clock import SystemClock

LONGEST_RUN_SECONDS = 60.0
TICK_SECONDS = 0.001
POD_BYTES = 9_600


# --- the server ------------------------------------------------------------------------------------------------------


def pod(number: int, version: int) -> dict[str, Any]:
    body: dict[str, Any] = {
        "metadata": {
            "name": f"web-5d4f8c7b9-{number:05d}",
            "namespace": "shop",
            "uid": f"00000000-0000-0000-0000-{number:012d}",
            "resourceVersion": str(version),
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"web-{number % 100}", "uid": "r", "controller": True}],
        },
        "spec": {"containers": [{"name": "app", "image": "web:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        },
    }
    fields: dict[str, Any] = {f"f:field-{index}": {"f:value": {}} for index in range(40)}
    body["metadata"]["managedFields"] = [{"manager": "kubelet", "operation": "Update", "fieldsV1": fields}]
    missing = POD_BYTES - len(json.dumps(body))
    body["metadata"]["annotations"] = {"notes": "x" * max(missing, 0)}
    return body


async def serve(pods: int, events: int) -> None:
    """Prints its port, and serves until it is killed."""
    pages = [
        [json.dumps(pod(number, number + 1)) for number in range(start, min(start + 500, pods))]
        for start in range(0, pods, 500)
    ]
    lines = [
        json.dumps({"type": "MODIFIED", "object": pod(index % pods, 1_000_000 + index)}).encode() + b"\n"
        for index in range(events)
    ]

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            page = int(request.query.get("continue", "0"))
            more = str(page + 1) if page + 1 < len(pages) else ""
            head = json.dumps({"resourceVersion": "900000", "continue": more})
            text = f'{{"kind":"PodList","metadata":{head},"items":[{",".join(pages[page])}]}}'
            return web.Response(text=text, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        await asyncio.sleep(LONGEST_RUN_SECONDS)
        return response

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201
    await asyncio.sleep(LONGEST_RUN_SECONDS)


@asynccontextmanager
async def server(pods: int, events: int) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.informer", "--serve", "--pods", str(pods), "--events", str(events)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.kill()
        await process.communicate()


# --- the measurement -------------------------------------------------------------------------------------------------


class Stalls:
    """For how long the loop did not come back to a task that only wants to be woken every millisecond."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        while True:
            slept = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self.worst = max(self.worst, time.perf_counter() - slept - TICK_SECONDS)

    def take(self) -> float:
        worst, self.worst = self.worst, 0.0
        return worst


async def measure(pods: int, events: int) -> None:
    stalls = Stalls()
    async with server(pods, events) as address, anyio.create_task_group() as tasks:
        content = {
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": address}}],
            "contexts": [{"name": "here", "context": {"cluster": "here"}}],
        }
        credentials = await load_kubeconfig_content(content)
        gc.collect()
        tasks.start_soon(stalls.run)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with (
            open_transport(credentials) as transport,
            open_cluster("here", transport, Bus(), clock=SystemClock(), random=Random(1)) as cluster,
        ):
            await anyio.sleep(0.05)
            stalls.take()
            began, used = time.perf_counter(), time.process_time()
            informer = cluster.watch(PODS, "shop")
            await informer.synced.wait()
            tell("list", pods, time.perf_counter() - began, time.process_time() - used, stalls.take())
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            began, used = time.perf_counter(), time.process_time()
            last = str(1_000_000 + events - 1)
            while informer.items[_key((events - 1) % pods)].resource_version != last:
                await anyio.sleep(0.005)
            tell("watch", events, time.perf_counter() - began, time.process_time() - used, stalls.take())
        tasks.cancel_scope.cancel()
    say(f"memory: {grown / 1024:.0f} MiB more at its peak, with {pods} pods of {POD_BYTES} bytes in the cache")


def _key(number: int) -> tuple[str, str]:
    return ("shop", f"web-5d4f8c7b9-{number:05d}")


def tell(what: str, objects: int, took: float, used: float, worst: float) -> None:
    say(
        f"{what}: {objects} objects in {took:.2f} s ({objects / took:,.0f}/s), "
        f"{used / objects * 1e6:.0f} us of processor each, longest stall of the loop {worst * 1e3:.1f} ms"
    )


def say(line: str) -> None:
    print(line)  # noqa: T201


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pods", type=int, default=5_000)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with anyio.fail_after(LONGEST_RUN_SECONDS):
        await (serve if options.serve else measure)(options.pods, options.events)


if __name__ == "__main__":
    asyncio.run(main())

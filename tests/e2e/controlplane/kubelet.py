"""A node whose pods are simulated, for an API server that is not ours: it binds every pod to itself and writes its status.

What a pod does (boot, fail, crash) is written in its annotations: `adapters.embedded.pods`. Run as a process of its own:

    python -m tests.e2e.controlplane.kubelet KUBECONFIG READY
"""

from __future__ import annotations

import json
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import anyio
import anyio.abc
import structlog

from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pod_status import OVER_PHASES, pod_status
from adapters.embedded.pods import PodPhase, PodReport, PodRuntime, SimulatedPodRuntime, run_guarded, stop_guarded
from engine.clock import SystemClock

log = structlog.get_logger()

NODE = "simulated"
MERGE = {"Content-Type": "application/merge-patch+json"}
AGAIN_SECONDS = 0.2


class SimulatedNode:
    def __init__(self, session: aiohttp.ClientSession, tasks: anyio.abc.TaskGroup, runtime: PodRuntime) -> None:
        self._session = session
        self._tasks = tasks
        self._runtime = runtime
        self._pods: dict[str, anyio.CancelScope] = {}
        self._ending: set[str] = set()
        self._status: dict[str, JsonObject] = {}

    async def register(self) -> None:
        """Make the node, so that pods bound to it are not collected as lost."""
        node: JsonObject = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        async with self._session.post("/api/v1/nodes", json=node) as answer:
            assert answer.status in (201, 409), await answer.text()

    async def follow(self, started: Path) -> None:
        """List, then watch, for ever; whatever breaks is begun again."""
        while True:
            try:
                async with self._session.get("/api/v1/pods") as answer:
                    answer.raise_for_status()
                    listed = await answer.json()
                self._notice_all(listed["items"])
                await anyio.Path(started).touch()
                await self._watch(listed["metadata"]["resourceVersion"])
            except (aiohttp.ClientError, OSError, ValueError):
                await anyio.sleep(AGAIN_SECONDS)

    async def _watch(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version}
        async with self._session.get("/api/v1/pods", params=query, timeout=aiohttp.ClientTimeout(None)) as answer:
            answer.raise_for_status()
            while line := await answer.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] == "DELETED":
                    self._forget(metadata_of(event["object"])["uid"])
                else:
                    self._notice(event["object"])

    def _notice_all(self, pods: list[JsonObject]) -> None:
        for uid in self._pods.keys() - {metadata_of(pod)["uid"] for pod in pods}:
            self._forget(uid)
        for pod in pods:
            self._notice(pod)

    def _notice(self, pod: JsonObject) -> None:
        uid = metadata_of(pod)["uid"]
        if metadata_of(pod).get("deletionTimestamp"):
            if uid not in self._ending:
                self._ending.add(uid)
                self._tasks.start_soon(self._terminate, pod)
        elif uid not in self._pods:
            scope = self._pods[uid] = anyio.CancelScope()
            self._tasks.start_soon(self._run, pod, scope)

    def _forget(self, uid: str) -> None:
        self._ending.discard(uid)
        self._status.pop(uid, None)
        if (scope := self._pods.pop(uid, None)) is not None:
            scope.cancel()

    async def _run(self, pod: JsonObject, scope: anyio.CancelScope) -> None:
        send, receive = anyio.create_memory_object_stream[PodReport](1000)
        with scope, send, receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_guarded, self._runtime, pod, send.send_nowait)
                await self._bind(pod)
                async for report in receive:
                    await self._report(pod, report)

    async def _bind(self, pod: JsonObject) -> None:
        if pod["spec"].get("nodeName"):
            return
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata_of(pod)["name"]}, "target": target}
        await self._insist("POST", f"{_path(pod)}/binding", binding)

    async def _report(self, pod: JsonObject, report: PodReport) -> None:
        uid = metadata_of(pod)["uid"]
        status = pod_status({**pod, "status": self._status.get(uid) or pod.get("status")}, report, datetime.now(UTC))
        self._status[uid] = status
        await self._insist("PATCH", f"{_path(pod)}/status", {"metadata": {"uid": uid}, "status": status})

    async def _terminate(self, pod: JsonObject) -> None:
        uid = metadata_of(pod)["uid"]
        if pod.get("status", {}).get("phase") not in OVER_PHASES:
            with anyio.move_on_after(metadata_of(pod).get("deletionGracePeriodSeconds", 30)) as grace:
                await stop_guarded(self._runtime, pod)
            if (scope := self._pods.get(uid)) is not None:
                scope.cancel()
            ending = PodPhase.KILLED if grace.cancelled_caught else PodPhase.ENDED
            await self._report(pod, PodReport(ending, pod.get("status", {}).get("podIP", "")))
        gone = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._insist("DELETE", _path(pod), gone)

    async def _insist(self, method: str, path: str, body: JsonObject) -> None:
        """Until the server has taken it or refused it: a server that is away comes back."""
        headers = MERGE if method == "PATCH" else {}
        while True:
            try:
                async with self._session.request(method, path, json=body, headers=headers) as answer:
                    if answer.status < 500 and answer.status not in (401, 403, 429):
                        if answer.status >= 400 and answer.status not in (404, 409):
                            log.warning("kubelet.refused", path=path, answer=await answer.text())
                        return
            except (aiohttp.ClientError, OSError):
                pass
            await anyio.sleep(AGAIN_SECONDS)


def _path(pod: JsonObject) -> str:
    return f"/api/v1/namespaces/{metadata_of(pod)['namespace']}/pods/{metadata_of(pod)['name']}"


async def main(kubeconfig: Path, started: Path, runtime: PodRuntime) -> None:
    content = json.loads(await anyio.Path(kubeconfig).read_text("utf-8"))
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    headers = {"Authorization": f"Bearer {user['token']}"}
    connector = aiohttp.TCPConnector(ssl=context, limit=100)
    # A line of a watch is a whole object.
    async with (
        aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers, read_bufsize=4 * 2**20) as session,
        anyio.create_task_group() as tasks,
    ):
        node = SimulatedNode(session, tasks, runtime)
        await node.register()
        await node.follow(started)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), SimulatedPodRuntime(SystemClock()))

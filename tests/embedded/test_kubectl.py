"""The real kubectl against the embedded cluster: what people type works, and prints what they know."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.embedded.cluster import run_embedded_cluster
from engine.clock import SystemClock

pytestmark = [
    pytest.mark.kubectl,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on the PATH"),
]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: shop/web:1
        ports: [{containerPort: 8080}]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, name: http}]
"""

SPLIT = """
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: web}
spec:
  service: web
  backends: [{service: web-stable, weight: 90}, {service: web-canary, weight: 10}]
"""


class Kubectl:
    """kubectl with a home and a kubeconfig of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """Run it; returns what it printed."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "KUBECONFIG": str(self._folder / "config")}
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate(stdin.encode())
        assert (process.returncode != 0) is fails, output.decode()
        return output.decode()


@asynccontextmanager
async def cluster_and_kubectl(folder: Path) -> AsyncIterator[Kubectl]:
    async with run_embedded_cluster(SystemClock(), lambda: str(uuid4())) as cluster:
        cluster.write_kubeconfig(folder / "config")
        yield Kubectl(folder)


async def test_a_roll_out_from_apply_to_undo(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        assert await kubectl("create", "namespace", "shop") == "namespace/shop created\n"
        assert await kubectl("config", "set-context", "--current", "--namespace=shop")
        created = await kubectl("apply", "-f", "-", stdin=MANIFEST)
        assert created == "deployment.apps/web created\nservice/web created\n"
        unchanged = await kubectl("apply", "-f", "-", stdin=MANIFEST)
        assert unchanged == "deployment.apps/web unchanged\nservice/web unchanged\n"
        assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        lines = (await kubectl("get", "deployment", "web")).splitlines()
        assert lines[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
        assert lines[1].split()[:4] == ["web", "2/2", "2", "2"]

        changed = MANIFEST.replace("web:1", "web:2").replace(', {name: B, value: "2"}', "")
        assert "deployment.apps/web configured" in await kubectl("apply", "-f", "-", stdin=changed)
        assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        env = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))["spec"]["template"]["spec"]
        assert env["containers"][0]["env"] == [{"name": "A", "value": "1"}]
        history = (await kubectl("rollout", "history", "deployment/web")).splitlines()
        assert [line.split()[0] for line in history[2:4]] == ["1", "2"]
        assert "rolled back" in await kubectl("rollout", "undo", "deployment/web")
        assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
        assert "shop/web:1" in await kubectl("get", "replicasets", "-o", "wide")


async def test_changing_and_looking_at_a_deployment(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        await kubectl("apply", "-f", "-", stdin=MANIFEST)
        assert "scaled" in await kubectl("scale", "deployment/web", "--replicas=3")
        assert "met" in await kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=20s")
        assert "image updated" in await kubectl("set", "image", "deployment/web", "app=shop/web:3")
        assert "labeled" in await kubectl("label", "deployment/web", "tier=front")
        assert "annotated" in await kubectl("annotate", "deployment/web", "note=x")
        patch = '{"spec":{"template":{"spec":{"containers":[{"name":"app","imagePullPolicy":"Always"}]}}}}'
        assert "patched" in await kubectl("patch", "deployment", "web", "-p", patch)
        test = '[{"op":"test","path":"/spec/replicas","value":9}]'
        assert "invalid" in await kubectl("patch", "deployment", "web", "--type=json", "-p", test, fails=True)
        described = await kubectl("describe", "deployment", "web")
        assert "StrategyType:           RollingUpdate" in described
        assert "shop/web:3" in described
        everything = await kubectl("get", "all")
        assert all(kind in everything for kind in ("pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/"))
        assert "condition met" in await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
        assert "deleted" in await kubectl("delete", "-f", "-", stdin=MANIFEST)
        assert '"web" not found' in await kubectl("get", "deployment", "web", fails=True)


async def test_server_side_apply_tells_conflicts_and_can_be_forced(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        applied = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
        assert applied == "deployment.apps/web serverside-applied\nservice/web serverside-applied\n"
        await kubectl("scale", "deployment/web", "--replicas=4")
        refused = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST, fails=True)
        assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused
        forced = await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)
        assert "deployment.apps/web serverside-applied" in forced


async def test_a_client_side_applied_object_can_be_taken_over_by_the_server_side(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        await kubectl("apply", "-f", "-", stdin=MANIFEST)
        changed = MANIFEST.replace("replicas: 2", "replicas: 3")
        assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=changed)


async def test_custom_kinds_feel_like_built_in_ones(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        assert "created" in await kubectl("apply", "-f", "-", stdin=SPLIT)
        assert "configured" in await kubectl("apply", "-f", "-", stdin=SPLIT.replace("weight: 10", "weight: 20"))
        lines = (await kubectl("get", "ts")).splitlines()
        assert [line.split() for line in lines] == [["NAME", "SERVICE"], ["web", "web"]]
        newer = await kubectl("get", "trafficsplits.v1alpha4.split.smi-spec.io", "web", "-o", "jsonpath={.spec.backends[1]}")
        assert json.loads(newer) == {"service": "web-canary", "weight": 20}
        wrong = SPLIT.replace("weight: 10", "weight: ten")
        assert 'must be of type number: "string"' in await kubectl("apply", "-f", "-", stdin=wrong, fails=True)
        unknown = SPLIT.replace("service: web\n", "service: web\n  colour: blue\n")
        assert 'unknown field "spec.colour"' in await kubectl("apply", "-f", "-", stdin=unknown, fails=True)
        assert "condition met" in await kubectl(
            "wait", "--for=condition=Established", "crd/trafficsplits.split.smi-spec.io", "--timeout=5s"
        )


async def test_what_a_person_asks_first(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        assert "Server Version" in await kubectl("version")
        assert "deployments" in await kubectl("api-resources", "--api-group=apps")
        assert (await kubectl("auth", "can-i", "create", "pods")).strip() == "yes"
        assert "doesn't have a resource type" in await kubectl("get", "gizmos", fails=True)
        refused = await kubectl("create", "-f", "-", stdin=MANIFEST.replace("replicas", "replica"), fails=True)
        assert 'unknown field "spec.replica"' in refused
        assert "created" in await kubectl("create", "deployment", "plain", "--image=shop/web:1")
        assert "exposed" in await kubectl("expose", "deployment", "plain", "--port=80")


async def test_a_watch_shows_what_happens(tmp_path: Path) -> None:
    async with cluster_and_kubectl(tmp_path) as kubectl:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(kubectl("get", "deployments", "-w", "--request-timeout=3s"))
            await asyncio.sleep(0)
            await kubectl("apply", "-f", "-", stdin=MANIFEST)
        lines = watching.result().splitlines()
        assert lines[0].split()[0] == "NAME"
        assert any(line.split()[:2] == ["web", "2/2"] for line in lines)

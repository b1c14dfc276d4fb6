"""A daemon that is killed at every point of its rollouts, and what its users see of that: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from adapters.embedded.audit import AuditedRequest
from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.gateway_definitions import GatewayChannel
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, NAMESPACES, PODS, SERVICES, Resource
from engine.clock import SystemClock
from engine.model import FINAL_STATES, Approval, Pause, ReleasePlan, RunJob, State, Step
from store.sqlite import open_store
from tests.builders import (
    deployment,
    error_rate,
    gateway_route,
    istio_route,
    percent,
    pod_ratio_route,
    release_plan,
    service,
    smi_route,
    target_plan,
)
from tests.rollouts.istio_objects import destination_rule, virtual_service
from tests.rollouts.routed import gateway, http_route

WAYS = {"mesh": smi_route(), "istio": istio_route(), "gateway": gateway_route(), "ratio": pod_ratio_route()}


USED = {"istio": (virtual_service(), destination_rule()), "gateway": (gateway(), http_route())}
"""What of the user's is there before, by the way in which traffic moves."""


def smoke_job() -> RunJob:
    container = {"name": "test", "image": "tests:1"}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "smoke"}, "spec": spec}
    return RunJob("smoke", json.dumps(body), 60.0)


def plans(namespaces: Sequence[str]) -> list[ReleasePlan]:
    """A good and a bad version by each router, with every kind of step that the engine itself can answer."""
    made = []
    for namespace in namespaces:
        route = WAYS[namespace.partition("-")[2]]
        steps: list[Step] = [percent(34), Pause(0.05), smoke_job(), error_rate(runs=1, interval=0.05), percent(67), Approval()]
        plan = target_plan(steps, namespace=namespace, route=route, settle=0.05)
        made.append(release_plan(plan, application=namespace))
    return made


@asynccontextmanager
async def cluster(namespaces: Sequence[str]) -> AsyncIterator[EmbeddedCluster]:
    numbers = count(1)
    running = run_embedded_cluster(
        SystemClock(), lambda: f"uid-{next(numbers)}", gateway_channel=GatewayChannel.STANDARD, takes_up_routes=True
    )
    async with running as embedded:
        for namespace in namespaces:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            embedded.storage.create(NAMESPACES, body)
            embedded.storage.create(SERVICES, service(namespace=namespace), manager="kubectl")
            embedded.storage.create(DEPLOYMENTS, deployment(image="web:1", namespace=namespace), manager="kubectl")
            for found in USED.get(namespace.partition("-")[2], ()):
                placed = {**found, "metadata": {**found["metadata"], "namespace": namespace}}
                embedded.storage.create(kind_called(embedded, found["kind"]), placed, manager="kubectl")
        with anyio.fail_after(20):
            while any(available(embedded, namespace) < 3 for namespace in namespaces) or not is_told(embedded):
                await anyio.sleep(0.02)
        yield embedded


def kind_called(embedded: EmbeddedCluster, kind: str) -> Resource:
    return next(one for one in embedded.storage.registry.kinds() if one.kind == kind)


def is_told(embedded: EmbeddedCluster) -> bool:
    """Whether somebody has said something of each route."""
    routes = embedded.storage.list(kind_called(embedded, "HTTPRoute"))
    return all((one.get("status") or {}).get("parents") for one in routes)


def available(embedded: EmbeddedCluster, namespace: str) -> int:
    found = embedded.storage.peek(DEPLOYMENTS, namespace, "web")
    return int(found.get("status", {}).get("availableReplicas", 0)) if found is not None else 0


async def run_nursery(path: Path, embedded: EmbeddedCluster, namespaces: Sequence[str], *arguments: str) -> int:
    """Run it to its end; how many lives it took."""
    embedded.write_kubeconfig(path / "kubeconfig")
    (path / "plans.json").write_bytes(msgspec.json.encode(plans(namespaces)))
    files = [str(path / name) for name in ("kubeconfig", "headgate.db", "deaths", "plans.json")]
    command = [sys.executable, "-m", "tests.process.nursery", *files, *arguments]
    result = await anyio.run_process(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, result.stderr.decode()[-4000:]
    lives: int = json.loads(result.stdout)["lives"]
    return lives


def writes(embedded: EmbeddedCluster, namespace: str) -> list[tuple[str, str, str, str]]:
    """What was written in order, and what about; the same write directly after itself, as after a crash, counts once."""
    done: list[tuple[str, str, str, str]] = []
    for request in embedded.server.audit.writes():
        if request.namespace != namespace or request.query.get("dryRun") or not 200 <= request.status < 300:
            continue
        entry = (request.verb, request.resource, request.name, _content(request))
        if not done or done[-1] != entry:
            done.append(entry)
    return done


def _content(request: AuditedRequest) -> str:
    """The body without what names a version or an incarnation of an object."""
    body: Any = request.json
    if isinstance(body, list):
        body = [one for one in body if one.get("path") not in ("/metadata/resourceVersion", "/metadata/managedFields")]
    if isinstance(body, dict) and body.get("kind") == "DeleteOptions":
        body = {**body, "preconditions": None}
    if request.verb == "update":
        body = None
    return json.dumps(body, sort_keys=True)


def picture(embedded: EmbeddedCluster, namespace: str) -> dict[str, JsonObject]:
    kinds = (DEPLOYMENTS, SERVICES, *(kind_called(embedded, kind) for kind in ("VirtualService", "DestinationRule", "HTTPRoute")))
    return {
        f"{one['kind']}/{one['metadata']['name']}": {"spec": one["spec"], "labels": one["metadata"].get("labels")}
        for kind in kinds
        for one in embedded.storage.list(kind, namespace)
    }


def images(embedded: EmbeddedCluster, namespace: str) -> list[str]:
    pods = [pod for pod in embedded.storage.list(PODS, namespace) if not pod["metadata"].get("deletionTimestamp")]
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods)


async def states(path: Path, namespaces: Sequence[str]) -> dict[str, list[State]]:
    async with open_store(path / "headgate.db") as store:
        ended: dict[str, list[State]] = {}
        for namespace in namespaces:
            journal = await store.journal(namespace)
            assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1)), "the story has a gap"
            ended[namespace] = list(dict.fromkeys(entry.destination for entry in journal))
        return ended


@pytest.mark.process
@pytest.mark.timeout(360)
@pytest.mark.parametrize("ways", [("mesh", "istio", "ratio"), ("gateway",)], ids=" and ".join)
async def test_a_daemon_killed_at_every_point_ends_as_one_that_was_never_killed(tmp_path: Path, ways: Sequence[str]) -> None:
    namespaces = [f"{how}-{way}" for way in ways for how in ("good", "bad")]
    (tmp_path / "never").mkdir()
    (tmp_path / "always").mkdir()
    async with cluster(namespaces) as untroubled, cluster(namespaces) as troubled:
        assert await run_nursery(tmp_path / "never", untroubled, namespaces, "--immortal") == 1
        lives = await run_nursery(tmp_path / "always", troubled, namespaces)
        deaths = (tmp_path / "always" / "deaths").read_text("utf-8").splitlines()
        assert lives == len(deaths) + 1
        expected, ended = await states(tmp_path / "never", namespaces), await states(tmp_path / "always", namespaces)
        for namespace in namespaces:
            assert ended[namespace] == expected[namespace]
            assert writes(troubled, namespace) == writes(untroubled, namespace)
            assert picture(troubled, namespace) == picture(untroubled, namespace)
            assert images(troubled, namespace) == ["web:1" if "bad" in namespace else "web:2"] * 3
        died_in = {death.split()[2] for death in deaths if death.startswith("in ")}
        assert died_in >= {state for state in expected[namespaces[0]] if state not in FINAL_STATES}
        assert died_in >= {State.ABORTING, State.RESTORING}
        before = [death for death in deaths if death.startswith("before ")]
        after = [death for death in deaths if death.startswith("after ")]
        assert len(before) == len(after) >= 8 * len(namespaces)

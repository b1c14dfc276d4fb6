"""StatefulSets, DaemonSets and Jobs of the embedded cluster, as far as a rollout waits for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio

from adapters.embedded.control_plane import run_control_plane
from adapters.embedded.json_objects import JsonObject, name_of
from adapters.embedded.resources import DAEMON_SETS, JOBS, NAMESPACES, PODS, STATEFUL_SETS, Resource
from adapters.embedded.storage import Storage
from tests.builders import pods_of
from tests.clocks import LoopClock, run_in_virtual_time

LONG = 120.0


@asynccontextmanager
async def cluster() -> AsyncIterator[Storage]:
    numbers = count(1)
    async with run_control_plane(LoopClock(), lambda: f"uid-{next(numbers)}") as plane:
        plane.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield plane.storage


def images(storage: Storage) -> dict[str, str]:
    return {name_of(pod): pod["spec"]["containers"][0]["image"] for pod in storage.iterate(PODS, "shop")}


def status(storage: Storage, resource: Resource) -> JsonObject:
    found: JsonObject = storage.get(resource, "shop", "store")["status"]
    return found


def roll_out(storage: Storage, resource: Resource, image: str) -> None:
    there = storage.get(resource, "shop", "store")
    there["spec"]["template"]["spec"]["containers"][0]["image"] = image
    storage.update(resource, there)


def test_a_stateful_set_updates_its_numbered_pods_from_the_last_to_the_first() -> None:
    async def story() -> None:
        async with cluster() as storage:
            storage.create(STATEFUL_SETS, pods_of("StatefulSet", replicas=3))
            await anyio.sleep(LONG)
            assert images(storage) == {f"store-{number}": "store:1" for number in range(3)}
            roll_out(storage, STATEFUL_SETS, "store:missing")
            await anyio.sleep(LONG)
            assert images(storage) == {"store-0": "store:1", "store-1": "store:1", "store-2": "store:missing"}
            stuck = status(storage, STATEFUL_SETS)
            assert (stuck["updatedReplicas"], stuck["readyReplicas"], stuck["currentRevision"] == stuck["updateRevision"]) == (
                1,
                2,
                False,
            )

    run_in_virtual_time(story)


def test_a_stateful_set_that_shrinks_ends_its_last_pods() -> None:
    async def story() -> None:
        async with cluster() as storage:
            storage.create(STATEFUL_SETS, pods_of("StatefulSet", replicas=3))
            await anyio.sleep(LONG)
            there = storage.get(STATEFUL_SETS, "shop", "store")
            storage.update(STATEFUL_SETS, {**there, "spec": {**there["spec"], "replicas": 1}})
            await anyio.sleep(LONG)
            assert list(images(storage)) == ["store-0"]
            assert status(storage, STATEFUL_SETS)["replicas"] == 1

    run_in_virtual_time(story)


def test_a_daemon_set_has_one_pod_on_the_one_node() -> None:
    async def story() -> None:
        async with cluster() as storage:
            storage.create(DAEMON_SETS, pods_of("DaemonSet"))
            await anyio.sleep(LONG)
            roll_out(storage, DAEMON_SETS, "store:2")
            await anyio.sleep(LONG)
            assert list(images(storage).values()) == ["store:2"]
            counted = status(storage, DAEMON_SETS)
            assert (counted["desiredNumberScheduled"], counted["updatedNumberScheduled"], counted["numberAvailable"]) == (1, 1, 1)

    run_in_virtual_time(story)


def test_a_job_runs_until_enough_have_succeeded() -> None:
    async def story() -> None:
        async with cluster() as storage:
            storage.create(JOBS, pods_of("Job", completions=2))
            await anyio.sleep(LONG)
            ended = status(storage, JOBS)
            assert [one["type"] for one in ended["conditions"]] == ["SuccessCriteriaMet", "Complete"]
            assert ended["succeeded"] == 2
            assert "failed" not in ended

    run_in_virtual_time(story)


def test_or_until_too_many_have_failed() -> None:
    async def story() -> None:
        async with cluster() as storage:
            storage.create(JOBS, pods_of("Job", image="store:crash", backoffLimit=1))
            await anyio.sleep(LONG)
            ended: dict[str, Any] = status(storage, JOBS)
            assert [one["type"] for one in ended["conditions"]] == ["FailureTarget", "Failed"]
            assert ended["failed"] == 2
            assert {one["reason"] for one in ended["conditions"]} == {"BackoffLimitExceeded"}

    run_in_virtual_time(story)

"""The engine of the embedded controllers: errors are tried again with growing waits, and waiting costs no tasks."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import anyio
import pytest
import structlog

from adapters.embedded.control_plane import ControlPlane, run_control_plane
from adapters.embedded.controllers import ControllerLoop, Deadlines, Key, Work
from adapters.embedded.history import StorageEvent
from adapters.embedded.json_objects import JsonObject, name_of, namespace_of
from adapters.embedded.pods import PREFIX, Report, SimulatedPodRuntime
from adapters.embedded.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from adapters.embedded.storage import Storage
from tests.builders import deployment
from tests.clocks import LoopClock, run_in_virtual_time


class Recorder:
    """A reconciler that does as it is told, and notes when."""

    name = "recorder"

    def __init__(self, clock: LoopClock, does: Callable[[Key, int], float | None]) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self._clock = clock
        self._does = does

    def keys_for(self, event: StorageEvent) -> list[Key]:
        if event.resource != CONFIG_MAPS:
            return []
        if name_of(event.object) == "unreadable":
            raise ValueError("this object is not what was expected")
        return [(namespace_of(event.object), name_of(event.object))]

    def reconcile(self, key: Key) -> float | None:
        self.times[key[1]].append(self._clock.monotonic())
        return self._does(key, len(self.times[key[1]]))


@asynccontextmanager
async def running(does: Callable[[Key, int], float | None]) -> AsyncIterator[tuple[Storage, Recorder, ControllerLoop]]:
    clock, numbers = LoopClock(), count(1)
    storage = Storage(clock.now, lambda: f"uid-{next(numbers)}")
    recorder = Recorder(clock, does)
    loop = ControllerLoop([recorder], clock)
    storage.subscribe(loop.notice)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop.run)
        yield storage, recorder, loop
        tasks.cancel_scope.cancel()


@contextmanager
def told() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged. Tests are silent otherwise."""
    silent = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        with structlog.testing.capture_logs() as logs:
            yield logs
    finally:
        structlog.configure(wrapper_class=silent)


def config(name: str, **data: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_a_key_that_fails_is_tried_again_with_growing_waits_and_stops_no_other() -> None:
    def does(key: Key, attempt: int) -> float | None:
        if key[1] == "bad" and attempt <= 8:
            raise ZeroDivisionError("a mistake in a controller")
        return None

    async def story() -> None:
        async with running(does) as (storage, recorder, _):
            storage.create(CONFIG_MAPS, config("bad"))
            storage.create(CONFIG_MAPS, config("good"))
            await anyio.sleep(60)
            waits = [then - now for now, then in zip(recorder.times["bad"], recorder.times["bad"][1:], strict=False)]
            assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
            storage.update(CONFIG_MAPS, config("good", colour="blue"))
            await anyio.sleep(1)
            assert len(recorder.times["good"]) == 2

    with told() as logs:
        run_in_virtual_time(story)
    assert [one["failures"] for one in logs] == list(range(1, 9))
    assert {one["event"] for one in logs} == {"embedded.controller_failed"}


def test_an_object_that_a_controller_cannot_read_is_written_all_the_same() -> None:
    async def story() -> None:
        async with running(lambda key, attempt: None) as (storage, recorder, _):
            storage.create(CONFIG_MAPS, config("unreadable"))
            storage.create(CONFIG_MAPS, config("good"))
            await anyio.sleep(1)
            assert len(recorder.times["good"]) == 1

    with told() as logs:
        run_in_virtual_time(story)
    assert [one["object"] for one in logs] == ["unreadable"]


def test_a_key_has_one_deadline_the_earliest_and_all_of_them_one_task() -> None:
    async def story() -> None:
        async with running(lambda key, attempt: 100.0 / attempt if attempt < 50 else None) as (storage, recorder, loop):
            tasks = len(asyncio.all_tasks())
            for number in range(100):
                storage.create(CONFIG_MAPS, config(f"c{number}"))
            for colour in ("red", "green", "blue"):
                for number in range(100):
                    storage.update(CONFIG_MAPS, config(f"c{number}", colour=colour))
                await anyio.sleep(0.001)
            await anyio.sleep(10)
            assert loop.deadlines == 100
            assert len(asyncio.all_tasks()) <= tasks + 1
            looked = len(recorder.times["c0"])
            await anyio.sleep(100.0 / looked + 0.01)
            assert len(recorder.times["c0"]) == looked + 1
            assert recorder.times["c0"][-1] == pytest.approx(100.0 / looked, abs=0.01)

    run_in_virtual_time(story)


def test_deadlines_come_in_their_order_and_once() -> None:
    deadlines = Deadlines()
    first, second, third = (("r", ("ns", name)) for name in ("first", "second", "third"))
    asked: list[tuple[Work, float]] = [(second, 5.0), (third, 9.0), (first, 7.0), (first, 2.0), (first, 8.0)]
    for work, time in asked:
        deadlines.set(work, time)
    assert (len(deadlines), deadlines.next) == (3, 2.0)
    assert deadlines.take_due(5.0) == [first, second]
    deadlines.set(first, 20.0)
    assert deadlines.take_due(19.0) == [third]
    assert deadlines.take_due(20.0) == [first]
    assert len(deadlines) == 0


# --- pods ----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def cluster(runtime: SimulatedPodRuntime | None = None) -> AsyncIterator[ControlPlane]:
    numbers = count(1)
    async with run_control_plane(LoopClock(), lambda: f"uid-{next(numbers)}", pods=runtime) as plane:
        plane.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield plane


def test_eight_hundred_pods_that_have_to_stay_ready_for_a_while_cost_a_handful_of_tasks() -> None:
    async def story() -> None:
        async with cluster() as plane:
            for number in range(8):
                body = deployment(f"web-{number}", replicas=100)
                body["spec"]["minReadySeconds"] = 30  # type: ignore[index]
                plane.storage.create(DEPLOYMENTS, body)
            await anyio.sleep(10)
            assert sum(1 for _ in plane.storage.iterate(PODS, "shop")) == 800
            assert len(asyncio.all_tasks()) < 10
            assert plane.controllers.deadlines <= 16
            await anyio.sleep(30)
            status = [one["status"]["availableReplicas"] for one in plane.storage.iterate(DEPLOYMENTS, "shop")]
            assert status == [100] * 8

    run_in_virtual_time(story)


class BrokenRuntime(SimulatedPodRuntime):
    """A runtime with mistakes in it."""

    async def run(self, pod: JsonObject, report: Report) -> None:
        if pod["spec"]["containers"][0]["image"] == "web:broken":
            raise RuntimeError("the runtime does not answer")
        await super().run(pod, report)

    async def stop(self, pod: JsonObject) -> None:
        if pod["spec"]["containers"][0]["image"] == "web:broken":
            raise RuntimeError("the runtime does not answer")
        await super().stop(pod)


def test_a_pod_that_cannot_be_run_or_ended_in_order_harms_nobody_else() -> None:
    async def story() -> None:
        async with cluster(BrokenRuntime(LoopClock())) as plane:
            plane.storage.create(DEPLOYMENTS, deployment("bad", image="web:broken", replicas=1))
            plane.storage.create(DEPLOYMENTS, deployment("good", replicas=2))
            await anyio.sleep(5)
            bad, good = (plane.storage.get(DEPLOYMENTS, "shop", name)["status"] for name in ("bad", "good"))
            assert (bad["unavailableReplicas"], good["availableReplicas"]) == (1, 2)
            (pod,) = (one for one in plane.storage.iterate(PODS, "shop") if one["metadata"]["labels"]["app"] == "bad")
            waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
            assert waiting == {"reason": "RunContainerError", "message": "RuntimeError: the runtime does not answer"}
            plane.storage.delete(DEPLOYMENTS, "shop", "bad", propagation="Background")
            await anyio.sleep(5)
            assert sum(1 for _ in plane.storage.iterate(PODS, "shop")) == 2

    with told() as logs:
        run_in_virtual_time(story)
    assert [one["event"] for one in logs] == ["embedded.pod_failed", "embedded.pod_end_failed"]


@pytest.mark.parametrize("setting", ["boot-seconds", "crash-after-seconds", "terminate-seconds"])
@pytest.mark.parametrize("rubbish", ["soon", "-1", "nan", "inf", "1e999", "٣ seconds", "0x10"])
def test_a_number_that_is_none_is_told_in_the_pods_status(setting: str, rubbish: str) -> None:
    async def story() -> None:
        async with cluster() as plane:
            body = deployment("bad", replicas=1)
            body["spec"]["template"]["metadata"]["annotations"] = {PREFIX + setting: rubbish}  # type: ignore[index]
            plane.storage.create(DEPLOYMENTS, body)
            await anyio.sleep(5)
            (pod,) = plane.storage.iterate(PODS, "shop")
            waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
            assert waiting["reason"] == "CreateContainerConfigError"
            assert f"{PREFIX}{setting} is {rubbish!r}" in waiting["message"]
            plane.storage.delete(DEPLOYMENTS, "shop", "bad", propagation="Background")
            await anyio.sleep(35)
            assert not plane.storage.list(PODS, "shop")

    run_in_virtual_time(story)

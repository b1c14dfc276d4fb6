"""Two hundred applications at once, in one daemon, on one cluster."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest

from adapters.embedded.audit import WatchScope
from engine.model import ReleaseStatus, Step
from tests.builders import error_rate, percent, pod_ratio_route, release_plan, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

MANY = 200


def is_bad(number: int) -> bool:
    return number % 10 == 3


async def submit(told: Stage, number: int) -> None:
    name = f"app{number}"
    route = pod_ratio_route(name) if number % 4 == 1 else smi_route(name)
    namespace = f"team{number % 20}" if not is_bad(number) else f"bad{number}"
    steps: list[Step] = [percent(25), error_rate(runs=1, interval=0.2), percent(50)]
    plan = target_plan(steps, workload=name, namespace=namespace, route=route, replicas=2, settle=0.1)
    await told.submit(release_plan(plan, application=name))


@pytest.mark.timeout(240)
async def test_two_hundred_rollouts_at_once_are_all_correct_and_share_their_watches(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        for number in range(MANY):
            namespace = f"team{number % 20}" if not is_bad(number) else f"bad{number}"
            told.install(namespace, f"app{number}", "web:1", 2)
            if is_bad(number):
                told.error_rate[namespace] = 0.5
        names = [(f"team{n % 20}" if not is_bad(n) else f"bad{n}", f"app{n}") for n in range(MANY)]
        await told.until(lambda: all(told.status(*name, "availableReplicas") == 2 for name in names), within=60)
        before = {f"bad{n}": told.picture(f"bad{n}") for n in range(MANY) if is_bad(n)}
        began = time.process_time()
        async with anyio.create_task_group() as tasks:
            for number in range(MANY):
                tasks.start_soon(submit, told, number)
        for number in range(MANY):
            ended = await told.until_ended(f"r{number + 1}", within=100)
            expected = ReleaseStatus.FAILED if ended.application in bad_names() else ReleaseStatus.SUCCEEDED
            assert ended.status is expected, (ended.application, ended.reason)
        took = time.process_time() - began
        assert took < 60, "of a processor's own time: how busy the machine is otherwise is no matter of ours"
        for number in range(MANY):
            name, namespace = f"app{number}", f"team{number % 20}"
            if is_bad(number):
                assert told.picture(f"bad{number}") == before[f"bad{number}"]
                assert told.ours(f"bad{number}") == []
            else:
                live = told.deployment(namespace, name)
                assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
                assert live["status"]["availableReplicas"] == live["status"]["updatedReplicas"] == 2
        watches = told.embedded.server.audit.watches_ever
        assert sum(watches.values()) == 5, watches
        assert WatchScope("pods", "") in watches


def bad_names() -> set[str]:
    return {f"app{number}" for number in range(MANY) if is_bad(number)}

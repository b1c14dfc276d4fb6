"""Tests as Jobs: what is made of the file's Job, what its end means for the rollout, and what is left of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from adapters.embedded.errors import InternalError
from adapters.embedded.faults import Match
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import JOBS, PODS
from adapters.kubernetes import jobs as kubernetes_jobs
from adapters.kubernetes.access import AccessReviews
from adapters.kubernetes.actuator import KubernetesActuator
from adapters.kubernetes.jobs import KEPT_SECONDS, job_name
from adapters.kubernetes.permissions import Permission, Verb
from adapters.kubernetes.templates import ROLLOUT_ANNOTATION
from engine.clock import SystemClock
from engine.events import Command, CommandKind
from engine.model import Action, ActionKind, Parallel, Pause, ReleaseStatus, RunJob, Snapshot, State, TargetPlan
from tests.builders import percent, release_plan, rollout_spec, target_plan
from tests.clocks import START
from tests.rollouts.stage import ROUTERS, Stage, stage

NAME = job_name("smoke", "r1.production", "step:1")


def job(
    *, context: dict[str, str] | None = None, seconds: float = 30.0, args: str = "", spec: Any = None, **pretend: str
) -> RunJob:
    """`pretend`: what its simulated pod does, such as exit_code="1"."""
    notes = {f"embedded.headgate.dev/{name.replace('_', '-')}": value for name, value in pretend.items()}
    pod = {"restartPolicy": "Never", "containers": [{"name": "test", "image": "tests:1", "args": [args or "--all"]}]}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "smoke", "namespace": "elsewhere", "labels": {"team": "blue"}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": notes}, "spec": pod}, **(spec or {})},
    }
    return RunJob("smoke", json.dumps(body), seconds, context or {})


def plan(*steps: RunJob, **options: Any) -> TargetPlan:
    return target_plan([percent(25), *steps], settle=0.05, **options)


def jobs(told: Stage) -> list[JsonObject]:
    return [one for one in told.storage.list(JOBS, "shop") if not one["metadata"].get("deletionTimestamp")]


async def nothing_left(told: Stage) -> None:
    await told.until(lambda: not told.storage.list(JOBS, "shop") and not told.pods(image="tests:1"))


async def outputs(told: Stage) -> list[str]:
    return [str(entry.detail["output"]) for entry in await told.store.journal("r1") if "output" in entry.detail]


async def test_a_job_that_completes_lets_the_rollout_go_on_and_is_removed(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        assert await told.roll_out(release_plan(plan(job(log="12 of 12 tests passed")))) is ReleaseStatus.SUCCEEDED
        assert await outputs(told) == ["12 of 12 tests passed"]
        await nothing_left(told)


async def test_a_repeat_after_a_crash_waits_for_the_same_job_and_one_after_its_end_makes_no_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        target = plan(job(run_seconds="0.3", log="once"))
        told.rights.grant([target])
        actuator = KubernetesActuator({"embedded": told.cluster}, ROUTERS, AccessReviews(SystemClock()))
        action = Action(5, "run-job:2:smoke", ActionKind.RUN_JOB, {"gate": "step:1"})
        run = partial(actuator.perform, rollout_spec(target), Snapshot(State.CALLING, START, step=1), action)
        async with anyio.create_task_group() as first_life:
            first_life.start_soon(run)
            await told.until(lambda: bool(told.pods(image="tests:1")))
            first_life.cancel_scope.cancel()
        (made,) = jobs(told)
        for _ in range(2):
            done = await run()
            assert (done.note, done.output) == ("job smoke completed", "once")
        assert [one["metadata"]["uid"] for one in jobs(told)] == [made["metadata"]["uid"]]
        assert len(told.pods(image="tests:1")) == 1


async def test_a_job_is_the_files_with_our_marks_our_limits_and_the_values_of_variables(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        template = "{{armory.applicationName}} {{context.suite}} {{armory.replicaSetName}}"
        step = job(context={"suite": "full"}, args=template, run_seconds="600", spec={"activeDeadlineSeconds": 999})
        await told.submit(release_plan(plan(step)))
        await told.until(lambda: bool(told.pods(image="tests:1")))
        (made,) = jobs(told)
        metadata, spec = made["metadata"], made["spec"]
        assert (metadata["name"], metadata["namespace"]) == (NAME, "shop")
        assert metadata["labels"] == {"team": "blue", "app.kubernetes.io/managed-by": "headgate"}
        assert metadata["annotations"][ROLLOUT_ANNOTATION] == "r1.production"
        limits = {"activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": KEPT_SECONDS, "backoffLimit": 0}
        assert {name: spec[name] for name in limits} == limits
        facts = told.journal.snapshots["r1.production"].facts
        assert spec["template"]["spec"]["containers"][0]["args"] == [f"shop full {facts['web.canary_name']}"]
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        await told.until_ended()


async def test_a_job_that_fails_undoes_the_rollout_and_its_output_is_in_the_journal(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        told_by_pod = "checkout: 500\\n3 of 12 tests failed".replace("\\n", "\n")
        step = job(exit_code="3", log=told_by_pod)
        assert await told.roll_out(release_plan(plan(step))) is ReleaseStatus.FAILED
        assert await outputs(told) == [told_by_pod]
        reason = told.journal.snapshots["r1.production"].reason
        assert reason == (
            "run-job:2:smoke: job smoke failed: BackoffLimitExceeded (Job has reached the specified backoff limit)"
        )
        await nothing_left(told)
        assert told.picture() == before


@pytest.fixture
def given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second after a test of half a minute has begun, so that nothing else comes before it."""
    monkeypatch.setattr(kubernetes_jobs, "LATE_SECONDS", 29.0)
    monkeypatch.setattr(kubernetes_jobs, "LATE_SHARE", 1.0)


@pytest.mark.usefixtures("given_up_soon")
async def test_a_job_that_does_not_end_is_given_up_and_what_it_said_is_kept(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        step = job(run_seconds="600", log="still at work")
        assert await told.roll_out(release_plan(plan(step))) is ReleaseStatus.FAILED
        assert "job smoke did not end within 30 s" in told.journal.snapshots["r1.production"].reason
        assert await outputs(told) == ["still at work"]
        await nothing_left(told)


@pytest.mark.usefixtures("given_up_soon")
async def test_a_pod_that_cannot_start_is_named_when_the_time_is_over(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        step = job(image_pull="fail")
        assert await told.roll_out(release_plan(plan(step))) is ReleaseStatus.FAILED
        assert "container test is in ImagePullBackOff" in told.journal.snapshots["r1.production"].reason
        (output,) = await outputs(told)
        assert "could not be read" in output


async def test_logs_that_cannot_be_read_are_told_and_change_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.embedded.server.faults.answer(Match(subresource="log"), InternalError("no preferred addresses found"), times=9)
        assert await told.roll_out(release_plan(plan(job()))) is ReleaseStatus.SUCCEEDED
        (output,) = await outputs(told)
        assert output.endswith("could not be read: no preferred addresses found)")


async def test_an_aborted_rollout_takes_its_jobs_with_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(plan(job(run_seconds="600"))))
        await told.until(lambda: bool(told.pods(image="tests:1")))
        await told.engine.command("r1", Command(CommandKind.ABORT, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        await nothing_left(told)


async def test_a_job_that_somebody_skips_is_removed_at_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(plan(job(run_seconds="600"))))
        await told.until(lambda: bool(told.pods(image="tests:1")))
        await told.engine.command("r1", Command(CommandKind.SKIP, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        await nothing_left(told)


async def test_jobs_of_several_tests_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        both = Parallel((job(log="one"), job(log="two"), Pause(0.01)))
        assert await told.roll_out(release_plan(target_plan([percent(25), both], settle=0.05))) is ReleaseStatus.SUCCEEDED
        assert sorted(await outputs(told)) == ["one", "two"]


async def test_a_job_of_somebody_else_is_in_the_way(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        body = json.loads(job().manifest)
        body["metadata"] = {"name": NAME, "namespace": "shop"}
        told.storage.create(JOBS, body, manager="kubectl")
        assert await told.roll_out(release_plan(plan(job()))) is ReleaseStatus.FAILED
        reason = told.journal.snapshots["r1.production"].reason
        assert f"Job {NAME} is in the way" in reason
        assert [one["metadata"]["name"] for one in jobs(told)] == [NAME]


async def test_a_job_that_somebody_removes_has_not_passed(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        await told.submit(release_plan(plan(job(run_seconds="600"))))
        await told.until(lambda: bool(told.pods(image="tests:1")))
        told.storage.delete(JOBS, "shop", NAME)
        assert (await told.until_ended()).status is ReleaseStatus.FAILED
        assert "was removed by somebody else before its end" in told.journal.snapshots["r1.production"].reason


async def test_an_api_that_is_away_does_not_fail_the_test(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        told.embedded.server.faults.answer(Match(verb="get", resource="jobs"), InternalError("etcd has no leader"), times=2)
        assert await told.roll_out(release_plan(plan(job(log="once")))) is ReleaseStatus.SUCCEEDED
        assert await outputs(told) == ["once"]


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.DELETE, Verb.LIST])
async def test_a_missing_right_is_told_before_anything_is_changed(tmp_path: Path, verb: Verb) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        before = told.picture()
        told.rights.grant([plan(job())])
        told.rights.deny(Permission("batch", "jobs", verb, "shop"))
        assert await told.roll_out(release_plan(plan(job()))) is ReleaseStatus.REJECTED
        assert f"may not {verb} jobs.batch in namespace shop" in told.journal.snapshots["r1.production"].reason
        assert told.picture() == before


async def test_secrets_of_the_daemon_are_not_put_into_the_cluster(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        assert await told.roll_out(release_plan(plan(job(args="{{secrets.token}}")))) is ReleaseStatus.FAILED
        assert "would lie open in the cluster" in told.journal.snapshots["r1.production"].reason
        assert not told.storage.list(PODS, "elsewhere")


async def test_conditions_before_the_deployment_may_be_jobs(tmp_path: Path) -> None:
    async with stage(tmp_path) as told:
        await told.live()
        guarded = replace(target_plan([percent(25)], settle=0.05), before=(job(exit_code="1", log="not today"),))
        release = await told.roll_out(release_plan(guarded))
        assert release is ReleaseStatus.FAILED
        assert told.journal.snapshots["r1.production"].state is State.FAILED
        assert await outputs(told) == ["not today"]
        await nothing_left(told)



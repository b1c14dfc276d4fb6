"""Jobs, as far as tests that run as Jobs rely on them: how they end, what their pods are called, and what goes with them."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance import stand as k8s
from tests.conformance.stand import PODS, Refused, Stand

JOBS = "batch/v1/jobs"


def job(name: str = "smoke", *, policy: str = "Never", pretend: dict[str, str] | None = None, **spec: Any) -> JsonObject:
    body = k8s.template("tests:1", app="tests", pretend=pretend)
    pod = {"metadata": body["metadata"], "spec": {"restartPolicy": policy, "containers": body["spec"]["containers"]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": pod, **spec},
    }


async def ended(stand: Stand, name: str = "smoke", kind: str = "") -> JsonObject:
    """The Job when it has this condition, or is over."""

    async def is_over() -> JsonObject | None:
        found = await stand.get(JOBS, name)
        conditions = (found.get("status") or {}).get("conditions") or []
        wanted = (kind,) if kind else ("Complete", "Failed")
        return found if any(one["type"] in wanted and one["status"] == "True" for one in conditions) else None

    return await stand.until(is_over, f"Job {name} is over")


def verdict(found: JsonObject) -> tuple[str, str, str]:
    over = next(one for one in found["status"]["conditions"] if one["type"] in ("Complete", "Failed"))
    return over["type"], over["reason"], over["message"]


async def test_a_job_whose_pod_ends_with_0_is_complete_and_its_pod_stays(stand: Stand) -> None:
    await stand.create(JOBS, job())
    found = await ended(stand)
    assert verdict(found)[:2] == ("Complete", "CompletionsReached")
    assert found["status"]["succeeded"] == 1
    assert found["status"]["completionTime"]
    (pod,) = await stand.list_all(PODS, "job-name=smoke")
    assert pod["metadata"]["name"].startswith("smoke-")
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "smoke"
    assert pod["status"]["phase"] == "Succeeded"
    assert [(one["kind"], one["name"], one["controller"]) for one in k8s.owners(pod)] == [("Job", "smoke", True)]


async def test_a_job_without_another_try_fails_with_its_pod(stand: Stand) -> None:
    await stand.create(JOBS, job(pretend={"exit-code": "3"}))
    found = await ended(stand)
    assert verdict(found) == ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert found["status"]["failed"] == 1
    (pod,) = await stand.list_all(PODS, "job-name=smoke")
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


async def test_what_it_will_come_to_is_said_before_it_has_come_to_it(stand: Stand) -> None:
    await stand.create(JOBS, job(pretend={"exit-code": "1"}))
    found = await ended(stand)
    assert [one["type"] for one in found["status"]["conditions"]] == ["FailureTarget", "Failed"]


async def test_another_try_is_another_pod(stand: Stand) -> None:
    await stand.create(JOBS, job(pretend={"exit-code": "1"}, backoffLimit=1))

    async def has_two() -> list[JsonObject] | None:
        pods = await stand.list_all(PODS, "job-name=smoke")
        return pods if len(pods) == 2 else None

    await stand.until(has_two, "a second pod")
    assert verdict(await ended(stand))[1] == "BackoffLimitExceeded"


async def test_starts_of_a_container_in_its_pod_are_counted_too(stand: Stand) -> None:
    await stand.create(JOBS, job(policy="OnFailure", pretend={"exit-code": "1"}, backoffLimit=1))
    assert verdict(await ended(stand))[:2] == ("Failed", "BackoffLimitExceeded")


async def test_a_job_that_takes_too_long_is_ended_with_its_pods(stand: Stand) -> None:
    await stand.create(JOBS, job(pretend={"run-seconds": "600"}, activeDeadlineSeconds=1))
    found = await ended(stand)
    assert verdict(found) == ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")

    async def is_gone() -> bool:
        return not await stand.pods(job_name="smoke")

    await stand.until(is_gone, "its pod is gone")


async def test_a_job_is_removed_some_time_after_its_end(stand: Stand) -> None:
    await stand.create(JOBS, job(ttlSecondsAfterFinished=1))

    async def is_gone() -> bool:
        return await stand.find(JOBS, "smoke") is None and not await stand.pods(job_name="smoke")

    await stand.until(is_gone, "the Job and its pod are gone")


@pytest.mark.parametrize("seconds", ["0", "600"], ids=["over", "at work"])
async def test_the_pods_of_a_job_that_is_deleted_go_with_it(stand: Stand, seconds: str) -> None:
    await stand.create(JOBS, job(pretend={"run-seconds": seconds}))
    if seconds == "0":
        await ended(stand)

    async def has_pod() -> bool:
        return bool(await stand.list_all(PODS, "job-name=smoke"))

    await stand.until(has_pod, "it has a pod")
    await stand.delete(JOBS, "smoke")

    async def is_gone() -> bool:
        return not await stand.list_all(PODS, "job-name=smoke")

    await stand.until(is_gone, "its pods are gone")


async def test_two_jobs_of_one_name_are_refused(stand: Stand) -> None:
    await stand.create(JOBS, job(pretend={"run-seconds": "600"}))
    with pytest.raises(Refused) as refused:
        await stand.create(JOBS, job())
    assert refused.value.status == 409


async def test_a_service_without_ready_pods_cannot_be_reached_by_the_proxy(stand: Stand) -> None:
    await stand.create(k8s.SERVICES, k8s.service())
    path = f"{stand.path(k8s.SERVICES, 'web:80')}/proxy/"

    async def refusal() -> Refused | None:
        """None as long as the API server's own cache does not know the Service yet."""
        with pytest.raises(Refused) as refused:
            await stand.request("GET", path)
        return refused.value if refused.value.status != 404 else None

    said = await stand.until(refusal, "the proxy knows the Service")
    assert said.status == 503
    assert 'no endpoints available for service "web' in str(said)


async def test_the_proxy_of_a_service_that_is_not_there(stand: Stand) -> None:
    with pytest.raises(Refused) as refused:
        await stand.request("GET", f"{stand.path(k8s.SERVICES, 'nothing:80')}/proxy/")
    assert refused.value.status in (404, 503)

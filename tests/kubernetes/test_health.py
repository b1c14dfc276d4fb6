"""When a StatefulSet, a DaemonSet or a Job has come to what it asks for, and what is said while it has not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.kubernetes.health import Health, decoder_of, read_health, resource_of
from adapters.kubernetes.paths import DAEMON_SETS, JOBS, STATEFUL_SETS

ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}


def body(spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    metadata = {"name": "store", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2}
    return {"metadata": metadata, "spec": spec, "status": {"observedGeneration": 2, **status}}


@pytest.mark.parametrize(
    ("spec", "status", "trouble"),
    [
        ({"replicas": 3}, {"updatedReplicas": 3, "readyReplicas": 3}, ""),
        ({}, {"updatedReplicas": 1, "readyReplicas": 1}, ""),
        ({"replicas": 0}, {}, ""),
        ({"replicas": 3}, {"observedGeneration": 1, "readyReplicas": 3}, "its controller has not seen the change yet"),
        ({"replicas": 3}, {"updatedReplicas": 1, "readyReplicas": 3}, "1 of 3 pods are of the new version"),
        ({"replicas": 3}, {"updatedReplicas": 3, "readyReplicas": 2}, "2 of 3 pods are ready"),
        ({"replicas": 3, **PARTITION}, {"updatedReplicas": 1, "readyReplicas": 3}, ""),
        ({"replicas": 3, **PARTITION}, {"updatedReplicas": 0, "readyReplicas": 3}, "0 of 1 pods are of the new version"),
        ({"replicas": 3, **ON_DELETE}, {"updatedReplicas": 0, "readyReplicas": 3}, ""),
    ],
)
def test_stateful_sets(spec: dict[str, Any], status: dict[str, Any], trouble: str) -> None:
    assert read_health(STATEFUL_SETS, body(spec, **status)) == Health(not trouble, trouble)


@pytest.mark.parametrize(
    ("spec", "counts", "trouble"),
    [
        ({}, (3, 3, 3), ""),
        ({}, (0, 0, 0), ""),
        ({}, (3, 2, 3), "2 of 3 pods are of the new version"),
        ({}, (3, 3, 1), "1 of 3 pods are available"),
        (ON_DELETE, (3, 0, 3), ""),
    ],
)
def test_daemon_sets(spec: dict[str, Any], counts: tuple[int, int, int], trouble: str) -> None:
    names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    found = read_health(DAEMON_SETS, body(spec, **dict(zip(names, counts, strict=True))))
    assert found == Health(not trouble, trouble)


def test_a_job_that_has_failed_is_settled_too_and_says_why() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too many retries"}
    complete = {"type": "Complete", "status": "True"}
    assert read_health(JOBS, body({}, conditions=[complete])) == Health(True)
    assert read_health(JOBS, body({}, conditions=[failed])) == Health(True, "it failed: too many retries")
    assert read_health(JOBS, body({"completions": 3}, succeeded=1)) == Health(False, "1 of 3 runs have succeeded")
    assert read_health(JOBS, body({"suspend": True})) == Health(True)


def test_the_caches_hold_no_more_than_that() -> None:
    found = decoder_of(STATEFUL_SETS)(json.dumps(body({"replicas": 2}, updatedReplicas=2, readyReplicas=1)).encode())
    assert (found.key, found.uid, found.resource_version) == (("shop", "store"), "u", "7")
    assert found.health == Health(False, "1 of 2 pods are ready")


def test_other_kinds_are_not_waited_for() -> None:
    assert resource_of("batch/v1", "Job") == JOBS
    assert resource_of("batch/v1", "CronJob") is None
    assert resource_of("example.com/v1", "Job") is None

"""What is kept of the objects of a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from adapters.kubernetes.wire import decode_deployment, decode_pod, decode_raw, decode_replica_set

METADATA = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7"}


def raw(body: dict[str, Any]) -> Raw:
    return Raw(json.dumps(body).encode())


def trouble(**status: object) -> str:
    return decode_pod(raw({"metadata": METADATA, "status": status})).trouble


def waiting(reason: str, message: str = "", **more: object) -> dict[str, object]:
    return {"name": "app", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def test_a_deployment_is_observed_when_its_controller_has_seen_its_generation() -> None:
    body: dict[str, Any] = {
        "metadata": {**METADATA, "generation": 3, "annotations": {"deployment.kubernetes.io/revision": "5"}},
        "spec": {
            "replicas": 4,
            "paused": True,
            "template": {"spec": {}},
            "selector": {},
            "strategy": {"type": "Recreate"},
        },
        "status": {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3},
    }
    found = decode_deployment(raw(body))
    assert (found.key, found.replicas, found.paused, found.revision) == (("shop", "web"), 4, True, "5")
    assert (found.current, found.updated, found.available, found.is_observed) == (4, 1, 3, False)
    body["status"]["observedGeneration"] = 3
    assert decode_deployment(raw(body)).is_observed


def test_templates_are_the_same_whatever_the_order_of_their_keys_and_their_hash_label() -> None:
    def digest(template: dict[str, object]) -> str:
        return decode_deployment(raw({"metadata": METADATA, "spec": {"template": template}})).template_digest

    one = digest({"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}}, "spec": {"a": 1, "b": 2}})
    other = digest({"spec": {"b": 2, "a": 1}, "metadata": {"labels": {"app": "web"}, "creationTimestamp": None}})
    assert one == other
    assert one != digest({"metadata": {"labels": {"app": "web"}}, "spec": {"a": 1, "b": 3}})


def test_a_replica_set_belongs_to_its_controller_and_not_to_any_owner() -> None:
    owners = [
        {"kind": "Release", "name": "r", "uid": "1"},
        {"kind": "Deployment", "name": "d", "uid": "2", "controller": True},
    ]
    body = {"metadata": {**METADATA, "ownerReferences": owners}, "spec": {"template": {}}}
    found = decode_replica_set(raw(body))
    assert (found.owner_name, found.owner_uid, found.replicas, found.available) == ("d", "2", 1, 0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Running", "containerStatuses": [{"name": "app", "ready": True, "state": {"running": {}}}]}, ""),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, ""),
        ({"phase": "Pending", "containerStatuses": [waiting("PodInitializing")]}, ""),
        (
            {"containerStatuses": [waiting("ImagePullBackOff", "Back-off pulling\n  image")]},
            "container app is in ImagePullBackOff (Back-off pulling image)",
        ),
        (
            {
                "containerStatuses": [
                    waiting("CrashLoopBackOff", restartCount=3, lastState={"terminated": {"reason": "OOMKilled"}})
                ]
            },
            "container app is in CrashLoopBackOff, restarted 3 times, ended with OOMKilled before",
        ),
        (
            {
                "initContainerStatuses": [waiting("CrashLoopBackOff") | {"name": "migrate"}],
                "containerStatuses": [waiting("PodInitializing")],
            },
            "container migrate is in CrashLoopBackOff",
        ),
        (
            {
                "initContainerStatuses": [{"name": "migrate", "state": {"terminated": {"reason": "Completed"}}}],
                "containerStatuses": [{"name": "app", "ready": False, "state": {"running": {}}}],
            },
            "",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "failed: Evicted (low on memory)"),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            },
            "not scheduled: 0/3 nodes",
        ),
    ],
)
def test_a_pods_trouble_is_told_in_words_and_an_ordinary_start_is_none(
    status: dict[str, object], expected: str
) -> None:
    assert trouble(**status) == expected


def test_long_last_words_are_cut() -> None:
    assert len(trouble(containerStatuses=[waiting("Error", "x" * 5_000)])) < 400


def test_a_custom_resource_is_kept_whole() -> None:
    body = {"metadata": {**METADATA, "labels": None}, "spec": {"anything": [1, {"at": "all"}]}}
    found = decode_raw(raw(body))
    assert (found.key, found.uid, found.resource_version, found.content) == (("shop", "web"), "u", "7", body)


@pytest.mark.parametrize("is_deleted", [True, False])
@pytest.mark.parametrize("ready", ["True", "False"])
def test_a_pod_that_is_deleted_is_leaving_when_it_is_not_ready_any_more(ready: str, *, is_deleted: bool) -> None:
    metadata = METADATA | ({"deletionTimestamp": "2026-01-05T03:00:00Z"} if is_deleted else {})
    found = decode_pod(raw({"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    assert found.is_leaving is (is_deleted and ready == "False")

"""What the server makes of what it is given: defaults, names that it gives, amounts in one form; and rehearsals of writes."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.kubernetes import templates
from tests.conformance.asking import (
    JOBS,
    SPLITS,
    STATEFUL_SETS,
    Api,
    Patch,
    autoscaler,
    changed,
    config_map,
    conflict,
    managers,
    not_found,
    plain,
    refusal,
    stateful_set,
    traffic_split,
)
from tests.conformance.stand import (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    deployment,
    pod,
    replica_set,
    rolling,
    service,
)

CONTAINER = {
    "name": "app",
    "image": "web:1",
    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
}
POD_SPEC = {
    "containers": [CONTAINER],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
APP = ("spec", "template", "spec", "containers", 0)


async def made(api: Api, resource: str, body: JsonObject) -> JsonObject:
    """The object as it would be."""
    return (await api.create(resource, body, dryRun="All")).object


# --- workloads -------------------------------------------------------------------------------------------------------------


async def test_a_deployment_gets_its_defaults(api: Api) -> None:
    spec = (await made(api, DEPLOYMENTS, changed(deployment(), None, "spec", "replicas")))["spec"]
    assert spec == {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC},
        "strategy": rolling("25%", "25%"),
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "RollingUpdate"}, rolling("25%", "25%")),
        ({"rollingUpdate": {"maxSurge": 0}}, rolling(0, "25%")),
        ({"rollingUpdate": {"maxUnavailable": "0%"}}, rolling("25%", "0%")),
        ({"type": "Recreate"}, {"type": "Recreate"}),
    ],
    ids=str,
)
async def test_a_strategy_is_completed(api: Api, given: JsonObject, expected: JsonObject) -> None:
    assert (await made(api, DEPLOYMENTS, deployment(strategy=given)))["spec"]["strategy"] == expected


async def test_a_replica_set_gets_its_defaults(api: Api) -> None:
    body = changed(replica_set(), None, "spec", "replicas")
    found = await made(api, REPLICA_SETS, body)
    template = {**body["spec"]["template"], "spec": POD_SPEC}
    assert found["spec"] == {"replicas": 1, "selector": body["spec"]["selector"], "template": template}
    assert found["status"] == {"replicas": 0}


async def test_headgates_own_replica_set_is_taken_as_it_is_written(api: Api) -> None:
    """So what Headgate compares with what it wanted does not differ by defaults."""
    live = await made(api, DEPLOYMENTS, deployment())
    template = copy.deepcopy(live["spec"]["template"])
    template["spec"]["containers"][0]["image"] = "web:2"
    body = templates.canary_replica_set(live, template, "abc", rollout="r1.production", replicas=2)
    found = await made(api, REPLICA_SETS, body)
    assert found["spec"] == body["spec"]
    assert {key: found["metadata"][key] for key in body["metadata"]} == body["metadata"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("registry.example.com:5000/team/web", "Always"),
        ("registry.example.com:5000/team/web:1", "IfNotPresent"),
        ("web@sha256:" + "0" * 64, "IfNotPresent"),
        ("no image", "IfNotPresent"),
    ],
)
async def test_floating_images_are_always_pulled(api: Api, image: str, policy: str) -> None:
    found = await made(api, DEPLOYMENTS, deployment(image=image))
    assert found["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        (
            (*APP, "readinessProbe"),
            {"httpGet": {"port": 80}},
            {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
        ),
        (
            (*APP, "env"),
            [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            [{"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
        ),
        ((*APP, "env"), [{"name": "EMPTY", "value": ""}], [{"name": "EMPTY"}]),
        (
            ("spec", "template", "spec", "volumes"),
            [{"name": "a"}, {"name": "b", "configMap": {"name": "c"}}, {"name": "d", "secret": {"secretName": "s"}}],
            [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
                {"name": "d", "secret": {"secretName": "s", "defaultMode": 420}},
            ],
        ),
    ],
    ids=str,
)
async def test_parts_of_a_template_get_their_defaults(
    api: Api, path: tuple[str | int, ...], given: Any, expected: Any
) -> None:
    found: Any = await made(api, DEPLOYMENTS, changed(deployment(), given, *path))
    for key in path:
        found = found[key]
    assert found == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.5", "500m"),
        (0.5, "500m"),
        ("1000m", "1"),
        (2, "2"),
        ("1000", "1k"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1500Mi", "1500Mi"),
        ("1e3", "1e3"),
        ("128M", "128M"),
        ("100m", "100m"),
        ("0", "0"),
        ("0.0001", "1m"),
    ],
    ids=str,
)
async def test_an_amount_is_given_out_in_one_form(api: Api, given: object, expected: str) -> None:
    """The digest of a template depends on it."""
    found = await made(api, DEPLOYMENTS, changed(deployment(), {"limits": {"memory": given}}, *APP, "resources"))
    limits = found["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": expected}


async def test_what_is_empty_is_not_given_out(api: Api) -> None:
    body = changed(deployment(paused=False, minReadySeconds=0), {}, "metadata", "annotations")
    body["spec"]["template"]["spec"]["containers"][0] |= {"args": [], "env": [], "command": None}
    found = await made(api, DEPLOYMENTS, body)
    assert not {"paused", "minReadySeconds"} & set(found["spec"])
    assert "annotations" not in found["metadata"]
    assert found["spec"]["template"]["spec"]["containers"] == [CONTAINER]
    assert found["status"] == {}


async def test_leaving_out_what_is_the_default_changes_nothing(api: Api) -> None:
    live = (await api.create(STATEFUL_SETS, stateful_set())).object
    again = (await api.merge(STATEFUL_SETS, "web", {"spec": {"revisionHistoryLimit": None, "updateStrategy": None}})).object
    assert (again["spec"], again["metadata"]["generation"]) == (live["spec"], 1)


# --- pods, Services, autoscalers, Jobs -------------------------------------------------------------------------------------


async def test_a_pod_gets_what_admission_gives(api: Api) -> None:
    body = changed(pod("one", {}), {"limits": {"cpu": "1"}}, "spec", "containers", 0, "resources")
    found = await made(api, PODS, body)
    patience = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    amounts = {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    assert found["spec"] == {
        **POD_SPEC,
        "containers": [{**CONTAINER, "resources": amounts}],
        "enableServiceLinks": True,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [{"key": key, **patience} for key in keys],
    }
    assert found["status"] == {"phase": "Pending", "qosClass": "Burstable"}


async def test_a_service_gets_its_defaults_and_an_address(api: Api) -> None:
    body = service(ports=[{"port": 80}])
    found = (await api.create(SERVICES, body)).object
    address = found["spec"]["clusterIP"]
    assert re.fullmatch(r"10\.96\.\d+\.\d+", address)
    assert found["spec"] == {
        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        "selector": {"app": "web"},
        "clusterIP": address,
        "clusterIPs": [address],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    assert found["status"] == {"loadBalancer": {}}


async def test_a_headless_service_has_no_address(api: Api) -> None:
    spec = (await made(api, SERVICES, service(clusterIP="None")))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"], spec["ipFamilies"]) == ("None", ["None"], ["IPv4"])


async def test_a_service_that_is_a_name_has_nothing_else(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    spec = (await made(api, SERVICES, {**body, "spec": {"type": "ExternalName", "externalName": "example.com"}}))["spec"]
    assert spec == {"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"}


async def test_an_autoscaler_gets_its_defaults(api: Api) -> None:
    found = await made(api, AUTOSCALERS, autoscaler())
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    assert found["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    assert found["status"] == {"desiredReplicas": 0, "currentMetrics": None}


async def test_the_behaviour_of_an_autoscaler_is_completed(api: Api) -> None:
    rules = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    behavior = (await made(api, AUTOSCALERS, autoscaler(behavior=rules)))["spec"]["behavior"]
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    assert behavior["scaleDown"] == {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": [percent]}
    assert behavior["scaleUp"] == {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]}


async def test_a_job_selects_its_pods_by_its_own_uid(api: Api) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "web:1"}]}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    found = await made(api, JOBS, body)
    chosen = {"batch.kubernetes.io/controller-uid": found["metadata"]["uid"]}
    assert found["spec"]["selector"] == {"matchLabels": chosen}
    labels = {**chosen, "batch.kubernetes.io/job-name": "once", "job-name": "once", "controller-uid": found["metadata"]["uid"]}
    assert found["spec"]["template"]["metadata"]["labels"] == found["metadata"]["labels"] == labels
    names = ("parallelism", "completions", "backoffLimit", "completionMode", "suspend", "podReplacementPolicy")
    assert [found["spec"][name] for name in names] == [1, 1, 6, "NonIndexed", False, "TerminatingOrFailed"]


# --- names that the server gives -------------------------------------------------------------------------------------------


async def test_a_generated_name_has_five_characters_behind_its_prefix(api: Api) -> None:
    body = config_map(generateName="colour-")
    del body["metadata"]["name"]
    first, second = [(await api.create(CONFIG_MAPS, body)).object["metadata"] for _ in range(2)]
    assert re.fullmatch("colour-[bcdfghjklmnpqrstvwxz2456789]{5}", first["name"])
    assert first["generateName"] == "colour-"
    assert first["name"] != second["name"]
    long = (await api.create(CONFIG_MAPS, changed(body, "a" * 200, "metadata", "generateName"))).object["metadata"]
    assert re.fullmatch("a{58}[bcdfghjklmnpqrstvwxz2456789]{5}", long["name"])


async def test_a_name_goes_before_a_prefix(api: Api) -> None:
    found = (await api.create(CONFIG_MAPS, config_map(generateName="other-"))).object["metadata"]
    assert (found["name"], found["generateName"]) == ("colour", "other-")


# --- dry runs --------------------------------------------------------------------------------------------------------------


async def test_a_rehearsed_creation_stores_nothing(api: Api) -> None:
    for resource, body, qualified in (
        (CONFIG_MAPS, config_map(), "configmaps"),
        (DEPLOYMENTS, deployment("colour"), "deployments.apps"),
        (REPLICA_SETS, replica_set("colour"), "replicasets.apps"),
        (SERVICES, service("colour"), "services"),
    ):
        answer = await api.create(resource, body, dryRun="All")
        assert answer.status == 201
        assert answer.object["metadata"]["uid"]
        assert "resourceVersion" not in answer.object["metadata"]
        assert (await api.get(resource, "colour")).body == not_found(qualified, "colour")
    rehearsed = await api.create(CONFIG_MAPS, config_map(), dryRun="All")
    assert plain((await api.create(CONFIG_MAPS, config_map())).object) == plain(rehearsed.object)


async def test_a_rehearsed_change_is_shown_and_not_made(api: Api) -> None:
    await api.offer_splits()
    for resource, body in ((CONFIG_MAPS, config_map("web")), (SPLITS, traffic_split())):
        live = (await api.create(resource, body)).object
        change = {"metadata": {"labels": {"a": "b"}}}
        patched = (await api.merge(resource, "web", change, dryRun="All")).object
        replaced = (await api.replace(resource, changed(live, {"a": "b"}, "metadata", "labels"), dryRun="All")).object
        assert patched["metadata"]["labels"] == replaced["metadata"]["labels"] == {"a": "b"}
        assert patched["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
        applied = await api.apply(resource, {**body, "metadata": {"name": "web", "labels": {"c": "d"}}}, dryRun="All")
        assert managers(applied.object) == ["Apply headgate", "Update conformance"]
        assert (await api.get(resource, "web")).object == live


async def test_a_rehearsal_is_refused_as_in_earnest(api: Api) -> None:
    first = (await api.create(CONFIG_MAPS, config_map())).object
    await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}})
    again = await api.create(CONFIG_MAPS, config_map(), dryRun="All")
    exists = refusal(409, "AlreadyExists", 'configmaps "colour" already exists', name="colour", kind="configmaps")
    assert again.body == exists
    assert (await api.replace(CONFIG_MAPS, first, dryRun="All")).body == conflict("configmaps", "colour")
    wrong = await api.create(CONFIG_MAPS, config_map("Colour"), dryRun="All")
    assert (wrong.status, wrong.causes[0][0]) == (422, "metadata.name")
    taken = await api.apply(CONFIG_MAPS, config_map(), dryRun="All")
    assert taken.message == 'Apply failed with 1 conflict: conflict with "conformance" using v1: .data.is'
    gone = await api.patch(Patch.MERGE, CONFIG_MAPS, "gone", {}, dryRun="All")
    assert gone.body == not_found("configmaps", "gone")


async def test_a_rehearsed_deletion_deletes_nothing(api: Api) -> None:
    live = (await api.create(CONFIG_MAPS, config_map())).object
    for answer in (
        await api.delete(CONFIG_MAPS, "colour", dryRun="All"),
        await api.delete(CONFIG_MAPS, "colour", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}),
    ):
        assert (answer.status, answer.body["status"], answer.body["details"]["name"]) == (200, "Success", "colour")
    assert (await api.get(CONFIG_MAPS, "colour")).object == live
    assert (await api.delete(CONFIG_MAPS, "gone", dryRun="All")).body == not_found("configmaps", "gone")


async def test_a_rehearsal_of_some_is_none(api: Api) -> None:
    answer = await api.create(CONFIG_MAPS, config_map(), dryRun="Some")
    told = 'Unsupported value: ["Some"]: supported values: "All"'
    assert answer.causes == [("dryRun", "FieldValueNotSupported", told)]
    assert answer.message == f'CreateOptions.meta.k8s.io "" is invalid: dryRun: {told}'

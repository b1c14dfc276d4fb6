"""Deploy files without a Deployment on a real control plane: a kind with its objects, a StatefulSet, a Job."""

from __future__ import annotations

import json

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import ReleaseBody, SourceBody, SubmitBody
from engine.model import ReleaseStatus
from tests.builders import definition, pods_of
from tests.e2e.site import Site

pytestmark = pytest.mark.real

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def submit(site: Site, *objects: dict[str, object]) -> ReleaseBody:
    file: JsonObject = {
        "version": "v1",
        "kind": "kubernetes",
        "application": f"{site.namespace}-objects",
        "targets": {"production": {"account": "real", "namespace": site.namespace}},
        "manifests": [{"path": "objects.yaml"}],
        "deploymentConfig": {"timeout": {"duration": 60, "unit": "seconds"}},
    }
    text = "\n---\n".join(map(json.dumps, objects))
    body = SubmitBody("deploy.yaml", json.dumps(file), {"objects.yaml": [SourceBody("objects.yaml", text)]})
    async with site.client() as client:
        return (await client.submit(body)).release


async def deploy(site: Site, *objects: dict[str, object]) -> ReleaseBody:
    release = await submit(site, *objects)
    return await site.until_ended(release.id, within=150)


async def allow_everything(site: Site) -> None:
    """The smallest roles are for the stories about Deployments; a definition of a kind takes rights in the whole cluster."""
    subject = {"kind": "ServiceAccount", "name": "headgate", "namespace": site.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    metadata = {"name": f"{site.namespace}-headgate"}
    body: JsonObject = {"metadata": metadata, "subjects": [subject], "roleRef": reference}
    await site.create(f"{RBAC}/clusterrolebindings", body)


def on_every_node(name: str) -> dict[str, object]:
    """Also on one that says nothing of its health, as the simulated one does."""
    body: JsonObject = pods_of("DaemonSet", name)
    body["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
    return body


def shop_service(port: int) -> dict[str, object]:
    spec = {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": port, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": spec}


def ship(group: str, sails: int) -> dict[str, object]:
    return {"apiVersion": f"{group}/v1", "kind": "Ship", "metadata": {"name": "argo"}, "spec": {"sails": sails}}


async def test_a_kind_and_its_objects_are_deployed_together_and_undone_together(site: Site) -> None:
    await allow_everything(site)
    group = f"{site.namespace}.example.com"
    bad = pods_of("Job", "task", image="task:crash", backoffLimit=0)
    undone = await deploy(site, ship(group, 2), definition(group=group), bad)
    assert undone.status is ReleaseStatus.FAILED
    assert "Job/task is not as it should be: it failed: " in undone.reason
    assert await site.find(f"/apis/{group}/v1/namespaces/{site.namespace}/ships/argo") is None

    async def is_gone() -> bool:
        return await site.find(f"{DEFINITIONS}/ships.{group}") is None

    await site.until(is_gone)
    done = await deploy(site, ship(group, 3), definition(group=group))
    assert done.status is ReleaseStatus.SUCCEEDED, await site.tell(done.id)
    found = await site.get(f"/apis/{group}/v1/namespaces/{site.namespace}/ships/argo")
    assert found["spec"] == {"sails": 3}
    await site.delete(f"{DEFINITIONS}/ships.{group}")


async def test_whatever_has_pods_is_waited_for_and_undone(site: Site) -> None:
    await allow_everything(site)
    store, task = pods_of("StatefulSet", replicas=2), pods_of("Job", "task")
    done = await deploy(site, store, task, on_every_node("agent"))
    assert done.status is ReleaseStatus.SUCCEEDED, await site.tell(done.id)
    path = f"/apis/apps/v1/namespaces/{site.namespace}/statefulsets/store"
    assert (await site.get(path))["status"]["readyReplicas"] == 2
    assert (await site.get(f"/apis/batch/v1/namespaces/{site.namespace}/jobs/task"))["status"]["succeeded"] == 1
    assert (await site.get(f"/apis/apps/v1/namespaces/{site.namespace}/daemonsets/agent"))["status"]["numberAvailable"] >= 1

    undone = await deploy(site, pods_of("StatefulSet", replicas=2, image="store:missing"), task)

    assert undone.status is ReleaseStatus.FAILED
    assert "StatefulSet/store is not as it should be: " in undone.reason
    template = (await site.get(path))["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "store:1"


async def test_a_service_that_is_still_being_taken_down_is_waited_for_and_made_again(site: Site) -> None:
    await allow_everything(site)
    path, keeper = site.path("services", "shop"), "service.kubernetes.io/load-balancer-cleanup"
    first = await site.create(site.path("services"), shop_service(80) | {"metadata": {"name": "shop", "finalizers": [keeper]}})
    await site.delete(path)
    release = await submit(site, shop_service(8080))

    async def is_told() -> bool:
        return f"Service/shop is being deleted and still kept by its finalizers ({keeper})" in await site.tell(release.id)

    await site.until(is_told)
    assert (await site.get(path))["spec"]["ports"][0]["port"] == 80, "not even written to"
    await site.merge(path, {"metadata": {"finalizers": None}})
    done = await site.until_ended(release.id)
    assert done.status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    found = await site.get(path)
    assert found["metadata"]["uid"] != first["metadata"]["uid"]
    assert found["spec"]["ports"][0]["port"] == 8080

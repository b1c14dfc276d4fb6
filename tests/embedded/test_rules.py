"""Defaults and rules of the built-in kinds: what the server fills in, and what it refuses, in the real one's words."""

from __future__ import annotations

import pytest

from adapters.embedded.errors import Invalid
from adapters.embedded.json_objects import JsonObject, value_at
from adapters.embedded.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from adapters.embedded.storage import Storage
from tests.embedded.api_stand import deployment, new_storage, pod, service


@pytest.fixture
def storage() -> Storage:
    return new_storage()


def put_at(obj: JsonObject, path: str, value: object) -> JsonObject:
    """Set (or with None remove) what stands at a dotted path, in which numbers are positions."""
    *parents, last = path.split(".")
    place: object = obj
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]  # type: ignore[index]
    assert isinstance(place, dict)
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return obj


def autoscaler(**spec: object) -> JsonObject:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec}}


class TestDefaults:
    def test_a_deployment_is_completed(self, storage: Storage) -> None:
        spec = storage.create(DEPLOYMENTS, put_at(deployment(), "spec.replicas", None))["spec"]
        assert {key: spec[key] for key in ("replicas", "revisionHistoryLimit", "progressDeadlineSeconds")} == {
            "replicas": 1,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        }
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        }
        template = spec["template"]["spec"]
        container = template.pop("containers")[0]
        assert template == {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler",
            "securityContext": {},
        }
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
        assert container["terminationMessagePath"] == "/dev/termination-log"
        assert container["resources"] == {}

    @pytest.mark.parametrize(
        ("image", "policy"),
        [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.25", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ],
    )
    def test_floating_images_are_always_pulled(self, storage: Storage, image: str, policy: str) -> None:
        made = storage.create(PODS, put_at(pod(), "spec.containers.0.image", image))
        assert made["spec"]["containers"][0]["imagePullPolicy"] == policy

    def test_probes_are_completed(self, storage: Storage) -> None:
        body = put_at(pod(), "spec.containers.0.readinessProbe", {"httpGet": {"port": 8080}, "periodSeconds": 3})
        probe = storage.create(PODS, body)["spec"]["containers"][0]["readinessProbe"]
        assert probe == {
            "httpGet": {"port": 8080, "path": "/", "scheme": "HTTP"},
            "periodSeconds": 3,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        }

    def test_a_template_that_was_completed_is_completed_no_further(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        copied = {
            "metadata": {"name": "copy", "namespace": "default"},
            "spec": {key: made["spec"][key] for key in ("selector", "template", "replicas")},
        }
        assert storage.create(REPLICA_SETS, copied)["spec"]["template"] == made["spec"]["template"]

    def test_a_pod_begins_as_pending(self, storage: Storage) -> None:
        made = storage.create(PODS, pod())
        assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}

    def test_an_autoscaler_is_completed(self, storage: Storage) -> None:
        spec = storage.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler())["spec"]
        assert spec["minReplicas"] == 1
        assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}

    def test_a_namespace_is_labelled_with_its_name(self, storage: Storage) -> None:
        made = storage.create(NAMESPACES, {"metadata": {"name": "shop"}})
        assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
        assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


class TestServices:
    def test_a_service_gets_an_address_of_its_own(self, storage: Storage) -> None:
        first, second = (storage.create(SERVICES, service(name))["spec"] for name in ("a", "b"))
        assert first["clusterIP"] != second["clusterIP"]
        assert first["clusterIPs"] == [first["clusterIP"]]
        assert first["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        assert {key: first[key] for key in ("type", "sessionAffinity", "internalTrafficPolicy", "ipFamilyPolicy")} == {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ipFamilyPolicy": "SingleStack",
        }
        assert first["ipFamilies"] == ["IPv4"]

    def test_an_update_that_leaves_the_address_out_keeps_it(self, storage: Storage) -> None:
        address = storage.create(SERVICES, service())["spec"]["clusterIP"]
        changed = storage.update(SERVICES, service(selector={"app": "other"}))["spec"]
        assert (changed["clusterIP"], changed["selector"]) == (address, {"app": "other"})

    def test_an_address_cannot_change(self, storage: Storage) -> None:
        made = storage.create(SERVICES, service())
        made["spec"] |= {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}
        with pytest.raises(Invalid, match="may not change once set"):
            storage.update(SERVICES, made)

    @pytest.mark.parametrize(
        ("address", "complaint"),
        [
            ("10.96.0.10", "provided IP is already allocated"),
            ("192.168.0.1", "does not match the current range"),
            ("x", "must be a valid IP address"),
        ],
    )
    def test_an_address_that_cannot_be_had_is_refused(self, storage: Storage, address: str, complaint: str) -> None:
        storage.create(SERVICES, service("first"))
        with pytest.raises(Invalid, match=complaint):
            storage.create(SERVICES, service(clusterIP=address))

    def test_an_address_is_free_again_when_its_service_is_gone(self, storage: Storage) -> None:
        address = storage.create(SERVICES, service("a"))["spec"]["clusterIP"]
        storage.delete(SERVICES, "default", "a")
        assert storage.create(SERVICES, service("b", clusterIP=address))["spec"]["clusterIP"] == address

    def test_a_headless_service_has_no_address_and_an_external_name_not_even_none(self, storage: Storage) -> None:
        assert storage.create(SERVICES, service("a", clusterIP="None"))["spec"]["clusterIPs"] == ["None"]
        external = storage.create(SERVICES, service("b", type="ExternalName", externalName="shop.example"))["spec"]
        assert "clusterIP" not in external

    def test_node_ports_are_given_and_kept(self, storage: Storage) -> None:
        made = storage.create(SERVICES, service(type="NodePort"))["spec"]["ports"]
        assert made[0]["nodePort"] in range(30000, 32768)
        assert storage.update(SERVICES, service(type="NodePort"))["spec"]["ports"] == made
        assert "nodePort" not in storage.update(SERVICES, service())["spec"]["ports"][0]


_POD = "spec.template.spec"


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.selector", None, "spec.selector", "Required value"),
        ("spec.selector", {}, "spec.selector", "Invalid value: {}: empty selector is invalid for deployment"),
        (
            "spec.selector.matchLabels",
            {"app": "other"},
            "spec.template.metadata.labels",
            'Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        ("spec.template", None, f"{_POD}.containers", "Required value"),
        ("spec.replicas", -1, "spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
        ("spec.minReadySeconds", -1, "spec.minReadySeconds", "Invalid value: -1: must be greater than or equal to 0"),
        ("spec.minReadySeconds", 600, "spec.progressDeadlineSeconds", "Invalid value: 600: must be greater than minReady"),
        ("spec.strategy", {"type": "Quick"}, "spec.strategy", 'Unsupported value: {"Type":"Quick","RollingUpdate":null}'),
        (
            "spec.strategy",
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            "spec.strategy.rollingUpdate.maxUnavailable",
            "Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "spec.strategy",
            {"type": "Recreate", "rollingUpdate": {}},
            "spec.strategy.rollingUpdate",
            "Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (f"{_POD}.containers", [], f"{_POD}.containers", "Required value"),
        (f"{_POD}.restartPolicy", "Never", f"{_POD}.restartPolicy", 'Unsupported value: "Never": supported values: "Always"'),
        (f"{_POD}.containers.0.name", None, f"{_POD}.containers[0].name", "Required value"),
        (f"{_POD}.containers.0.name", "A b", f"{_POD}.containers[0].name", "a lowercase RFC 1123 label must consist of"),
        (f"{_POD}.containers.0.image", None, f"{_POD}.containers[0].image", "Required value"),
        (
            f"{_POD}.containers.0.ports",
            [{"containerPort": 70000}],
            f"{_POD}.containers[0].ports[0].containerPort",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            f"{_POD}.containers.0.volumeMounts",
            [{"name": "data", "mountPath": "/d"}],
            f"{_POD}.containers[0].volumeMounts[0].name",
            'Not found: "data"',
        ),
    ],
)
def test_a_wrong_deployment_is_refused(storage: Storage, path: str, value: object, field: str, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        storage.create(DEPLOYMENTS, put_at(deployment(), path, value))
    assert refusal.value.message.startswith('Deployment.apps "web" is invalid: ')
    assert any(
        cause["field"] == field and message in cause["message"]
        for cause in (refusal.value.details or {})["causes"]
    ), refusal.value.message


@pytest.mark.parametrize(
    ("resource", "body", "field", "message"),
    [
        (SERVICES, service(ports=[]), "spec.ports", "Required value"),
        (SERVICES, service(ports=[{"port": 0}]), "spec.ports[0].port", "must be between 1 and 65535"),
        (SERVICES, service(ports=[{"port": 1}, {"port": 2}]), "spec.ports[0].name", "Required value"),
        (SERVICES, service(type="Magic"), "spec.type", 'Unsupported value: "Magic"'),
        (SERVICES, service("Web"), "metadata.name", "a lowercase RFC 1123 label must consist of"),
        (PODS, put_at(pod(), "spec.containers.0.imagePullPolicy", "Maybe"), "spec.containers[0].imagePullPolicy", "Unsupp"),
        (NAMESPACES, {"metadata": {"name": "a.b"}}, "metadata.name", "must not contain dots"),
        (HORIZONTAL_POD_AUTOSCALERS, autoscaler(maxReplicas=0), "spec.maxReplicas", "must be set and greater than 0"),
        (HORIZONTAL_POD_AUTOSCALERS, autoscaler(minReplicas=9), "spec.maxReplicas", "greater than or equal to `minReplicas`"),
    ],
)
def test_other_wrong_objects_are_refused(
    storage: Storage, resource: Resource, body: JsonObject, field: str, message: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        storage.create(resource, body)
    causes = (refusal.value.details or {})["causes"]
    assert (causes[0]["field"], message in causes[0]["message"]) == (field, True)


def test_a_selector_stays_as_it_is(storage: Storage) -> None:
    made = storage.create(DEPLOYMENTS, deployment())
    made["spec"]["selector"]["matchLabels"] = {"tier": "front"}
    made["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    with pytest.raises(Invalid, match=r'spec.selector: Invalid value: {"matchLabels":{"tier":"front"}}: field is immutable'):
        storage.update(DEPLOYMENTS, made)


def test_of_a_pod_hardly_anything_changes(storage: Storage) -> None:
    made = storage.create(PODS, pod())
    made["spec"]["containers"][0]["image"] = "shop/web:2"
    made = storage.update(PODS, made)
    made["spec"]["hostname"] = "other"
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        storage.update(PODS, made)


def test_an_object_has_one_controller(storage: Storage) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1", "controller": True}
    body = pod(ownerReferences=[owner, {**owner, "name": "b", "uid": "2"}])
    with pytest.raises(Invalid, match="Only one reference can have Controller set to true"):
        storage.create(PODS, body)


def test_all_faults_are_told_at_once(storage: Storage) -> None:
    body = put_at(put_at(deployment(), "spec.replicas", -1), f"{_POD}.containers.0.image", None)
    with pytest.raises(Invalid) as refusal:
        storage.create(DEPLOYMENTS, body)
    assert len((refusal.value.details or {})["causes"]) == 2
    assert refusal.value.message.startswith('Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1')


def test_nothing_refused_is_stored(storage: Storage) -> None:
    before = storage.resource_version
    with pytest.raises(Invalid):
        storage.create(DEPLOYMENTS, put_at(deployment(), "spec.replicas", -1))
    assert storage.resource_version == before
    assert value_at(storage.find(DEPLOYMENTS, "default", "web"), "metadata") is None

"""Server-side apply: who owns what, who is refused, what is let go; and the managers that an object tells."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance.asking import (
    DISRUPTION_BUDGETS,
    OLD_SPLITS,
    SPLITS,
    STATEFUL_SETS,
    Api,
    Patch,
    any_uid,
    config_map,
    conflict,
    disruption_budget,
    entries_of,
    fields_of,
    managers,
    plain,
    refusal,
    stateful_set,
    traffic_split,
)
from tests.conformance.stand import CONFIG_MAPS, SERVICES, replace, service

BLANK = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colour"}}
STATEFUL = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}}
APP = {"name": "app", "image": "web:1", "env": [{"name": "A", "value": "1"}], "ports": [{"name": "http", "containerPort": 8080}]}
SIDE = {"name": "side", "image": "side:1"}
NOT_JSON = "error decoding YAML: error unmarshaling JSON: while decoding JSON"


def with_containers(*containers: Any, **spec: Any) -> JsonObject:
    return {**STATEFUL, "spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def refused(*conflicts: tuple[str, str]) -> JsonObject:
    """The answer to an apply that meets one manager's fields."""
    told = [f"conflict with {manager}: {field}" for manager, field in conflicts]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field} for manager, field in conflicts
    ]
    message = f"Apply failed with 1 conflict: {told[0]}"
    if len(conflicts) > 1:
        fields = "".join(f"\n- {field}" for _, field in conflicts)
        message = f"Apply failed with {len(conflicts)} conflicts: conflicts with {conflicts[0][0]}:{fields}"
    return refusal(409, "Conflict", message, causes=causes)


# --- one manager -------------------------------------------------------------------------------------------------------------


async def test_applying_what_is_not_there_creates_it(api: Api) -> None:
    answer = await api.apply(CONFIG_MAPS, config_map(labels={"a": "b"}))
    owned = {"f:data": {"f:is": {}}, "f:metadata": {"f:labels": {"f:a": {}}}}
    entry = {"manager": "headgate", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned}
    assert answer.status == 201
    assert plain(answer.object) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colour", "namespace": api.namespace, "labels": {"a": "b"}, "managedFields": [entry]},
        "data": {"is": "red"},
    }
    assert answer.object["metadata"]["managedFields"][0]["time"] == answer.object["metadata"]["creationTimestamp"]


async def test_fields_that_are_applied_no_more_are_removed(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map(data={"a": "1", "b": "2"}, labels={"x": "y"}))
    answer = await api.apply(CONFIG_MAPS, config_map(data={"b": "2"}))
    assert answer.status == 200
    assert answer.object["data"] == {"b": "2"}
    assert "labels" not in answer.object["metadata"]
    assert fields_of(answer.object, "Apply headgate") == {"f:data": {"f:b": {}}}
    bare = (await api.apply(CONFIG_MAPS, BLANK)).object
    assert "data" not in bare
    assert managers(bare) == []


async def test_what_the_server_adds_belongs_to_nobody_who_applies(api: Api) -> None:
    made = (await api.apply(SERVICES, service())).object
    assert made["spec"]["sessionAffinity"] == "None"
    assert plain(fields_of(made, "Apply headgate")) == {
        "f:spec": {
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}}},
            "f:selector": {},
        }
    }


async def test_an_object_that_is_applied_in_yaml_is_the_same(api: Api) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: colour}\ndata:\n  is: red\n"
    answer = await api.patch(Patch.APPLY, CONFIG_MAPS, "colour", text, fieldManager="headgate")
    assert plain(answer.object) == plain((await api.apply(CONFIG_MAPS, config_map())).object)


async def test_list_items_are_owned_by_their_keys_and_merged(api: Api) -> None:
    await api.apply(STATEFUL_SETS, stateful_set(containers=[APP, SIDE]))
    named = {"containerPort": 9090, "protocol": "TCP"}
    other = with_containers({"name": "app", "env": [{"name": "B", "value": "2"}], "ports": [named]})
    answer = await api.apply(STATEFUL_SETS, other, fieldManager="other")
    app, side = answer.object["spec"]["template"]["spec"]["containers"]
    assert (app["image"], side["name"]) == ("web:1", "side")
    assert [one["name"] for one in app["env"]] == ["A", "B"]
    assert [one["containerPort"] for one in app["ports"]] == [8080, 9090]
    assert fields_of(answer.object, "Apply other") == {
        "f:spec": {
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"app"}': {
                            ".": {},
                            "f:name": {},
                            "f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}},
                            "f:ports": {
                                'k:{"containerPort":9090,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}}
                            },
                        }
                    }
                }
            }
        }
    }
    again = await api.apply(STATEFUL_SETS, stateful_set(containers=[SIDE]))
    assert again.status == 422, "the other manager's part of the container is left, without an image"
    assert again.causes == [("spec.template.spec.containers[0].image", "FieldValueRequired", "Required value")]


async def test_sets_are_owned_by_value(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map(finalizers=["a/b"]))
    both = (await api.apply(CONFIG_MAPS, config_map(finalizers=["c/d"]), fieldManager="other")).object
    assert both["metadata"]["finalizers"] == ["a/b", "c/d"]
    assert fields_of(both, "Apply other")["f:metadata"] == {"f:finalizers": {'v:"c/d"': {}}}
    assert (await api.apply(CONFIG_MAPS, config_map())).object["metadata"]["finalizers"] == ["c/d"]
    assert "finalizers" not in (await api.apply(CONFIG_MAPS, config_map(), fieldManager="other")).object["metadata"]


# --- conflicts ---------------------------------------------------------------------------------------------------------------


async def test_another_value_for_somebody_elses_field_is_refused(api: Api) -> None:
    made = (await api.apply(CONFIG_MAPS, config_map())).object
    answer = await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}), fieldManager="other")
    assert (answer.status, answer.body) == (409, refused(('"headgate"', ".data.is")))
    assert (await api.get(CONFIG_MAPS, "colour")).object == made


async def test_all_conflicts_with_a_manager_are_told(api: Api) -> None:
    await api.apply(STATEFUL_SETS, stateful_set(containers=[APP]))
    port = {"containerPort": 8080, "protocol": "TCP", "name": "web"}
    other = with_containers({"name": "app", "image": "web:2", "env": [{"name": "A", "value": "2"}], "ports": [port]}, replicas=3)
    container = '.spec.template.spec.containers[name="app"]'
    fields = (
        ".spec.replicas",
        f"{container}.image",
        f'{container}.env[name="A"].value',
        f'{container}.ports[containerPort=8080,protocol="TCP"].name',
    )
    answer = await api.apply(STATEFUL_SETS, other, fieldManager="other")
    assert answer.body == refused(*(('"headgate"', field) for field in fields))


async def test_a_manager_that_updated_is_told_with_the_version(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}))
    assert answer.body == refused(('"conformance" using v1', ".data.is"))


async def test_force_takes_the_field(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map(data={"is": "red", "mine": "1"}))
    answer = await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}), fieldManager="other", force="true")
    assert answer.object["data"] == {"is": "blue", "mine": "1"}
    assert fields_of(answer.object, "Apply headgate") == {"f:data": {"f:mine": {}}}
    assert fields_of(answer.object, "Apply other") == {"f:data": {"f:is": {}}}


async def test_the_same_value_is_shared_and_goes_with_its_last_owner(api: Api) -> None:
    made = (await api.apply(CONFIG_MAPS, config_map())).object
    shared = (await api.apply(CONFIG_MAPS, config_map(), fieldManager="other")).object
    assert shared["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert managers(shared) == ["Apply other", "Apply headgate"], "who has written nothing has no time, and comes first"
    assert "time" not in shared["metadata"]["managedFields"][0]
    left = (await api.apply(CONFIG_MAPS, BLANK)).object
    assert (left["data"], managers(left)) == ({"is": "red"}, ["Apply other"])
    assert "data" not in (await api.apply(CONFIG_MAPS, BLANK, fieldManager="other")).object


# --- beside those who update -------------------------------------------------------------------------------------------------


async def test_an_update_takes_what_it_changes(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map(data={"is": "red", "was": "pink"}))
    updated = (await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}}, fieldManager="editor")).object
    assert managers(updated) == ["Apply headgate", "Update editor"]
    assert fields_of(updated, "Apply headgate") == {"f:data": {"f:was": {}}}
    assert fields_of(updated, "Update editor") == {"f:data": {"f:is": {}}}
    answer = await api.apply(CONFIG_MAPS, config_map(data={"is": "red", "was": "pink"}))
    assert answer.body == refused(('"editor" using v1', ".data.is"))
    taken = (await api.apply(CONFIG_MAPS, config_map(data={"is": "red", "was": "pink"}), force="true")).object
    assert managers(taken) == ["Apply headgate"]


async def test_one_name_owns_apart_what_it_applies_and_what_it_updates(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map())
    both = (await api.merge(CONFIG_MAPS, "colour", {"data": {"more": "1"}}, fieldManager="headgate")).object
    assert managers(both) == ["Apply headgate", "Update headgate"]
    applied = (await api.apply(CONFIG_MAPS, config_map())).object
    assert applied["data"] == {"is": "red", "more": "1"}


async def test_a_status_is_owned_apart_from_the_rest(api: Api) -> None:
    await api.apply(DISRUPTION_BUDGETS, disruption_budget())
    status: JsonObject = {"status": {"currentHealthy": 2}}
    written = await api.merge(DISRUPTION_BUDGETS, "web", status, "status", fieldManager="controller")
    assert managers(written.object) == ["Apply headgate", "Update controller/status"]
    assert fields_of(written.object, "Update controller/status") == {"f:status": {"f:currentHealthy": {}}}
    condition = {"type": "A", "status": "True", "lastTransitionTime": "2001-01-01T00:00:00Z", "reason": "B", "message": "c"}
    body = {key: value for key, value in disruption_budget().items() if key != "spec"} | {"status": {"conditions": [condition]}}
    applied = await api.apply(DISRUPTION_BUDGETS, body, "status", fieldManager="other")
    assert managers(applied.object) == ["Apply headgate", "Apply other/status", "Update controller/status"]
    none_yet = {"desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
    assert applied.object["status"] == {"currentHealthy": 2, "conditions": [condition], **none_yet}


async def test_a_status_that_is_applied_to_the_object_itself_is_passed_over(api: Api) -> None:
    applied = await api.apply(STATEFUL_SETS, {**stateful_set(), "status": {"replicas": 7}})
    assert applied.object["status"] == {"replicas": 0, "availableReplicas": 0}
    assert "f:status" not in fields_of(applied.object, "Apply headgate")


# --- the scale ---------------------------------------------------------------------------------------------------------------


async def test_whoever_scales_takes_the_number_from_whoever_applied_it(api: Api) -> None:
    await api.apply(STATEFUL_SETS, stateful_set(replicas=1))
    await api.merge(STATEFUL_SETS, "web", {"spec": {"replicas": 4}}, "scale", fieldManager="scaler")
    live = (await api.get(STATEFUL_SETS, "web")).object
    assert managers(live) == ["Apply headgate", "Update scaler/scale"]
    assert fields_of(live, "Update scaler/scale") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in fields_of(live, "Apply headgate")["f:spec"]
    assert "time" not in entries_of(live)[1]
    answer = await api.apply(STATEFUL_SETS, stateful_set(replicas=1))
    assert answer.body == refused(('"scaler" with subresource "scale" using apps/v1', ".spec.replicas"))
    without_number = stateful_set()
    del without_number["spec"]["replicas"]
    assert (await api.apply(STATEFUL_SETS, without_number)).object["spec"]["replicas"] == 4


async def test_a_scale_can_be_applied(api: Api) -> None:
    await api.apply(STATEFUL_SETS, stateful_set(replicas=1))
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    answer = await api.apply(STATEFUL_SETS, scale, "scale", fieldManager="scaler")
    assert answer.body == refused(('"headgate"', ".spec.replicas"))
    answer = await api.apply(STATEFUL_SETS, scale, "scale", fieldManager="scaler", force="true")
    assert answer.object["spec"] == {"replicas": 5}
    live = (await api.get(STATEFUL_SETS, "web")).object
    assert (live["spec"]["replicas"], managers(live)) == (5, ["Apply scaler/scale", "Apply headgate"])


# --- custom objects ----------------------------------------------------------------------------------------------------------


async def test_the_backends_of_a_split_are_owned_as_a_whole(api: Api) -> None:
    await api.offer_splits()
    made = (await api.apply(SPLITS, traffic_split(old=100, new=0))).object
    assert fields_of(made, "Apply headgate") == {"f:spec": {"f:backends": {}, "f:service": {}}}
    answer = await api.apply(SPLITS, traffic_split(old=90, new=10), fieldManager="other")
    assert answer.body == refused(('"headgate"', ".spec.backends"))
    moved = (await api.apply(SPLITS, traffic_split(old=90, new=10))).object
    assert (moved["metadata"]["generation"], moved["spec"]["backends"][1]["weight"]) == (2, 10)


async def test_an_applier_is_one_in_all_versions_of_a_kind(api: Api) -> None:
    await api.offer_splits()
    await api.apply(SPLITS, traffic_split())
    applied = (await api.apply(OLD_SPLITS, traffic_split(version="v1alpha2"))).object
    assert managers(applied) == ["Apply headgate"]
    assert applied["metadata"]["managedFields"][0]["apiVersion"] == "split.smi-spec.io/v1alpha2"


async def test_a_patch_of_a_split_that_was_applied_takes_its_backends(api: Api) -> None:
    """As Headgate writes: declared once, moved by JSON patches."""
    await api.offer_splits()
    await api.apply(SPLITS, traffic_split())
    patched = (await api.operate(SPLITS, "web", replace("/spec/backends/0/weight", 90), fieldManager="headgate")).object
    assert managers(patched) == ["Apply headgate", "Update headgate"]
    assert fields_of(patched, "Update headgate") == {"f:spec": {"f:backends": {}}}
    assert fields_of(patched, "Apply headgate") == {"f:spec": {"f:service": {}}}


# --- managers that are forgotten ---------------------------------------------------------------------------------------------


async def test_after_a_reset_the_first_apply_finds_everything_owned_by_what_was_before(api: Api) -> None:
    await api.apply(CONFIG_MAPS, config_map())
    await api.merge(CONFIG_MAPS, "colour", {"metadata": {"managedFields": [{}]}})
    answer = await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}))
    assert answer.body == refused(('"before-first-apply" using v1', ".data.is"))
    forced = (await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}), force="true")).object
    assert managers(forced) == ["Apply headgate", "Update before-first-apply"]
    assert fields_of(forced, "Update before-first-apply") == {"f:data": {}}


# --- what is refused ---------------------------------------------------------------------------------------------------------


async def test_whoever_applies_must_name_itself(api: Api) -> None:
    answer = await api.patch(Patch.APPLY, CONFIG_MAPS, "colour", config_map())
    told = "Required value: is required for apply patch"
    causes = [{"reason": "FieldValueRequired", "message": told, "field": "fieldManager"}]
    message = f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {told}'
    assert answer.body == refusal(422, "Invalid", message, group="meta.k8s.io", kind="PatchOptions", causes=causes)


async def test_only_an_apply_is_forced(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.merge(CONFIG_MAPS, "colour", {}, force="true")
    assert answer.causes == [("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**BLANK, "kind": "Secret"}, "invalid object type: /v1, Kind=Secret"),
        ({**BLANK, "apiVersion": "apps/v1"}, "invalid object type: apps/v1, Kind=ConfigMap"),
        ({"metadata": {"name": "colour"}}, "invalid object type: /, Kind="),
        (config_map(managedFields=[]), "metadata.managedFields must be nil"),
        (
            config_map(namespace="other"),
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (config_map("other"), "the name of the object (other) does not match the name on the URL (colour)"),
        (
            "rubbish",
            f"{NOT_JSON}: json: cannot unmarshal string into Go value of type map[string]interface {{}}",
        ),
    ],
    ids=str,
)
async def test_only_an_object_of_the_paths_kind_and_name_is_applied(api: Api, body: object, told: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.patch(Patch.APPLY, CONFIG_MAPS, "colour", body, fieldManager="headgate")
    assert answer.body == refusal(400, "BadRequest", told)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"spec": {"colour": 1}}, ".spec.colour: field not declared in schema"),
        ({"spec": {"replicas": "x"}}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"metadata": {"name": "web", "labels": []}}, ".metadata.labels: expected map, got &{[]}"),
        (
            with_containers({"name": "app", "colour": 1}),
            '.spec.template.spec.containers[name="app"].colour: field not declared in schema',
        ),
        (
            with_containers({"name": "app"}, {"name": "app"}),
            '.spec.template.spec.containers: duplicate entries for key [name="app"]',
        ),
    ],
    ids=str,
)
async def test_what_the_kind_does_not_declare_is_taken_for_a_failure_of_the_server(
    api: Api, body: JsonObject, told: str
) -> None:
    answer = await api.apply(STATEFUL_SETS, {**STATEFUL, **body})
    message = f"failed to create typed patch object (/web; apps/v1, Kind=StatefulSet): {told}"
    assert answer.body == refusal(500, "", message)


async def test_an_applied_uid_or_version_must_be_the_objects(api: Api) -> None:
    uid = any_uid()
    answer = await api.apply(CONFIG_MAPS, config_map(uid=uid))
    why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    assert answer.body == conflict("configmaps", "colour", why)
    first = (await api.apply(CONFIG_MAPS, config_map())).object["metadata"]["resourceVersion"]
    await api.apply(CONFIG_MAPS, config_map(data={"is": "blue"}))
    answer = await api.apply(CONFIG_MAPS, config_map(resourceVersion=first))
    assert answer.body == conflict("configmaps", "colour")

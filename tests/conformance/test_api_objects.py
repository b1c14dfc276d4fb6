"""Objects by name: created, read, replaced and refused; versions, uids and generations."""

from __future__ import annotations

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance.asking import (
    SPLITS,
    STATEFUL_SETS,
    Api,
    Patch,
    any_uid,
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
from tests.conformance.stand import CONFIG_MAPS, DEPLOYMENTS, SERVICES, deployment, replace, service

MAPS = "configmaps"


async def test_a_new_object_comes_back_with_what_the_server_adds(api: Api) -> None:
    answer = await api.create(CONFIG_MAPS, config_map(labels={"a": "b"}))
    made = answer.object
    assert answer.status == 201
    owned = {"f:data": {".": {}, "f:is": {}}, "f:metadata": {"f:labels": {".": {}, "f:a": {}}}}
    assert plain(made) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "colour",
            "namespace": api.namespace,
            "labels": {"a": "b"},
            "managedFields": [
                {"manager": "conformance", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned}
            ],
        },
        "data": {"is": "red"},
    }
    assert made["metadata"]["creationTimestamp"] == made["metadata"]["managedFields"][0]["time"]
    assert (await api.get(CONFIG_MAPS, "colour")).object == made


@pytest.mark.parametrize("given", [{"uid": "mine"}, {"creationTimestamp": "2001-01-01T00:00:00Z"}], ids=str)
async def test_what_only_the_server_gives_is_not_taken_from_a_new_object(api: Api, given: JsonObject) -> None:
    made = (await api.create(CONFIG_MAPS, config_map(**given))).object["metadata"]
    (field, value) = next(iter(given.items()))
    assert made.get(field) != value


async def test_creating_what_exists_is_refused(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.create(CONFIG_MAPS, config_map(data={"is": "blue"}))
    expected = refusal(409, "AlreadyExists", 'configmaps "colour" already exists', name="colour", kind=MAPS)
    assert answer.body == expected
    assert answer.status == 409


@pytest.mark.parametrize("resource", [DEPLOYMENTS, SERVICES, CONFIG_MAPS])
async def test_nothing_can_be_done_to_what_is_not_there(api: Api, resource: str) -> None:
    missing = not_found({DEPLOYMENTS: "deployments.apps"}.get(resource, resource.rpartition("/")[2]), "gone")
    answers = [
        await api.get(resource, "gone"),
        await api.merge(resource, "gone", {"metadata": {"labels": {"a": "b"}}}),
        await api.patch(Patch.STRATEGIC, resource, "gone", {"metadata": {"labels": {"a": "b"}}}),
        await api.operate(resource, "gone", {"op": "add", "path": "/metadata/labels", "value": {}}),
        await api.delete(resource, "gone"),
    ]
    assert [answer.body for answer in answers] == [missing] * 5
    assert {answer.status for answer in answers} == {404}


@pytest.mark.parametrize("resource", [DEPLOYMENTS, CONFIG_MAPS])
async def test_replacing_what_is_gone_is_refused(api: Api, resource: str) -> None:
    body = deployment("gone") if resource == DEPLOYMENTS else config_map("gone")
    answer = await api.replace(resource, body)
    assert answer.body == not_found("deployments.apps" if resource == DEPLOYMENTS else MAPS, "gone")


async def test_a_service_that_is_gone_is_created_by_its_replacement(api: Api) -> None:
    answer = await api.replace(SERVICES, service("gone"))
    assert (answer.status, answer.object["metadata"]["name"]) == (201, "gone")


async def test_nothing_can_be_created_in_a_namespace_that_is_not_there(api: Api) -> None:
    answer = await api.send("POST", "/api/v1/namespaces/nowhere/configmaps", config_map())
    assert answer.body == not_found("namespaces", "nowhere")
    assert (await api.send("GET", "/api/v1/namespaces/nowhere/configmaps")).object["items"] == []


# --- versions --------------------------------------------------------------------------------------------------------------


def with_version(version: str) -> dict[Patch, object]:
    in_metadata = {"metadata": {"resourceVersion": version}, "data": {"is": "green"}}
    operations = [replace("/metadata/resourceVersion", version), replace("/data/is", "green")]
    return {Patch.MERGE: in_metadata, Patch.STRATEGIC: in_metadata, Patch.JSON: operations}


async def test_a_stale_replacement_is_a_conflict(api: Api) -> None:
    first = (await api.create(CONFIG_MAPS, config_map())).object
    second = (await api.replace(CONFIG_MAPS, {**first, "data": {"is": "blue"}})).object
    answer = await api.replace(CONFIG_MAPS, {**first, "data": {"is": "green"}})
    assert (answer.status, answer.body) == (409, conflict(MAPS, "colour"))
    assert (await api.get(CONFIG_MAPS, "colour")).object == second


@pytest.mark.parametrize("how", [Patch.MERGE, Patch.STRATEGIC, Patch.JSON])
async def test_a_patch_that_names_a_stale_version_is_a_conflict(api: Api, how: Patch) -> None:
    """JSON patches that replace the version are how Headgate writes."""
    first = (await api.create(CONFIG_MAPS, config_map())).object["metadata"]["resourceVersion"]
    second = (await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}})).object
    answer = await api.patch(how, CONFIG_MAPS, "colour", with_version(first)[how])
    assert (answer.status, answer.body) == (409, conflict(MAPS, "colour"))
    assert (await api.get(CONFIG_MAPS, "colour")).object == second
    current = with_version(second["metadata"]["resourceVersion"])[how]
    assert (await api.patch(how, CONFIG_MAPS, "colour", current)).object["data"] == {"is": "green"}


async def test_a_stale_version_of_a_custom_object_is_a_conflict(api: Api) -> None:
    await api.offer_splits()
    first = (await api.create(SPLITS, traffic_split())).object
    await api.merge(SPLITS, "web", {"metadata": {"labels": {"a": "b"}}})
    expected = conflict("trafficsplits.split.smi-spec.io", "web")
    assert (await api.replace(SPLITS, first)).body == expected
    stale = replace("/metadata/resourceVersion", first["metadata"]["resourceVersion"])
    assert (await api.operate(SPLITS, "web", stale)).body == expected


@pytest.mark.parametrize("version", ["", "0", None])
async def test_a_replacement_that_names_no_version_replaces_any(api: Api, version: str | None) -> None:
    await api.create(CONFIG_MAPS, config_map())
    body = config_map(data={"is": "blue"}, **({} if version is None else {"resourceVersion": version}))
    assert (await api.replace(CONFIG_MAPS, body)).object["data"] == {"is": "blue"}


async def test_a_custom_object_is_not_replaced_without_its_version(api: Api) -> None:
    await api.offer_splits()
    await api.create(SPLITS, traffic_split())
    answer = await api.replace(SPLITS, traffic_split())
    told = "Invalid value: 0: must be specified for an update"
    message = f'trafficsplits.split.smi-spec.io "web" is invalid: metadata.resourceVersion: {told}'
    causes = [{"reason": "FieldValueInvalid", "message": told, "field": "metadata.resourceVersion"}]
    details = {"name": "web", "group": "split.smi-spec.io", "kind": "trafficsplits", "causes": causes}
    assert answer.body == refusal(422, "Invalid", message, **details)


async def test_a_version_that_is_none_is_taken_for_a_failure_of_the_server(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.replace(CONFIG_MAPS, config_map(resourceVersion="latest"))
    assert answer.body == refusal(500, "", 'strconv.ParseUint: parsing "latest": invalid syntax')


async def test_a_new_object_must_not_name_a_version(api: Api) -> None:
    answer = await api.create(CONFIG_MAPS, config_map(resourceVersion="1"))
    assert answer.body == refusal(500, "", "resourceVersion should not be set on objects to be created")


async def test_a_patch_that_names_no_version_is_merged_into_whatever_is_there(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    await api.merge(CONFIG_MAPS, "colour", {"data": {"one": "1"}})
    await api.merge(CONFIG_MAPS, "colour", {"data": {"two": "2"}})
    assert (await api.get(CONFIG_MAPS, "colour")).object["data"] == {"is": "red", "one": "1", "two": "2"}


# --- uids ------------------------------------------------------------------------------------------------------------------


async def test_a_replacement_of_another_object_of_that_name_is_a_conflict(api: Api) -> None:
    made = (await api.create(CONFIG_MAPS, config_map())).object["metadata"]
    other = any_uid()
    answer = await api.replace(CONFIG_MAPS, config_map(uid=other))
    why = f"StorageError: invalid object, Code: 4, Key: /registry/configmaps/{api.namespace}/colour, ResourceVersion: 0, "
    why += f"AdditionalErrorMsg: Precondition failed: UID in precondition: {other}, UID in object meta: {made['uid']}"
    assert answer.body == conflict(MAPS, "colour", why)


@pytest.mark.parametrize("how", [Patch.MERGE, Patch.STRATEGIC, Patch.JSON])
async def test_a_patch_cannot_change_the_uid(api: Api, how: Patch) -> None:
    await api.create(CONFIG_MAPS, config_map())
    other = any_uid()
    change: object = [replace("/metadata/uid", other)] if how is Patch.JSON else {"metadata": {"uid": other}}
    answer = await api.patch(how, CONFIG_MAPS, "colour", change)
    told = f'Invalid value: "{other}": field is immutable'
    assert answer.message == f'ConfigMap "colour" is invalid: metadata.uid: {told}'
    assert answer.causes == [("metadata.uid", "FieldValueInvalid", told)]


# --- writes that change nothing, and generations -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Patch.MERGE, Patch.STRATEGIC, Patch.JSON, Patch.APPLY, None], ids=str)
async def test_a_write_that_changes_nothing_leaves_the_version_alone(api: Api, how: Patch | None) -> None:
    made = (await api.apply(CONFIG_MAPS, config_map())).object
    if how is None:
        answer = await api.replace(CONFIG_MAPS, {**made, "metadata": {**made["metadata"], "resourceVersion": ""}})
    elif how is Patch.APPLY:
        answer = await api.apply(CONFIG_MAPS, config_map())
    else:
        change: object = [replace("/data/is", "red")] if how is Patch.JSON else {"data": {"is": "red"}}
        answer = await api.patch(how, CONFIG_MAPS, "colour", change)
    assert answer.object == made
    assert (await api.get(CONFIG_MAPS, "colour")).object == made


async def test_only_changes_of_what_is_wanted_raise_the_generation(api: Api) -> None:
    made = (await api.create(STATEFUL_SETS, stateful_set())).object
    assert made["metadata"]["generation"] == 1

    async def generation(change: JsonObject, subresource: str = "") -> int:
        answer = await api.merge(STATEFUL_SETS, "web", change, subresource)
        found: int = answer.object["metadata"]["generation"]
        return found

    assert await generation({"spec": {"replicas": 1}}) == 1
    assert await generation({"spec": {"replicas": 2}}) == 2
    assert await generation({"metadata": {"labels": {"a": "b"}}}) == 2
    assert await generation({"metadata": {"annotations": {"a": "b"}}}) == 2
    assert await generation({"status": {"replicas": 2, "observedGeneration": 2}}, "status") == 2
    assert await generation({"metadata": {"generation": 9}}) == 2
    assert await generation({"spec": {"minReadySeconds": 0}}) == 2, "a default is no change"


async def test_an_annotation_of_a_deployment_raises_its_generation(api: Api) -> None:
    await api.create(DEPLOYMENTS, deployment(replicas=0, paused=True))
    answer = await api.merge(DEPLOYMENTS, "web", {"metadata": {"annotations": {"a": "b"}}})
    assert answer.object["metadata"]["generation"] == 2
    answer = await api.merge(DEPLOYMENTS, "web", {"metadata": {"labels": {"a": "b"}}})
    assert answer.object["metadata"]["generation"] == 2


async def test_services_and_config_maps_have_no_generation(api: Api) -> None:
    assert "generation" not in (await api.create(CONFIG_MAPS, config_map())).object["metadata"]
    assert "generation" not in (await api.create(SERVICES, service())).object["metadata"]


async def test_every_change_of_a_custom_object_without_status_subresource_raises_its_generation(api: Api) -> None:
    await api.offer_splits()
    assert (await api.create(SPLITS, traffic_split())).object["metadata"]["generation"] == 1
    answer = await api.operate(SPLITS, "web", replace("/spec/backends/0/weight", 90))
    assert answer.object["metadata"]["generation"] == 2
    answer = await api.merge(SPLITS, "web", {"metadata": {"labels": {"a": "b"}}})
    assert answer.object["metadata"]["generation"] == 2
    assert managers(answer.object) == ["Update conformance"]


# --- names and namespaces ----------------------------------------------------------------------------------------------------


async def test_an_object_must_be_what_its_path_says(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    nameless = changed(config_map(), None, "metadata", "name")
    unregistered = 'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"'
    path = api.path(CONFIG_MAPS, "colour")
    for body, told in (
        (config_map("other"), "the name of the object (other) does not match the name on the URL (colour)"),
        (nameless, "the name of the object (colour based on URL) was undeterminable: name must be provided"),
        (
            config_map(namespace="other"),
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {**config_map(), "kind": "Pod"},
            'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion',
        ),
        (
            {**config_map(), "apiVersion": "v2"},
            'ConfigMap in version "v2" cannot be handled as a ConfigMap: ' + unregistered,
        ),
    ):
        assert (await api.send("PUT", path, body)).body == refusal(400, "BadRequest", told)


@pytest.mark.parametrize("field", ["name", "namespace"])
@pytest.mark.parametrize("how", [Patch.MERGE, Patch.STRATEGIC, Patch.JSON])
async def test_a_patch_cannot_move_an_object(api: Api, how: Patch, field: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    change: object = [replace(f"/metadata/{field}", "other")] if how is Patch.JSON else {"metadata": {field: "other"}}
    answer = await api.patch(how, CONFIG_MAPS, "colour", change)
    told = {
        "name": "the name of the object (other) does not match the name on the URL (colour)",
        "namespace": "the namespace of the provided object does not match the namespace sent on the request",
    }
    assert answer.body == refusal(400, "BadRequest", told[field])

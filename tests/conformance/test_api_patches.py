"""Patches in all formats but server-side apply: what they make of an object, and what is no patch."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance.asking import STATEFUL_SETS, Api, Patch, config_map, plain, refusal, stateful_set
from tests.conformance.stand import CONFIG_MAPS, SERVICES, replace, service

REJECTED = "the server rejected our request due to an error in our request"
HTTP = {"name": "http", "containerPort": 8080, "protocol": "TCP"}
DNS = {"name": "dns", "containerPort": 53, "protocol": "UDP"}
A, B = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
APP = {"name": "app", "image": "web:1", "ports": [HTTP, DNS], "env": [A, B]}
SIDE = {"name": "side", "image": "side:1"}


def add(path: str, value: object) -> JsonObject:
    return {"op": "add", "path": path, "value": value}


# --- merge patches -----------------------------------------------------------------------------------------------------------


async def test_a_merge_patch_adds_changes_and_with_null_removes(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map(data={"a": "1", "b": "2"}))
    change = {"data": {"a": None, "b": "3", "c": "4", "never": None}, "metadata": {"labels": {"x": "y"}}}
    patched = (await api.merge(CONFIG_MAPS, "colour", change)).object
    assert patched["data"] == {"b": "3", "c": "4"}
    assert patched["metadata"]["labels"] == {"x": "y"}
    assert "data" not in (await api.merge(CONFIG_MAPS, "colour", {"data": None})).object


async def test_a_merge_patch_replaces_lists_whole(api: Api) -> None:
    await api.create(STATEFUL_SETS, stateful_set(containers=[APP, SIDE]))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "o:1"}]}}}}
    patched = (await api.merge(STATEFUL_SETS, "web", change)).object
    assert [one["name"] for one in patched["spec"]["template"]["spec"]["containers"]] == ["only"]


async def test_a_null_that_a_patch_puts_into_a_map_of_texts_is_an_empty_text(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    patched = await api.operate(CONFIG_MAPS, "colour", add("/data/nothing", None))
    assert patched.object["data"] == {"is": "red", "nothing": ""}


# --- strategic merge patches -----------------------------------------------------------------------------------------------


def shown(containers: list[JsonObject]) -> list[JsonObject]:
    """The containers without what the server fills in."""
    kept = ("name", "image", "ports", "env")
    return [{name: one[name] for name in kept if name in one} for one in containers]


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{"name": "app", "image": "web:2"}], [{**APP, "image": "web:2"}, SIDE]),
        ([{"name": "new", "image": "n:1"}], [{"name": "new", "image": "n:1"}, APP, SIDE]),
        ([{"name": "side", "$patch": "delete"}], [APP]),
        ([{"name": "gone", "$patch": "delete"}], [APP, SIDE]),
        ([{"$patch": "replace"}, {"name": "only", "image": "o:1"}], [{"name": "only", "image": "o:1"}]),
        (
            [{"name": "app", "ports": [{"containerPort": 8080, "name": "web"}]}],
            [{**APP, "ports": [{**HTTP, "name": "web"}, DNS]}, SIDE],
        ),
        ([{"name": "app", "ports": [{"containerPort": 53, "$patch": "delete"}]}], [{**APP, "ports": [HTTP]}, SIDE]),
        ([{"name": "app", "env": [{"name": "A", "$patch": "delete"}]}], [{**APP, "env": [B]}, SIDE]),
        ([{"name": "app", "env": [{"name": "C", "value": "3"}]}], [{**APP, "env": [{"name": "C", "value": "3"}, A, B]}, SIDE]),
        ([{"name": "app", "env": None}], [{key: APP[key] for key in ("name", "image", "ports")}, SIDE]),
    ],
    ids=str,
)
async def test_a_strategic_patch_merges_containers_by_name(
    api: Api, containers: list[JsonObject], expected: list[JsonObject]
) -> None:
    await api.create(STATEFUL_SETS, stateful_set(containers=[APP, SIDE]))
    change = {"spec": {"template": {"spec": {"containers": containers}}}}
    patched = (await api.patch(Patch.STRATEGIC, STATEFUL_SETS, "web", change)).object
    assert shown(patched["spec"]["template"]["spec"]["containers"]) == expected


async def test_a_strategic_patch_may_order_the_containers(api: Api) -> None:
    await api.create(STATEFUL_SETS, stateful_set(containers=[APP, SIDE]))
    order = [{"name": "side"}, {"name": "app"}]
    change = {"$setElementOrder/containers": order, "containers": [{"name": "app", "image": "web:2"}]}
    patched = await api.patch(Patch.STRATEGIC, STATEFUL_SETS, "web", {"spec": {"template": {"spec": change}}})
    names = [one["name"] for one in patched.object["spec"]["template"]["spec"]["containers"]]
    assert names == ["side", "app"]


async def test_a_strategic_patch_merges_the_ports_of_a_service_by_number(api: Api) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "metrics", "port": 90}]
    await api.create(SERVICES, service(ports=ports))
    change = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    patched = (await api.patch(Patch.STRATEGIC, SERVICES, "web", change)).object
    assert patched["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
        {"name": "metrics", "port": 90, "targetPort": 90, "protocol": "TCP"},
    ]


async def test_finalizers_merge_as_a_set_and_are_taken_out_one_by_one(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map(finalizers=["a/b", "c/d"]))

    async def finalizers(change: JsonObject) -> list[str]:
        answer = await api.patch(Patch.STRATEGIC, CONFIG_MAPS, "colour", {"metadata": change})
        return answer.object["metadata"].get("finalizers") or []

    assert await finalizers({"finalizers": ["c/d", "e/f"]}) == ["a/b", "c/d", "e/f"]
    assert await finalizers({"$deleteFromPrimitiveList/finalizers": ["a/b", "e/f"]}) == ["c/d"]
    assert await finalizers({"finalizers": None}) == []


async def test_maps_may_be_replaced_whole(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map(labels={"a": "b"}))
    change = {"metadata": {"labels": {"$patch": "replace", "z": "y"}}}
    patched = await api.patch(Patch.STRATEGIC, CONFIG_MAPS, "colour", change)
    assert patched.object["metadata"]["labels"] == {"z": "y"}


async def test_a_strategic_patch_cannot_change_the_kind(api: Api) -> None:
    made = (await api.create(CONFIG_MAPS, config_map())).object
    assert (await api.patch(Patch.STRATEGIC, CONFIG_MAPS, "colour", {"kind": "Secret", "apiVersion": "v2"})).object == made


@pytest.mark.parametrize(
    ("containers", "told"),
    [
        ([{"image": "x"}], "map: map[image:x] does not contain declared merge key: name"),
        ([{"name": "app", "$patch": "improve"}], "unknown patch type: improve in map: map[$patch:improve name:app]"),
    ],
    ids=str,
)
async def test_items_that_cannot_be_merged_are_taken_for_a_failure_of_the_server(
    api: Api, containers: list[JsonObject], told: str
) -> None:
    await api.create(STATEFUL_SETS, stateful_set())
    change = {"spec": {"template": {"spec": {"containers": containers}}}}
    assert (await api.patch(Patch.STRATEGIC, STATEFUL_SETS, "web", change)).body == refusal(500, "", told)


# --- JSON patches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([add("/data/new", "x")], {"is": "red", "a.b": "1", "new": "x"}),
        ([{"op": "remove", "path": "/data/is"}], {"a.b": "1"}),
        ([replace("/data/is", "blue")], {"is": "blue", "a.b": "1"}),
        ([replace("/data/missing", "x")], {"is": "red", "a.b": "1", "missing": "x"}),
        ([{"op": "move", "from": "/data/is", "path": "/data/was"}], {"was": "red", "a.b": "1"}),
        ([{"op": "copy", "from": "/data/is", "path": "/data/also"}], {"is": "red", "a.b": "1", "also": "red"}),
        ([{"op": "test", "path": "/data/is", "value": "red"}, replace("/data/is", "blue")], {"is": "blue", "a.b": "1"}),
        ([{"op": "test", "path": "/data/missing", "value": None}, add("/data/x", "y")], {"is": "red", "a.b": "1", "x": "y"}),
        ([add("/data", {}), add("/data/x", "y")], {"x": "y"}),
    ],
    ids=str,
)
async def test_a_json_patch_does_its_operations_in_order(api: Api, operations: list[JsonObject], expected: object) -> None:
    await api.create(CONFIG_MAPS, config_map(data={"is": "red", "a.b": "1"}))
    assert (await api.operate(CONFIG_MAPS, "colour", *operations)).object["data"] == expected


async def test_slashes_and_tildes_in_names_are_escaped(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map(annotations={"example.com/a": "1"}))
    patched = await api.operate(CONFIG_MAPS, "colour", replace("/metadata/annotations/example.com~1a", "2"))
    assert patched.object["metadata"]["annotations"] == {"example.com/a": "2"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("-", ["app", "side", "new"]), ("0", ["new", "app", "side"]), ("2", ["app", "side", "new"]), ("-1", ["app", "side", "new"])],
)
async def test_an_item_is_added_at_its_place(api: Api, path: str, expected: list[str]) -> None:
    await api.create(STATEFUL_SETS, stateful_set(containers=[APP, SIDE]))
    operation = add(f"/spec/template/spec/containers/{path}", {"name": "new", "image": "n:1"})
    patched = (await api.operate(STATEFUL_SETS, "web", operation)).object
    assert [one["name"] for one in patched["spec"]["template"]["spec"]["containers"]] == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/is", "value": "blue"},
        {"op": "test", "path": "/data/missing", "value": "x"},
        {"op": "remove", "path": "/data/missing"},
        {"op": "remove", "path": "/metadata/labels/missing"},
        add("/metadata/labels/x", "y"),
        add("/metadata/finalizers/-", "a/b"),
        replace("/metadata/managedFields/7/manager", "x"),
        {"op": "move", "from": "/data/missing", "path": "/data/x"},
        {"op": "improve", "path": "/data/is"},
        {"path": "/data/is"},
        {"op": "add", "value": "x"},
    ],
    ids=str,
)
async def test_a_json_patch_that_does_not_fit_is_rejected_and_changes_nothing(api: Api, operation: JsonObject) -> None:
    """Without a word of why: Headgate takes this answer to its own patches for a conflict."""
    made = (await api.create(CONFIG_MAPS, config_map())).object
    answer = await api.operate(CONFIG_MAPS, "colour", replace("/data/is", "green"), operation)
    assert (answer.status, answer.body) == (422, {**refusal(422, "Invalid", REJECTED), "details": {}})
    assert (await api.get(CONFIG_MAPS, "colour")).object == made


# --- no patches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "application/octet-stream"])
async def test_a_patch_in_another_format_is_refused(api: Api, media_type: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.send("PATCH", api.path(CONFIG_MAPS, "colour"), "{}", media_type)
    assert answer.status == 415
    assert answer.body == {**refusal(415, "UnsupportedMediaType", "415: Unsupported Media Type"), "details": {}}


@pytest.mark.parametrize(
    ("how", "body", "told"),
    [
        (Patch.MERGE, "rubbish", "error decoding patch: invalid character 'r' looking for beginning of value"),
        (Patch.JSON, "rubbish", "error decoding patch: invalid character 'r' looking for beginning of value"),
        (Patch.STRATEGIC, "rubbish", "invalid character 'r' looking for beginning of value"),
        (Patch.MERGE, '{"a": 1', "error decoding patch: unexpected end of JSON input"),
        (Patch.STRATEGIC, '{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        (Patch.MERGE, "[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (Patch.STRATEGIC, '"x"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (Patch.JSON, "{}", "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
    ],
    ids=str,
)
async def test_rubbish_is_no_patch(api: Api, how: Patch, body: str, told: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    assert (await api.patch(how, CONFIG_MAPS, "colour", body)).body == refusal(400, "BadRequest", told)


@pytest.mark.parametrize(
    ("how", "change", "told"),
    [
        (
            Patch.MERGE,
            {"data": {"is": 1}},
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            Patch.JSON,
            [add("/data", "x")],
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        ),
        (Patch.STRATEGIC, {"data": {"is": 1}}, "cannot convert int64 to string"),
        (Patch.STRATEGIC, {"data": "x"}, "cannot restore map from string"),
        (
            Patch.MERGE,
            {"apiVersion": "v2"},
            'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"',
        ),
    ],
    ids=str,
)
async def test_a_patch_must_leave_an_object_of_the_kind(api: Api, how: Patch, change: Any, told: str) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.patch(how, CONFIG_MAPS, "colour", change)
    ((field, reason, message),) = answer.causes
    assert (answer.status, answer.body["reason"], field, reason) == (422, "Invalid", "patch", "FieldValueInvalid")
    assert message.startswith('Invalid value: "') and message.endswith(f'": {told}')
    assert answer.message == f' "" is invalid: patch: {message}'


async def test_a_patch_may_say_who_has_what(api: Api) -> None:
    """So Headgate gives fields back to whom it took them from."""
    made = (await api.create(CONFIG_MAPS, config_map())).object
    entry: JsonObject = {"manager": "owner", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    entry |= {"time": made["metadata"]["creationTimestamp"], "fieldsV1": {"f:data": {"f:is": {}}}}
    patched = (await api.operate(CONFIG_MAPS, "colour", add("/metadata/managedFields", [entry]))).object
    assert patched["metadata"]["managedFields"] == [entry]
    assert plain(patched)["data"] == {"is": "red"}


@pytest.mark.parametrize("value", [[{}], []], ids=str)
async def test_ownership_is_reset_by_an_empty_entry_or_none(api: Api, value: list[JsonObject]) -> None:
    await api.create(CONFIG_MAPS, config_map())
    patched = await api.merge(CONFIG_MAPS, "colour", {"metadata": {"managedFields": value}})
    assert "managedFields" not in patched.object["metadata"]
    patched = await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}})
    assert "managedFields" not in patched.object["metadata"], "an update alone does not begin again"


@pytest.mark.parametrize(
    "entry",
    [
        {"manager": "x"},
        {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV2", "fieldsV1": {}},
        {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"bad": {}}},
    ],
    ids=str,
)
async def test_entries_that_cannot_be_read_are_passed_over(api: Api, entry: JsonObject) -> None:
    made = (await api.create(CONFIG_MAPS, config_map())).object
    patched = await api.merge(CONFIG_MAPS, "colour", {"metadata": {"managedFields": [entry]}})
    assert patched.object["metadata"]["managedFields"] == made["metadata"]["managedFields"]

"""Custom kinds: served as soon as they are defined, kept to their schema, gone with their definition."""

from __future__ import annotations

import pytest

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.known_crds import TRAFFIC_SPLIT_VERSIONS, traffic_split_definition
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS
from tests.embedded.api_stand import DEFINITIONS_PATH, SPLITS_PATH, Api, new_storage, serve, traffic_split

GATES_PATH = "/apis/shop.example/v1/namespaces/default/gates"


def gate_definition(**version: object) -> JsonObject:
    """A kind with a bit of everything."""
    spec: JsonObject = {
        "type": "object",
        "required": ["side"],
        "properties": {
            "side": {"type": "string", "enum": ["left", "right"]},
            "width": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
            "tag": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4},
            "replicas": {"type": "integer"},
            "size": {"x-kubernetes-int-or-string": True},
            "note": {"type": "string", "nullable": True},
            "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "levels": {"type": "object", "additionalProperties": {"type": "number"}},
            "rules": {
                "type": "array",
                "maxItems": 2,
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    }
    status: JsonObject = {
        "type": "object",
        "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
    }
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    columns = [
        {"name": "Side", "type": "string", "jsonPath": ".spec.side"},
        {"name": "Width", "type": "integer", "jsonPath": ".spec.width", "priority": 1},
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gates.shop.example"},
        "spec": {
            "group": "shop.example",
            "scope": "Namespaced",
            "names": {"kind": "Gate", "plural": "gates", "shortNames": ["gt"], "categories": ["all"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": scale},
                    "additionalPrinterColumns": columns,
                    **version,
                }
            ],
        },
    }


def gate(**spec: object) -> JsonObject:
    return {
        "apiVersion": "shop.example/v1",
        "kind": "Gate",
        "metadata": {"name": "north", "namespace": "default"},
        "spec": {"side": "left", **spec},
    }


async def define(api: Api) -> None:
    assert (await api.post(DEFINITIONS_PATH, gate_definition())).status == 201


class TestDefining:
    async def test_a_defined_kind_is_served_and_discovered(self) -> None:
        async with serve() as api:
            assert (await api.get(GATES_PATH)).status == 404
            await define(api)
            assert (await api.get(GATES_PATH)).json["items"] == []
            resources = (await api.get("/apis/shop.example/v1")).json["resources"]
            assert [each["name"] for each in resources] == ["gates", "gates/scale", "gates/status"]
            definition = (await api.get(f"{DEFINITIONS_PATH}/gates.shop.example")).json
            conditions = {each["type"]: each["status"] for each in definition["status"]["conditions"]}
            assert conditions == {"NamesAccepted": "True", "Established": "True"}
            assert definition["status"]["storedVersions"] == ["v1"]
            assert definition["spec"]["names"]["listKind"] == "GateList"

    async def test_a_deleted_definition_takes_its_objects_along(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate())
            await api.delete(f"{DEFINITIONS_PATH}/gates.shop.example")
            assert (await api.get(GATES_PATH)).status == 404
            await define(api)
            assert (await api.get(GATES_PATH)).json["items"] == []

    async def test_a_definition_waits_for_objects_that_are_held(self) -> None:
        async with serve() as api:
            await define(api)
            held = gate()
            held["metadata"]["finalizers"] = ["shop.example/hold"]
            await api.post(GATES_PATH, held)
            await api.delete(f"{DEFINITIONS_PATH}/gates.shop.example")
            late = gate()
            late["metadata"]["name"] = "late"
            assert (await api.post(GATES_PATH, late)).status == 405
            assert (await api.patch(f"{GATES_PATH}/north", {"metadata": {"finalizers": None}})).status == 200
            assert (await api.get(GATES_PATH)).status == 404
            assert (await api.get(f"{DEFINITIONS_PATH}/gates.shop.example")).status == 404

    async def test_versions_can_be_added_and_withdrawn(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate())
            definition = (await api.get(f"{DEFINITIONS_PATH}/gates.shop.example")).json
            first = definition["spec"]["versions"][0]
            definition["spec"]["versions"] = [{**first, "served": False}, {**first, "name": "v2", "storage": False}]
            assert (await api.put(f"{DEFINITIONS_PATH}/gates.shop.example", definition)).status == 200
            assert (await api.get(f"{GATES_PATH}/north")).status == 404
            newer = await api.get(f"{GATES_PATH.replace('/v1/', '/v2/')}/north")
            assert (newer.status, newer.json["apiVersion"]) == (200, "shop.example/v2")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"metadata": {"name": "doors.shop.example"}}, "metadata.name"),
            ({"spec": {"scope": "Somewhere"}}, "spec.scope"),
            ({"spec": {"versions": []}}, "spec.versions"),
            ({"spec": {"versions": [{"name": "v1", "served": True, "storage": True}]}},
             "spec.versions[0].schema.openAPIV3Schema"),
        ],
    )
    async def test_a_wrong_definition_is_refused(self, change: JsonObject, field: str) -> None:
        definition = gate_definition()
        for part, values in change.items():
            definition[part] |= values
        async with serve() as api:
            reply = await api.post(DEFINITIONS_PATH, definition)
            assert (reply.status, [path for path, _ in reply.causes]) == (422, [field])

    async def test_what_a_kind_is_called_cannot_change(self) -> None:
        async with serve() as api:
            await define(api)
            path = f"{DEFINITIONS_PATH}/gates.shop.example"
            reply = await api.patch(path, {"spec": {"scope": "Cluster"}})
            assert (reply.status, reply.causes) == (422, [("spec.scope", "FieldValueInvalid")])


class TestSchema:
    async def test_defaults_are_filled_in_and_unknown_fields_taken_out(self) -> None:
        async with serve() as api:
            await define(api)
            body = gate(colour="red", anything={"goes": [1]}, rules=[{"name": "a", "x": 1}], note=None)
            reply = await api.post(GATES_PATH, body)
            assert reply.json["spec"] == {
                "side": "left",
                "width": 3,
                "anything": {"goes": [1]},
                "rules": [{"name": "a"}],
                "note": None,
            }
            assert reply.headers.getall("Warning") == [  # type: ignore[attr-defined]
                '299 - "unknown field \\"spec.colour\\""',
                '299 - "unknown field \\"spec.rules[0].x\\""',
            ]

    async def test_a_strict_client_has_unknown_fields_refused(self) -> None:
        async with serve() as api:
            await define(api)
            reply = await api.post(f"{GATES_PATH}?fieldValidation=Strict", gate(colour="red"))
            assert (reply.status, reply.json["reason"]) == (400, "BadRequest")
            assert 'strict decoding error: unknown field "spec.colour"' in reply.message

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"side": "up"}, 'spec.side: Unsupported value: "up": supported values: "left", "right"'),
            ({"side": None}, "spec.side: Required value"),
            ({"width": 0}, "spec.width: Invalid value: 0: spec.width in body should be greater than or equal to 1"),
            ({"width": 10}, "spec.width: Invalid value: 10: spec.width in body should be less than or equal to 9"),
            ({"width": "3"}, 'spec.width: Invalid value: "string": spec.width in body must be of type integer: "string"'),
            ({"tag": "A1"}, "spec.tag: Invalid value: \"A1\": spec.tag in body should match '^[a-z]+$'"),
            ({"tag": "a"}, 'spec.tag: Invalid value: "a": spec.tag in body should be at least 2 chars long'),
            ({"tag": "abcde"}, "spec.tag: Too long: may not be more than 4 bytes"),
            ({"size": True}, 'spec.size in body must be of type integer,string: "boolean"'),
            ({"levels": {"a": "x"}}, "spec.levels.a in body must be of type number"),
            ({"rules": [{}]}, "spec.rules[0].name: Required value"),
            ({"rules": [{"name": "a"}, {"name": "a"}]}, 'spec.rules[1]: Duplicate value: {"name":"a"}'),
            ({"rules": [{"name": n} for n in "abc"]}, "spec.rules: Too many: 3: must have at most 2 items"),
        ],
    )
    async def test_a_value_that_breaks_the_schema_is_refused_with_its_path(self, spec: JsonObject, message: str) -> None:
        async with serve() as api:
            await define(api)
            reply = await api.post(GATES_PATH, gate(**spec))
            assert (reply.status, reply.json["reason"]) == (422, "Invalid")
            assert message in reply.message

    async def test_several_faults_are_told_at_once(self) -> None:
        async with serve() as api:
            await define(api)
            reply = await api.post(GATES_PATH, gate(side="up", width=0))
            assert [path for path, _ in reply.causes] == ["spec.side", "spec.width"]


class TestSubresources:
    async def test_status_is_written_apart(self) -> None:
        async with serve() as api:
            await define(api)
            made = (await api.post(GATES_PATH, {**gate(), "status": {"replicas": 9}})).json
            assert "status" not in made
            reply = await api.patch(f"{GATES_PATH}/north/status", {"status": {"replicas": 2}, "spec": {"width": 9}})
            assert (reply.json["status"], reply.json["spec"]["width"]) == ({"replicas": 2}, 3)
            assert reply.json["metadata"]["generation"] == 1
            reply = await api.patch(f"{GATES_PATH}/north", {"status": {"replicas": 7}, "spec": {"width": 9}})
            assert (reply.json["status"], reply.json["spec"]["width"]) == ({"replicas": 2}, 9)
            assert reply.json["metadata"]["generation"] == 2

    async def test_a_custom_kind_scales_along_its_own_paths(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate(replicas=2))
            await api.patch(f"{GATES_PATH}/north/status", {"status": {"replicas": 1, "selector": "app=gate"}})
            scale = (await api.get(f"{GATES_PATH}/north/scale")).json
            assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=gate"})
            scale["spec"]["replicas"] = 5
            assert (await api.put(f"{GATES_PATH}/north/scale", scale)).json["spec"] == {"replicas": 5}
            assert (await api.get(f"{GATES_PATH}/north")).json["spec"]["replicas"] == 5

    async def test_a_kind_without_subresources_has_none(self) -> None:
        async with serve() as api:
            await api.post(DEFINITIONS_PATH, traffic_split_definition())
            await api.post(SPLITS_PATH, traffic_split())
            assert (await api.get(f"{SPLITS_PATH}/web/status")).status == 404
            reply = await api.patch(f"{SPLITS_PATH}/web", {"status": {"anything": 1}})
            assert "status" not in reply.json  # its schema has none


class TestRequests:
    async def test_a_put_needs_a_version_and_a_kind(self) -> None:
        async with serve() as api:
            await define(api)
            made = (await api.post(GATES_PATH, gate())).json
            reply = await api.put(f"{GATES_PATH}/north", gate(width=4))
            assert reply.causes == [("metadata.resourceVersion", "FieldValueInvalid")]
            made["spec"]["width"] = 4
            assert (await api.put(f"{GATES_PATH}/north", made)).status == 200
            del made["kind"]
            assert (await api.put(f"{GATES_PATH}/north", made)).status == 400

    async def test_strategic_merge_patches_do_not_fit_a_custom_kind(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate())
            reply = await api.patch(f"{GATES_PATH}/north", {}, "application/strategic-merge-patch+json")
            assert reply.status == 415

    async def test_items_of_a_list_of_custom_objects_say_what_they_are(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate())
            items = (await api.get(GATES_PATH)).json["items"]
            assert [(each["apiVersion"], each["kind"]) for each in items] == [("shop.example/v1", "Gate")]

    async def test_its_columns_are_printed(self) -> None:
        async with serve() as api:
            await define(api)
            await api.post(GATES_PATH, gate())
            table = (await api.get(GATES_PATH, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
            assert [(each["name"], each["priority"]) for each in table["columnDefinitions"]] == [
                ("Name", 0),
                ("Side", 0),
                ("Width", 1),
            ]
            assert table["rows"][0]["cells"] == ["north", "left", 3]


class TestTrafficSplit:
    @pytest.mark.parametrize("version", TRAFFIC_SPLIT_VERSIONS)
    async def test_each_version_can_be_the_only_one(self, version: str) -> None:
        storage = new_storage()
        storage.create(CUSTOM_RESOURCE_DEFINITIONS, traffic_split_definition([version]))
        async with serve(storage) as api:
            path = SPLITS_PATH.replace("v1alpha2", version)
            body = traffic_split() | {"apiVersion": f"split.smi-spec.io/{version}"}
            assert (await api.post(path, body)).status == 201
            assert (await api.get(f"{path}/web")).json["spec"] == body["spec"]

    async def test_one_object_is_served_in_all_versions(self) -> None:
        storage = new_storage()
        storage.create(CUSTOM_RESOURCE_DEFINITIONS, traffic_split_definition(TRAFFIC_SPLIT_VERSIONS, "v1alpha2"))
        async with serve(storage) as api:
            await api.post(SPLITS_PATH, traffic_split())
            for version in TRAFFIC_SPLIT_VERSIONS:
                path = f"{SPLITS_PATH.replace('v1alpha2', version)}/web"
                reply = await api.patch(path, {"metadata": {"annotations": {version: "seen"}}})
                assert reply.json["apiVersion"] == f"split.smi-spec.io/{version}"
            final = (await api.get(f"{SPLITS_PATH}/web")).json
            assert set(final["metadata"]["annotations"]) == set(TRAFFIC_SPLIT_VERSIONS)
            preferred = (await api.get("/apis/split.smi-spec.io")).json["preferredVersion"]["version"]
            assert preferred == "v1alpha4"

    async def test_weights_are_checked(self) -> None:
        async with serve() as api:
            await api.post(DEFINITIONS_PATH, traffic_split_definition())
            body = traffic_split(weights={"a": 1})
            body["spec"]["backends"] = [{"service": "a"}, {"service": "b", "weight": "1"}]
            reply = await api.post(SPLITS_PATH, body)
            assert reply.causes == [
                ("spec.backends[0].weight", "FieldValueRequired"),
                ("spec.backends[1].weight", "FieldValueTypeInvalid"),
            ]

    async def test_what_no_definition_of_it_knows_is_dropped(self) -> None:
        """The specification's own structures have a group in a match, and the definition that people install has none."""
        storage = new_storage()
        storage.create(CUSTOM_RESOURCE_DEFINITIONS, traffic_split_definition(["v1alpha4"]))
        async with serve(storage) as api:
            body = traffic_split() | {"apiVersion": "split.smi-spec.io/v1alpha4"}
            match = {"kind": "HTTPRouteGroup", "name": "beta"}
            body["spec"]["matches"] = [{**match, "apiGroup": "specs.smi-spec.io"}]
            made = await api.post(SPLITS_PATH.replace("v1alpha2", "v1alpha4"), body)
            assert made.json["spec"]["matches"] == [match]

    def test_an_unknown_version_is_refused(self) -> None:
        with pytest.raises(ValueError, match="v1alpha1, v1alpha2, v1alpha3, v1alpha4"):
            traffic_split_definition(["v1"])

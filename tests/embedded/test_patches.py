"""Patches: JSON patch, merge patch and strategic merge patch do to an object what they do on the real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.conform import conform
from adapters.embedded.errors import ApiError
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.patches import merge_patch
from adapters.embedded.strategic_merge import strategic_merge
from tests.embedded.api_stand import DEPLOYMENTS_PATH, JSON_PATCH, SERVICES_PATH, STRATEGIC, deployment, serve, service

RECORDED = json.loads((Path(__file__).parent / "recorded" / "strategic_merges.json").read_text("utf-8"))
"""Originals, patches and what kubectl's own implementation (`kubectl patch --local`, 1.37) makes of them."""

DEPLOYMENT = schema_of_kind("Deployment")


def containers(patch: list[JsonObject], **more: Any) -> JsonObject:
    return {"spec": {"template": {"spec": {"containers": patch, **more}}}}


def merged_container(patch: JsonObject) -> JsonObject:
    result = strategic_merge(DEPLOYMENT, deployment(), containers([{"name": "app", **patch}]))
    container: JsonObject = result["spec"]["template"]["spec"]["containers"][0]
    return container


class TestStrategicMerge:
    @pytest.mark.parametrize("number", range(len(RECORDED)))
    def test_the_result_is_that_of_the_real_implementation(self, number: int) -> None:
        case = RECORDED[number]
        result, _ = conform(DEPLOYMENT, strategic_merge(DEPLOYMENT, case["original"], case["patch"]))
        result.pop("status", None)
        expected, _ = conform(DEPLOYMENT, case["result"])
        expected.pop("status", None)
        assert result == expected

    def test_containers_and_their_variables_merge_by_name(self) -> None:
        container = merged_container({"image": "shop/web:2", "env": [{"name": "B", "value": "x"}]})
        assert container["image"] == "shop/web:2"
        assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "x"}]
        assert container["ports"] == [{"containerPort": 8080}]

    def test_items_are_deleted_and_lists_replaced_by_directive(self) -> None:
        assert merged_container({"env": [{"name": "A", "$patch": "delete"}]})["env"] == [{"name": "B", "value": "2"}]
        assert merged_container({"env": [{"$patch": "replace"}, {"name": "C"}]})["env"] == [{"name": "C"}]

    def test_the_order_follows_the_patch_where_it_says_one(self) -> None:
        order = [{"name": "B"}, {"name": "A"}]
        assert [each["name"] for each in merged_container({"$setElementOrder/env": order})["env"]] == ["B", "A"]

    def test_a_list_without_a_merge_key_is_replaced(self) -> None:
        original = deployment()
        original["spec"]["template"]["spec"]["tolerations"] = [{"key": "a"}]
        result = strategic_merge(DEPLOYMENT, original, containers([], tolerations=[{"key": "b"}]))
        assert result["spec"]["template"]["spec"]["tolerations"] == [{"key": "b"}]

    def test_only_retained_keys_stay(self) -> None:
        original = deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
        patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
        assert strategic_merge(DEPLOYMENT, original, patch)["spec"]["strategy"] == {"type": "Recreate"}

    def test_scalars_leave_a_list_by_directive(self) -> None:
        original = deployment()
        original["metadata"]["finalizers"] = ["a/a", "b/b"]
        patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}
        assert strategic_merge(DEPLOYMENT, original, patch)["metadata"]["finalizers"] == ["b/b"]

    def test_owners_merge_by_uid(self) -> None:
        original = deployment()
        original["metadata"]["ownerReferences"] = [{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]
        patch = {"metadata": {"ownerReferences": [{"uid": "2", "controller": True}, {"uid": "1", "$patch": "delete"}]}}
        owners = strategic_merge(DEPLOYMENT, original, patch)["metadata"]["ownerReferences"]
        assert owners == [{"uid": "2", "name": "b", "controller": True}]

    @pytest.mark.parametrize(
        ("patch", "complaint"),
        [
            (containers([{"image": "x"}]), "does not contain declared merge key: name"),
            (containers([{"name": "app", "$patch": "improve"}]), "unknown patch type: improve"),
            ({"spec": {"$patch": "improve"}}, "unknown patch type: improve"),
            ({"spec": {"strategy": {"$retainKeys": ["a"], "type": "Recreate"}}}, "retainKeys"),
            (containers(["app"]), "list element types are not identical"),  # type: ignore[list-item]
        ],
    )
    def test_rubbish_is_refused_with_a_reason(self, patch: JsonObject, complaint: str) -> None:
        with pytest.raises(ApiError, match=complaint):
            strategic_merge(DEPLOYMENT, deployment(strategy={"type": "Recreate"}), patch)

    def test_the_arguments_stay_as_they_are(self) -> None:
        original, patch = deployment(), containers([{"name": "app", "image": "x", "env": [{"name": "A", "$patch": "delete"}]}])
        strategic_merge(DEPLOYMENT, original, patch)
        assert original == deployment()
        assert "$patch" in patch["spec"]["template"]["spec"]["containers"][0]["env"][0]


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_do_what_rfc_7386_says(original: JsonObject, patch: JsonObject, result: JsonObject) -> None:
    assert merge_patch(original, patch) == result


class TestOverHttp:
    async def test_each_format_changes_the_object(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            path = f"{DEPLOYMENTS_PATH}/web"
            reply = await api.patch(path, {"spec": {"replicas": 4}})
            assert (reply.status, reply.json["spec"]["replicas"]) == (200, 4)
            operations = [
                {"op": "test", "path": "/spec/replicas", "value": 4},
                {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "shop/web:2"},
                {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"},
            ]
            reply = await api.patch(path, operations, JSON_PATCH)
            assert reply.json["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/web:2"
            assert reply.json["metadata"]["labels"]["a/b"] == "c"
            reply = await api.patch(path, containers([{"name": "side", "image": "side:1"}]), STRATEGIC)
            names = [each["name"] for each in reply.json["spec"]["template"]["spec"]["containers"]]
            assert names == ["side", "app"]

    async def test_a_json_patch_that_does_not_fit_is_invalid_and_changes_nothing(self) -> None:
        async with serve() as api:
            made = await api.post(DEPLOYMENTS_PATH, deployment())
            operations = [
                {"op": "replace", "path": "/spec/replicas", "value": 9},
                {"op": "test", "path": "/spec/paused", "value": True},
            ]
            reply = await api.patch(f"{DEPLOYMENTS_PATH}/web", operations, JSON_PATCH)
            assert (reply.status, reply.json["reason"]) == (422, "Invalid")
            assert reply.message == "the server rejected our request due to an error in our request"
            assert (await api.get(f"{DEPLOYMENTS_PATH}/web")).json == made.json

    @pytest.mark.parametrize(
        ("body", "media_type", "status"),
        [
            (b"{", "application/merge-patch+json", 400),
            ([], "application/merge-patch+json", 400),
            ({"op": "add"}, "application/json-patch+json", 400),
            ([{"op": "explode", "path": "/a"}], "application/json-patch+json", 422),
            ({"spec": {"replicas": "three"}}, "application/merge-patch+json", 422),
            ({"metadata": {"name": "other"}}, "application/merge-patch+json", 400),
            ({"kind": "Pod"}, "application/merge-patch+json", 422),
            ({}, "application/json", 415),
            ({}, "", 415),
        ],
    )
    async def test_rubbish_is_refused(self, body: object, media_type: str, status: int) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            reply = await api.patch(f"{DEPLOYMENTS_PATH}/web", body, media_type)
            assert (reply.status, reply.json["kind"]) == (status, "Status")

    async def test_a_resource_version_in_a_patch_is_a_precondition_and_a_uid_is_immutable(self) -> None:
        async with serve() as api:
            made = (await api.post(SERVICES_PATH, service())).json
            current = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"a": "1"}}}
            path = f"{SERVICES_PATH}/web"
            assert (await api.patch(path, current)).status == 200
            reply = await api.patch(path, {**current, "spec": {"sessionAffinity": "ClientIP"}})
            assert (reply.status, reply.json["reason"]) == (409, "Conflict")
            reply = await api.patch(path, {"metadata": {"uid": "another"}})
            assert (reply.status, reply.json["reason"]) == (422, "Invalid")

    async def test_unknown_fields_are_dropped_told_or_refused_as_the_client_wishes(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            path, patch = f"{DEPLOYMENTS_PATH}/web", {"spec": {"foo": 1}}
            told = await api.patch(path, patch)
            assert told.headers["Warning"] == '299 - "unknown field \\"spec.foo\\""'
            assert "foo" not in told.json["spec"]
            silent = await api.patch(f"{path}?fieldValidation=Ignore", patch)
            assert (silent.status, "Warning" in silent.headers) == (200, False)
            refused = await api.patch(f"{path}?fieldValidation=Strict", patch)
            assert (refused.status, refused.causes) == (422, [("patch", "FieldValueInvalid")])
            assert 'strict decoding error: unknown field "spec.foo"' in refused.message

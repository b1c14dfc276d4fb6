"""Server-side apply: a manager owns what it applies, meets conflicts with others, and lets go of what it applies no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.embedded.builtin_schema import schema_of_kind
from adapters.embedded.errors import ApplyConflict
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.known_crds import traffic_split_definition
from adapters.embedded.managed_fields import ManagedFields, Manager, Operation, compare_content
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS
from adapters.embedded.schema import ANY
from adapters.embedded.server_side_apply import apply
from tests.embedded.api_stand import (
    CONFIG_MAPS_PATH,
    DEPLOYMENTS_PATH,
    SERVICES_PATH,
    SPLITS_PATH,
    Api,
    HandClock,
    config_map,
    deployment,
    new_storage,
    serve,
    service,
    traffic_split,
)

RECORDED = json.loads((Path(__file__).parent / "recorded" / "applies.json").read_text("utf-8"))
"""Sequences of applies and updates, and what sigs.k8s.io/structured-merge-diff 6.3 (as in the real server) makes of them."""


def owned(obj: JsonObject, manager: str, subresource: str = "") -> Any:
    """The fields that a manager owns, None when it owns none."""
    for entry in obj["metadata"].get("managedFields", []):
        if (entry["manager"], entry.get("subresource", "")) == (manager, subresource):
            return entry["fieldsV1"]
    return None


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _name(told: str) -> str:
    """The manager's name out of its description in a conflict."""
    return told.split('"')[1]


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_a_sequence_of_writes_ends_as_with_the_real_implementation(number: int) -> None:
    case = RECORDED[number]
    schema = ANY if case["kind"] == "any" else schema_of_kind(case["kind"])
    live: JsonObject = {"metadata": {}}
    entries: list[JsonObject] = []
    for step in case["steps"]:
        wanted, operation = step["object"], Operation(step["operation"].capitalize())
        manager = Manager(step["manager"], operation, "v1")
        if operation is Operation.UPDATE:
            managed = ManagedFields.of({"metadata": {"managedFields": entries}})
            managed.record_update(manager, compare_content(schema, live, wanted), "now")
            live, entries = wanted, managed.to_json()
        else:
            before = {**live, "metadata": {**live.get("metadata", {}), "managedFields": entries}}
            try:
                live = apply(schema, before, wanted, manager, force=step.get("force", False), time="now")
            except ApplyConflict as error:
                told = sorted(_name(each.manager) + " " + each.field for each in error.conflicts)
                assert told == step["conflicts"]
                continue
            entries = live["metadata"].pop("managedFields")
        assert "conflicts" not in step
        assert without_nulls(live) == step["result"]
        assert {entry["manager"]: entry["fieldsV1"] for entry in entries} == step["owned"]


class TestOwning:
    async def test_an_apply_creates_and_owns_exactly_what_it_says(self) -> None:
        async with serve() as api:
            reply = await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate")
            assert reply.status == 201
            entry = reply.json["metadata"]["managedFields"]
            assert [(each["manager"], each["operation"]) for each in entry] == [("headgate", "Apply")]
            fields = owned(reply.json, "headgate")
            assert fields["f:spec"]["f:replicas"] == {}
            assert "f:strategy" not in fields["f:spec"]  # defaulted by the server, owned by nobody
            container = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"app"}']
            assert container["f:ports"] == {
                'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
            }
            assert reply.json["spec"]["strategy"]["type"] == "RollingUpdate"

    async def test_applying_the_same_again_changes_nothing_not_even_the_version(self) -> None:
        clock = HandClock()
        async with serve(new_storage(clock)) as api:
            first = await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate")
            clock.advance(60)
            again = await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate")
            assert (again.status, again.json) == (200, first.json)

    async def test_what_is_applied_no_more_goes_unless_somebody_else_owns_it(self) -> None:
        async with serve() as api:
            await api.apply(CONFIG_MAPS_PATH, config_map(mine="1", ours="2"), "one")
            await api.apply(CONFIG_MAPS_PATH, config_map(ours="2"), "two")
            nothing = {name: value for name, value in config_map().items() if name != "data"}
            reply = await api.apply(CONFIG_MAPS_PATH, nothing, "one")
            assert reply.json["data"] == {"ours": "2"}
            assert owned(reply.json, "one") is None
            reply = await api.apply(CONFIG_MAPS_PATH, nothing, "two")
            assert "data" not in reply.json

    async def test_a_value_that_a_plain_write_made_conflicts_until_it_is_forced(self) -> None:
        async with serve() as api:
            await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate")
            await api.patch(f"{DEPLOYMENTS_PATH}/web?fieldManager=ops", {"spec": {"replicas": 7}})
            reply = await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate")
            assert (reply.status, reply.json["reason"]) == (409, "Conflict")
            assert reply.causes == [(".spec.replicas", "FieldManagerConflict")]
            assert reply.message == 'Apply failed with 1 conflict: conflict with "ops" using apps/v1: .spec.replicas'
            forced = await api.apply(DEPLOYMENTS_PATH, deployment(), "headgate", force=True)
            assert forced.json["spec"]["replicas"] == 3
            assert owned(forced.json, "ops") is None

    async def test_conflicts_name_every_manager_and_field(self) -> None:
        async with serve() as api:
            await api.apply(CONFIG_MAPS_PATH, config_map(a="1"), "one")
            await api.apply(CONFIG_MAPS_PATH, config_map(b="1"), "two")
            reply = await api.apply(CONFIG_MAPS_PATH, config_map(a="2", b="2"), "three")
            assert reply.message == (
                'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\nconflicts with "two":\n- .data.b'
            )

    async def test_who_applies_the_same_value_owns_it_too(self) -> None:
        async with serve() as api:
            await api.apply(CONFIG_MAPS_PATH, config_map(a="1"), "one")
            reply = await api.apply(CONFIG_MAPS_PATH, config_map(a="1"), "two")
            assert reply.status == 200
            assert owned(reply.json, "one") == owned(reply.json, "two") == {"f:data": {"f:a": {}}}

    async def test_the_replicas_can_be_left_to_an_autoscaler(self) -> None:
        async with serve() as api:
            without = deployment()
            del without["spec"]["replicas"]
            await api.apply(DEPLOYMENTS_PATH, without, "headgate")
            await api.patch(f"{DEPLOYMENTS_PATH}/web/scale?fieldManager=hpa", {"spec": {"replicas": 6}})
            reply = await api.apply(DEPLOYMENTS_PATH, without, "headgate")
            assert reply.json["spec"]["replicas"] == 6
            assert owned(reply.json, "hpa", "scale") == {"f:spec": {"f:replicas": {}}}

    async def test_items_of_a_list_have_owners_of_their_own(self) -> None:
        async with serve() as api:
            await api.apply(SERVICES_PATH, service(ports=[{"port": 80, "name": "http"}]), "one")
            await api.apply(SERVICES_PATH, service(ports=[{"port": 443, "name": "https"}]), "two")
            reply = await api.apply(SERVICES_PATH, service(ports=[{"port": 8080, "name": "http"}]), "one")
            assert [each["port"] for each in reply.json["spec"]["ports"]] == [443, 8080]

    async def test_a_status_is_applied_apart_from_the_rest(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            body = {**deployment(replicas=9), "status": {"replicas": 3}}
            reply = await api.patch(
                f"{DEPLOYMENTS_PATH}/web/status?fieldManager=observer", body, "application/apply-patch+yaml"
            )
            assert (reply.json["spec"]["replicas"], reply.json["status"]["replicas"]) == (3, 3)
            assert owned(reply.json, "observer", "status")["f:status"] == {"f:replicas": {}}

    async def test_an_object_without_owners_gets_one_for_its_past(self) -> None:
        async with serve() as api:
            await api.post(CONFIG_MAPS_PATH, config_map(a="1", b="2"))
            reset = await api.patch(f"{CONFIG_MAPS_PATH}/settings", {"metadata": {"managedFields": [{}]}})
            assert "managedFields" not in reset.json["metadata"]
            reply = await api.apply(CONFIG_MAPS_PATH, config_map(a="2"), "headgate")
            assert reply.causes == [(".data.a", "FieldManagerConflict")]
            assert "before-first-apply" in reply.message


class TestCustomKinds:
    async def test_a_split_is_applied_with_its_backends_as_one(self) -> None:
        async with serve_with_splits() as api:
            await api.apply(SPLITS_PATH, traffic_split(), "headgate")
            reply = await api.apply(SPLITS_PATH, traffic_split(weights={"web-stable": 90, "web-canary": 10}), "headgate")
            assert [each["weight"] for each in reply.json["spec"]["backends"]] == [90, 10]
            assert owned(reply.json, "headgate")["f:spec"] == {"f:backends": {}, "f:service": {}}
            other = await api.apply(SPLITS_PATH, traffic_split(weights={"x": 1}), "somebody")
            assert other.causes == [(".spec.backends", "FieldManagerConflict")]

    async def test_lists_with_keys_merge_by_them(self) -> None:
        definition = traffic_split_definition()
        for version in definition["spec"]["versions"]:
            backends = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["backends"]
            backends |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["service"]}
        async with serve_with_splits(definition) as api:
            await api.apply(SPLITS_PATH, traffic_split(weights={"a": 1}), "one")
            reply = await api.apply(SPLITS_PATH, traffic_split(weights={"b": 2}), "two")
            assert [each["service"] for each in reply.json["spec"]["backends"]] == ["a", "b"]
            assert list(owned(reply.json, "two")["f:spec"]["f:backends"]) == ['k:{"service":"b"}']

    async def test_fields_that_the_schema_lacks_cannot_be_applied(self) -> None:
        async with serve_with_splits() as api:
            body = traffic_split()
            body["spec"]["colour"] = "blue"
            reply = await api.apply(SPLITS_PATH, body, "headgate")
            assert reply.status == 500
            assert reply.message.endswith("Kind=TrafficSplit): .spec.colour: field not declared in schema")


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "query", "status"),
        [
            ({}, "", 422),  # no field manager
            ({"apiVersion": "apps/v1beta1"}, "?fieldManager=x", 400),
            ({"metadata": {"name": "other"}}, "?fieldManager=x", 400),
            ({"metadata": {"name": "web", "namespace": "other"}}, "?fieldManager=x", 400),
            ({"metadata": {"name": "web", "managedFields": []}}, "?fieldManager=x", 400),
            ({"metadata": {"name": "web", "uid": "made-up"}}, "?fieldManager=x", 409),
            ({"spec": {"colour": "blue"}}, "?fieldManager=x", 500),
            ({"spec": "none"}, "?fieldManager=x", 500),
        ],
    )
    async def test_a_wrong_apply_is_refused(self, change: JsonObject, query: str, status: int) -> None:
        async with serve() as api:
            body = {**deployment(), **change}
            reply = await api.patch(f"{DEPLOYMENTS_PATH}/web{query}", body, "application/apply-patch+yaml")
            assert (reply.status, reply.json["kind"]) == (status, "Status")
            assert (await api.get(f"{DEPLOYMENTS_PATH}/web")).status == 404

    async def test_a_stale_resource_version_is_a_conflict(self) -> None:
        async with serve() as api:
            made = await api.apply(CONFIG_MAPS_PATH, config_map(a="1"), "one")
            await api.apply(CONFIG_MAPS_PATH, config_map(a="2"), "one")
            stale = config_map(a="3")
            stale["metadata"]["resourceVersion"] = made.json["metadata"]["resourceVersion"]
            reply = await api.apply(CONFIG_MAPS_PATH, stale, "one")
            assert (reply.status, reply.json["reason"]) == (409, "Conflict")

    async def test_yaml_is_as_good_as_json(self) -> None:
        async with serve() as api:
            text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: 'on'}\n"
            path = f"{CONFIG_MAPS_PATH}/settings?fieldManager=x"
            reply = await api.patch(path, text, "application/apply-patch+yaml")
            assert (reply.status, reply.json["data"]) == (201, {"a": "on"})


def serve_with_splits(definition: JsonObject | None = None) -> Any:
    """A served cluster that knows TrafficSplit."""
    storage = new_storage()
    storage.create(CUSTOM_RESOURCE_DEFINITIONS, definition or traffic_split_definition())
    return serve(storage)


async def test_plain_writes_share_ownership_by_what_they_change() -> None:
    async with serve() as api:
        await api.post(f"{CONFIG_MAPS_PATH}?fieldManager=maker", config_map(a="1", b="2"))
        await _change(api, "a", "9")
        reply = await api.get(f"{CONFIG_MAPS_PATH}/settings")
        assert owned(reply.json, "maker") == {"f:data": {".": {}, "f:b": {}}}
        assert owned(reply.json, "changer") == {"f:data": {"f:a": {}}}


async def _change(api: Api, key: str, value: str) -> None:
    obj = (await api.get(f"{CONFIG_MAPS_PATH}/settings")).json
    obj["data"][key] = value
    await api.put(f"{CONFIG_MAPS_PATH}/settings?fieldManager=changer", obj)

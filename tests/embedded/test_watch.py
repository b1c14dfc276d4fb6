"""Watches: every change once and in order, from where the client was, until it goes away."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest

from adapters.embedded.known_crds import traffic_split_definition
from adapters.embedded.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, PODS
from tests.embedded.api_stand import (
    CONFIG_MAPS_PATH,
    DEFINITIONS_PATH,
    DEPLOYMENTS_PATH,
    SPLITS_PATH,
    Api,
    config_map,
    deployment,
    eventually,
    new_storage,
    pod,
    serve,
    traffic_split,
)

PODS_PATH = "/api/v1/namespaces/default/pods"


class TestWhereAWatchBegins:
    async def test_after_a_list_it_tells_what_came_since(self) -> None:
        async with serve() as api:
            await api.post(CONFIG_MAPS_PATH, config_map("a"))
            version = (await api.get(CONFIG_MAPS_PATH)).json["metadata"]["resourceVersion"]
            await api.post(CONFIG_MAPS_PATH, config_map("b"))
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=version) as watch:
                assert await watch.next_short() == ("ADDED", "b")
                await api.patch(f"{CONFIG_MAPS_PATH}/a", {"data": {"x": "1"}})
                await api.delete(f"{CONFIG_MAPS_PATH}/b")
                assert await watch.next_short() == ("MODIFIED", "a")
                assert await watch.next_short() == ("DELETED", "b")

    @pytest.mark.parametrize("parameters", [{}, {"resourceVersion": "0"}])
    async def test_without_a_version_it_begins_with_what_is_there(self, parameters: dict[str, str]) -> None:
        async with serve() as api:
            await api.post(CONFIG_MAPS_PATH, config_map("b"))
            await api.post(CONFIG_MAPS_PATH, config_map("a"))
            async with api.watch(CONFIG_MAPS_PATH, **parameters) as watch:
                assert [await watch.next_short(), await watch.next_short()] == [("ADDED", "a"), ("ADDED", "b")]
                await api.post(CONFIG_MAPS_PATH, config_map("c"))
                assert await watch.next_short() == ("ADDED", "c")

    async def test_a_watch_list_marks_the_end_of_what_was_there(self) -> None:
        async with serve() as api:
            await api.post(CONFIG_MAPS_PATH, config_map("a"))
            parameters = {
                "sendInitialEvents": "true",
                "resourceVersionMatch": "NotOlderThan",
                "allowWatchBookmarks": "true",
            }
            async with api.watch(CONFIG_MAPS_PATH, **parameters) as watch:
                assert await watch.next_short() == ("ADDED", "a")
                bookmark = await watch.next()
                assert bookmark["type"] == "BOOKMARK"
                metadata = bookmark["object"]["metadata"]
                assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
                assert metadata["resourceVersion"] == str(api.storage.resource_version)

    @pytest.mark.parametrize("query", ["sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"])
    async def test_parameters_that_do_not_go_together_are_refused(self, query: str) -> None:
        async with serve() as api:
            reply = await api.get(f"{CONFIG_MAPS_PATH}?watch=true&{query}")
            assert (reply.status, reply.json["reason"]) == (422, "Invalid")

    async def test_a_version_that_is_too_old_is_told_as_an_event(self) -> None:
        async with serve(new_storage(history=2)) as api:
            for number in range(5):
                await api.post(CONFIG_MAPS_PATH, config_map(f"c{number}"))
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion="1") as watch:
                events = await watch.rest()
            assert [event["type"] for event in events] == ["ERROR"]
            assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")
            assert events[0]["object"]["message"].startswith("too old resource version: 1 (")

    async def test_a_version_of_the_future_is_waited_for_in_silence(self) -> None:
        async with serve() as api:
            far = api.storage.resource_version + 100
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=far, timeoutSeconds=1) as watch:
                assert await watch.rest() == []


class TestSelections:
    async def test_an_object_that_stops_matching_is_deleted_for_the_watch_as_it_was(self) -> None:
        async with serve() as api, api.watch(CONFIG_MAPS_PATH, labelSelector="tier=front") as watch:
            body = config_map("a")
            await api.post(CONFIG_MAPS_PATH, body)
            await api.patch(f"{CONFIG_MAPS_PATH}/a", {"metadata": {"labels": {"tier": "front"}}})
            assert await watch.next_short() == ("ADDED", "a")
            await api.patch(f"{CONFIG_MAPS_PATH}/a", {"data": {"x": "1"}})
            assert await watch.next_short() == ("MODIFIED", "a")
            await api.patch(f"{CONFIG_MAPS_PATH}/a", {"metadata": {"labels": {"tier": "back"}}})
            gone = await watch.next()
            assert gone["type"] == "DELETED"
            assert gone["object"]["metadata"]["labels"] == {"tier": "front"}
            assert gone["object"]["metadata"]["resourceVersion"] == str(api.storage.resource_version)

    async def test_fields_select_too(self) -> None:
        async with serve() as api, api.watch(PODS_PATH, fieldSelector="spec.nodeName=node-1") as watch:
            await api.post(PODS_PATH, pod("elsewhere"))
            await api.post(PODS_PATH, pod("here"))
            await api.post(f"{PODS_PATH}/here/binding", {"target": {"name": "node-1"}})
            assert await watch.next_short() == ("ADDED", "here")

    async def test_a_namespace_is_watched_alone_or_with_all_others(self) -> None:
        async with serve() as api:
            await api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
            elsewhere = config_map("there")
            elsewhere["metadata"]["namespace"] = "other"
            async with api.watch(CONFIG_MAPS_PATH) as one, api.watch("/api/v1/configmaps") as all_of_them:
                await api.post("/api/v1/namespaces/other/configmaps", elsewhere)
                await api.post(CONFIG_MAPS_PATH, config_map("here"))
                assert await one.next_short() == ("ADDED", "here")
                assert await all_of_them.next_short() == ("ADDED", "there")
                assert await all_of_them.next_short() == ("ADDED", "here")


class TestOrder:
    async def test_many_writers_are_seen_in_the_order_of_versions_by_every_watch(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            start = api.storage.resource_version
            async with (
                api.watch(DEPLOYMENTS_PATH, resourceVersion=start) as one,
                api.watch(DEPLOYMENTS_PATH, resourceVersion=start) as two,
            ):
                await asyncio.gather(*(_scale(api, replicas) for replicas in range(10, 40)))
                seen = [int((await one.next())["object"]["metadata"]["resourceVersion"]) for _ in range(30)]
                assert all(earlier < later for earlier, later in pairwise(seen))
                assert seen == [int((await two.next())["object"]["metadata"]["resourceVersion"]) for _ in range(30)]

    async def test_a_watch_can_be_taken_up_again_at_any_of_its_events(self) -> None:
        async with serve() as api:
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=api.storage.resource_version) as watch:
                for number in range(6):
                    await api.post(CONFIG_MAPS_PATH, config_map(f"c{number}"))
                events = [await watch.next() for _ in range(6)]
            for position, event in enumerate(events):
                version = event["object"]["metadata"]["resourceVersion"]
                async with api.watch(CONFIG_MAPS_PATH, resourceVersion=version, timeoutSeconds=1) as again:
                    rest = [await again.next() for _ in events[position + 1 :]]
                assert rest == events[position + 1 :]


class TestEnds:
    async def test_the_client_decides_how_long_it_lasts_and_gets_a_last_bookmark(self) -> None:
        async with serve() as api:
            parameters = {"resourceVersion": api.storage.resource_version, "timeoutSeconds": 1}
            async with api.watch(CONFIG_MAPS_PATH, **parameters, allowWatchBookmarks="true") as watch:
                events = await watch.rest()
            assert [event["type"] for event in events] == ["BOOKMARK"]
            assert events[0]["object"]["metadata"]["resourceVersion"] == str(api.storage.resource_version)

    async def test_bookmarks_come_now_and_then_to_those_who_want_them(self) -> None:
        async with serve(bookmark_seconds=0.05) as api:
            version = api.storage.resource_version
            async with (
                api.watch(CONFIG_MAPS_PATH, resourceVersion=version, allowWatchBookmarks="true") as wanting,
                api.watch(CONFIG_MAPS_PATH, resourceVersion=version, timeoutSeconds=1) as other,
            ):
                assert [(await wanting.next())["type"] for _ in range(3)] == ["BOOKMARK"] * 3
                assert await other.rest() == []

    async def test_a_client_that_goes_away_is_forgotten(self) -> None:
        async with serve() as api:
            async with api.watch(CONFIG_MAPS_PATH):
                assert sum(api.server.audit.open_watches.values()) == 1
            await eventually(lambda: not api.server.audit.open_watches)
            assert sum(api.server.audit.watches_ever.values()) == 1

    async def test_a_server_that_stops_ends_its_watches(self) -> None:
        storage = new_storage()
        async with aiohttp.ClientSession() as session:
            async with serve(storage) as api:
                response = await session.get(f"{api.server.url}{CONFIG_MAPS_PATH}?watch=true")
            assert await response.read() == b""

    async def test_a_kind_that_goes_ends_the_watches_on_it(self) -> None:
        async with serve() as api:
            await api.post(DEFINITIONS_PATH, traffic_split_definition())
            async with api.watch(SPLITS_PATH) as watch:
                await api.post(SPLITS_PATH, traffic_split())
                await api.delete(f"{DEFINITIONS_PATH}/trafficsplits.split.smi-spec.io")
                assert [event["type"] for event in await watch.rest()] == ["ADDED", "DELETED"]
            assert (await api.get(SPLITS_PATH)).status == 404


class TestForms:
    async def test_a_watch_tells_rows_of_a_table_with_the_heads_once(self) -> None:
        async with serve() as api, aiohttp.ClientSession() as session:
            headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
            async with session.get(f"{api.server.url}{CONFIG_MAPS_PATH}?watch=true", headers=headers) as response:
                await api.post(CONFIG_MAPS_PATH, config_map("a", x="1"))
                await api.post(CONFIG_MAPS_PATH, config_map("b"))
                first = json.loads(await response.content.readline())["object"]
                second = json.loads(await response.content.readline())["object"]
            assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
            assert first["rows"][0]["cells"] == ["a", 1, "0s"]
            assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == (None, "b")

    async def test_every_version_of_a_kind_can_be_watched(self) -> None:
        storage = new_storage()
        storage.create(CUSTOM_RESOURCE_DEFINITIONS, traffic_split_definition(["v1alpha2", "v1alpha4"]))
        async with serve(storage) as api:
            newer = SPLITS_PATH.replace("v1alpha2", "v1alpha4")
            async with api.watch(SPLITS_PATH) as old, api.watch(newer) as new:
                await api.post(SPLITS_PATH, traffic_split())
                assert (await old.next())["object"]["apiVersion"] == "split.smi-spec.io/v1alpha2"
                assert (await new.next())["object"]["apiVersion"] == "split.smi-spec.io/v1alpha4"


async def _scale(api: Api, replicas: int) -> None:
    assert (await api.patch(f"{DEPLOYMENTS_PATH}/web", {"spec": {"replicas": replicas}})).status == 200


async def test_changes_by_controllers_are_seen_like_those_by_clients() -> None:
    async with serve() as api, api.watch(DEPLOYMENTS_PATH) as watch:
        made = api.storage.create(DEPLOYMENTS, deployment())
        made["status"] = {"replicas": 1}
        api.storage.update(DEPLOYMENTS, made, subresource="status")
        api.storage.delete(DEPLOYMENTS, "default", "web")
        api.storage.create(CONFIG_MAPS, config_map())
        api.storage.create(PODS, pod())
        kinds = [(await watch.next())["type"] for _ in range(3)]
        assert kinds == ["ADDED", "MODIFIED", "DELETED"]

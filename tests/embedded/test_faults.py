"""Planned faults and the audit: the server fails as a test wishes, and tells afterwards what it was asked."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from adapters.embedded.errors import Conflict, InternalError, ServiceUnavailable, Timeout, TooManyRequests
from adapters.embedded.faults import Match
from adapters.embedded.resources import DEPLOYMENTS
from tests.embedded.api_stand import (
    CONFIG_MAPS_PATH,
    DEPLOYMENTS_PATH,
    config_map,
    deployment,
    eventually,
    serve,
)

WRITES_OF_CONFIG_MAPS = Match(verb="create", resource="configmaps")


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            (Conflict("somebody was faster"), 409, "Conflict"),
            (InternalError("out of order"), 500, "InternalError"),
            (ServiceUnavailable("closed"), 503, "ServiceUnavailable"),
        ],
    )
    async def test_the_next_matching_requests_fail_and_later_ones_do_not(
        self, error: Conflict, status: int, reason: str
    ) -> None:
        async with serve() as api:
            api.server.faults.answer(WRITES_OF_CONFIG_MAPS, error, times=2)
            assert (await api.post(DEPLOYMENTS_PATH, deployment())).status == 201
            for _ in range(2):
                reply = await api.post(CONFIG_MAPS_PATH, config_map())
                assert (reply.status, reply.json["reason"]) == (status, reason)
            assert (await api.post(CONFIG_MAPS_PATH, config_map())).status == 201
            assert api.server.faults.pending == 0

    async def test_a_busy_server_says_when_to_come_again(self) -> None:
        async with serve() as api:
            api.server.faults.answer(Match(), TooManyRequests("too many requests", retry_after_seconds=3))
            reply = await api.get(CONFIG_MAPS_PATH)
            assert (reply.status, reply.headers["Retry-After"]) == (429, "3")
            assert reply.json["details"]["retryAfterSeconds"] == 3

    async def test_some_requests_can_be_let_through_first(self) -> None:
        async with serve() as api:
            api.server.faults.answer(Match(verb="get"), InternalError("the third"), skip=2)
            await api.post(CONFIG_MAPS_PATH, config_map())
            path = f"{CONFIG_MAPS_PATH}/settings"
            assert [(await api.get(path)).status for _ in range(4)] == [200, 200, 500, 200]

    async def test_a_fault_can_be_meant_for_one_object_subresource_and_client(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            match = Match(verb="patch", resource="deployments", name="web", subresource="scale", user_agent="headgate")
            api.server.faults.answer(match, InternalError("no"))
            patch = {"spec": {"replicas": 4}}
            assert (await api.patch(f"{DEPLOYMENTS_PATH}/web", patch, User_Agent="headgate/1")).status == 200
            assert (await api.patch(f"{DEPLOYMENTS_PATH}/web/scale", patch, User_Agent="other/1")).status == 200
            assert (await api.patch(f"{DEPLOYMENTS_PATH}/web/scale", patch, User_Agent="headgate/1")).status == 500

    async def test_a_write_can_take_effect_and_be_answered_with_a_failure(self) -> None:
        async with serve() as api:
            late = Timeout("request did not complete within requested timeout")
            api.server.faults.answer(WRITES_OF_CONFIG_MAPS, late, after_effect=True)
            assert (await api.post(CONFIG_MAPS_PATH, config_map())).status == 504
            assert (await api.get(f"{CONFIG_MAPS_PATH}/settings")).status == 200


class TestConnections:
    @pytest.mark.parametrize("after_effect", [False, True])
    async def test_a_connection_is_cut_before_or_after_the_effect(self, after_effect: bool) -> None:
        async with serve() as api:
            api.server.faults.cut(WRITES_OF_CONFIG_MAPS, after_effect=after_effect)
            with pytest.raises(aiohttp.ClientError):
                await api.post(CONFIG_MAPS_PATH, config_map())
            found = await api.get(f"{CONFIG_MAPS_PATH}/settings")
            assert (found.status == 200) is after_effect

    async def test_a_request_hangs_as_long_as_planned(self) -> None:
        async with serve() as api:
            api.server.faults.hang(Match(verb="list"), 0.05)
            loop = asyncio.get_running_loop()
            before = loop.time()
            assert (await api.get(CONFIG_MAPS_PATH)).status == 200
            assert loop.time() - before >= 0.05

    async def test_a_client_that_gives_up_on_a_hanging_write_has_written_nothing(self) -> None:
        async with serve() as api:
            api.server.faults.hang(WRITES_OF_CONFIG_MAPS, 3600)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await api.post(CONFIG_MAPS_PATH, config_map())
            await eventually(lambda: bool(api.server.audit.writes("configmaps")))
            assert (await api.get(f"{CONFIG_MAPS_PATH}/settings")).status == 404
            assert api.server.audit.writes("configmaps")[0].status == 0  # never answered


class TestWatches:
    async def test_an_open_watch_is_cut_in_the_middle_of_a_line(self) -> None:
        async with serve() as api, aiohttp.ClientSession() as session:
            url = f"{api.server.url}{CONFIG_MAPS_PATH}?watch=true"
            async with session.get(url) as response:
                await api.post(CONFIG_MAPS_PATH, config_map())
                assert json.loads(await response.content.readline())["type"] == "ADDED"
                assert api.server.faults.cut_watches(Match(resource="configmaps")) == 1
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.content.readline()
            await eventually(lambda: not api.server.audit.open_watches)
            assert api.server.faults.cut_watches() == 0

    async def test_only_matching_watches_are_cut(self) -> None:
        async with serve() as api, api.watch(DEPLOYMENTS_PATH) as other:
            async with api.watch(CONFIG_MAPS_PATH) as watch:
                assert api.server.faults.cut_watches(Match(resource="configmaps"), inside_line=False) == 1
                with pytest.raises(aiohttp.ClientPayloadError):
                    await watch.next()
            await api.post(DEPLOYMENTS_PATH, deployment())
            assert await other.next_short() == ("ADDED", "web")

    async def test_a_watch_that_is_silenced_stays_open_and_says_nothing(self) -> None:
        async with serve(bookmark_seconds=0.01) as api:
            query = {"resourceVersion": api.storage.resource_version, "allowWatchBookmarks": "true"}
            async with api.watch(CONFIG_MAPS_PATH, **query) as watch, api.watch(DEPLOYMENTS_PATH) as other:
                assert (await watch.next())["type"] == "BOOKMARK"
                assert api.server.faults.silence_watches(Match(resource="configmaps")) == 1
                await api.post(CONFIG_MAPS_PATH, config_map())
                await api.post(DEPLOYMENTS_PATH, deployment())
                assert await other.next_short() == ("ADDED", "web")
                assert api.server.audit.open_watches.total() == 2
                assert api.server.faults.cut_watches(Match(resource="configmaps")) == 1
                with pytest.raises(aiohttp.ClientPayloadError):
                    while (await watch.next())["type"] == "BOOKMARK":
                        pass  # On its way when it was silenced.

    async def test_a_forgotten_history_makes_older_watches_expire(self) -> None:
        async with serve() as api:
            version = api.storage.resource_version
            await api.post(CONFIG_MAPS_PATH, config_map())
            api.server.faults.expire_history()
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=version) as watch:
                assert (await watch.next())["object"]["code"] == 410

    async def test_even_a_fresh_watch_can_be_made_to_expire(self) -> None:
        async with serve() as api:
            api.server.faults.expire_watches(Match(resource="configmaps"))
            version = api.storage.resource_version
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=version) as watch:
                assert [event["object"]["reason"] for event in await watch.rest()] == ["Expired"]
            async with api.watch(CONFIG_MAPS_PATH, resourceVersion=version) as watch:
                await api.post(CONFIG_MAPS_PATH, config_map())
                assert await watch.next_short() == ("ADDED", "settings")

    async def test_a_watch_can_be_refused_as_a_request(self) -> None:
        async with serve() as api:
            api.server.faults.answer(Match(verb="watch"), ServiceUnavailable("not now"))
            assert (await api.get(f"{CONFIG_MAPS_PATH}?watch=true")).status == 503

    async def test_what_is_planned_can_be_dropped(self) -> None:
        async with serve() as api:
            api.server.faults.answer(Match(), InternalError("never"), times=5)
            api.server.faults.clear()
            assert (await api.get(CONFIG_MAPS_PATH)).status == 200


class TestAudit:
    async def test_requests_are_kept_with_what_they_asked(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment(), User_Agent="headgate/1")
            await api.patch(f"{DEPLOYMENTS_PATH}/web/scale?fieldManager=x", {"spec": {"replicas": 4}})
            await api.get(f"{DEPLOYMENTS_PATH}/other")
            await api.get("/version")
            audit = api.server.audit
            made, scaled = audit.writes("deployments.apps")
            assert (made.verb, made.status, made.user_agent, made.json) == ("create", 201, "headgate/1", deployment())
            assert (scaled.verb, scaled.name, scaled.subresource) == ("patch", "web", "scale")
            assert (scaled.query, scaled.media_type) == ({"fieldManager": "x"}, "application/merge-patch+json")
            assert audit.counts[("get", "deployments.apps")] == 1
            assert [request.status for request in audit.of(name="other")] == [404]
            assert len(audit.requests) == 4

    async def test_watches_are_counted_while_open_and_for_ever(self) -> None:
        async with serve() as api:
            audit = api.server.audit
            async with api.watch(DEPLOYMENTS_PATH), api.watch("/apis/apps/v1/deployments"):
                scopes = {(scope.resource, scope.namespace): number for scope, number in audit.open_watches.items()}
                assert scopes == {("deployments.apps", "default"): 1, ("deployments.apps", ""): 1}
            await eventually(lambda: not audit.open_watches)
            assert sum(audit.watches_ever.values()) == 2
            audit.clear()
            assert not audit.requests
            assert not audit.counts

    async def test_what_controllers_write_is_nobodys_request(self) -> None:
        async with serve() as api:
            api.storage.create(DEPLOYMENTS, deployment())
            assert not api.server.audit.requests

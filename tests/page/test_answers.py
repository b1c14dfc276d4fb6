"""What the API says for the page: who asks, what could be ordered, and what becomes of all releases."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from adapters.http.bodies import CommandBody
from adapters.http.client_errors import DaemonRefused
from engine.events import CommandKind
from engine.model import State
from tests.http.stage import APPROVAL, Daemon, percent
from tests.page.stage import BOARD, CI, NIGHT, OLGA


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {OLGA}"}
    async with aiohttp.ClientSession(f"http://{daemon.address}", headers=headers) as session:
        yield session


async def ask(http: aiohttp.ClientSession, path: str, secret: str = OLGA) -> Any:
    async with http.get(path, headers={"Authorization": f"Bearer {secret}"}) as response:
        assert response.status == 200
        return await response.json()


async def test_a_caller_learns_who_the_daemon_takes_them_for(http: aiohttp.ClientSession) -> None:
    assert await ask(http, "/v1/caller") == {"name": "olga", "roles": ["release-managers"], "mayOrder": True}
    assert await ask(http, "/v1/caller", CI) == {"name": "ci", "roles": [], "mayOrder": True}
    assert await ask(http, "/v1/caller", NIGHT) == {"name": "night", "roles": [], "mayOrder": True}
    assert await ask(http, "/v1/caller", BOARD) == {"name": "board", "roles": [], "mayOrder": False}


async def test_a_rollout_says_what_could_be_ordered_where_it_stands(daemon: Daemon) -> None:
    release = (await daemon.submit(percent(10), APPROVAL)).release.id
    waiting = await daemon.until_state(release, State.APPROVING)
    assert {CommandKind.APPROVE, CommandKind.REJECT, CommandKind.PAUSE, CommandKind.ABORT} <= {*waiting.orders}
    assert CommandKind.RESUME not in waiting.orders
    await daemon.client.command(release, CommandBody(CommandKind.PAUSE))
    assert CommandKind.RESUME in (await daemon.rollout(release)).orders
    assert CommandKind.PAUSE not in (await daemon.rollout(release)).orders
    await daemon.client.command(release, CommandBody(CommandKind.ABORT))
    await daemon.until_ended(release)
    assert (await daemon.rollout(release)).orders == ()


async def test_nobody_is_offered_an_order_that_they_may_not_give(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    step = "pause: {untilApproved: true, requiresRoles: [release-managers]}"
    release = (await daemon.submit(step)).release.id
    await daemon.until_state(release, State.APPROVING)

    async def orders(secret: str) -> set[str]:
        return {*(await ask(http, f"/v1/releases/{release}", secret))["rollouts"][0]["orders"]}

    assert {"approve", "reject", "pause", "abort"} <= await orders(OLGA)
    assert not await orders(CI) & {"approve", "reject", "resume"}
    assert await orders(NIGHT) == {"pause", "abort"}
    assert await orders(BOARD) == set()
    async with http.get(f"/v1/releases/{release}/watch", headers={"Authorization": f"Bearer {NIGHT}"}) as response:
        await response.content.readline()
        await daemon.client.command(release, CommandBody(CommandKind.PAUSE))
        line = json.loads(await response.content.readline())
        while line["type"] != "entry":  # News of the release itself may still be on its way.
            line = json.loads(await response.content.readline())
        assert line["rollout"]["orders"] == ["abort"]


async def test_one_of_several_conditions_is_answered_by_its_name_and_says_when_it_expires(daemon: Daemon) -> None:
    step = "pause: {untilApproved: true, approvalExpiration: {duration: 1, unit: hours}}"
    release = (await daemon.submit(step)).release.id
    (gate,) = (await daemon.until_state(release, State.APPROVING)).gates
    assert gate.expires == gate.since + timedelta(hours=1)
    with pytest.raises(DaemonRefused, match="is not waiting for an approval"):
        await daemon.client.command(release, CommandBody(CommandKind.APPROVE, gate="after:0"))
    await daemon.client.command(release, CommandBody(CommandKind.APPROVE, gate=gate.id))
    await daemon.until_state(release, State.SUCCEEDED)


async def test_a_rollout_says_what_it_brings_and_what_was_there(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    (workload,) = (await daemon.until_state(release, State.APPROVING)).workloads
    assert (workload.name, workload.images, workload.images_before) == ("web", ("web:2",), ("web:2",))


async def test_whether_a_release_can_be_taken_back_or_tried_again_is_said_beforehand(
    daemon: Daemon, http: aiohttp.ClientSession
) -> None:
    release = (await daemon.submit(percent(50))).release.id

    async def offer(kind: str, secret: str = OLGA, of: str = release) -> tuple[bool, str]:
        offered = (await ask(http, f"/v1/releases/{of}/offers", secret))[kind]
        return offered["possible"], offered["message"]

    for kind in ("rollback", "retry"):
        possible, why_not = await offer(kind)
        assert not possible
        assert "has not ended" in why_not
    await daemon.until_ended(release)
    assert await offer("rollback") == (True, "")
    assert "there is nothing to try again" in (await offer("retry"))[1]
    assert "the token board may not rollback" in (await offer("rollback", BOARD))[1]
    second = (await daemon.submit(APPROVAL)).release.id
    possible, why_not = await offer("rollback")
    assert not possible
    assert f"release {second} of shop is" in why_not
    await daemon.until_state(second, State.APPROVING)
    await daemon.client.command(second, CommandBody(CommandKind.ABORT))
    await daemon.until_ended(second)
    assert await offer("retry", of=second) == (True, "")


async def test_all_releases_are_watched_as_one(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    first = (await daemon.submit(percent(50))).release.id
    await daemon.until_ended(first)
    async with http.get("/v1/watch?limit=1") as response:
        line = json.loads(await response.content.readline())
        assert (line["type"], [one["id"] for one in line["releases"]]) == ("releases", [first])
        second = (await daemon.submit(APPROVAL, application="harbour")).release.id
        statuses = list[str]()
        while "AWAITING_APPROVAL" not in statuses:
            line = json.loads(await response.content.readline())
            assert (line["type"], line["release"]["id"]) == ("release", second)
            statuses.append(line["release"]["status"])
        assert statuses[0] == "QUEUED"


async def test_a_watch_over_everything_has_only_what_its_reader_may_see(
    daemon: Daemon, http: aiohttp.ClientSession
) -> None:
    await daemon.until_ended((await daemon.submit(percent(50), application="harbour")).release.id)
    async with http.get("/v1/watch", headers={"Authorization": f"Bearer {NIGHT}"}) as response:
        assert json.loads(await response.content.readline())["releases"] == []
        await daemon.until_ended((await daemon.submit(percent(50), application="harbour")).release.id)
        shop = (await daemon.submit(APPROVAL)).release.id
        assert json.loads(await response.content.readline())["release"]["id"] == shop


async def test_a_stopping_daemon_ends_the_watch(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/watch") as response:
        await response.content.readline()
        await daemon.running.application.shutdown()
        line = json.loads(await response.content.readline())
        assert (line["type"], line["final"]) == ("end", False)
    async with http.get("/v1/watch?limit=all") as response:
        assert response.status == 400

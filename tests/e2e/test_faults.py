"""Something breaks in the middle of a rollout: the daemon, the API server, etcd, the wire between them, the login."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio import to_thread

from adapters.embedded.json_objects import JsonObject
from adapters.http.bodies import RolloutBody
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.e2e.cable import lay_cable
from tests.e2e.controlplane.processes import Program
from tests.e2e.site import Site
from tests.e2e.test_rolled_back import picture, traces

pytestmark = pytest.mark.real

STEPS: list[JsonObject] = [
    {"setWeight": {"weight": 25}},
    {"pause": {"duration": 1, "unit": "seconds"}},
    {"setWeight": {"weight": 50}},
    {"pause": {"untilApproved": True}},
]
AFTER_AN_OUTAGE_SECONDS = 240.0
"""The controllers have failed too, and wait before they ask again: their watches for up to a minute, the endpoints of a Service
for up to a hundred seconds. Until those are right, nobody is sent to the root Service."""
after_an_outage = pytest.mark.timeout(2 * AFTER_AN_OUTAGE_SECONDS)


async def end_well(site: Site, release: str, tested: dict[str, JsonObject], within: float = 90.0) -> None:
    """Approve, and see the same pods serve that were tested."""
    await site.order(release, CommandKind.APPROVE)
    assert (await site.until_ended(release, within)).status is ReleaseStatus.SUCCEEDED, await site.tell(release)
    assert (await site.pods_of("web:2")).keys() == tested.keys()
    assert await traces_of_a_success(site) == []
    site.recording.check()


async def traces_of_a_success(site: Site) -> list[str]:
    """A promoted Deployment was applied by us, and its history is ours; nothing else may be left."""
    return [one for one in await traces(site) if not one.startswith(("deployments/web", "replicasets/web-", "pods/"))]


async def test_the_daemon_is_killed_in_every_state(site: Site) -> None:
    await site.go_live()
    release = await site.deploy("web:2", STEPS)
    killed: list[str] = []
    for state in (State.SCALING, State.SHIFTING, State.PAUSING, State.APPROVING):
        seen = await site.until_rollout(release.id, come_to(state))
        await site.kill_daemon()
        killed.append(seen.state)
        await site.start_daemon()
    tested = await site.pods_of("web:2")
    await site.order(release.id, CommandKind.APPROVE)
    for state in (State.PROMOTING, State.FINALISING):
        seen = await site.until_rollout(release.id, come_to(state))
        await site.kill_daemon()
        killed.append(seen.state)
        await site.start_daemon()
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    assert len(killed) == 6
    assert (await site.pods_of("web:2")).keys() == tested.keys()
    assert await traces_of_a_success(site) == []
    site.recording.check()


def come_to(state: State) -> Callable[[RolloutBody], bool]:
    """At this state or past it: a state may be too short to be met."""
    order = list(State)
    return lambda rollout: order.index(rollout.state) >= order.index(state)


async def start_again(program: Program) -> None:
    """Launched from this thread: a program dies with the thread that launched it."""
    program.launch()
    await to_thread.run_sync(program.wait_until_ready)


@after_an_outage
@pytest.mark.parametrize("name", ["etcd", "api_server", "controllers"])
async def test_a_part_of_the_control_plane_is_killed_and_started_again(site: Site, name: str) -> None:
    await site.go_live()
    release = await site.deploy("web:2", STEPS)
    await site.until_rollout(release.id, come_to(State.PAUSING))
    program = getattr(site.plane, name)
    await to_thread.run_sync(program.kill)
    await anyio.sleep(2)  # Longer than the pause: the next weight is due while there is nobody to write it to.
    await start_again(program)
    if name != "controllers":
        await to_thread.run_sync(site.plane.api_server.wait_until_ready)
    await site.until_state(release.id, State.APPROVING, AFTER_AN_OUTAGE_SECONDS)
    await end_well(site, release.id, await site.pods_of("web:2"), AFTER_AN_OUTAGE_SECONDS)


@after_an_outage
async def test_an_abort_while_the_api_server_is_away_is_carried_out_when_it_is_back(site: Site) -> None:
    await site.go_live()
    before = await picture(site)
    release = await site.deploy("web:2", STEPS)
    await site.until_state(release.id, State.APPROVING)
    await to_thread.run_sync(site.plane.api_server.kill)
    await site.order(release.id, CommandKind.ABORT)
    await site.until_rollout(release.id, lambda rollout: "retry" in rollout.timers)
    await start_again(site.plane.api_server)
    assert (await site.until_ended(release.id, AFTER_AN_OUTAGE_SECONDS)).status is ReleaseStatus.FAILED
    assert await picture(site) == before
    assert await traces(site) == []
    site.recording.check()


@after_an_outage
async def test_a_write_that_etcd_took_long_for_is_not_done_twice(site: Site) -> None:
    """The request times out and takes effect all the same: the daemon has to look before it writes again."""
    await site.go_live()
    release = await site.deploy("web:2", STEPS)
    await site.until_rollout(release.id, come_to(State.PAUSING))
    site.plane.etcd.freeze()
    await anyio.sleep(8)
    site.plane.etcd.thaw()
    await site.until_state(release.id, State.APPROVING, AFTER_AN_OUTAGE_SECONDS)
    await end_well(site, release.id, await site.pods_of("web:2"), AFTER_AN_OUTAGE_SECONDS)


async def on_a_cable(site: Site, story: Callable[[Callable[[], None]], Awaitable[None]]) -> int:
    """Tell a story with a cable between daemon and API server. The number of connections that were made."""
    await site.kill_daemon()
    async with lay_cable(int(site.plane.server.rpartition(":")[2])) as (cable, port):
        site.server = f"https://127.0.0.1:{port}"
        site.configure()
        await site.start_daemon()
        await story(cable.reset)
        await site.kill_daemon()
        return cable.connections


async def test_watches_that_are_cut_in_the_middle_go_on_where_they_were(site: Site) -> None:
    await site.go_live()

    async def story(reset: Callable[[], None]) -> None:
        release = await site.deploy("web:2", STEPS)
        for state in (State.PREPARING, State.SCALING, State.PAUSING, State.APPROVING):
            await site.until_rollout(release.id, come_to(state))
            reset()
        await end_well(site, release.id, await site.pods_of("web:2"))

    assert await on_a_cable(site, story) > 8


async def test_a_token_that_expires_is_read_again_from_its_file(site: Site) -> None:
    await site.kill_daemon()
    await site.log_in(lifetime=8)
    await site.start_daemon()
    await site.go_live()
    release = await site.deploy("web:2", STEPS)
    await site.until_state(release.id, State.APPROVING)
    await site.until_refused(site.token_file.read_text("utf-8"))
    await site.order(release.id, CommandKind.APPROVE)
    await site.until_rollout(release.id, lambda rollout: "retry" in rollout.timers)
    assert (await site.detail(release.id)).rollouts[0].state is State.PROMOTING
    tested = await site.pods_of("web:2")
    await site.log_in()
    assert (await site.until_ended(release.id)).status is ReleaseStatus.SUCCEEDED, await site.tell(release.id)
    assert (await site.pods_of("web:2")).keys() == tested.keys()
    assert "token" not in json.dumps(await site.tell(release.id)).replace("Unauthorized", "")

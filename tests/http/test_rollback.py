"""Taking a completed release back, over the socket; also after the daemon was started anew."""

from __future__ import annotations

import getpass
from pathlib import Path

import aiohttp
import pytest

from adapters.http.bodies import CommandBody, ErrorCode, RollbackBody
from adapters.http.client_errors import DaemonRefused
from adapters.settings import AccountSettings
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, percent


async def promoted(daemon: Daemon, **options: object) -> str:
    release = (await daemon.submit(percent(50), **options)).release.id
    assert await daemon.until_ended(release) is ReleaseStatus.SUCCEEDED
    return release


async def refusal(daemon: Daemon, release: str, body: RollbackBody | None = None) -> DaemonRefused:
    with pytest.raises(DaemonRefused) as caught:
        await daemon.client.roll_back(release, body or RollbackBody())
    return caught.value


async def test_it_is_a_release_of_its_own_that_says_what_it_takes_back_and_who_wants_it(daemon: Daemon) -> None:
    first = await promoted(daemon)
    accepted = await daemon.client.roll_back(first, RollbackBody(reason="too slow"))
    release = accepted.release
    assert (release.source, release.rollback_of, release.description) == (f"rollback of {first}", first, "too slow")
    assert (release.created_by, release.targets, accepted.warnings) == (getpass.getuser(), ("production",), ())
    assert await daemon.until_ended(release.id) is ReleaseStatus.SUCCEEDED
    rollout = await daemon.rollout(release.id)
    assert (rollout.steps, rollout.namespace, rollout.state) == ((), "production", State.SUCCEEDED)
    entry = (await daemon.client.journal(release.id)).entries[0]
    assert entry.text.startswith(f"rollback of {first} by {getpass.getuser()}: too slow; the rollout begins")


async def test_an_application_stands_for_its_newest_release_which_may_be_a_rollback(daemon: Daemon) -> None:
    first = await promoted(daemon)
    second = (await daemon.client.roll_back("shop", RollbackBody())).release
    await daemon.until_ended(second.id)
    third = (await daemon.client.roll_back("shop", RollbackBody())).release
    assert (second.rollback_of, third.rollback_of) == (first, second.id)


async def test_what_the_release_made_is_said_to_stay(daemon: Daemon) -> None:
    first = await promoted(daemon, mesh=True)
    (said,) = (await daemon.client.roll_back(first, RollbackBody())).warnings
    assert said.startswith(f"target production: Service/web stays; release {first} of shop made it")


async def test_what_cannot_be_taken_back_is_refused_with_the_reason_and_nothing_begins(daemon: Daemon) -> None:
    error = await refusal(daemon, "nothing")
    assert (error.body.code, error.status) == (ErrorCode.NOT_FOUND, 404)

    running = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(running, State.APPROVING)
    error = await refusal(daemon, running)
    assert (error.body.code, error.status) == (ErrorCode.REFUSED, 409)
    assert "has not ended, it is" in str(error)
    await daemon.client.command(running, CommandBody(CommandKind.ABORT))
    await daemon.until_ended(running)
    assert str(await refusal(daemon, running)).endswith("so there is nothing to take back")

    first, second = await promoted(daemon), await promoted(daemon)
    message = str(await refusal(daemon, first))
    assert f"release {second} of shop has changed Deployment web in namespace production after release {first}" in message
    assert len((await daemon.client.releases()).releases) == 3


async def test_a_later_release_that_was_undone_does_not_stand_in_the_way(daemon: Daemon) -> None:
    first = await promoted(daemon)
    second = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(second, State.APPROVING)
    error = await refusal(daemon, first)
    assert (error.body.code, error.body.release) == (ErrorCode.CONFLICT, second)
    await daemon.client.command(second, CommandBody(CommandKind.ABORT))
    await daemon.until_ended(second)
    assert str(await refusal(daemon, "shop")).endswith(f"is taken back with: headgate rollback {first}")
    assert (await daemon.client.roll_back(first, RollbackBody())).release.rollback_of == first


async def test_it_may_be_for_one_target_only(daemon: Daemon) -> None:
    first = await promoted(daemon, targets=["staging", "production"])
    error = await refusal(daemon, first, RollbackBody(targets=["prod"]))
    assert (error.status, str(error)) == (404, f"release {first} has no target prod; it has staging, production")
    back = (await daemon.client.roll_back(first, RollbackBody(targets=["staging"]))).release
    assert back.targets == ("staging",)
    await daemon.until_ended(back.id)
    assert f"release {back.id} of shop (rollback of {first}) has changed" in str(await refusal(daemon, first))
    other = (await daemon.client.roll_back(first, RollbackBody(targets=["production"]))).release
    assert other.targets == ("production",)


async def test_it_is_remembered_over_a_restart(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        overtaken, first = await promoted(daemon), await promoted(daemon)
    async with stage.daemon() as daemon:
        assert f"release {first} of shop has changed" in str(await refusal(daemon, overtaken))
        back = (await daemon.client.roll_back(first, RollbackBody())).release
        assert await daemon.until_ended(back.id) is ReleaseStatus.SUCCEEDED
    async with stage.daemon() as daemon:
        assert (await daemon.client.release(back.id)).release.rollback_of == first


async def test_one_that_was_under_way_goes_on_after_a_restart(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        first = await promoted(daemon)
        back = (await daemon.client.roll_back(first, RollbackBody())).release
    async with stage.daemon() as daemon:
        assert await daemon.until_ended(back.id) is ReleaseStatus.SUCCEEDED
        assert f"rollback of {first} by" in (await daemon.client.journal(back.id)).entries[0].text


async def test_an_account_that_is_no_longer_in_the_settings_is_named(tmp_path: Path) -> None:
    class Renamed(Stage):
        @property
        def settings(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            return super().settings.model_copy(update={"accounts": {"renamed": AccountSettings()}})

    before = Stage(tmp_path)
    async with before.daemon() as daemon:
        first = await promoted(daemon)
    async with Renamed(tmp_path, world=before.world).daemon() as daemon:
        error = await refusal(daemon, first)
    assert error.body.code is ErrorCode.REFUSED
    assert "the account model of its target production is no longer in the settings" in str(error)


@pytest.mark.parametrize(
    ("body", "what"),
    [({"forse": True}, "forse"), ({"force": "yes"}, "force"), ({"reason": "two\nlines"}, "reason"), ([], "object")],
)
async def test_rubbish_is_refused(daemon: Daemon, stage: Stage, body: object, what: str) -> None:
    first = await promoted(daemon)
    connector = aiohttp.UnixConnector(str(stage.settings.socket))
    async with aiohttp.ClientSession("http://headgate", connector=connector) as http:
        async with http.post(f"/v1/releases/{first}/rollback", json=body) as answer:
            error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (400, "badRequest")
        assert what in error["message"]

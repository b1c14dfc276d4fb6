"""Submitting releases, looking at them and giving them orders, over the socket."""

from __future__ import annotations

import getpass
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.http.bodies import CommandBody, ErrorCode, StepStanding
from adapters.http.client_errors import DaemonRefused
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, percent, submission


async def refused(daemon: Daemon, call: object) -> DaemonRefused:
    with pytest.raises(DaemonRefused) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_release_is_submitted_approved_and_succeeds(daemon: Daemon) -> None:
    accepted = await daemon.submit(percent(25), APPROVAL, mesh=True)
    release = accepted.release
    assert release.created_by == getpass.getuser()
    assert (release.application, release.source, release.targets) == ("shop", "deploy.yaml", ("production",))

    rollout = await daemon.until_state(release.id, State.APPROVING)
    assert rollout.awaits_answer
    assert (rollout.step, rollout.weight.asked, rollout.weight.served) == (2, 25.0, 25.0)
    assert [step.standing for step in rollout.steps] == [StepStanding.DONE, StepStanding.CURRENT]
    assert (await daemon.client.release(release.id)).release.status is ReleaseStatus.AWAITING_APPROVAL

    taken = await daemon.client.command(release.id, CommandBody(CommandKind.APPROVE, expected_step=2))
    assert taken.targets == ("production",)
    ended = await daemon.until_state(release.id, State.SUCCEEDED)
    assert (ended.step, ended.weight.served, ended.doing) == (3, 100.0, "")


async def test_what_a_release_shows_holds_nothing_secret(daemon: Daemon) -> None:
    accepted = await daemon.submit(APPROVAL)
    await daemon.until_state(accepted.release.id, State.APPROVING)
    stored = daemon.running.engine.rollouts(accepted.release.id)[0]
    session = daemon.client._session
    assert session is not None
    for path in ("", "/journal"):
        async with session.get(f"http://headgate/v1/releases/{accepted.release.id}{path}") as response:
            text = await response.text()
        assert stored.spec.secret not in text
        assert "secret" not in text
        assert "facts" not in text


async def test_ids_may_be_abbreviated_and_an_application_stands_for_its_newest_release(daemon: Daemon) -> None:
    first = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(first, State.APPROVING)
    await daemon.client.command(first, CommandBody(CommandKind.ABORT))
    await daemon.until_ended(first)
    second = (await daemon.submit(APPROVAL)).release.id
    assert (await daemon.client.release("shop")).release.id == second
    assert (await daemon.client.release(first[:6])).release.id == first
    error = await refused(daemon, daemon.client.release("nobody"))
    assert (error.body.code, error.status) == (ErrorCode.NOT_FOUND, 404)
    assert "nobody" in str(error)


async def test_an_ambiguous_abbreviation_names_the_candidates(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["abc1", "abc2"])
    monkeypatch.setattr(daemon.running.engine, "_new_id", lambda: next(ids))
    await daemon.submit(APPROVAL)
    await daemon.submit(APPROVAL, application="stall")
    error = await refused(daemon, daemon.client.release("abc"))
    assert error.body.code is ErrorCode.AMBIGUOUS
    assert "abc1 (shop)" in str(error)
    assert "abc2 (stall)" in str(error)


async def test_a_second_release_of_the_application_is_a_conflict_that_names_the_first(daemon: Daemon) -> None:
    first = (await daemon.submit(APPROVAL)).release.id
    error = await refused(daemon, daemon.submit(APPROVAL))
    assert (error.status, error.body.code, error.body.release) == (409, ErrorCode.CONFLICT, first)
    error = await refused(daemon, daemon.client.submit(replace(submission(APPROVAL), application="stall")))
    assert (error.status, error.body.code) == (409, ErrorCode.CONFLICT)
    assert f"Deployment web in namespace production of account model is being rolled out by release {first} of shop" in str(error)
    other = await daemon.client.submit(submission(APPROVAL, application="stall"))
    assert other.release.application == "stall"


async def test_a_file_with_errors_is_refused_with_every_place(daemon: Daemon) -> None:
    body = replace(submission(percent(25)), text="version: v1\napplication: shop\ntargetz: {}\n")
    error = await refused(daemon, daemon.client.submit(body))
    assert (error.status, error.body.code) == (422, ErrorCode.INVALID)
    assert any((problem.path, problem.line) == ("deploy.yaml", 3) for problem in error.body.problems)
    assert (await daemon.client.releases()).releases == ()


async def test_accounts_and_providers_that_the_settings_do_not_have_are_refused_at_their_place(daemon: Daemon) -> None:
    body = submission(
        "analysis: {interval: 1, units: seconds, numberOfJudgmentRuns: 1, queries: [errors]}", account="modle"
    )
    text = body.text.replace("metrics", "metrix")
    error = await refused(daemon, daemon.client.submit(replace(body, text=text)))
    lines = text.splitlines()
    found = {lines[problem.line - 1][problem.column - 1 :]: problem.message for problem in error.body.problems}
    assert found == {
        "modle": 'the account "modle" is not in the settings; did you mean "model"?',
        "metrix": 'the metric provider "metrix" of the query "errors" is not in the settings; did you mean "metrics"?',
    }


async def test_commands_and_keys_that_the_settings_do_not_have_are_refused_at_their_place(daemon: Daemon) -> None:
    body = submission("runCommand: {name: smoek}", "runWebhook: {name: smoke}")
    text = body.text.replace("    method: POST\n", "    method: POST\n    signingSecret: hook-kee\n")
    error = await refused(daemon, daemon.client.submit(replace(body, text=text)))
    lines = text.splitlines()
    found = {lines[problem.line - 1][problem.column - 1 :]: problem.message for problem in error.body.problems}
    assert found == {
        "smoek}": 'the command "smoek" is not in the settings; did you mean "smoke"?',
        "hook-kee": 'the secret "hook-kee" of the webhook "smoke" is not in the settings; did you mean "hook-key"?',
    }


async def test_manifests_that_were_not_sent_along_are_named(daemon: Daemon) -> None:
    error = await refused(daemon, daemon.client.submit(replace(submission(percent(25)), manifests={})))
    assert "was not sent along with the deploy file" in error.body.problems[0].message


async def test_targets_application_and_context_of_the_command_line_win(daemon: Daemon) -> None:
    body = replace(submission(APPROVAL, targets=("staging", "production")), targets=["production"], context={"a": "b"})
    accepted = await daemon.client.submit(body)
    assert accepted.release.targets == ("production",)
    assert any("depends on" in warning for warning in accepted.warnings)
    assert daemon.running.engine.rollouts(accepted.release.id)[0].spec.plan.context == {"a": "b"}


async def test_a_late_order_is_refused_in_a_sentence(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(release, State.APPROVING)
    error = await refused(daemon, daemon.client.command(release, CommandBody(CommandKind.APPROVE, expected_step=2)))
    assert (error.status, error.body.code) == (409, ErrorCode.REFUSED)
    assert "was meant for another step" in str(error)
    assert (await daemon.rollout(release)).state is State.APPROVING


async def test_an_order_to_a_target_that_there_is_not(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    error = await refused(daemon, daemon.client.command(release, CommandBody(CommandKind.ABORT, target="prod")))
    assert (error.status, str(error)) == (404, f"release {release} has no target prod; it has production")


async def test_a_held_rollout_says_by_whom_and_why(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(release, State.APPROVING)
    await daemon.client.command(release, CommandBody(CommandKind.PAUSE, reason="lunch"))
    detail = await daemon.client.release(release)
    assert detail.rollouts[0].held == f"paused by {getpass.getuser()}: lunch"
    await daemon.client.command(release, CommandBody(CommandKind.RESUME))
    assert (await daemon.rollout(release)).held == ""


async def test_a_parked_rollout_says_where_and_why(stage: Stage, daemon: Daemon) -> None:
    stage.world.faults["set-weight:web:2500"] = [ZeroDivisionError("a defect")]
    release = (await daemon.submit(percent(25), mesh=True)).release.id
    rollout = await daemon.until_state(release, State.PARKED)
    assert rollout.parked is not None
    assert rollout.parked.state is State.SHIFTING
    assert "a defect" in rollout.parked.error


async def test_the_journal_tells_the_whole_story(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(release, State.APPROVING)
    await daemon.client.command(release, CommandBody(CommandKind.REJECT, reason="not today"))
    ended = await daemon.until_state(release, State.ROLLED_BACK)
    assert ended.reason.endswith("not today")
    journal = await daemon.client.journal(release)
    assert [entry.seq for entry in journal.entries] == list(range(1, ended.seq + 1))
    states = list(dict.fromkeys(entry.destination for entry in journal.entries))
    assert states[-3:] == [State.ABORTING, State.RESTORING, State.ROLLED_BACK]
    assert journal.entries[0].at - journal.entries[-1].at < timedelta(0)


async def test_releases_are_listed_newest_first_by_application_and_with_a_limit(daemon: Daemon) -> None:
    for application in ("one", "two", "three"):
        await daemon.submit(APPROVAL, application=application)
    assert [one.application for one in (await daemon.client.releases()).releases] == ["three", "two", "one"]
    assert [one.application for one in (await daemon.client.releases("two")).releases] == ["two"]
    assert len((await daemon.client.releases(limit=1)).releases) == 1


async def test_a_daemon_that_comes_back_takes_up_what_was_under_way(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    async with stage.daemon() as first:
        release = (await first.submit(APPROVAL)).release.id
        await first.until_state(release, State.APPROVING)
    async with stage.daemon() as second:
        assert (await second.rollout(release)).state is State.APPROVING
        await second.client.command(release, CommandBody(CommandKind.APPROVE))
        await second.until_state(release, State.SUCCEEDED)


async def test_links_are_given_where_the_daemon_knows_how_it_is_reached(tmp_path: Path) -> None:
    stage = Stage(tmp_path, public_url="https://headgate.example")
    async with stage.daemon() as daemon:
        release = (await daemon.submit(APPROVAL)).release
        assert release.link == f"https://headgate.example/ui/#/releases/{release.id}"

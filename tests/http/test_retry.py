"""Trying a release again that did not succeed, and the orders that make a rollout go faster, over the socket."""

from __future__ import annotations

import getpass
from functools import partial

import pytest

from adapters.http.bodies import CommandBody, ErrorCode, RetryBody
from adapters.http.client_errors import DaemonRefused
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, percent, until


async def refusal(daemon: Daemon, release: str, body: RetryBody | None = None) -> DaemonRefused:
    with pytest.raises(DaemonRefused) as caught:
        await daemon.client.retry(release, body or RetryBody())
    return caught.value


async def aborted(daemon: Daemon, *targets: str) -> str:
    """A release whose last target was aborted at its approval; those before it went through."""
    release = (await daemon.submit(percent(50), APPROVAL, targets=list(targets) or ["production"])).release.id
    for target in targets[:-1]:
        await until(partial(waits, daemon, release, target))
        await daemon.client.command(release, CommandBody(CommandKind.APPROVE, target))
    await until(lambda: waits(daemon, release, (targets or ("production",))[-1]))
    await daemon.client.command(release, CommandBody(CommandKind.ABORT))
    assert await daemon.until_ended(release) is ReleaseStatus.FAILED
    return release


async def waits(daemon: Daemon, release: str, target: str) -> bool:
    detail = await daemon.client.release(release)
    return any(one.target == target and one.awaits_answer for one in detail.rollouts)


async def test_the_same_revision_is_tried_under_a_name_of_its_own(daemon: Daemon) -> None:
    first = await aborted(daemon)
    again = (await daemon.client.retry(first, RetryBody(reason="the network was down"))).release
    assert (again.retry_of, again.source, again.targets) == (first, f"retry of {first}", ("production",))
    await daemon.until_state(again.id, State.APPROVING)
    before, after = await daemon.rollout(first), await daemon.rollout(again.id)
    assert [step.text for step in before.steps] == [step.text for step in after.steps]
    await daemon.client.command(again.id, CommandBody(CommandKind.APPROVE))
    assert await daemon.until_ended(again.id) is ReleaseStatus.SUCCEEDED
    entry = (await daemon.client.journal(again.id)).entries[0]
    assert entry.text.startswith(f"retry of {first} by {getpass.getuser()}: the network was down")


async def test_targets_that_succeeded_are_left_as_they_are(daemon: Daemon) -> None:
    first = await aborted(daemon, "staging", "production")
    again = (await daemon.client.retry(first, RetryBody())).release
    assert again.targets == ("production",)
    assert (await daemon.rollout(again.id)).depends_on == ()
    await daemon.client.command(again.id, CommandBody(CommandKind.ABORT))


async def test_what_there_is_nothing_to_try_again_about_is_refused(daemon: Daemon) -> None:
    assert (await refusal(daemon, "nothing")).body.code is ErrorCode.NOT_FOUND
    first = await aborted(daemon)
    running = (await daemon.client.retry(first, RetryBody())).release.id
    assert "has not ended, it is" in str(await refusal(daemon, running))
    assert (await refusal(daemon, first)).body.code is ErrorCode.CONFLICT
    await daemon.until_state(running, State.APPROVING)
    await daemon.client.command(running, CommandBody(CommandKind.APPROVE))
    assert await daemon.until_ended(running) is ReleaseStatus.SUCCEEDED
    assert "has succeeded on production: there is nothing to try again" in str(await refusal(daemon, running))
    message = str(await refusal(daemon, first))
    assert f"release {running} of shop has succeeded after release {first} of shop" in message
    error = await refusal(daemon, first, RetryBody(targets=["prod"]))
    assert (error.status, "has no target prod" in str(error)) == (404, True)


async def test_a_retry_goes_on_after_a_restart(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        first = await aborted(daemon)
        again = (await daemon.client.retry(first, RetryBody())).release.id
        await daemon.until_state(again, State.APPROVING)
    async with stage.daemon() as daemon:
        assert (await daemon.client.release(again)).release.retry_of == first
        await daemon.client.command(again, CommandBody(CommandKind.APPROVE))
        assert await daemon.until_ended(again) is ReleaseStatus.SUCCEEDED


async def test_a_pause_is_skipped_and_a_rollout_promoted(daemon: Daemon) -> None:
    pause = "pause: {duration: 1, unit: hours}"
    release = (await daemon.submit(percent(10), pause, percent(20), pause, percent(30))).release.id
    await daemon.until_state(release, State.PAUSING)
    with pytest.raises(DaemonRefused, match="was meant for another step"):
        await daemon.client.command(release, CommandBody(CommandKind.SKIP, expected_step=4))
    await daemon.client.command(release, CommandBody(CommandKind.SKIP, expected_step=2, reason="seen enough"))
    await until(lambda: is_at(daemon, release, 4))
    await daemon.client.command(release, CommandBody(CommandKind.PROMOTE))
    assert await daemon.until_ended(release) is ReleaseStatus.SUCCEEDED
    told = "\n".join(entry.text for entry in (await daemon.client.journal(release)).entries)
    assert f"skipped by {getpass.getuser()}: seen enough" in told
    assert f"promoted by {getpass.getuser()}" in told


async def is_at(daemon: Daemon, release: str, step: int) -> bool:
    rollout = await daemon.rollout(release)
    return rollout.step == step and rollout.state is State.PAUSING


async def test_one_of_several_conditions_is_answered_by_its_name(daemon: Daemon) -> None:
    release = (await daemon.submit(percent(10), APPROVAL)).release.id
    await daemon.until_state(release, State.APPROVING)
    (gate,) = (await daemon.rollout(release)).gates
    assert (gate.id, gate.kind, gate.awaits_answer, gate.passed) == ("step:1", "pause", True, False)
    with pytest.raises(DaemonRefused, match="is not waiting for an approval"):
        await daemon.client.command(release, CommandBody(CommandKind.APPROVE, gate="step:9"))
    await daemon.client.command(release, CommandBody(CommandKind.APPROVE, gate=gate.id))
    assert await daemon.until_ended(release) is ReleaseStatus.SUCCEEDED

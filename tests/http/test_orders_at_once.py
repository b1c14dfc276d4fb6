"""Orders that meet, as several people give them over the API. What the engine makes of them: tests/engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.http.bodies import CommandBody, CommandTaken, ErrorCode
from adapters.http.client import DaemonClient
from adapters.http.client_errors import DaemonRefused
from adapters.settings import Address
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, over_tcp, token

APPROVE, ABORT = CommandKind.APPROVE, CommandKind.ABORT
MANAGED = "pause: {untilApproved: true, requiresRoles: [Release Manager]}"
BRIEF = "pause: {untilApproved: true, approvalExpiration: {duration: 1, unit: seconds}}"
TOKENS = (token("alice", roles=("release manager",)), token("bob"))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, tokens=TOKENS, listen=Address("127.0.0.1", 0))


async def waiting(daemon: Daemon, *steps: str) -> str:
    release = (await daemon.submit(*steps)).release.id
    await daemon.until_state(release, State.APPROVING)
    return release


async def give(client: DaemonClient, release: str, body: CommandBody) -> CommandTaken | DaemonRefused:
    try:
        return await client.command(release, body)
    except DaemonRefused as error:
        assert (error.status, error.body.code) == (409, ErrorCode.REFUSED)
        return error


async def story_of(daemon: Daemon, release: str) -> str:
    return "\n".join(entry.text for entry in (await daemon.client.journal(release)).entries)


@pytest.mark.parametrize("kinds", [(APPROVE, ABORT), (ABORT, APPROVE)])
async def test_an_abort_wins_against_an_approval(daemon: Daemon, kinds: tuple[CommandKind, ...]) -> None:
    release = await waiting(daemon, APPROVAL, "setWeight: {weight: 50}", APPROVAL)
    async with over_tcp(daemon, "alice") as alice, over_tcp(daemon, "bob") as bob:
        by = {APPROVE: alice, ABORT: bob}
        given = await asyncio.gather(*(give(by[kind], release, CommandBody(kind)) for kind in kinds))
    outcomes = dict(zip(kinds, given, strict=True))
    assert isinstance(outcomes[ABORT], CommandTaken)
    assert await daemon.until_ended(release) is ReleaseStatus.FAILED
    assert (await daemon.rollout(release)).reason == "aborted by bob"
    assert ("approved by alice" in await story_of(daemon, release)) is isinstance(outcomes[APPROVE], CommandTaken)


async def test_of_two_approvals_of_a_step_one_is_taken(daemon: Daemon) -> None:
    release = await waiting(daemon, APPROVAL, APPROVAL)
    body = CommandBody(APPROVE, expected_step=1)
    async with over_tcp(daemon, "alice") as alice, over_tcp(daemon, "bob") as bob:
        given = await asyncio.gather(*(give(client, release, body) for client in (alice, bob)))
    (refused,) = [one for one in given if isinstance(one, DaemonRefused)]
    assert "shop/production is at step 2, not at step 1: the order was meant for another step" in str(refused)
    rollout = await daemon.rollout(release)
    assert (rollout.state, rollout.step, rollout.awaits_answer) == (State.APPROVING, 2, True)


async def test_a_late_approval_of_an_older_step_answers_nothing(daemon: Daemon) -> None:
    release = await waiting(daemon, APPROVAL, APPROVAL)
    body = CommandBody(APPROVE, expected_step=1)
    assert isinstance(await give(daemon.client, release, body), CommandTaken)
    before = await daemon.rollout(release)
    assert before.step == 2
    late = await give(daemon.client, release, body)
    assert "is at step 2, not at step 1" in str(late)
    assert await daemon.rollout(release) == before


async def test_an_approval_without_the_role_is_refused_and_one_with_it_is_told_with_its_right(daemon: Daemon) -> None:
    release = await waiting(daemon, MANAGED)
    before = await daemon.rollout(release)
    async with over_tcp(daemon, "alice") as alice, over_tcp(daemon, "bob") as bob:
        refused, taken = await asyncio.gather(
            give(bob, release, CommandBody(APPROVE)), give(alice, release, CommandBody(APPROVE, reason="looks good"))
        )
    assert isinstance(taken, CommandTaken)
    assert isinstance(refused, DaemonRefused)
    assert await daemon.until_ended(release) is ReleaseStatus.SUCCEEDED
    story = await story_of(daemon, release)
    assert "approved by alice (Release Manager): looks good" in story
    assert "bob" not in story
    assert before.roles == ("Release Manager",)


async def test_an_approval_after_its_expiry_answers_nothing(daemon: Daemon) -> None:
    release = await waiting(daemon, BRIEF)
    assert await daemon.until_ended(release) is ReleaseStatus.FAILED
    late = await give(daemon.client, release, CommandBody(APPROVE))
    assert "has already ended" in str(late)
    assert (await daemon.rollout(release)).reason == "the approval expired"

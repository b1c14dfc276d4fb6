"""Orders that meet: each pair has one outcome, whoever is faster, and the journal says who gave which."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from msgspec.structs import replace

from engine.daemon import Engine
from engine.errors import CommandRefused
from engine.events import Command, CommandKind
from engine.model import Approval, ConcurrencyPolicy, ReleaseStatus, State, Step
from engine.ports import Commit
from tests.builders import percent, release_plan, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage

APPROVE, REJECT, ABORT = CommandKind.APPROVE, CommandKind.REJECT, CommandKind.ABORT
MANAGED = Approval(roles=("Release Manager", "On Call"))


async def begin(stage: Stage, engine: Engine, *steps: Step) -> None:
    """A release that waits for the answer that its second step asks for."""
    await engine.submit(release_plan(target_plan([percent(25), *steps])), by="a test", source="test")
    await stage.until_state(State.APPROVING)


async def together(engine: Engine, *commands: Command) -> list[str]:
    """Give them in one moment, in this order; what became of each: empty, or why it was refused."""

    async def give(command: Command) -> str:
        try:
            await engine.command("r1", command)
        except CommandRefused as error:
            return str(error)
        return ""

    return await asyncio.gather(*map(give, commands))


async def refusal(engine: Engine, command: Command) -> str:
    with pytest.raises(CommandRefused) as caught:
        await engine.command("r1", command)
    return str(caught.value)


def told(stage: Stage) -> str:
    return "\n".join(entry.text for entry in stage.journal.entries["r1.production"])


@pytest.mark.parametrize("first", [APPROVE, ABORT])
def test_an_abort_overtakes_an_approval_that_arrives_in_the_same_moment(first: CommandKind) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval())
            kinds = [first, ABORT if first is APPROVE else APPROVE]
            outcomes = dict(zip(kinds, await together(engine, *(Command(kind, by="ada") for kind in kinds)), strict=True))
            assert outcomes == {ABORT: "", APPROVE: "shop/production is not waiting for an approval (it is aborting)"}
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
            assert stage.world.places["r1.production"].is_as_found()
            assert "approved" not in told(stage)

    run_in_virtual_time(story)


def test_an_abort_undoes_an_approval_that_is_on_its_way_to_the_disk() -> None:
    async def story() -> None:
        stage = Stage()
        writing, go_on = anyio.Event(), anyio.Event()
        real = stage.store.commit

        async def commit(one: Commit) -> None:
            if "approved by ada" in one.entry.text:
                writing.set()
                await go_on.wait()
            await real(one)

        stage.store.commit = commit  # type: ignore[assignment, method-assign]
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval(), percent(50))
            orders = asyncio.create_task(together(engine, Command(APPROVE, by="ada")))
            await writing.wait()
            abort = asyncio.create_task(together(engine, Command(ABORT, by="bob")))
            await asyncio.sleep(0)
            go_on.set()
            assert [await orders, await abort] == [[""], [""]]
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
            assert stage.snapshot().reason == "aborted by bob"
            assert max(entry.step for entry in stage.journal.entries["r1.production"]) == 2
            assert State.PROMOTING not in stage.story()

    run_in_virtual_time(story)


@pytest.mark.parametrize(("first", "status"), [(APPROVE, ReleaseStatus.SUCCEEDED), (REJECT, ReleaseStatus.FAILED)])
def test_of_two_answers_the_first_counts_and_the_second_is_told_so(first: CommandKind, status: ReleaseStatus) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval())
            second = REJECT if first is APPROVE else APPROVE
            taken, refused = await together(engine, Command(first, by="ada"), Command(second, by="bob"))
            assert taken == ""
            assert "shop/production is" in refused
            assert (await stage.until_ended()).status is status
            assert "by bob" not in told(stage)

    run_in_virtual_time(story)


@pytest.mark.parametrize("step", [None, 1])
def test_two_approvals_at_once_never_answer_two_steps(step: int | None) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval(), Approval())
            orders = [Command(APPROVE, by=by, expected_step=step) for by in ("ada", "bob")]
            taken, refused = await together(engine, *orders)
            assert taken == ""
            assert refused == (
                "shop/production is at step 3, not at step 2: the order was meant for another step and was not carried out"
            )
            await anyio.sleep(100)
            assert (stage.snapshot().state, stage.snapshot().step) == (State.APPROVING, 2)
            await engine.command("r1", Command(APPROVE, by="bob"))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)


def test_an_approval_without_the_role_changes_nothing_and_roles_are_compared_without_their_case() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, MANAGED)
            before = stage.snapshot()
            for roles in ((), ("developers",)):
                sentence = await refusal(engine, Command(APPROVE, by="carl", roles=roles))
                assert sentence == "shop/production asks for an approval by one of these roles: Release Manager, On Call"
            assert stage.snapshot() == before
            held = ("developers", "release MANAGER")
            await engine.command("r1", Command(APPROVE, by="alice", roles=held, reason="looks good"))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED
            assert "approved by alice (Release Manager): looks good" in told(stage)

    run_in_virtual_time(story)


@pytest.mark.parametrize(
    ("step", "roles", "giver"),
    [
        (MANAGED, ("on call", "RELEASE MANAGER"), "alice (Release Manager, On Call)"),
        (MANAGED, None, "alice (full access)"),
        (Approval(), ("release manager",), "alice"),
        (Approval(), None, "alice"),
    ],
)
def test_the_journal_names_who_rejected_by_which_right_and_why(
    step: Approval, roles: tuple[str, ...] | None, giver: str
) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, step)
            await engine.command("r1", Command(REJECT, by="alice", roles=roles, reason="too slow"))
            await stage.until_ended()
            assert stage.snapshot().reason == f"rejected by {giver}: too slow"

    run_in_virtual_time(story)


def test_every_order_stands_in_the_journal_with_who_and_why() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval())
            for kind in (CommandKind.PAUSE, CommandKind.RESUME, ABORT):
                await engine.command("r1", Command(kind, by="ada", reason=f"because {kind}"))
            await stage.until_ended()
            for sentence in (
                "deployed by a test; the rollout begins",
                "paused by ada: because pause",
                "resumed by ada: because resume",
                "aborted by ada: because abort",
            ):
                assert sentence in told(stage)

    run_in_virtual_time(story)


def test_an_approval_after_its_expiry_is_refused_also_before_anybody_has_noticed_the_expiry() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval(expires_seconds=100.0))
            stage.clock.jump(100.0)
            sentence = await refusal(engine, Command(APPROVE, by="ada"))
            assert "the approval of shop/production expired at 2026-01-05T03:" in sentence
            assert sentence.endswith("Z: it is undone, and can be deployed anew")
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
            assert stage.snapshot().reason == "the approval expired"
            assert await refusal(engine, Command(APPROVE, by="ada")) == "release r1 has already ended"

    run_in_virtual_time(story)


def test_an_approval_that_expires_while_the_rollout_is_held_has_expired() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval(expires_seconds=100.0))
            await engine.command("r1", Command(CommandKind.PAUSE, by="ada"))
            await anyio.sleep(200)
            sentence = await refusal(engine, Command(APPROVE, by="ada"))
            assert sentence.endswith("Z: it is undone as soon as it is resumed, and can be deployed anew")
            await engine.command("r1", Command(CommandKind.RESUME, by="ada"))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
            assert stage.snapshot().reason == "the approval expired"

    run_in_virtual_time(story)


def test_an_approval_in_time_counts_even_when_the_disk_takes_it_too_late() -> None:
    async def story() -> ReleaseStatus:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval(expires_seconds=2.5))
            stage.store.failing = 5
            await engine.command("r1", Command(APPROVE, by="ada"))
            assert stage.clock.monotonic() > 2.5
            return (await stage.until_ended()).status

    assert run_in_virtual_time(story) is ReleaseStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("policy", "place_of"),
    [(ConcurrencyPolicy.REPLACE, ["r1.production", "r2.production"]), (ConcurrencyPolicy.ENQUEUE_ONE, ["r2.production"])],
)
def test_whose_place_a_release_would_take_is_told_beforehand(policy: ConcurrencyPolicy, place_of: list[str]) -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await begin(stage, engine, Approval())
            queued = replace(release_plan(target_plan([percent(25)])), concurrency=ConcurrencyPolicy.ENQUEUE_ONE)
            await engine.submit(queued, by="a test", source="test")
            newest = replace(queued, concurrency=policy)
            assert [stored.spec.id for stored in engine.displaced_by(newest)] == place_of
            await engine.submit(newest, by="a test", source="test")
            await stage.until_ended("r2")
            if policy is ConcurrencyPolicy.ENQUEUE_ONE:
                assert stage.snapshot("r1.production").state is State.APPROVING
                await engine.command("r1", Command(APPROVE, by="ada"))
            assert (await stage.until_ended("r3")).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)

"""Whole rollouts by every router: promoted, failed, aborted, replaced, killed; what clients get is read by somebody else."""

from __future__ import annotations

from fractions import Fraction

from engine.events import CommandKind
from engine.model import ConcurrencyPolicy, ReleaseStatus, State
from engine.ports import Commit
from strategies.capabilities import capabilities_of
from tests.conformance.routers.cases import RouterCase
from tests.conformance.routers.conftest import OpenGround
from tests.conformance.routers.deploy_files import APPROVAL, routes_of, weight
from tests.conformance.routers.ground import Ground
from tests.conformance.routers.telling import story
from tests.conformance.routers.view import JsonObject

WEIGHTS = (0.01, 0.1, 33.33, 99.9)
JUDGED: JsonObject = {
    "analysis": {"interval": 1, "units": "seconds", "numberOfJudgmentRuns": 1, "queries": ["errors"]}
}


def gates(case: RouterCase, weights: tuple[float, ...]) -> list[tuple[int, list[JsonObject]]]:
    """The weight that was asked for at each approval, in basis points, and the steps that lead to it."""
    if case.blue_green:
        return [(0, [APPROVAL]), (10_000, [APPROVAL])]
    return [(round(value * 100), [weight(value), APPROVAL]) for value in weights]


def steps_of(found: list[tuple[int, list[JsonObject]]]) -> list[JsonObject]:
    return [step for _, steps in found for step in steps]


TWO = (25.0, 60.0)


async def expect_share(ground: Ground, asked: int) -> None:
    """What clients get is what is reported; and what was asked for, wherever the router can say that."""
    at, shares = ground.at(), await ground.shares()
    assert at.weight == asked
    finest = [capabilities_of(route).finest for route in routes_of(ground.case)]
    is_exact = None not in finest and asked % ground.case.finest == 0
    assert set(shares) == {Fraction(at.served, 10_000)} or not is_exact, (shares, at.served)
    assert {round(share * 10_000) for share in shares} == {at.served}, (shares, at.served, ground.story())
    if is_exact or ground.case.blue_green:
        assert at.served == asked


@story()
async def test_each_weight_is_what_clients_get_and_nothing_is_left_in_the_end(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        found = gates(case, WEIGHTS)
        await ground.submit(ground.plan(steps_of(found)))
        for number, (asked, _) in enumerate(found, 1):
            await ground.until_gate(number)
            await expect_share(ground, asked)
            await ground.order(CommandKind.APPROVE)
        assert await ground.until_ended() is ReleaseStatus.SUCCEEDED, ground.story()
        await ground.expect_as_found()
        await ground.expect_version("web:2")


@story()
async def test_a_bad_version_is_undone_and_nothing_is_left_of_it(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        ground.daemon.error_rate[ground.namespace] = 0.5
        steps = [JUDGED] if case.blue_green else [weight(25), JUDGED, weight(60)]
        await ground.submit(ground.plan(steps))
        assert await ground.until_ended() is ReleaseStatus.FAILED, ground.story()
        assert ground.at().state is State.ROLLED_BACK
        await ground.expect_as_found()
        await ground.expect_version("web:1")


async def abort_at(open_ground: OpenGround, plane: str, case: RouterCase, number: int) -> None:
    async with open_ground(plane, case) as ground:
        found = gates(case, TWO)
        await ground.submit(ground.plan(steps_of(found)))
        for passed in range(1, number):
            await ground.until_gate(passed)
            await ground.order(CommandKind.APPROVE)
        await ground.until_gate(number)
        await expect_share(ground, found[number - 1][0])
        await ground.order(CommandKind.ABORT)
        assert await ground.until_ended() is ReleaseStatus.FAILED, ground.story()
        await ground.expect_as_found()
        await ground.expect_version("web:1")


@story(real=False)
async def test_an_abort_at_the_first_step(open_ground: OpenGround, plane: str, case: RouterCase) -> None:
    await abort_at(open_ground, plane, case, 1)


@story()
async def test_an_abort_at_the_last_step(open_ground: OpenGround, plane: str, case: RouterCase) -> None:
    await abort_at(open_ground, plane, case, 2)


@story()
async def test_an_abort_while_the_new_version_takes_over(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        found = gates(case, TWO[1:])
        await ground.submit(ground.plan(steps_of(found)))
        for number in range(1, len(found) + 1):
            await ground.until_gate(number)
            await ground.order(CommandKind.APPROVE)
        await ground.until(lambda: ground.at().state is State.PROMOTING, "the new version takes over")
        await ground.order(CommandKind.ABORT)
        assert await ground.until_ended() is ReleaseStatus.FAILED, ground.story()
        await ground.expect_as_found()
        await ground.expect_version("web:1")


@story()
async def test_a_newer_release_takes_the_place_of_one_in_mid_step(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        found = gates(case, TWO)
        await ground.submit(ground.plan(steps_of(found)))
        await ground.until_gate(1)
        second = await ground.submit(ground.plan([], image="web:3"), ConcurrencyPolicy.REPLACE)
        assert await ground.until_ended() is ReleaseStatus.FAILED, ground.story()
        assert await ground.until_ended(second) is ReleaseStatus.SUCCEEDED, ground.story(second)
        await ground.expect_as_found()
        await ground.expect_version("web:3")


@story()
async def test_a_daemon_that_is_killed_again_and_again_ends_the_same(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    """At each approval, and right after every sixth decision, before or while it is carried out."""
    async with open_ground(plane, case) as ground:
        daemon, found = ground.daemon, gates(case, TWO)
        commits = 0

        def strike(commit: Commit) -> None:
            nonlocal commits
            commits += 1
            if commits % 6 == 0:
                daemon.strike()

        await ground.submit(ground.plan(steps_of(found)))
        for number, (asked, _) in enumerate(found, 1):
            daemon.store.committed = strike
            await ground.until_gate(number)
            daemon.store.committed = lambda commit: None
            daemon.strike()
            await ground.tend()
            await expect_share(ground, asked)
            await ground.order(CommandKind.APPROVE)
        daemon.store.committed = strike
        assert await ground.until_ended() is ReleaseStatus.SUCCEEDED, ground.story()
        assert daemon.kills >= 5
        await ground.expect_as_found()
        await ground.expect_version("web:2")


@story(lambda case: not case.by_pods and not case.blue_green)
async def test_a_weight_falls_with_the_pods_that_carry_it_and_rises_again(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await ground.submit(ground.plan([weight(60), APPROVAL]))
        await ground.until_gate(1)
        await expect_share(ground, 6_000)
        ground.recording.pods_may_fail = True
        await ground.set_ready("web:2", 2, ready=False)

        async def has_fallen() -> bool:
            return all(Fraction(30, 100) <= share <= Fraction(1, 3) for share in await ground.shares())

        await ground.until(has_fallen, "a third of the traffic for a third of the pods")
        await ground.until(lambda: ground.at().action is None and ground.at().served < 6_000, "it is noted")
        assert ground.at().weight == 6_000
        await ground.set_ready("web:2", 2, ready=True)

        async def has_risen() -> bool:
            return all(share == Fraction(60, 100) for share in await ground.shares())

        await ground.until(has_risen, "what was asked for again")
        await ground.order(CommandKind.APPROVE)
        assert await ground.until_ended() is ReleaseStatus.SUCCEEDED, ground.story()
        await ground.expect_as_found()

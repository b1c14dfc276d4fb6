"""What is ordered beside a weight: requests that are singled out, copies, clients that stay. A router that cannot say it refuses
the deploy file, with the place and what to do instead."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from engine.events import CommandKind
from engine.model import ReleaseStatus
from strategies.capabilities import Capabilities, Mirroring, capabilities_of
from tests.conformance.routers.cases import ANNA, CASES, RouterCase
from tests.conformance.routers.conftest import OpenGround
from tests.conformance.routers.deploy_files import APPROVAL, read_file, routes_of, weight
from tests.conformance.routers.ground import Ground
from tests.conformance.routers.readings import not_mirrored
from tests.conformance.routers.telling import story
from tests.conformance.routers.view import JsonObject

HEADER_ROUTE: JsonObject = {
    "setHeaderRoute": {"name": "beta", "match": [{"header": {"name": "x-user", "exact": "anna"}}]}
}
MIRROR: JsonObject = {"setMirror": {"weight": 10}}
STICKY = "stickySession: {cookieName: web-version}"
BOTH_ENDS = pytest.mark.parametrize("answer", [CommandKind.APPROVE, CommandKind.ABORT], ids=["promoted", "undone"])
ENDS = {CommandKind.APPROVE: ReleaseStatus.SUCCEEDED, CommandKind.ABORT: ReleaseStatus.FAILED}


def can(case: RouterCase) -> Capabilities:
    """What all routes of the case can do."""
    return capabilities_of(routes_of(case)[0])


def is_mirrored(case: RouterCase) -> bool:
    return bool(case.singled) and case.mirrored is not not_mirrored


def can_stick(case: RouterCase) -> bool:
    return sticking(case) != case and "Routes:" not in case.traffic


def sticking(case: RouterCase) -> RouterCase:
    """With clients that stay, where the deploy file has a place for that."""
    for beginning in ("istio: [{", "traefik: [{", "gatewayApi: [{"):
        case = replace(case, traffic=case.traffic.replace(beginning, f"{beginning}{STICKY}, "))
    return case


async def expect_end(ground: Ground, answer: CommandKind) -> None:
    await ground.order(answer)
    assert await ground.until_ended() is ENDS[answer], ground.story()
    await ground.expect_as_found()


async def until_gate(ground: Ground, number: int, asked: int, singled: int) -> None:
    """The approval with this number: what everybody gets of the new version, and what Anna gets."""
    await ground.until_gate(number)
    assert set(await ground.shares()) == {Fraction(asked, 100)}
    assert set(await ground.shares(ANNA)) == {Fraction(singled, 100)}


@BOTH_ENDS
@story(lambda case: bool(case.singled))
async def test_requests_that_are_singled_out_meet_the_new_version_whatever_its_weight(
    open_ground: OpenGround, plane: str, case: RouterCase, answer: CommandKind
) -> None:
    async with open_ground(plane, case) as ground:
        await ground.submit(ground.plan([HEADER_ROUTE, APPROVAL, weight(25), APPROVAL]))
        await until_gate(ground, 1, 0, 100)
        await ground.order(CommandKind.APPROVE)
        await until_gate(ground, 2, 25, 100)
        await expect_end(ground, answer)


@BOTH_ENDS
@story(is_mirrored)
async def test_copies_of_requests_come_to_the_new_version(
    open_ground: OpenGround, plane: str, case: RouterCase, answer: CommandKind
) -> None:
    async with open_ground(plane, case) as ground:
        await ground.submit(ground.plan([MIRROR, APPROVAL, {"setMirror": {"weight": 0}}, weight(25), APPROVAL]))
        await until_gate(ground, 1, 0, 0)
        assert case.mirrored(await ground.view()) == Fraction(10, 100)
        await ground.order(CommandKind.APPROVE)
        await until_gate(ground, 2, 25, 25)
        assert case.mirrored(await ground.view()) == 0
        await expect_end(ground, answer)


@BOTH_ENDS
@story(can_stick, real=lambda case: case.sticks_on_real)
async def test_clients_that_the_new_version_has_answered_stay_with_it(
    open_ground: OpenGround, plane: str, case: RouterCase, answer: CommandKind
) -> None:
    async with open_ground(plane, sticking(case)) as ground:
        await ground.submit(ground.plan([weight(25), APPROVAL]))
        await ground.until_gate(1)
        cookie = case.cookie(await ground.view())
        assert cookie.startswith("web-version")
        assert set(await ground.shares()) == {Fraction(25, 100)}
        if "=" in cookie:
            assert set(await ground.shares({"cookie": cookie})) == {Fraction(1)}
        await expect_end(ground, answer)


# --- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [HEADER_ROUTE, MIRROR], ids=["requests singled out", "copies"])
@pytest.mark.parametrize("case", [one for one in CASES if not one.blue_green], ids=str)
def test_what_a_router_cannot_say_is_refused_with_the_place(case: RouterCase, step: JsonObject) -> None:
    able = can(case)
    is_able = able.routes_requests if "setHeaderRoute" in step else able.mirroring is not Mirroring.NONE
    problems = read_file(case, [step, APPROVAL, weight(25), APPROVAL]).problems.errors
    assert bool(problems) is not is_able
    assert all(next(iter(step)) in str(problem) and problem.line > 0 for problem in problems), list(map(str, problems))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_of_what_routers_can_do_and_the_stories_tell_of_the_same_ones(case: RouterCase) -> None:
    able = can(case)
    assert (able.routes_requests, able.mirroring is not Mirroring.NONE) == (bool(case.singled), is_mirrored(case))
    assert able.sticky is can_stick(case)

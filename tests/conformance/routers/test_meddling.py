"""Somebody else writes into the objects of a rollout, by every router: into its weights, and elsewhere."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

from engine.events import CommandKind
from engine.model import ReleaseStatus
from tests.conformance.routers.cases import RouterCase, add_label
from tests.conformance.routers.conftest import OpenGround
from tests.conformance.routers.ground import Ground
from tests.conformance.routers.telling import story
from tests.conformance.routers.test_rollouts import expect_share, gates, steps_of

ASKED = 25.0


async def begin(ground: Ground, **config: Any) -> None:
    """Until the first approval: at 25 %, or before the switch."""
    found = gates(ground.case, (ASKED,))
    await ground.submit(ground.plan(steps_of(found), **config))
    await ground.until_gate(1)
    await expect_share(ground, found[0][0])
    ground.recording.pods_may_fail = True


async def meddle(ground: Ground) -> None:
    kind, name = ground.case.meddled
    await ground.edit(kind, name, ground.case.meddle)


async def until_held(ground: Ground) -> str:
    await ground.until(lambda: bool(ground.at().held), "the rollout is held")
    return ground.at().held


@story()
async def test_an_edited_weight_is_held_and_an_abort_leaves_nothing(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await begin(ground)
        await meddle(ground)
        assert "somebody else" in await until_held(ground)
        await ground.order(CommandKind.ABORT)
        assert await ground.until_ended() is ReleaseStatus.FAILED
        await expect_as_found_but_for_scale(ground)


async def expect_as_found_but_for_scale(ground: Ground) -> None:
    """What is edited is put back, but for a number of pods, which is whatever people want it to be."""
    if not ground.case.by_pods:
        await ground.expect_version("web:1")
    await ground.expect_as_found()


@story(lambda case: case.reasserts)
async def test_an_edited_weight_is_put_back_and_a_fight_for_it_is_held(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await begin(ground, onDrift="reassert", reassertLimit=1)
        shares = await ground.shares()
        await meddle(ground)
        await ground.until(lambda: any(one.startswith("reassert:") for one in ground.at().begun), "it is put back")

        async def is_back() -> bool:
            return await ground.shares() == shares and ground.at().action is None

        await ground.until(is_back, f"what was ordered: {shares}")
        assert ground.at().held == ""
        await meddle(ground)
        assert "put back 1 times and changed again: somebody fights for it" in await until_held(ground)
        await ground.order(CommandKind.ABORT)
        assert await ground.until_ended() is ReleaseStatus.FAILED
        await ground.expect_as_found()
        await ground.expect_version("web:1")


@story()
async def test_an_edited_weight_ends_the_rollout_where_the_file_says_so(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await begin(ground, onDrift="abort")
        await meddle(ground)
        assert await ground.until_ended() is ReleaseStatus.FAILED
        assert "drift: " in ground.at().reason
        await expect_as_found_but_for_scale(ground)


async def edit_elsewhere(ground: Ground) -> None:
    """In every object of the user's; and it is what they are expected to be in the end."""
    for body in (*ground.case.objects, await ground.get("Service")):
        kind, name = str(body["kind"]), str(body["metadata"]["name"])

        def change(found: dict[str, Any]) -> None:
            add_label(found)
            ground.case.elsewhere(found)

        await ground.edit(kind, name, change)
        wanted = copy.deepcopy(ground.found[f"{kind}/{name}"])
        change(wanted)
        ground.found[f"{kind}/{name}"] = wanted


@story()
async def test_what_somebody_does_elsewhere_in_the_objects_is_kept_when_it_succeeds(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await begin(ground)
        shares = await ground.shares()
        await edit_elsewhere(ground)
        assert await ground.shares() == shares
        await ground.order(CommandKind.APPROVE)
        if case.blue_green:
            await ground.until_gate(2)
            await ground.order(CommandKind.APPROVE)
        assert await ground.until_ended() is ReleaseStatus.SUCCEEDED, ground.story()
        assert ground.at().held == ""
        await ground.expect_as_found()


@story(real=False)
async def test_what_somebody_does_elsewhere_in_the_objects_is_kept_when_it_is_undone(
    open_ground: OpenGround, plane: str, case: RouterCase
) -> None:
    async with open_ground(plane, case) as ground:
        await begin(ground)
        await edit_elsewhere(ground)
        await ground.order(CommandKind.ABORT)
        assert await ground.until_ended() is ReleaseStatus.FAILED
        await ground.expect_as_found()
        assert set(await ground.shares()) == {Fraction(0)}

"""Canaries by any object with two weights: made from a template, waited for, and as near to a weight as its total allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.embedded.json_objects import JsonObject
from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State
from engine.traffic import CustomRoute
from tests.builders import WEIGHTED_ROUTE, custom_route, percent, release_plan, target_plan
from tests.rollouts.routed import Routed, routed, weighted_route
from tests.rollouts.test_user_routes import BOTH_ENDS, ENDS

TEMPLATE = replace(
    WEIGHTED_ROUTE,
    template=json.dumps({"spec": {"backends": [{"service": "", "weight": 0}, {"service": "", "weight": 0}]}}),
)


@BOTH_ENDS
async def test_an_object_is_made_from_its_template_and_removed_in_the_end(tmp_path: Path, answer: CommandKind) -> None:
    async with routed(tmp_path) as story:
        picture = story.told.picture()
        await story.begin(custom_route(TEMPLATE))
        assert story.weights == [("web-stable", 75), ("web-canary", 25)]
        assert await story.end(answer) is ENDS[answer]
        assert sorted(story.told.picture()) == sorted(picture)
        assert story.belongings() == {}


async def test_one_that_somebody_else_has_made_is_left_alone(tmp_path: Path) -> None:
    async with routed(tmp_path, weighted_route()) as story:
        before = story.belongings()
        plan = release_plan(target_plan([percent(25)], route=custom_route(TEMPLATE)))
        assert await story.told.roll_out(plan) is ReleaseStatus.REJECTED
        assert "a WeightedRoute web exists and was not made by Headgate" in story.at.reason
        assert story.belongings() == before


def accept(story: Routed) -> None:
    found = story.get("WeightedRoute")
    generation = found["metadata"]["generation"]
    accepted = {**found, "status": {"seen": generation, "ok": True}}
    story.told.storage.update(story.kind("WeightedRoute"), accepted, manager="mesh", subresource="status")


WAITED = replace(WEIGHTED_ROUTE, accepted="/status/ok", accepted_value="true", observed_generation="/status/seen")


async def test_a_weight_counts_when_the_objects_status_says_so(tmp_path: Path) -> None:
    async with routed(tmp_path, weighted_route()) as story:
        plan = target_plan([percent(25), Approval()], route=custom_route(WAITED), settle=0.05)
        await story.told.submit(release_plan(plan))
        await story.told.until(lambda: [name for name, _ in story.weights] == ["web-stable", "web-canary"])
        assert story.at.state is State.PREPARING
        accept(story)
        await story.told.until(lambda: story.weights == [("web-stable", 75), ("web-canary", 25)])
        assert (story.at.state, story.at.served) == (State.SHIFTING, 0)
        accept(story)
        await story.told.until_state(State.APPROVING)
        assert story.at.served == 2_500
        await story.order(CommandKind.ABORT)
        await story.told.until(lambda: story.weights == [("web-stable", 100), ("web-canary", 0)])
        await story.told.until(lambda: story.at.action is None)
        assert (story.at.state, len(story.told.pods(image="web:2"))) == (State.ABORTING, 3), "the pods may get requests still"
        accept(story)
        assert (await story.told.until_ended()).status is ReleaseStatus.FAILED
        assert story.get("WeightedRoute")["spec"] == weighted_route()["spec"]


async def test_a_weight_that_is_never_accepted_is_undone_with_what_the_object_says(tmp_path: Path) -> None:
    async with routed(tmp_path, weighted_route()) as story:
        plan = target_plan([percent(25)], route=custom_route(WAITED), settle=0.05, ready_timeout=0.5)
        release = await story.told.submit(release_plan(plan))
        assert (await story.told.until_ended(release.id)).status is ReleaseStatus.FAILED
        assert "WeightedRoute web is at generation 2, and its status says nothing yet (/status/seen)" in story.at.reason
        assert story.get("WeightedRoute")["spec"] == weighted_route()["spec"]


@pytest.mark.parametrize(
    ("total", "weight", "parts"), [(100, 12.4, (88, 12)), (10, 1, (10, 0)), (10, 99, (1, 9)), (3, 50, (1, 2))]
)
async def test_a_coarse_total_comes_as_near_as_it_can_and_says_so(
    tmp_path: Path, total: int, weight: float, parts: tuple[int, int]
) -> None:
    body = weighted_route({"service": "web", "weight": total}, {"service": "nobody", "weight": 0})
    async with routed(tmp_path, body) as story:
        before = story.belongings()
        story.watch.theirs |= {"web-stable", "web-canary"}  # Rounding up is more than was ordered, and is told.
        await story.begin(custom_route(replace(WEIGHTED_ROUTE, total=total)), steps=[percent(weight), Approval()])
        assert story.weights == [("web-stable", parts[0]), ("web-canary", parts[1])]
        reached = round(10_000 * parts[1] / total)
        assert (story.at.weight, story.at.served) == (round(weight * 100), reached)
        texts = [entry.text for entry in story.told.journal.entries["r1.production"]]
        assert any(f"reached {reached / 100:g} %" in text for text in texts)
        assert any(f"as near to {weight:g} % as a total of {total} allows" in text for text in texts)
        assert await story.end() is ReleaseStatus.SUCCEEDED
        assert story.belongings() == before


async def test_a_list_that_somebody_puts_in_another_order_is_not_written_to(tmp_path: Path) -> None:
    """The pointers lead to the other version's weight now."""
    async with routed(tmp_path, weighted_route()) as story:
        await story.begin(custom_route())
        story.told.traffic.pods_may_fail = True
        found = story.get("WeightedRoute")
        found["spec"]["backends"].reverse()
        story.update(found)
        await story.told.until(lambda: "the weights of WeightedRoute web were edited by somebody else" in story.at.held)
        assert await story.end(CommandKind.ABORT) is ReleaseStatus.FAILED
        assert story.weights == [("web-canary", 25), ("web-stable", 75)]


def named(**fields: str) -> CustomRoute:
    return replace(WEIGHTED_ROUTE, **fields)


REFUSED: dict[str, tuple[JsonObject, CustomRoute, str]] = {
    "a kind that is not served": (
        weighted_route(),
        named(kind="HeavyRoute"),
        "the cluster serves no HeavyRoute (sea.example.com/v1); install what brings it, or correct apiVersion and kind",
    ),
    "a kind without a namespace": (
        weighted_route(),
        named(api_version="v1", kind="Namespace", name="shop"),
        "Namespace (v1) is a kind without a namespace",
    ),
    "a pointer that leads nowhere": (
        weighted_route(),
        named(canary_weight="/spec/backends/2/weight"),
        "WeightedRoute web: /spec/backends/2/weight leads nowhere: /spec/backends is a list of 2, counted from 0, and has no",
    ),
    "a weight that is no number": (
        weighted_route({"service": "web", "weight": "100"}, {"service": "nobody", "weight": 0}),
        WEIGHTED_ROUTE,
        'WeightedRoute web has "100" at /spec/backends/0/weight, which is no weight; let it be a number',
    ),
    "a Service that is none": (
        weighted_route({"service": 1, "weight": 100}, {"service": "nobody", "weight": 0}),
        WEIGHTED_ROUTE,
        "WeightedRoute web has 1 at /spec/backends/0/service, which is no Service; let it name one",
    ),
    "a weight that is taken": (
        weighted_route({"service": "web", "weight": 95}, {"service": "beta", "weight": 5}),
        WEIGHTED_ROUTE,
        "has 5 at /spec/backends/1/weight, which is for the new version; let it be 0",
    ),
}


@pytest.mark.parametrize("obstacle", REFUSED)
async def test_what_stands_in_the_way_is_said_before_anything_is_changed(tmp_path: Path, obstacle: str) -> None:
    body, custom, sentence = REFUSED[obstacle]
    async with routed(tmp_path, body) as story:
        picture = story.told.picture()
        plan = release_plan(target_plan([percent(25)], route=custom_route(custom)))
        assert await story.told.roll_out(plan) is ReleaseStatus.REJECTED
        assert sentence in story.at.reason
        assert (story.told.picture(), story.told.ours()) == (picture, [])
        story.watch.violations.clear()

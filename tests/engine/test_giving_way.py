"""On the way back, no workload waits for another one's trouble."""

from __future__ import annotations

import anyio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.errors import Rejected
from engine.events import CommandKind
from engine.giving_way import give_way
from engine.model import Act, Action, ActionKind, Approval, Await, Condition, Operation, ReleaseStatus, Settle, State, TargetPlan
from tests.builders import istio_route, percent, release_plan, smi_route, target_plan, together
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order


def two_workloads() -> TargetPlan:
    one, other = target_plan([percent(25), Approval()], workload="api"), target_plan(workload="web")
    return replace(one, workloads=(*one.workloads, *other.workloads), routes=(smi_route("api"), smi_route("web")))


PLAN = two_workloads()
WORKLOADS = st.sampled_from(["api", "web"])
OPERATIONS = st.one_of(
    st.builds(lambda name: Act(f"scale:{name}", ActionKind.SCALE_CANARY, {"workload": name}), WORKLOADS),
    st.builds(lambda name: Act(f"weight:{name}", ActionKind.SET_WEIGHT, {"route": name}), WORKLOADS),
    st.builds(lambda name: Await(f"wait:{name}", Condition.NO_WEIGHT, name), WORKLOADS),
    st.builds(lambda: Settle("settle", 1.0)),
    st.builds(lambda: Act("restore", ActionKind.RESTORE_MANIFEST, {"index": 0})),
)


def about(operation: Operation) -> str:
    return next((name for name in ("api", "web") if operation.name.endswith(f":{name}")), "")


def without_weights(listed: list[Operation]) -> list[list[str]]:
    """The order of the operations; of weights that stand next to each other, as a set."""
    groups: list[list[str]] = []
    for one in listed:
        if ":weight:" in one.name and groups and ":weight:" in groups[-1][0]:
            groups[-1] = sorted([*groups[-1], one.name])
        else:
            groups.append([one.name])
    return groups


@given(st.lists(OPERATIONS, min_size=1, max_size=12), st.data())
def test_nothing_is_lost_and_each_workload_keeps_its_order(listed: list[Operation], data: st.DataObject) -> None:
    procedure = tuple(replace(one, name=f"{index}:{one.name}") for index, one in enumerate(listed))
    cursor = data.draw(st.integers(0, len(procedure) - 1))
    changed = give_way(PLAN, procedure, cursor, lambda operation: isinstance(operation, Act))
    if changed is None:
        return
    assert sorted(one.name for one in changed) == sorted(one.name for one in procedure)
    assert changed[:cursor] == procedure[:cursor]
    for name in ("api", "web"):
        before, after = ([one for one in some if about(one) == name] for some in (procedure, changed))
        assert without_weights(after) == without_weights(before)
    barriers = [index for index, one in enumerate(procedure) if not about(one)]
    assert [changed[index] for index in barriers] == [procedure[index] for index in barriers]
    assert isinstance(changed[cursor], Act)
    assert changed[cursor] != procedure[cursor]


def test_of_two_routes_to_one_workload_none_waits_for_the_other() -> None:
    async def story() -> None:
        stage = Stage()
        plan = replace(target_plan([percent(25), Approval()]), routes=(smi_route("web"), replace(smi_route("web"), name="inner")))
        stage.world.faults["abort-weight:web"] = [Rejected("403: somebody took the right away")] * 10_000
        stage.world.faults["abort-follow-stable:web"] = [Rejected("403: nor may it touch Services")] * 10_000
        async with stage.daemon() as engine:
            await engine.submit(release_plan(plan), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            begun = stage.clock.now()
            await stage.until(lambda: "abort-weight:inner" in stage.world.performed)
            assert (stage.clock.now() - begun).total_seconds() < 20
            stage.world.faults.clear()
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
        told = "\n".join(entry.text for entry in stage.journal.entries["r1.production"])
        assert "abort-follow-stable:web is refused, and left out: 403: nor may it touch Services" in told

    run_in_virtual_time(story)


def test_a_router_that_refuses_for_ever_keeps_no_other_workload_from_going_back() -> None:
    async def story() -> None:
        stage = Stage()
        stage.world.faults["abort-weight:api"] = [Rejected("403: somebody took the right away")] * 10_000
        async with stage.daemon() as engine:
            await engine.submit(release_plan(PLAN), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            begun = stage.clock.now()
            web = stage.world.places["r1.production/web"]
            await stage.until(lambda: web.weight == 0)
            assert (stage.clock.now() - begun).total_seconds() < 10
            told = [entry.text for entry in stage.journal.entries["r1.production"]]
            assert any("abort-weight:api failed (attempt 4)" in text for text in told)
            stage.world.faults.clear()
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
        assert all(place.is_as_found() for place in stage.world.places.values())

    run_in_virtual_time(story)


def test_an_old_version_that_does_not_come_back_delays_only_itself() -> None:
    async def story() -> None:
        stage = Stage()
        async with stage.daemon() as engine:
            await engine.submit(release_plan(PLAN), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            api, web = (stage.world.places[name] for name in ("r1.production", "r1.production/web"))
            api.stable_available = 0
            await engine.command("r1", order(CommandKind.ABORT))
            begun = stage.clock.now()
            await stage.until(lambda: web.weight == 0)
            assert (stage.clock.now() - begun).total_seconds() < 5
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_two_that_are_stuck_do_not_keep_each_other_from_the_end_of_their_patience() -> None:
    """Traffic goes back after its time, although the old version has no pods and the other's router refuses for ever."""

    async def story() -> None:
        stage = Stage()
        stage.world.faults["abort-weight:web"] = [Rejected("403: somebody took the right away")] * 10_000
        async with stage.daemon() as engine:
            await engine.submit(release_plan(PLAN), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            api = stage.world.places["r1.production"]
            api.stable = api.stable_available = 0
            api.stable_owned = False
            await engine.command("r1", order(CommandKind.ABORT))
            begun = stage.clock.now()
            await stage.until(lambda: api.weight == 0)
            assert 115 < (stage.clock.now() - begun).total_seconds() < 170
            stage.world.faults.clear()
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED

    run_in_virtual_time(story)


def test_two_routers_that_refuse_for_ever_are_asked_no_more_often_than_one() -> None:
    async def story() -> None:
        stage = Stage()
        for name in ("api", "web"):
            stage.world.faults[f"abort-weight:{name}"] = [Rejected("403: somebody took the right away")] * 10_000
        async with stage.daemon() as engine:
            await engine.submit(release_plan(PLAN), by="a test", source="test")
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.ABORT))
            await anyio.sleep(3_600.0)
            told = [entry.text for entry in stage.journal.entries["r1.production"]]
            for name in ("api", "web"):
                assert 60 < sum(f"abort-weight:{name} failed" in text for text in told) < 400
            stage.world.faults.clear()
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
        assert all(place.is_as_found() for place in stage.world.places.values())

    run_in_virtual_time(story)


def test_an_abort_between_two_hand_overs_never_sends_anything_to_the_new_version_again() -> None:
    """The one is the workload's own already and has to be taken back; the other one has its traffic back by then."""

    async def story(name: str) -> list[tuple[str, int]]:
        stage = Stage()
        plans = [
            target_plan([percent(25)], workload=one, route=istio_route(one, workload=one, rule=one)) for one in ("api", "web")
        ]
        weights: list[tuple[str, int]] = []

        def note(when: str, action: Action) -> None:
            if stage.snapshot().state in (State.ABORTING, State.RESTORING):
                weights.append((when, stage.world.places["r1.production/web"].weight))

        stage.world.hooks.append(note)
        async with stage.daemon() as engine:
            await engine.submit(release_plan(together(*plans)), by="a test", source="test")
            await stage.until(lambda: name in stage.world.performed)
            await engine.command("r1", order(CommandKind.ABORT))
            assert (await stage.until_ended()).status is ReleaseStatus.FAILED
        assert all(place.is_as_found() for place in stage.world.places.values())
        return weights

    for name in ("unfreeze:api", "replace-template:web"):
        weights = [weight for _, weight in run_in_virtual_time(lambda name=name: story(name))]  # type: ignore[misc]
        assert weights == sorted(weights, reverse=True)

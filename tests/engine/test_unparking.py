"""A rollout that was parked in the middle of an action, and goes on."""

from __future__ import annotations

from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State
from tests.builders import percent, release_plan, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order


def test_what_had_been_begun_is_done_again_before_anything_is_concluded_from_what_is_seen() -> None:
    """A weight that was ordered and never written must not be taken for somebody else's edit."""

    async def story() -> None:
        stage = Stage()
        stage.world.faults["set-weight:web:2500"] = [RuntimeError("nobody has foreseen this")]
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan([percent(25), Approval()])), by="a test", source="test")
            await stage.until_state(State.PARKED)
            stage.world.drift = "somebody else set TrafficSplit web to 0 % instead of 25 %"
            await engine.command("r1", order(CommandKind.RESUME))
            entry = stage.journal.entries["r1.production"][-1]
            assert entry.text == "resumed by ada; next: set-weight:web:2500"
            stage.world.drift = ""
            await stage.until_state(State.APPROVING)
            await engine.command("r1", order(CommandKind.APPROVE))
            assert (await stage.until_ended()).status is ReleaseStatus.SUCCEEDED

    run_in_virtual_time(story)

"""A cluster that is away for long: whoever waits for it goes on when it is back, and goes back when that is what was ordered."""

from __future__ import annotations

import anyio
import pytest
import structlog

from engine.errors import Retryable
from engine.events import CommandKind
from engine.model import Approval, ReleaseStatus, State, Step
from tests.builders import percent, release_plan, target_plan
from tests.clocks import run_in_virtual_time
from tests.engine.stage import Stage, order

HOUR = 3_600.0
STEPS: list[Step] = [percent(25), Approval()]


class Away(list[Exception | str]):
    """What an action meets for as long as its cluster is away."""

    def __init__(self) -> None:
        super().__init__([Retryable("the API server did not answer")])
        self.attempts = 0

    def pop(self, _: object = -1) -> Exception | str:
        self.attempts += 1
        return self[0]


@pytest.mark.parametrize(
    ("action", "ending"), [("set-weight:web:2500", ReleaseStatus.SUCCEEDED), ("abort-weight:web", ReleaseStatus.FAILED)]
)
def test_a_cluster_that_was_away_for_twelve_hours_is_taken_up_within_a_minute(action: str, ending: ReleaseStatus) -> None:
    async def story() -> None:
        stage, away = Stage(), Away()
        stage.world.faults[action] = away
        async with stage.daemon() as engine:
            await engine.submit(release_plan(target_plan(STEPS, settle=0.0)), by="a test", source="test")
            if ending is ReleaseStatus.FAILED:
                await stage.until_state(State.APPROVING)
                await engine.command("r1", order(CommandKind.ABORT))
            await anyio.sleep(12 * HOUR)
            assert away.attempts > 1_100
            assert stage.snapshot().state in (State.SHIFTING, State.ABORTING)
            del stage.world.faults[action]
            with anyio.fail_after(60.0):
                if ending is ReleaseStatus.SUCCEEDED:
                    await stage.until_state(State.APPROVING)
                    await engine.command("r1", order(CommandKind.APPROVE))
                assert (await stage.until_ended()).status is ending

    # The log has a line for each of some thousand decisions.
    with structlog.testing.capture_logs():
        run_in_virtual_time(story, limit_seconds=24 * HOUR)

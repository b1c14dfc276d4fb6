"""Explores the small plans (`tests.engine.exploring`) and writes what they came to beside the table of states.

python -m tests.engine.exploration_page      writes docs/states.md, its first part as `python -m engine.document_states` prints it

Takes about three minutes. Ends with 1, and writes nothing, where a stand has no way to an end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from engine.document_states import render
from engine.model import Approval, Pause, RunJob, TargetPlan, Webhook
from tests.builders import error_rate, percent, pod_ratio_route, service_route, target_plan
from tests.engine.exploring import Explored, explore, never_undone, without_end

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
HEADING = "## Explored"
TEXT = """{heading}

The table says which state may follow which. `python -m tests.engine.exploration_page` goes through {stands:,} stands and
{ways:,} decisions of {plans} small plans: from the first one on, each stand that any event leads to, in any state and at any
place of its procedure. Events are all of them: orders, also late ones; results of actions, also of actions that nobody waits
for; refusals of each kind; answers, also somebody else's; a restart; a deadline that passes; and the world as it is, unseen,
not heard of, without the new version's pods, edited by somebody, or with proxies that are behind. Time and repetitions are
shortened (`tests/engine/exploring.py`).

Each event has an answer in each of them: a decision, a refusal in words, or nothing to decide. From each an end is reached by
what a world without trouble brings about, and by the answers that a person is asked for. From each that is no end an abort is
taken or under way, and from then on everything is put back by itself.
"""
PLANS: Mapping[str, TargetPlan] = {
    "canary without steps, by a mesh": target_plan(),
    "canary with a weight, by a mesh": target_plan([percent(25)]),
    "canary with a weight, by the ratio of pods": target_plan([percent(25)], route=pod_ratio_route()),
    "blue/green with an approval and a pause": target_plan(
        [Approval(), percent(100), Pause(60)], route=service_route("web", "next")
    ),
    "canary with an approval that is reminded of and expires": target_plan([Approval(expires_seconds=600, remind_seconds=60)]),
    "canary with an analysis": target_plan([error_rate(runs=1)]),
    "canary with a webhook that calls back": target_plan([Webhook("smoke", "POST", "https://ci.example/run")]),
    "canary with a job": target_plan([RunJob("smoke", "{}")]),
    "an approval before the deployment, a pause after it": target_plan(before=[Approval()], after=[Pause(30)]),
}


def problems(found: Explored) -> list[str]:
    """What must not be, one sentence each."""
    wrong = [f"{one.snapshot.state} has no way to an end" for one in without_end(found, by_itself=False)]
    wrong += [f"{one.snapshot.state} does not end by itself" for one in without_end(found, by_itself=True)]
    return wrong + [f"{one.snapshot.state} is not put back by itself" for one in never_undone(found)]


def write_section(explored: Mapping[str, Explored]) -> str:
    return "\n".join(_lines(explored))


def _lines(explored: Mapping[str, Explored]) -> Iterator[str]:
    stands = sum(len(one.stands) for one in explored.values())
    ways = sum(one.transitions() for one in explored.values())
    yield TEXT.format(heading=HEADING, stands=stands, ways=ways, plans=len(explored))
    yield "| plan | stands | decisions | (state, event) that lead on | that change nothing | orders refused |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, one in explored.items():
        idle, refused = (len(some.keys() - one.handled.keys()) for some in (one.ignored, one.refused))
        yield f"| {name} | {len(one.stands):,} | {one.transitions():,} | {len(one.handled)} | {idle} | {refused} |"
    yield ""


def main() -> int:
    explored: dict[str, Explored] = {}
    for name, plan in PLANS.items():
        explored[name] = explore(plan)
        sys.stderr.write(f"{name}: {len(explored[name].stands):,} stands\n")
        if wrong := problems(explored[name]):
            sys.stderr.write(f"{len(wrong)} of them are wrong, such as: {wrong[0]}\n")
            return 1
    PAGE.write_text(f"{render()}\n{write_section(explored)}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Told by the code of any commit: many rollouts in one store, each stopped where the next version is to go on from.

Run by `tests.store.make_golden` in a checkout of that commit, so it may use only what has been there from the beginning: the
stage of the stories on the embedded cluster, and the builders.

    python golden_story.py FOLDER      leaves FOLDER/headgate.db and FOLDER/cluster.json
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog

from engine.events import Command, CommandKind
from engine.model import Analysis, Approval, Pause, Query, Snapshot, State
from tests import builders
from tests.rollouts import stage as stages

DAY = 86_400.0
MEASURED = Analysis((Query("error-rate", "prometheus", "errors", None, 0.01),), interval_seconds=1.0, runs=3)
STEPS: list[Any] = [builders.percent(25), builders.percent(50)]
ASKED: list[Any] = [builders.percent(25), Approval()]
Stops = Callable[[Snapshot, Any], bool]
"""Whether an action is never performed, so that the rollout stays where it was ordered."""
STOPS: dict[str, Stops] = {
    "preparing": lambda at, action: action.kind == "ensureStableService",
    "scaling": lambda at, action: at.state is State.SCALING and action.kind == "scaleCanary",
    "shifting": lambda at, action: at.state is State.SHIFTING and action.kind == "setWeight" and at.step == 1,
    "ratio": lambda at, action: at.state is State.SHIFTING and at.step == 1,
    "promoting": lambda at, action: action.kind == "setWeight" and at.state is State.PROMOTING,
    "handing-over": lambda at, action: action.kind == "adoptCanary",
    "finalising": lambda at, action: action.kind == "removeRoute" and at.state is State.FINALISING,
    "aborting": lambda at, action: at.state is State.ABORTING,
    "restoring": lambda at, action: action.kind == "removeCanary",
    "ratio-aborting": lambda at, action: at.state is State.ABORTING,
    "analysing": lambda at, action: action.kind == "measure" and at.actions > _first_measurement(at, action),
}
WAITS: dict[str, tuple[list[Any], State]] = {
    "approving": (ASKED, State.APPROVING),
    "pausing": ([builders.percent(25), Pause(DAY)], State.PAUSING),
    "succeeded": (STEPS, State.SUCCEEDED),
    "rolled-back": (ASKED, State.ROLLED_BACK),
    "parked": (STEPS, State.PARKED),
}
ABORTED = ("aborting", "restoring", "ratio-aborting", "rolled-back")
_measured: list[int] = []


def _first_measurement(at: Snapshot, action: Any) -> int:
    _measured.append(at.actions)
    return _measured[0]


class Defect(Exception):
    """What nobody has foreseen, so that a rollout is parked."""


def let_actions_stop() -> None:
    original = stages.MeasuredActuator.perform

    async def perform(self: Any, spec: Any, snapshot: Any, action: Any) -> Any:
        story = spec.plan.namespace
        if (stops := STOPS.get(story)) is not None and stops(snapshot, action):
            await anyio.sleep_forever()
        if story == "parked" and snapshot.state is State.SHIFTING:
            raise Defect("nobody has foreseen this")
        return await original(self, spec, snapshot, action)

    stages.MeasuredActuator.perform = perform  # type: ignore[method-assign]


def is_there(snapshot: Snapshot, story: str) -> bool:
    if story in WAITS:
        return snapshot.state is WAITS[story][1]
    return any(STOPS[story](snapshot, action) for action in _pending(snapshot))


def _pending(snapshot: Any) -> list[Any]:
    """Of the oldest commits, one at a time."""
    pending = getattr(snapshot, "pending", None)
    return list(pending) if pending is not None else [one for one in (snapshot.action,) if one is not None]


def plans_of(story: str) -> list[Any]:
    steps = WAITS[story][0] if story in WAITS else ASKED if story in ABORTED else STEPS
    route = builders.pod_ratio_route() if story.startswith("ratio") else builders.smi_route()
    steps = [builders.percent(25), MEASURED] if story == "analysing" else steps
    plans = [builders.target_plan(steps, namespace=story, route=route, settle=0.0)]
    if story == "shifting":
        later = builders.target_plan(STEPS, namespace=story, target="later", workload="api", depends_on=["production"])
        plans.append(later)
    return plans


def _has_come(snapshots: dict[str, Snapshot], rollout: str, story: str) -> bool:
    return rollout in snapshots and is_there(snapshots[rollout], story)


async def tell(folder: Path) -> None:
    let_actions_stop()
    async with stages.stage(folder) as stage:
        stories = [*STOPS, *WAITS]
        releases: dict[str, str] = {}
        for story in stories:
            await stage.live(namespace=story)
            plan = builders.release_plan(*plans_of(story), application=story)
            submit = getattr(stage, "submit", None)
            made = await (submit(plan) if submit else stage.engine.submit(plan, by="a test", source="shop.yaml"))
            releases[story] = made.id
        for story in ABORTED:
            await stage.until_state(State.APPROVING, f"{releases[story]}.production")
            await stage.engine.command(releases[story], Command(CommandKind.ABORT, by="ada"))
        at = stage.journal.snapshots
        for story, release in releases.items():
            await stage.until(partial(_has_come, at, f"{release}.production", story), within=60.0)
        await anyio.sleep(0.5)  # What the controllers have begun comes to its end.
        objects = [
            one
            for resource in stage.storage.registry
            if resource.kind not in ("Event", "EndpointSlice", "CustomResourceDefinition")
            for one in stage.storage.list(resource)
            if one["metadata"].get("namespace", one["metadata"]["name"]) in stories
        ]
    distinct = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in objects}
    folder.joinpath("cluster.json").write_text(json.dumps(list(distinct.values()), indent=0, sort_keys=True), "utf-8")
    with closing(sqlite3.connect(folder / "headgate.db")) as store:
        store.execute("PRAGMA journal_mode = DELETE")
        store.execute("VACUUM")


if __name__ == "__main__":
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(tell(Path(sys.argv[1])))

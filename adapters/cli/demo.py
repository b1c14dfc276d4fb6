"""`headgate demo`: plays the scenario of `adapters.demo` and shows it live."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import anyio
from rich.console import Console

from adapters.cli.exit_codes import ExitCode
from adapters.dataplane.display import Display
from adapters.dataplane.envoy_errors import EnvoyError, EnvoyMissing
from adapters.dataplane.traffic import Traffic
from adapters.demo.picture import NEW, OLD, PodCounts, Story, draw
from adapters.demo.scenario import CANARY_SERVICE, NAMESPACE, ROOT, Scenario, play
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.pod_ranking import is_ready
from adapters.embedded.resources import PODS
from engine.feed import EntryNews
from engine.model import FINAL_STATUSES, Release, ReleaseStatus, Snapshot, State

FRAME_SECONDS = 0.25
WINDOW_FRAMES = 6
"""What was served lately is what was served in this many frames, or since the split changed."""
LAST_LOOK_SECONDS = 1.5
LONGEST_SECONDS = 55.0


async def run_demo(*, bad: bool, console: Console | None = None) -> ExitCode:
    """0 when the rollout did what it should: succeed, or with `bad` be undone."""
    console = console or Console()
    try:
        with anyio.fail_after(LONGEST_SECONDS):
            return await _run(console, bad=bad)
    except EnvoyMissing as error:
        sys.stderr.write(f"headgate demo: {error}\n")
        return ExitCode.BAD_INPUT
    except EnvoyError as error:
        sys.stderr.write(f"headgate demo: Envoy failed: {error}\n")
        return ExitCode.FAILED
    except TimeoutError:
        sys.stderr.write(f"headgate demo: it did not end within {LONGEST_SECONDS:g} s and was stopped\n")
        return ExitCode.FAILED


async def _run(console: Console, *, bad: bool) -> ExitCode:
    with Display(console) as display:
        async with play(bad=bad) as scenario:
            watcher = _Watcher(scenario, display)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watcher.draw_for_ever, name="display")
                ended = await watcher.roll_out()
                await anyio.sleep(LAST_LOOK_SECONDS)
                tasks.cancel_scope.cancel()
            await watcher.draw()
            lost = scenario.load.totals().of(OLD).errors + scenario.load.totals().connection_errors
    console.print(_summary(ended, bad=bad, lost=lost), highlight=False)
    expected = ReleaseStatus.FAILED if bad else ReleaseStatus.SUCCEEDED
    return ExitCode.SUCCESS if ended.status is expected else ExitCode.FAILED


def _summary(ended: Release, *, bad: bool, lost: int) -> str:
    if ended.status is ReleaseStatus.SUCCEEDED:
        return f"\n{NEW} is the only version, and its tested pods are the pods that serve. Requests lost on the way: {lost}."
    undone = f"{NEW} was undone and everything is as it was: {ended.reason}."
    return f"\n{undone} Requests lost by {OLD}: {lost}." if bad else f"\n{undone}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The counters at one moment: what the users saw, and what Envoy served to each side of the split."""

    users: Traffic
    stable: int
    canary: int


class _Watcher:
    """Follows the engine's news and the mesh's statistics, and draws them."""

    def __init__(self, scenario: Scenario, display: Display) -> None:
        self._scenario = scenario
        self._display = display
        self._story = Story(scenario.plan.targets[0])
        self._began = anyio.current_time()
        self._snapshot: Snapshot | None = None
        self._frames: list[_Frame] = []
        self._weight = 0

    async def roll_out(self) -> Release:
        engine = self._scenario.running.engine
        with engine.feed.subscribe() as news:
            release = await engine.submit(self._scenario.plan, by="demo", source="deploy.yaml")
            async for one in news:
                self._note_snapshot(release.id)
                if isinstance(one, EntryNews):
                    self._story.entries.append((anyio.current_time() - self._began, one.entry))
                elif one.release.status in FINAL_STATUSES:
                    return one.release
        raise AssertionError("the engine's news ended before the release did")

    def _note_snapshot(self, release_id: str) -> None:
        for stored in self._scenario.running.engine.rollouts(release_id):
            self._snapshot = stored.snapshot

    async def draw_for_ever(self) -> None:
        while True:
            await self.draw()
            await anyio.sleep(FRAME_SECONDS)

    async def draw(self) -> None:
        if self._snapshot is None:
            return
        load = self._scenario.load
        await self._count_frame(load.totals())
        lately = self._frames[-1].users.since(self._frames[0].users) if self._frames else Traffic()
        state = draw(
            self._story,
            self._snapshot,
            elapsed=anyio.current_time() - self._began,
            lately=lately,
            total=load.totals(),
            served=self._served(),
            pods=_count_pods(self._scenario.cluster.storage.list(PODS, NAMESPACE)),
        )
        self._display.show(state)

    async def _count_frame(self, totals: Traffic) -> None:
        """A frame remembers the counters; a changed split begins a new window, so that two splits are never mixed."""
        assert self._snapshot is not None
        with suppress(EnvoyError):
            statistics = await self._scenario.envoy.statistics()
            names = (f"{ROOT}-stable", CANARY_SERVICE)
            stable, canary = (statistics[name].requests if name in statistics else 0 for name in names)
            if self._snapshot.served != self._weight:
                self._weight = self._snapshot.served
                self._frames.clear()
            self._frames = [*self._frames[-WINDOW_FRAMES:], _Frame(totals, stable, canary)]

    def _served(self) -> float | None:
        """The new version's share of what Envoy served lately, by Envoy's own statistics; None where there is no split."""
        assert self._snapshot is not None
        if self._snapshot.state in (State.SUCCEEDED, State.ROLLED_BACK, State.WAITING) or len(self._frames) < 2:
            return None
        first, last = self._frames[0], self._frames[-1]
        stable, canary = last.stable - first.stable, last.canary - first.canary
        return canary / (stable + canary) if stable + canary > 0 else None


def _count_pods(pods: list[JsonObject]) -> dict[str, PodCounts]:
    counted: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        version = pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        if metadata_of(pod).get("deletionTimestamp"):
            counted[version, "stopping"] += 1
        else:
            counted[version, "ready" if is_ready(pod) else "starting"] += 1
    return {
        version: PodCounts(counted[version, "ready"], counted[version, "starting"], counted[version, "stopping"])
        for version in (OLD, NEW)
    }

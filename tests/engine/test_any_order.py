"""Random stories: any plans, any trouble, any orders, and daemons that die at any moment.

The invariants are judged at every decision and every action (`tests.engine.troubled_world`). At the end all trouble stops and a
person answers everything: then every release has to end, and nothing may be left behind.

A story is told by its seed. One that fails says how to have it told again, and which kinds of trouble it needs:

    HEADGATE_STORY=4711 python -m pytest tests/engine/test_any_order.py -k one_story
    HEADGATE_STORIES=20000 python -m pytest tests/engine/test_any_order.py -k many_stories
"""

from __future__ import annotations

import os
from contextlib import suppress

import anyio
import pytest

from engine.daemon import AdmissionRules, Engine
from engine.errors import CommandRefused, Conflict, NotFound
from engine.events import Command, CommandKind
from engine.gates import sign_callback
from engine.model import FINAL_STATES, FINAL_STATUSES, ActionKind, Snapshot, State, Verdict
from engine.orders import awaits_answer
from tests.clocks import run_in_virtual_time
from tests.engine.random_stories import TROUBLES, Dice, draw_order, draw_release, draw_rules
from tests.engine.stage import Stage
from tests.engine.troubled_world import Broken, Crash, Judge, TroubledStore, TroubledWorld

STORIES = int(os.environ.get("HEADGATE_STORIES", "100"))
FIRST = int(os.environ.get("HEADGATE_FIRST_STORY", "0"))
PATIENCE_SECONDS = 6 * 3_600.0
"""In which everything has to end once nothing goes wrong any more."""


class Story:
    def __init__(self, seed: int, without: tuple[str, ...] = ()) -> None:
        self.dice = Dice(seed, without)
        self.judge = Judge()
        self.stage = Stage(journal=self.judge)
        self.world = self.stage.world = TroubledWorld(self.judge, self.dice)
        self.store = self.stage.store = TroubledStore(self.judge, self.dice)
        plot = self.dice.of("plot")
        self.plans = [draw_release(plot) for _ in range(plot.randint(1, 4))]
        self.releases: list[str] = []

    async def tell(self) -> None:
        lives = self.dice.of("lives").randint(1, 4) if self.dice.has("kills") else 1
        for _ in range(lives):
            try:
                await self._live()
            except BaseException as error:
                if not _is_crash(error):
                    raise
        await self._end_well()
        self._judge_the_end()

    # --- trouble -------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """One daemon's life among all kinds of trouble."""
        length = self.dice.of("lives").choice([3.0, 30.0, 200.0, 900.0])
        if self.dice.has("rules"):
            self.stage.rules = draw_rules(self.dice.of("rules"))
        self.judge.allow(self.stage.rules)
        self.world.refused = None
        if self.dice.happens("faults", 0.25):
            faults = self.dice.of("faults")
            self.world.refused = faults.choice(["web", "api"]), faults.choice(list(ActionKind))
        async with self.stage.daemon() as engine:
            with anyio.move_on_after(length):
                while True:
                    await self._something_happens(engine)
                    await anyio.sleep(self.dice.of("lives").choice([0.0, 0.1, 1.0, 10.0, 60.0]))

    async def _something_happens(self, engine: Engine) -> None:
        plot = self.dice.of("plot")
        if self.plans and plot.random() < 0.3:
            await self._submit(engine)
        if self.dice.happens("orders", 0.15):
            await self._give_order(engine)
        if self.dice.happens("callbacks", 0.3):
            self._call_back(engine)
        if self.dice.happens("pods", 0.1) and self.judge.snapshots:
            self.world.trouble_pods(self.dice.of("pods").choice(sorted(self.judge.snapshots)))
        if self.dice.happens("drift", 0.1):
            self.world.drift = self.dice.of("drift").choice(["", "", "somebody edited the split"])
            for rollout in sorted(self.world.attached):
                self.world.wake(rollout)
        if self.dice.happens("rules", 0.05):
            rules = draw_rules(self.dice.of("rules"))
            self.judge.allow(rules)
            engine.set_rules(rules)
        if self.dice.happens("clock", 0.03):
            self.stage.clock.jump(self.dice.of("clock").choice([-40.0, -1.0, 1.0, 40.0, 900.0]))

    async def _submit(self, engine: Engine) -> None:
        plan = self.plans.pop()
        with suppress(Conflict):
            self.releases.append((await engine.submit(plan, by="a test", source="test")).id)

    async def _give_order(self, engine: Engine) -> None:
        random = self.dice.of("orders")
        if not self.judge.snapshots:
            return
        rollout = random.choice(sorted(self.judge.snapshots))
        snapshot = self.judge.snapshots[rollout]
        release, _, target = rollout.partition(".")
        command = draw_order(random, snapshot.step, [gate.id for gate in snapshot.gates])
        with suppress(CommandRefused, NotFound), anyio.move_on_after(30.0):
            await engine.command(release, command, random.choice([None, target]))

    def _call_back(self, engine: Engine) -> None:
        random = self.dice.of("callbacks")
        for rollout, snapshot in sorted(self.judge.snapshots.items()):
            for gate in snapshot.gates:
                token = sign_callback(self.judge.specs[rollout], gate.id if random.random() < 0.9 else "step:99")
                verdict = random.choice([Verdict.PASSED, Verdict.PASSED, Verdict.FAILED])
                for _ in range(random.randint(0, 2)):
                    engine.callback(rollout, token, verdict, "so it is")

    # --- the end -------------------------------------------------------------------------------------------------------

    async def _end_well(self) -> None:
        self.store.calm, self.store.failing = True, 0
        self.world.become_calm()
        self.stage.rules = AdmissionRules()
        self.judge.most_rollouts = None
        async with self.stage.daemon() as engine:
            while self.plans:
                await self._submit(engine)
            with anyio.move_on_after(PATIENCE_SECONDS):
                while not await self._have_all_ended():
                    await self._answer_everything(engine)
                    await anyio.sleep(10.0)
                return
        raise Broken(f"it does not end: {[_describe(r, s) for r, s in self._unfinished()]}")

    def _unfinished(self) -> list[tuple[str, Snapshot]]:
        return [(rollout, at) for rollout, at in self.judge.snapshots.items() if at.state not in FINAL_STATES]

    async def _have_all_ended(self) -> bool:
        return all(release.status in FINAL_STATUSES for release in await self.store.releases())

    async def _answer_everything(self, engine: Engine) -> None:
        for rollout, snapshot in self._unfinished():
            release, _, target = rollout.partition(".")
            spec = self.judge.specs[rollout]
            if snapshot.held or snapshot.state is State.PARKED:
                await self._order(engine, release, target, CommandKind.RESUME)
            elif awaits_answer(spec, snapshot):
                await self._order(engine, release, target, CommandKind.APPROVE)
            for gate in snapshot.gates:
                engine.callback(rollout, sign_callback(spec, gate.id), Verdict.PASSED, "")

    async def _order(self, engine: Engine, release: str, target: str, kind: CommandKind) -> None:
        with suppress(CommandRefused, NotFound):
            await engine.command(release, Command(kind, by="a person"), target)

    def _judge_the_end(self) -> None:
        left = [
            text
            for rollout, snapshot in self.judge.snapshots.items()
            if (text := self.world.why_not_done(self.judge.specs[rollout], snapshot))
        ]
        if left:
            raise Broken("; ".join(left))
        if self.world.attached:
            raise Broken(f"still looked at: {self.world.attached}")


def _describe(rollout: str, snapshot: Snapshot) -> str:
    waits = snapshot.procedure[snapshot.cursor].name if snapshot.cursor < len(snapshot.procedure) else "nothing"
    gates = [(gate.id, gate.due_at, gate.action, gate.verdict, gate.answer) for gate in snapshot.gates if not gate.passed]
    return f"{rollout} {snapshot.state} step {snapshot.step} at {waits}, held {snapshot.held!r}, {snapshot.action}, {gates}"


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_crash(one) for one in error.exceptions)
    return isinstance(error, Crash | anyio.get_cancelled_exc_class())


def _broken(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_broken, error.exceptions)), "")
    return f"{type(error).__name__}: {error}"


def tell(seed: int, without: tuple[str, ...] = ()) -> str:
    """What is wrong with the story; empty when it is a good one."""
    story = Story(seed, without)
    try:
        run_in_virtual_time(story.tell, limit_seconds=200_000.0)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return _broken(error)
    return ""


def needed_troubles(seed: int) -> tuple[str, ...]:
    """The kinds of trouble without which the story would be a good one."""
    without: tuple[str, ...] = ()
    for trouble in TROUBLES:
        if tell(seed, (*without, trouble)):
            without = (*without, trouble)
    return tuple(one for one in TROUBLES if one not in without)


@pytest.mark.timeout(86_400 if "HEADGATE_STORIES" in os.environ else 300)
def test_many_stories_end_well_whatever_happens_in_them() -> None:
    failed = {seed: wrong for seed in range(FIRST, FIRST + STORIES) if (wrong := tell(seed))}
    for seed, wrong in list(failed.items())[:1]:
        again = f"HEADGATE_STORY={seed} python -m pytest tests/engine/test_any_order.py -k one_story"
        pytest.fail(f"{wrong}\nit needs: {', '.join(needed_troubles(seed)) or 'no trouble'}\n{len(failed)} fail; again: {again}")


@pytest.mark.skipif("HEADGATE_STORY" not in os.environ, reason="tells the story of one seed again")
def test_one_story_again() -> None:
    seed = int(os.environ["HEADGATE_STORY"])
    assert not tell(seed, tuple(one for one in os.environ.get("HEADGATE_WITHOUT", "").split(",") if one))


def test_the_same_seed_tells_the_same_story() -> None:
    def told(seed: int) -> list[str]:
        story = Story(seed)
        run_in_virtual_time(story.tell, limit_seconds=200_000.0)
        return [f"{one.at} {one.text}" for entries in story.judge.entries.values() for one in entries]

    assert told(3) == told(3)
    assert told(3) != told(4)
